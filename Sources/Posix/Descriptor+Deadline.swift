internal import CPosix
internal import Glibc

// For pipes to a process that may be slow or dead. A write to a pipe without a reader ends this process. After
// `CurrentProcess.ignoreFileSignals`, it throws `brokenPipe` instead.
extension Descriptor {
  /// Makes reads and writes fail instead of waiting. This applies to every descriptor of the open file; `fcntl(2)`
  /// `O_NONBLOCK`.
  public borrowing func setNonBlocking(_ on: Bool) throws(Errno) {
    _ = try perform(.fcntl) { tr_set_non_blocking(raw, on ? 1 : 0) }
  }

  /// Reads the available bytes into `buffer`, which must not be empty; 0 at the end; `poll(2)`, `read(2)`.
  ///
  /// `nil` if no byte came within `timeoutMilliseconds`, or if this thread got a signal first. The kernel may deliver
  /// a signal to another thread. A caller that checks `CurrentProcess.rememberedSignal` in between must use short timeouts.
  public borrowing func readAvailable(
    into buffer: UnsafeMutableRawBufferPointer, timeoutMilliseconds: Int32
  ) throws(Errno) -> Int? {
    precondition(buffer.count > 0)
    return try transfer(.read, awaiting: POLLIN, timeoutMilliseconds: timeoutMilliseconds) {
      tr_read(raw, buffer.baseAddress, buffer.count)
    }
  }

  /// Writes as much of `buffer` as fits now; returns the number of bytes, at least 1 unless `buffer` is empty.
  ///
  /// `nil` if nothing fitted within `timeoutMilliseconds`, or if a signal came first. A blocking descriptor waits
  /// until all is written, even beyond the timeout; `poll(2)`, `write(2)`.
  public borrowing func writeAvailable(
    _ buffer: UnsafeRawBufferPointer, timeoutMilliseconds: Int32
  ) throws(Errno) -> Int? {
    if buffer.isEmpty { return 0 }
    return try transfer(.write, awaiting: POLLOUT, timeoutMilliseconds: timeoutMilliseconds) {
      tr_write(raw, buffer.baseAddress, buffer.count)
    }
  }

  private borrowing func transfer(
    _ call: SystemCall, awaiting event: CInt, timeoutMilliseconds: Int32, body: () -> Int
  ) throws(Errno) -> Int? {
    let start = Clock.monotonic()
    var wait = max(0, timeoutMilliseconds)
    while true {
      let patience = wait
      guard try perform(.poll, body: { tr_poll(raw, event, patience) }) > 0 else { return nil }
      do throws(Errno) { return try perform(call, body: body) } catch {
        // Another reader or writer of the same file was faster.
        guard error == .wouldBlock else { throw error }
      }
      let left = Double(timeoutMilliseconds) - (Clock.monotonic() - start) * 1000
      if left <= 0 { return nil }
      wait = Int32(left.rounded(.up))
    }
  }
}
