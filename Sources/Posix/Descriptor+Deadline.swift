internal import CPosix
internal import Glibc

// For pipes, whose other end may be slow or gone. Writing to one that nobody reads ends the process, unless
// `Process.ignoreFileSignals` was called: then it throws `brokenPipe`.
extension Descriptor {
  /// Makes reading and writing give up where they would wait; for everybody who shares the open file;
  /// `fcntl(2)` `O_NONBLOCK`.
  public borrowing func setNonBlocking(_ on: Bool) throws(Errno) {
    let raw = self.raw
    _ = try perform(.fcntl) { tr_set_non_blocking(raw, on ? 1 : 0) }
  }

  /// Reads what has come, at most the size of `buffer`, which has room for a byte at least; 0 at the end.
  ///
  /// `nil` where nothing came for `timeoutMilliseconds`, or this thread got a signal first. The kernel may give a
  /// signal to another thread: who looks at `Process.rememberedSignal` in between waits for short times.
  /// `poll(2)`, `read(2)`.
  public borrowing func readAvailable(
    into buffer: UnsafeMutableRawBufferPointer, timeoutMilliseconds: Int32
  ) throws(Errno) -> Int? {
    precondition(buffer.count > 0)
    let raw = self.raw
    return try transfer(.read, POLLIN, timeoutMilliseconds) { tr_read(raw, buffer.baseAddress, buffer.count) }
  }

  /// Writes as much of `buffer` as there is room for, and says how much that was: at least a byte, if there is one.
  ///
  /// `nil` where there was no room for `timeoutMilliseconds`, or a signal came first. A descriptor that blocks
  /// waits until all is written, and for longer than that; `poll(2)`, `write(2)`.
  public borrowing func writeAvailable(
    _ buffer: UnsafeRawBufferPointer, timeoutMilliseconds: Int32
  ) throws(Errno) -> Int? {
    if buffer.isEmpty { return 0 }
    let raw = self.raw
    return try transfer(.write, POLLOUT, timeoutMilliseconds) { tr_write(raw, buffer.baseAddress, buffer.count) }
  }

  private borrowing func transfer(
    _ call: SystemCall, _ event: CInt, _ timeoutMilliseconds: Int32, _ body: () -> Int
  ) throws(Errno) -> Int? {
    let raw = self.raw
    let start = Clock.monotonic()
    var wait = max(0, timeoutMilliseconds)
    while true {
      let patience = wait
      guard try perform(.poll, { tr_poll(raw, event, patience) }) > 0 else { return nil }
      do throws(Errno) {
        return try perform(call, body)
      } catch {
        // Somebody else who reads or writes here was faster.
        guard error == .wouldBlock else { throw error }
      }
      let left = Double(timeoutMilliseconds) - (Clock.monotonic() - start) * 1000
      if left <= 0 { return nil }
      wait = Int32(left.rounded(.up))
    }
  }
}
