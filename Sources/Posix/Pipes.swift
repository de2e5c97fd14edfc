internal import CPosix
internal import Glibc
internal import Synchronization

/// A child program with pipes as its input, output and errors, such as ssh(1).
///
/// It stays in this process group, so that it can ask on the terminal, and has this environment. The child is killed
/// with the last reference.
public final class PipedChild: Sendable {
  /// The pipe to the program's standard input.
  public let input: PipeInput
  /// The program's standard output; it does not block.
  public let output: Descriptor
  /// The program's standard error; it does not block. A full pipe without a reader stops the program.
  public let error: Descriptor
  public let identifier: Int32

  private enum State {
    case running
    case ended(ChildEnd)
    /// The program's end is unknown, and another process may have its number by now.
    case lost(Errno)
  }
  private let state = Mutex(State.running)

  private init(identifier: Int32, ends: [CInt]) {
    self.identifier = identifier
    input = PipeInput(Descriptor(raw: ends[0]))
    output = Descriptor(raw: ends[1])
    error = Descriptor(raw: ends[2])
  }

  /// Starts a program; its first argument is its name, searched in `PATH` if it has no `/`.
  ///
  /// The program gets the signals and the mode creation mask with which this process was started. Throws if the
  /// program cannot be executed; `execvpe(3)`.
  public static func start(_ arguments: [[UInt8]]) throws(Errno) -> PipedChild {
    guard !arguments.isEmpty, !arguments.contains(where: { $0.contains(0) }) else { throw .invalid }
    let strings = CStrings(strings: arguments)
    var ends: [CInt] = [-1, -1, -1]
    let process = try perform(.fork) { tr_spawn_piped(strings.pointers, &ends) }
    return PipedChild(identifier: Int32(process), ends: ends)
  }

  /// Tells the program that its input has ended.
  public func closeInput() throws(Errno) { try input.close() }

  /// The end of the program, or `nil` while it runs; `waitpid(2)` `WNOHANG`.
  public func poll() throws(Errno) -> ChildEnd? {
    try state.withLock { state throws(Errno) in
      switch state {
      case .ended(let end): return end
      case .lost(let error): throw error
      case .running:
        var status: CInt = 0
        do throws(Errno) {
          if try perform(.waitpid, body: { tr_wait_child(identifier, &status) }) == 0 { return nil }
        } catch {
          state = .lost(error)
          throw error
        }
        let end = ChildEnd(waitStatus: status)
        state = .ended(end)
        return end
      }
    }
  }

  /// Waits for the program's end; `nil` if it still runs after `timeoutSeconds`.
  public func wait(timeoutSeconds: Double) throws(Errno) -> ChildEnd? {
    let start = Clock.monotonic()
    var pauseMilliseconds = 1.0
    while true {
      if let end = try poll() { return end }
      let leftSeconds = timeoutSeconds - (Clock.monotonic() - start)
      if leftSeconds <= 0 { return nil }
      CurrentProcess.sleep(milliseconds: Int(min(pauseMilliseconds, leftSeconds * 1000).rounded(.up)))
      pauseMilliseconds = min(pauseMilliseconds * 2, 32)
    }
  }

  /// Asks the program to end, without its children; `kill(2)` `SIGTERM`.
  public func terminate() { send(SIGTERM) }

  /// Ends the program; `kill(2)` `SIGKILL`.
  public func kill() { send(SIGKILL) }

  /// Sends a signal only while the state guarantees that the number is still the program's.
  private func send(_ signal: CInt) {
    state.withLock { if case .running = $0 { _ = try? perform(.kill) { tr_kill(identifier, signal) } } }
  }

  deinit {
    kill()
    // The kernel may not release a child, as on a dead network file system; the wait is bounded.
    _ = try? wait(timeoutSeconds: 2)
  }
}

/// The write end of a pipe, shared by threads that take turns, until one of them closes it.
public final class PipeInput: Sendable {
  private let descriptor: Mutex<Descriptor?>

  init(_ descriptor: consuming Descriptor) { self.descriptor = Mutex(descriptor) }

  /// `Descriptor.writeAvailable`; throws EBADF if the pipe has been closed.
  public func writeAvailable(_ buffer: UnsafeRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try descriptor.withLock { descriptor throws(Errno) in
      if descriptor == nil { throw Errno(EBADF) }
      return try descriptor?.writeAvailable(buffer, timeoutMilliseconds: timeoutMilliseconds)
    }
  }

  /// Closes the pipe once no thread writes; does nothing if it is closed; `close(2)`.
  public func close() throws(Errno) {
    try descriptor.withLock { descriptor throws(Errno) in try descriptor.take()?.close() }
  }
}
