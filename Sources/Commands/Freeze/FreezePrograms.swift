internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Runs the programs that make and remove frozen snapshots.
final class FreezePrograms: Sendable {
  private static let longestSeconds = 600.0
  /// The time in which a program that is told to end may undo its work.
  private static let graceSeconds = 30.0
  /// cron(8) gives a path without these directories.
  private static let systemDirectories = ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"

  private let search: ProgramSearch
  private let environment: [[UInt8]]
  private let leftRunning = Atomic<Bool>(false)

  /// A program that must finish has not ended within the time limit, and still runs.
  var hasLeftOneRunning: Bool { leftRunning.load(ordering: .relaxed) }

  init() {
    let path = (CurrentProcess.environment("PATH") ?? []) + Array(Self.systemDirectories.utf8)
    search = ProgramSearch(path: path)
    environment =
      CurrentProcess.inheritedEnvironment(without: ["PATH", "LC_ALL"]) + [Array("PATH=".utf8) + path]
      + [Array("LC_ALL=C.UTF-8".utf8)]
  }

  /// The words of a command, with the path of its program.
  func words(_ name: String, of package: String, arguments: [[UInt8]]) throws(Failure) -> [[UInt8]] {
    if let path = search.find(name) { return [path] + arguments }
    throw Failure(.failed, "the program \(name) is missing", hint: "install it: Debian's package is \(package)")
  }

  /// Runs a program that must succeed. Returns the lines of its output.
  ///
  /// A program that finishes is never ended, because it may have suspended the devices of a volume. After the time
  /// limit it is left running.
  func run(_ words: [[UInt8]], finishes: Bool = false) throws(Failure) -> [[UInt8]] {
    var program = ChildProgram(words, environment: environment, timeoutSeconds: Self.longestSeconds)
    program.graceSeconds = Self.graceSeconds
    program.startsAtRoot = true
    // A program of the operator may leave a server running.
    program.endsGroup = false
    let result = try finishes ? finish(program) : ProgramResult(of: program)
    if result.end.isSuccess { return result.output }
    if !finishes { try checkForSignal() }
    let why = result.errors.last.map { ": \(displayName($0))" } ?? ""
    throw Failure(.failed, "\(displayName(words[0])) \(result.end)\(why)")
  }

  private func finish(_ program: ChildProgram) throws(Failure) -> ProgramResult {
    var finishing = program
    finishing.finishes = true
    finishing.timeoutSeconds = .infinity
    let (child, answer) = (finishing, Answer())
    do throws(Errno) {
      _ = try BackgroundThread {
        let result = ProgramResult(of: child)
        answer.result.withLock { $0 = result }
      }
    } catch { throw Failure(.failed, "no thread can be made: \(error)") }
    let start = Clock.monotonic()
    while Clock.monotonic() - start < Self.longestSeconds {
      if let result = answer.result.withLock({ $0 }) { return result }
      CurrentProcess.sleep(milliseconds: 10)
    }
    leftRunning.store(true, ordering: .relaxed)
    let name = displayName(program.arguments[0])
    throw Failure(.failed, "\(name) has not ended in \(durationText(Self.longestSeconds)), and still runs")
  }

  /// Tries a removal again, because the kernel may still be unmounting.
  func retrying(body: () throws(Failure) -> Void) throws(Failure) {
    for _ in 0..<5 {
      do { return try body() } catch {
        if hasLeftOneRunning { throw error }
        CurrentProcess.sleep(milliseconds: 1000)
      }
    }
    try body()
  }

  /// A program that runs while the value lives, even if this process is told to end.
  func start(_ words: [[UInt8]]) -> BackgroundProgram {
    var program = ChildProgram(words, environment: environment, timeoutSeconds: .infinity)
    program.startsAtRoot = true
    program.finishes = true
    return BackgroundProgram(program)
  }
}

/// The end of a program and all that it printed.
private struct ProgramResult: Sendable {
  let end: ProgramEnd
  let output, errors: [[UInt8]]

  init(of program: ChildProgram) {
    var (output, errors): ([[UInt8]], [[UInt8]]) = ([], [])
    end = ProgramEnd(of: program, onErrorLine: { errors.append($0) }) { output.append($0) }
    (self.output, self.errors) = (output, errors)
  }
}

/// The result of a program on another thread; `nil` while it runs.
private final class Answer: Sendable {
  let result = Mutex<ProgramResult?>(nil)
}
