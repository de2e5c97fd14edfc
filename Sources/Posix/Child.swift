internal import CPosix
internal import Glibc
internal import Synchronization

/// The end of a child process.
public enum ChildEnd: Sendable, Equatable {
  case exited(Int32)
  case signalled(Int32)
  case timedOut
  /// This process was asked to end, and ended the child.
  case interrupted

  init(waitStatus status: CInt) {
    let signal = status & 0x7f
    self = signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
  }
}

/// An open file, shared by the code that gives it to a child; closed with the last reference.
public final class SharedFile: Sendable {
  public let descriptor: Descriptor

  public init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
}

/// The wish that a program ends, which another thread can have.
public final class StopFlag: Sendable {
  private let flag = Atomic<Bool>(false)

  public init() {}

  public var isSet: Bool { flag.load(ordering: .acquiring) }
  public func set() { flag.store(true, ordering: .releasing) }
}

/// A program that runs to its end in its own process group.
///
/// A umask denies other users access to its new files. The group gets SIGTERM after `timeoutSeconds`, or when this
/// process is asked to end. It gets SIGKILL `graceSeconds` later. With `finishes`, only the timeout counts.
public struct ChildProgram: Sendable {
  /// The first is the program's path.
  public var arguments: [[UInt8]]
  /// The whole environment, as `NAME=value`.
  public var environment: [[UInt8]]
  public var timeoutSeconds: Double
  public var finishes = false
  /// The time between SIGTERM and SIGKILL.
  public var graceSeconds = 0.5
  /// No process of its group outlives the program, and SIGTERM reaches it if this process is killed.
  public var endsGroup = true
  /// The account that runs it; `nil` for that of this process.
  public var account: Account?
  /// Its working directory is the root, which every account can enter.
  public var startsAtRoot = false
  /// A file that becomes its descriptor 3.
  public var secret: SharedFile?
  /// A directory that becomes its descriptor 4. By `/dev/fd/4` the program reaches it even if its account may not enter
  /// the directories above.
  public var directory: Directory?
  /// The file with its input, from the file's position on; without it, the input is empty.
  public var input: SharedFile?
  /// Ends the program, as the end of this process does, once it is set.
  public var stop: StopFlag?
  /// The file for its output. Without it, the output comes to `onOutput`.
  public var output: SharedFile?
  /// Its errors go where its output goes.
  public var joinsErrors = false
  /// All file systems are read-only for the program but this directory, with the given entries of it again read-only.
  /// The program follows no symbolic link in the directory. All paths are absolute. Needs mount_namespaces(7), and
  /// for an ordinary user user_namespaces(7), in which no other user exists; otherwise the program does not start.
  public var writable: (directory: [UInt8], without: [[UInt8]])?
  /// The call returns soon after SIGKILL even if the program hangs in the kernel, and cannot end.
  public var isAbandonedIfStuck = false

  public init(_ arguments: [[UInt8]], environment: [[UInt8]], timeoutSeconds: Double) {
    (self.arguments, self.environment, self.timeoutSeconds) = (arguments, environment, timeoutSeconds)
  }

  /// Runs the program. An error of `onOutput` ends the program and is thrown on.
  ///
  /// The call does not wait for processes that the program leaves running. Throws if it cannot be started; `execve(2)`.
  public func run(
    onOutput: (UnsafeRawBufferPointer) throws(Errno) -> Void = { _ in }, onErrorLine: ([UInt8]) -> Void = { _ in }
  ) throws(Errno) -> ChildEnd {
    var ends: [CInt] = [-1, -1]
    let process = CInt(try spawn(&ends))
    var output = ChildPipe(ends[0])
    var errors = ChildPipe(ends[1])
    var lines = LineBuffer()
    let start = Clock.monotonic()
    var status: CInt = 0
    var end: ChildEnd?
    var failure: Errno?
    var (killAfterSeconds, abandonAfterSeconds) = (Double.infinity, Double.infinity)
    while true {
      let hasEnded = try perform(.waitpid) { tr_has_ended(process) } > 0
      do throws(Errno) {
        let waitMilliseconds: CInt = hasEnded ? 0 : 50
        try errors.drain(waitMilliseconds: output.isOpen ? 0 : waitMilliseconds) { lines.pass($0, onLine: onErrorLine) }
        // An output that failed is read on, or the program could not end.
        try output.drain(waitMilliseconds: waitMilliseconds) { bytes throws(Errno) in
          if failure == nil { try onOutput(bytes) }
        }
      } catch { failure = failure ?? error }
      if hasEnded { break }
      let elapsed = Clock.monotonic() - start
      if end == nil {
        end = reasonToEnd(elapsedSeconds: elapsed, failure: failure)
        if end != nil {
          _ = tr_kill_group(process, SIGTERM)
          killAfterSeconds = elapsed + graceSeconds
        }
      } else if elapsed > killAfterSeconds {
        _ = tr_kill_group(process, SIGKILL)
        killAfterSeconds = .infinity
        if isAbandonedIfStuck { abandonAfterSeconds = elapsed + 0.5 }
      } else if elapsed > abandonAfterSeconds, let end {
        lines.finish(onLine: onErrorLine)
        return end
      }
    }
    // Processes that the program left in its group must not outlive an interrupted run. Its number is still its own.
    if end != nil || endsGroup { _ = tr_kill_group(process, SIGKILL) }
    _ = try perform(.waitpid) { tr_wait_child(process, &status) }
    lines.finish(onLine: onErrorLine)
    if let failure { throw failure }
    return end ?? ChildEnd(waitStatus: status)
  }

  private func reasonToEnd(elapsedSeconds: Double, failure: Errno?) -> ChildEnd? {
    if failure != nil || stop?.isSet == true || CurrentProcess.rememberedSignal != nil && !finishes {
      return .interrupted
    }
    return elapsedSeconds > timeoutSeconds ? .timedOut : nil
  }

  private func spawn(_ ends: inout [CInt]) throws(Errno) -> Int {
    guard !arguments.isEmpty, !(arguments + environment + (writable?.without ?? [])).contains(where: { $0.contains(0) })
    else { throw .invalid }
    let (argumentStrings, variableStrings) = (CStrings(strings: arguments), CStrings(strings: environment))
    let writableStrings = CStrings(strings: (writable.map { [$0.directory] + $0.without } ?? []))
    let groups = account?.groups ?? []
    let isOther = account.map { $0.user != CurrentProcess.effectiveUser } ?? false
    return try perform(.fork) {
      groups.withUnsafeBufferPointer { groups in
        var program = tr_program(
          arguments: argumentStrings.pointers, environment: variableStrings.pointers,
          input: input?.descriptor.raw ?? -1, output: output?.descriptor.raw ?? -1, joins_errors: joinsErrors ? 1 : 0,
          given: (secret?.descriptor.raw ?? -1, directory?.descriptor.raw ?? -1),
          starts_at_root: startsAtRoot ? 1 : 0, ends_with_parent: endsGroup ? 1 : 0, is_other_account: isOther ? 1 : 0,
          user: account?.user ?? 0,
          group: account?.group ?? 0, groups: groups.baseAddress, group_count: groups.count,
          writable: writableStrings.pointers[0],
          protected_entries: writable == nil ? nil : UnsafePointer(writableStrings.pointers + 1))
        return tr_spawn(&program, &ends)
      }
    }
  }
}

/// The read end of a pipe from a child, or none.
private struct ChildPipe {
  private let end: SharedFile?
  private(set) var isOpen: Bool

  init(_ raw: CInt) {
    isOpen = raw >= 0
    end = raw >= 0 ? SharedFile(Descriptor(raw: raw)) : nil
  }

  /// Passes on the data that is available now; waits for it at most `waitMilliseconds`.
  mutating func drain(
    waitMilliseconds: CInt, onData: (UnsafeRawBufferPointer) throws(Errno) -> Void
  ) throws(Errno) {
    guard isOpen, let raw = end?.descriptor.raw else {
      if waitMilliseconds > 0 { CurrentProcess.sleep(milliseconds: Int(waitMilliseconds)) }
      return
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    var wait = waitMilliseconds
    // The loop is bounded, so that a flood of output does not hide a timeout.
    for _ in 0..<64 {
      let patience = wait
      guard try perform(.poll, body: { tr_poll(raw, CInt(POLLIN), patience) }) > 0 else { return }
      wait = 0
      let count = try perform(.read) { tr_read(raw, buffer.baseAddress, buffer.count) }
      if count == 0 {
        isOpen = false
        return
      }
      try onData(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  }
}

extension CurrentProcess {
  /// Runs a program of the user with this environment and `environment`. Its output and errors come line by line, and
  /// processes that it leaves running stay.
  ///
  /// Throws if the program cannot be started; see `ChildProgram`.
  public static func runChild(
    _ command: [[UInt8]], environment: [(name: String, value: [UInt8])], timeoutSeconds: Double,
    finishes: Bool = false, onLine: ([UInt8]) -> Void
  ) throws(Errno) -> ChildEnd {
    let variables = environment.map { Array("\($0.name)=".utf8) + $0.value }
    let inherited = inheritedEnvironment(without: Set(environment.map(\.name)))
    var program = ChildProgram(command, environment: inherited + variables, timeoutSeconds: timeoutSeconds)
    program.finishes = finishes
    program.endsGroup = false
    program.joinsErrors = true
    var lines = LineBuffer()
    let end = try program.run { bytes throws(Errno) in lines.pass(bytes, onLine: onLine) }
    lines.finish(onLine: onLine)
    return end
  }

  /// The environment of this process, without some variables.
  public static func inheritedEnvironment(without own: Set<String> = []) -> [[UInt8]] {
    var variables: [[UInt8]] = []
    var pointer = tr_environment()
    while let entry = pointer?.pointee {
      let bytes = [UInt8](UnsafeRawBufferPointer(start: entry, count: strlen(entry)))
      let name = String(decoding: bytes.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
      if !own.contains(name) { variables.append(bytes) }
      pointer = pointer?.advanced(by: 1)
    }
    return variables
  }

  /// Sends a state to the service manager, in the form of sd_notify(3); does nothing if there is none.
  public static func notifyServiceManager(_ state: String) {
    guard let socket = environment("NOTIFY_SOCKET"), !socket.isEmpty else { return }
    _ = try? perform(.sendto) {
      withCString(socket) { path in Array(state.utf8).withUnsafeBytes { tr_notify(path, $0.baseAddress, $0.count) } }
    }
  }
}

/// Splits a program's output into lines. Empty lines are left out.
public struct LineBuffer {
  /// The longest line that is passed on uncut, in bytes.
  private static let longest = 4096
  private var line: [UInt8] = []

  public init() {}

  public mutating func pass(_ bytes: some Sequence<UInt8>, onLine: ([UInt8]) -> Void) {
    for byte in bytes {
      if byte == UInt8(ascii: "\n") || line.count >= Self.longest { finish(onLine: onLine) }
      if byte != UInt8(ascii: "\n") { line.append(byte) }
    }
  }

  /// Passes on the last line, which may have no newline.
  public mutating func finish(onLine: ([UInt8]) -> Void) {
    if !line.isEmpty { onLine(line) }
    line.removeAll(keepingCapacity: true)
  }
}

/// A null-terminated array of C strings, for a C function.
public final class CStrings {
  public let pointers: UnsafeMutablePointer<UnsafePointer<CChar>?>
  private let count: Int

  public init(strings: [[UInt8]]) {
    count = strings.count
    pointers = .allocate(capacity: count + 1)
    for (index, string) in strings.enumerated() {
      let copy = UnsafeMutablePointer<CChar>.allocate(capacity: string.count + 1)
      for (place, byte) in string.enumerated() { copy[place] = CChar(bitPattern: byte) }
      copy[string.count] = 0
      pointers[index] = UnsafePointer(copy)
    }
    pointers[count] = nil
  }

  deinit {
    for index in 0..<count { pointers[index]?.deallocate() }
    pointers.deallocate()
  }
}
