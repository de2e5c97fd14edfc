import Posix

@testable import Replication

/// One direction of a connection: what was written and not yet read. Holds as much as a pipe.
private final class MemoryPipe: @unchecked Sendable {
  private let gate = Gate()
  private var bytes: [UInt8] = []
  private var isClosed = false
  private var swallows = false
  private let capacity = 64 << 10

  /// Waits in short sleeps: a condition without a deadline could wait for ever.
  private func attempt<R>(_ timeoutMilliseconds: Int32, _ body: () throws(Errno) -> R?) throws(Errno) -> R? {
    var left = timeoutMilliseconds
    while true {
      if let result = try body() { return result }
      if left <= 0 { return nil }
      CurrentProcess.sleep(milliseconds: 1)
      left -= 1
    }
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, _ timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try attempt(timeoutMilliseconds) { () throws(Errno) in
      gate.locked {
        if bytes.isEmpty { return isClosed ? 0 : nil }
        let count = min(bytes.count, buffer.count)
        bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        bytes.removeFirst(count)
        return count
      }
    }
  }

  func write(_ more: UnsafeRawBufferPointer, _ timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    let done: Int? = try attempt(timeoutMilliseconds) { () throws(Errno) in
      gate.locked {
        if swallows { return more.count }
        if isClosed { return -1 }
        let count = min(capacity - bytes.count, more.count)
        if count == 0 { return nil }
        bytes += UnsafeRawBufferPointer(rebasing: more[..<count])
        return count
      }
    }
    if done == -1 { throw .brokenPipe }
    return done
  }

  func close() { gate.locked { isClosed = true } }

  func swallow() { gate.locked { swallows = true } }
}

/// One end of a connection in memory.
final class MemoryTransport: Transport, @unchecked Sendable {
  private let input: MemoryPipe
  private let output: MemoryPipe
  private let gate = Gate()
  private var written: [UInt8] = []
  private var failsNext = false

  private init(_ input: MemoryPipe, _ output: MemoryPipe) {
    self.input = input
    self.output = output
  }

  static func pair() -> (MemoryTransport, MemoryTransport) {
    let (there, back) = (MemoryPipe(), MemoryPipe())
    return (MemoryTransport(back, there), MemoryTransport(there, back))
  }

  /// All that was written here.
  var recording: [UInt8] { gate.locked { written } }

  func read(into buffer: UnsafeMutableRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try input.read(into: buffer, timeoutMilliseconds)
  }

  func write(from bytes: UnsafeRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    let fails = gate.locked {
      defer { failsNext = false }
      return failsNext
    }
    if fails { throw .inputOutput }
    let count = try output.write(bytes, timeoutMilliseconds)
    if let count { gate.locked { written += UnsafeRawBufferPointer(rebasing: bytes[..<count]) } }
    return count
  }

  /// The next write is refused, and none after it.
  func failNextWrite() { gate.locked { failsNext = true } }

  /// What was written can be read; then it ends.
  func close() { output.close() }

  /// Takes whatever the other process writes, and loses it.
  func swallow() { input.swallow() }

  /// Nobody reads here any more.
  func stopReading() { input.close() }

  /// Writes as it is, whatever it is; false where nobody takes it for a second.
  @discardableResult
  func writeAll(_ bytes: [UInt8]) -> Bool {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        try? write(from: UnsafeRawBufferPointer(rebasing: $0[done...]), timeoutMilliseconds: 1000)
      }
      guard let count else { return false }
      done += count
    }
    return true
  }
}
