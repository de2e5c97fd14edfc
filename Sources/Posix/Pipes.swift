internal import CPosix
internal import Glibc
internal import Synchronization

/// A program that was started with pipes as its input, output and errors: for a peer to speak with.
///
/// It stays in this process group, so that it can ask on the terminal, and has this environment. A child that
/// nobody refers to any more is killed.
public final class PipedChild: Sendable {
  /// What the program reads.
  public let input: PipeInput
  /// What the program writes; does not block.
  public let output: Descriptor
  /// What the program writes about its troubles; does not block. A pipe that is never read stops it when it is full.
  public let error: Descriptor
  public let identifier: Int32

  private enum State {
    case running
    case ended(ChildEnd)
    /// Nothing is known of its end, and the number may be another process's by now.
    case lost(Errno)
  }
  private let state = Mutex(State.running)

  private init(identifier: Int32, ends: [CInt]) {
    self.identifier = identifier
    input = PipeInput(Descriptor(raw: ends[0]))
    output = Descriptor(raw: ends[1])
    error = Descriptor(raw: ends[2])
  }

  /// Starts a program, whose first argument is its name and looked for in `PATH` where it has no `/`.
  ///
  /// Signals and mode creation mask are as this process was started with. Throws where the program cannot be
  /// executed; `execvpe(3)`.
  public static func start(_ arguments: [[UInt8]]) throws(Errno) -> PipedChild {
    guard !arguments.isEmpty, !arguments.contains(where: { $0.contains(0) }) else { throw .invalid }
    let strings = CStrings(arguments)
    var ends: [CInt] = [-1, -1, -1]
    let process = try perform(.fork) { tr_spawn_piped(strings.pointers, &ends) }
    return PipedChild(identifier: Int32(process), ends: ends)
  }

  /// Tells the program that no more comes.
  public func closeInput() throws(Errno) { try input.close() }

  /// How the program ended, or `nil` while it runs; `waitpid(2)` `WNOHANG`.
  public func poll() throws(Errno) -> ChildEnd? {
    try state.withLock { state throws(Errno) in
      switch state {
      case .ended(let end): return end
      case .lost(let error): throw error
      case .running:
        var status: CInt = 0
        do throws(Errno) {
          if try perform(.waitpid, { tr_wait_child(identifier, &status) }) == 0 { return nil }
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

  /// Waits for the program's end; `nil` where it still runs after `timeoutSeconds`.
  public func wait(timeoutSeconds: Double) throws(Errno) -> ChildEnd? {
    let start = Clock.monotonic()
    var pauseMilliseconds = 1.0
    while true {
      if let end = try poll() { return end }
      let leftSeconds = timeoutSeconds - (Clock.monotonic() - start)
      if leftSeconds <= 0 { return nil }
      Process.sleep(milliseconds: Int(min(pauseMilliseconds, leftSeconds * 1000).rounded(.up)))
      pauseMilliseconds = min(pauseMilliseconds * 2, 32)
    }
  }

  /// Asks the program to end, and nothing of what it started; `kill(2)` `SIGTERM`.
  public func terminate() { send(SIGTERM) }

  /// Ends the program; `kill(2)` `SIGKILL`.
  public func kill() { send(SIGKILL) }

  /// Only while the lock says that the number is still the program's.
  private func send(_ signal: CInt) {
    state.withLock {
      if case .running = $0 { _ = try? perform(.kill) { tr_kill(identifier, signal) } }
    }
  }

  deinit {
    kill()
    // One that the kernel does not let go of, as on a dead network file system, is not waited for.
    _ = try? wait(timeoutSeconds: 2)
  }
}

/// The end of a pipe that is written to, by threads that take turns, until one of them closes it.
public final class PipeInput: Sendable {
  private let descriptor: Mutex<Descriptor?>

  init(_ descriptor: consuming Descriptor) { self.descriptor = Mutex(descriptor) }

  /// `Descriptor.writeAvailable`; throws EBADF when the pipe has been closed.
  public func writeAvailable(
    _ buffer: UnsafeRawBufferPointer, timeoutMilliseconds: Int32
  ) throws(Errno) -> Int? {
    try descriptor.withLock { descriptor throws(Errno) in
      if descriptor == nil { throw Errno(EBADF) }
      return try descriptor?.writeAvailable(buffer, timeoutMilliseconds: timeoutMilliseconds)
    }
  }

  /// Closes the pipe as soon as nobody writes; does nothing where it has been closed; `close(2)`.
  public func close() throws(Errno) {
    try descriptor.withLock { descriptor throws(Errno) in
      try descriptor.take()?.close()
    }
  }
}
