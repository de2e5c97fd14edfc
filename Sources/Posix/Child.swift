internal import CPosix
internal import Glibc

/// The end of a child process.
public enum ChildEnd: Sendable, Equatable {
  case exited(Int32)
  case signalled(Int32)
  case timedOut
  /// This process was asked to end, and ended the child.
  case interrupted

  /// Decodes the status of wait(2).
  init(waitStatus status: CInt) {
    let signal = status & 0x7f
    self = signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
  }
}

extension CurrentProcess {
  /// Runs a program and waits for it. Its input is empty; its output and errors come line by line.
  ///
  /// The program has its own process group, and a umask that denies other users access to its new files. The group
  /// gets SIGTERM after `timeoutSeconds`, or when this process is asked to end. It gets SIGKILL half a second later.
  /// With `finishes`, only the timeout counts. The call does not wait for processes that the program leaves running.
  /// Throws if the program cannot be started; `execve(2)`.
  public static func runChild(
    _ command: [[UInt8]], environment: [(name: String, value: [UInt8])], timeoutSeconds: Double,
    finishes: Bool = false, onLine: ([UInt8]) -> Void
  ) throws(Errno) -> ChildEnd {
    var raw: CInt = -1
    let process = CInt(try spawn(command, environment: environment, output: &raw))
    let output = Descriptor(raw: raw)
    var lines = LineBuffer()
    let start = Clock.monotonic()
    var isOpen = true
    var status: CInt = 0
    var end: ChildEnd?
    var killAfterSeconds = Double.infinity
    while true {
      let hasEnded = try perform(.waitpid) { tr_wait_child(process, &status) } > 0
      try drain(output, lines: &lines, isOpen: &isOpen, waitMilliseconds: hasEnded ? 0 : 50, onLine: onLine)
      if hasEnded { break }
      let elapsed = Clock.monotonic() - start
      if end == nil {
        if rememberedSignal != nil && !finishes {
          end = .interrupted
        } else if elapsed > timeoutSeconds {
          end = .timedOut
        }
        if end != nil {
          _ = tr_kill_group(process, SIGTERM)
          killAfterSeconds = elapsed + 0.5
        }
      } else if elapsed > killAfterSeconds {
        _ = tr_kill_group(process, SIGKILL)
        killAfterSeconds = .infinity
      }
    }
    lines.finish(onLine: onLine)
    // Processes that the program left in its group must not outlive an interrupted run.
    if let end {
      _ = tr_kill_group(process, SIGKILL)
      return end
    }
    return ChildEnd(waitStatus: status)
  }

  private static func spawn(
    _ command: [[UInt8]], environment: [(name: String, value: [UInt8])], output: inout CInt
  ) throws(Errno) -> Int {
    var variables: [[UInt8]] = environment.map { Array("\($0.name)=".utf8) + $0.value }
    let own = Set(environment.map(\.name))
    var pointer = tr_environment()
    while let entry = pointer?.pointee {
      let bytes = [UInt8](UnsafeRawBufferPointer(start: entry, count: strlen(entry)))
      let name = String(decoding: bytes.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
      if !own.contains(name) { variables.append(bytes) }
      pointer = pointer?.advanced(by: 1)
    }
    let arguments = CStrings(strings: command)
    let strings = CStrings(strings: variables)
    var raw: CInt = -1
    let process = try perform(.fork) { tr_spawn(arguments.pointers, strings.pointers, &raw) }
    output = raw
    return process
  }

  /// Passes on the output that is available now; waits for it at most `waitMilliseconds`.
  private static func drain(
    _ output: borrowing Descriptor, lines: inout LineBuffer, isOpen: inout Bool, waitMilliseconds: CInt,
    onLine: ([UInt8]) -> Void
  ) throws(Errno) {
    var wait = waitMilliseconds
    guard isOpen else {
      if wait > 0 { sleep(milliseconds: Int(wait)) }
      return
    }
    var buffer = [UInt8](repeating: 0, count: 4096)
    // The loop is bounded, so that a flood of output does not hide a timeout.
    for _ in 0..<64 {
      let patience = wait
      guard try perform(.poll, { tr_poll(output.raw, CInt(POLLIN), patience) }) > 0 else { return }
      wait = 0
      let count = try perform(.read) { buffer.withUnsafeMutableBytes { tr_read(output.raw, $0.baseAddress, $0.count) } }
      if count == 0 {
        isOpen = false
        return
      }
      lines.pass(buffer[..<count], onLine: onLine)
    }
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
