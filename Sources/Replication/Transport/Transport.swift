internal import Posix

/// The two directions of a connection. No call waits longer than its timeout.
protocol Transport: AnyObject, Sendable {
  /// Returns the number of bytes read: 0 at the end of the stream, `nil` after the timeout.
  func read(into buffer: UnsafeMutableRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int?
  /// Returns the number of bytes written; `nil` after the timeout.
  func write(from bytes: UnsafeRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int?
}

/// The standard streams of a child process.
final class ChildTransport: Transport {
  private let child: PipedChild
  init(of child: PipedChild) { self.child = child }

  func read(into buffer: UnsafeMutableRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try child.output.readAvailable(into: buffer, timeoutMilliseconds: timeoutMilliseconds)
  }

  func write(from bytes: UnsafeRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try child.input.writeAvailable(bytes, timeoutMilliseconds: timeoutMilliseconds)
  }
}

/// The standard streams of this process.
final class StandardTransport: Transport {
  private let input, output: Descriptor

  init() throws(Errno) {
    input = try CurrentProcess.standardStream(.input)
    output = try CurrentProcess.standardStream(.output)
    try input.setNonBlocking(true)
    try output.setNonBlocking(true)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try input.readAvailable(into: buffer, timeoutMilliseconds: timeoutMilliseconds)
  }

  func write(from bytes: UnsafeRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try output.writeAvailable(bytes, timeoutMilliseconds: timeoutMilliseconds)
  }
}
