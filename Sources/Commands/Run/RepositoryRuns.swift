internal import FoundationEssentials
internal import Model
internal import Posix
internal import Repository
internal import Settings
internal import Synchronization

/// Runs of several repositories within the limits of `[hosts]`. Each is a process of its own, so that the end of one
/// costs the others nothing.
final class RepositoryRuns: Sendable {
  /// A repository, and the time of its start after that of all.
  private struct Waiting {
    let number: Int
    let afterSeconds: Double
  }

  private struct State {
    var waiting: [Waiting]
    /// The times at which the present runs began, by their numbers.
    var running: [Int: Timestamp] = [:]
    var runs: [RepositoryRun?]
  }

  private let repositories: [(name: String, path: String)]
  private let command: [[UInt8]]
  private let limits: Configuration.Hosts
  private let began = Clock.monotonic()
  private let state: Mutex<State>

  /// `arguments` are options of each run. A run by hand is not staggered.
  init(of file: ConfigurationFile, arguments: [String], isStaggered: Bool) throws(Failure) {
    let program: [UInt8]
    do { program = try CurrentProcess.programFile() } catch {
      throw Failure(.failed, "cannot find this program's own file: \(error)")
    }
    command =
      [program] + ["run", "--json"].map { Array($0.utf8) } + arguments.map { Array($0.utf8) }
      + [Array("--config".utf8), file.path]
    repositories = file.repositories.map { ($0.name ?? "", displayName($0.repositoryPath ?? [])) }
    limits = file.settings.hosts
    let stagger = isStaggered ? Double(file.settings.hosts.staggerSeconds) : 0
    let waiting = repositories.enumerated().map {
      Waiting(number: $0.offset, afterSeconds: Self.share(of: $0.element.name) * stagger)
    }
    // Runs of the same time begin in the order of the file.
    let ordered = waiting.sorted { ($0.afterSeconds, $0.number) < ($1.afterSeconds, $1.number) }
    state = Mutex(State(waiting: ordered, runs: repositories.map { _ in nil }))
  }

  /// A number from 0 to 1 for a name, the same at each run: the hash FNV-1a.
  private static func share(of name: String) -> Double {
    let hash = name.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    return Double(hash >> 11) / Double(1 << 53 as UInt64)
  }

  /// Runs all, and returns their ends in the order of the file.
  func run() -> [RepositoryRun] {
    // No more can run at once, because each ends after the limit, or is given up.
    runThreads(min(limits.atOnce * Self.turns, repositories.count)) { _ in
      while let number = self.next() {
        let run = self.run(number)
        self.state.withLock {
          $0.runs[number] = run
          $0.running[number] = nil
        }
      }
    }
    let interrupted = ExitStatus.interrupted(CurrentProcess.rememberedSignal ?? 15).code
    return zip(repositories, state.withLock { $0.runs }).map { repository, run in
      run
        ?? RepositoryRun(
          name: repository.name, repository: repository.path, result: "failed", exitStatus: interrupted,
          error: "was not started, because the run was interrupted")
    }
  }

  /// A run counts as one of those at once for this part of the limit of its time. So some that hang, such as those of
  /// dead file systems, cost the others no more than a part of the day.
  private static let turns = 4

  /// Waits until the next run may start. `nil` if none is left, or if a signal tells this process to end.
  private func next() -> Int? {
    while CurrentProcess.rememberedSignal == nil {
      let now = Clock.monotonic()
      let (number, isOver) = state.withLock { state -> (Int?, Bool) in
        guard let first = state.waiting.first else { return (nil, true) }
        let turnSeconds = Double(limits.timeoutSeconds) / Double(Self.turns)
        let busy = state.running.values.count { now - $0 < turnSeconds }
        guard now - began >= first.afterSeconds, busy < limits.atOnce, busy == 0 || !isLoadHigh
        else { return (nil, false) }
        state.waiting.removeFirst()
        state.running[first.number] = now
        return (first.number, false)
      }
      if let number { return number }
      if isOver { return nil }
      CurrentProcess.sleep(milliseconds: 100)
    }
    return nil
  }

  /// True if no run may start beside another; proc_loadavg(5). One at a time goes on whatever the load is, or there
  /// would be no backups.
  private var isLoadHigh: Bool {
    guard let maxLoad = limits.maxLoad else { return false }
    let text = try? Descriptor.open(path: Array("/proc/loadavg".utf8), .read).readWhole(limit: 256)
    let load = text.flatMap { Double(String(decoding: $0.prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self)) }
    return load ?? 0 > maxLoad
  }

  // MARK: One run

  /// The time for a run that was told to end. Its hooks get a part of it.
  private static let lastSeconds = 60.0

  private func run(_ number: Int) -> RepositoryRun {
    let (name, path) = repositories[number]
    let start = Clock.monotonic()
    var output = ChildOutput(of: name)
    var (isTooLate, isHung) = (false, false)
    var end: ChildEnd?
    do throws(Errno) {
      let child = try PipedChild.start(command + [Array("--repository".utf8), Array(name.utf8)])
      try child.closeInput()
      var stopSeconds = Double.infinity
      while true {
        end = try child.poll()
        try output.read(from: child, waitMilliseconds: end == nil ? 50 : 0)
        let elapsed = Clock.monotonic() - start
        isHung = end == nil && elapsed > stopSeconds
        if end != nil || isHung { break }
        isTooLate = isTooLate || elapsed > Double(limits.timeoutSeconds)
        guard stopSeconds == .infinity, isTooLate || CurrentProcess.rememberedSignal != nil else { continue }
        child.terminate()
        stopSeconds = elapsed + Self.lastSeconds
      }
    } catch { output.error = "cannot be started: \(error)" }
    var run = output.run(at: path, endedBy: end, elapsedSeconds: Clock.monotonic() - start)
    if isHung {
      (run.result, run.error) = ("hung", "hangs: it did not end when it was told to")
    } else if isTooLate {
      run.error = "was stopped after \(durationText(Double(limits.timeoutSeconds)))"
      run.exitStatus = run.snapshot == nil ? ExitStatus.failed.code : ExitStatus.warnings.code
    }
    if case .exited = end { return run }
    // A process that was killed or hangs cannot say so itself.
    Console.complain("\(name): \(run.error ?? run.result)", level: .error)
    return run
  }
}

/// The answer and the messages of a run in another process, as JSON.
private struct ChildOutput {
  private struct Message: Decodable {
    let level: MessageLevel
    let message: String
    let path, pathBase64, hint: String?
    let exitStatus: Int32?
  }

  private let name: String
  private var answer: [UInt8] = []
  private var line: [UInt8] = []
  var error: String?

  init(of name: String) { self.name = name }

  /// Reads all that is there, and prints the messages.
  mutating func read(from child: PipedChild, waitMilliseconds: Int32) throws(Errno) {
    let errors = try Self.available(in: child.error, waitMilliseconds: waitMilliseconds)
    // A closed pipe does not wait.
    if errors.isEmpty, waitMilliseconds > 0 { CurrentProcess.sleep(milliseconds: Int(waitMilliseconds)) }
    line += errors
    while let end = line.firstIndex(of: newline) {
      say(Array(line[..<end]))
      line.removeFirst(end + 1)
    }
    answer += try Self.available(in: child.output, waitMilliseconds: 0)
  }

  private static func available(in pipe: borrowing Descriptor, waitMilliseconds: Int32) throws(Errno) -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 1)
    defer { buffer.deallocate() }
    var bytes: [UInt8] = []
    var wait = waitMilliseconds
    while let count = try pipe.readAvailable(into: buffer, timeoutMilliseconds: wait), count > 0 {
      bytes += buffer[..<count]
      wait = 0
    }
    return bytes
  }

  private mutating func say(_ line: [UInt8]) {
    guard let message = Message(json: line) else {
      if !line.isEmpty { Console.complain("\(name): \(displayName(line))") }
      return
    }
    var text = message.message
    if message.level == .error { error = text + (message.hint.map { "; \($0)" } ?? "") }
    let path =
      message.pathBase64.flatMap { Data(base64Encoded: $0).map { [UInt8]($0) } } ?? message.path.map { Array($0.utf8) }
    let usesJSON = Console.usesJSON.withLock { $0 }
    // The sentence of an error has the path already.
    if !usesJSON, message.level != .error, let path { text = "\(displayName(path)): \(text)" }
    Console.complain(
      "\(name): \(text)", level: message.level, path: usesJSON ? path : nil, hint: message.hint,
      exitStatus: message.exitStatus.map(ExitStatus.init(code:)))
  }

  /// The end of the run, by its answer or without one.
  mutating func run(at path: String, endedBy end: ChildEnd?, elapsedSeconds: Double) -> RepositoryRun {
    if !line.isEmpty { say(line) }
    var run = RepositoryRun(
      name: name, repository: path, result: "failed", exitStatus: ExitStatus.failed.code, error: error,
      elapsedSeconds: elapsedSeconds)
    if let said = RepositoryRun.Answer(json: answer) {
      (run.result, run.error, run.snapshot, run.steps) = (said.result, said.error, said.snapshot, said.steps)
    }
    switch end {
    case .exited(let status): run.exitStatus = status
    case .signalled(let signal): run.error = "was ended by signal \(signal)"
    default: run.error = run.error ?? "did not end"
    }
    return run
  }
}
