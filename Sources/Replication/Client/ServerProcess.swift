internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The program that serves a connection, such as ssh, and the lines that it prints on standard error.
final class ServerProcess: Sendable {
  private let options: RemoteOptions
  let child: PipedChild
  private let lines: LastLines
  private let reader: BackgroundThread

  /// Starts the program.
  init(for options: RemoteOptions) throws {
    self.options = options
    let child: PipedChild
    do throws(Errno) { child = try PipedChild.start(options.command) } catch {
      throw Failure(.remote, "\(options.displayName): cannot start \(Self.program(of: options.command)): \(error)")
    }
    self.child = child
    let lines = LastLines()
    self.lines = lines
    reader = try BackgroundThread {
      Self.readErrors(of: child) { lines.append($0.filter { $0 != UInt8(ascii: "\r") }) }
    }
  }

  deinit {
    // A local server gets time to clean up. A server on another machine cleans up without this process.
    try? child.closeInput()
    _ = try? child.wait(timeoutSeconds: 1)
    child.terminate()
    // A process that inherited the program's standard error must not block this one.
    _ = try? child.wait(timeoutSeconds: 2)
    child.kill()
    reader.join()
    if options.passesAllLines { passOnLines() }
  }

  /// Passes on the lines that have not been passed on.
  func passOnLines() { lines.removeAll().forEach(options.onLine) }

  /// Ends the program, unless it ends by itself. Returns its end and its last lines; `nil` if it had to be ended.
  func end() -> (end: ChildEnd?, lines: [[UInt8]]) {
    try? child.closeInput()
    let end = try? child.wait(timeoutSeconds: 2)
    if end == nil {
      child.terminate()
      _ = try? child.wait(timeoutSeconds: 2)
      child.kill()
    }
    reader.join()
    return (end, lines.removeAll())
  }

  /// Explains a closed connection with the program's end, if it has ended.
  func explain(_ failure: inout Failure) throws(Failure) {
    guard let end = try? child.wait(timeoutSeconds: 2) else { return }
    // Ctrl-C goes to ssh as well, and ssh may end first.
    if let signal = CurrentProcess.rememberedSignal { throw Failure(.interrupted(signal: signal), "interrupted") }
    failure.message = Self.sentence(for: end, program: Self.program(of: options.command))
    // After this join all of the program's lines have arrived. The last line mostly has the reason.
    reader.join()
    if let reason = lines.removeLast() { failure.message += ": \(displayName(reason.prefix(500)))" }
    if end == .exited(127) { failure.hint = "is treering installed there, in the PATH of a command over ssh?" }
  }

  private static func program(of command: [[UInt8]]) -> String { displayName(command.first ?? []) }

  private static func sentence(for end: ChildEnd, program: String) -> String {
    switch end {
    case .exited(255): "\(program) could not connect, or lost the connection"
    case .exited(127): "the remote machine has no such command (status 127)"
    case .exited(let status): "the connection was closed before the end (\(program): status \(status))"
    case .signalled(let signal): "\(program) was ended by signal \(signal)"
    default: "\(program) ended"
    }
  }

  /// Reads the program's standard error, line by line, until the program ends.
  private static func readErrors(of child: PipedChild, onLine: ([UInt8]) -> Void) {
    var lines = LineBuffer()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 1)
    defer { buffer.deallocate() }
    var hasEnded = false
    while true {
      let count: Int
      if let read = try? child.error.readAvailable(into: buffer, timeoutMilliseconds: hasEnded ? 0 : 200) {
        count = read
      } else if hasEnded {
        break
      } else {
        do { hasEnded = try child.poll() != nil } catch { hasEnded = true }
        continue
      }
      if count == 0 { break }
      lines.pass(buffer[..<count], onLine: onLine)
    }
    lines.finish(onLine: onLine)
  }
}

/// The last lines that a program printed.
private final class LastLines: Sendable {
  private static let limit = 100
  private let lines = Mutex<[[UInt8]]>([])

  func append(_ line: [UInt8]) {
    if line.isEmpty { return }
    lines.withLock {
      $0.append(line)
      if $0.count > Self.limit { $0.removeFirst() }
    }
  }

  func removeLast() -> [UInt8]? { lines.withLock { $0.popLast() } }

  func removeAll() -> [[UInt8]] {
    lines.withLock { lines in
      defer { lines = [] }
      return lines
    }
  }
}
