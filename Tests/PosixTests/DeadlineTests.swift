import Foundation
import Glibc
import Synchronization
import Testing

@testable import Posix

/// A connection of this process with itself, whose ends block. A pair of sockets, since Glibc's module has no pipe2,
/// and without O_CLOEXEC the children of other tests would keep the input open.
private final class LocalPipe: Sendable {
  let output: Descriptor
  let input: PipeInput

  init() throws {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw Errno(errno) }
    output = Descriptor(raw: ends[0])
    input = PipeInput(Descriptor(raw: ends[1]))
  }

  func write(_ bytes: [UInt8]) throws {
    let count = try bytes.withUnsafeBytes { try input.writeAvailable($0, timeoutMilliseconds: 0) }
    guard count == bytes.count else { throw Errno.inputOutput }
  }
}

@Suite struct DeadlineTests {

  @Test("a read gives what there is, and then the end")
  func readsWhatThereIsAndThenTheEnd() throws {
    let pipe = try LocalPipe()
    try pipe.output.setNonBlocking(true)
    var room = [UInt8](repeating: 0, count: 100)
    func read(_ timeoutMilliseconds: Int32) throws -> [UInt8]? {
      let count = try room.withUnsafeMutableBytes {
        try pipe.output.readAvailable(into: $0, timeoutMilliseconds: timeoutMilliseconds)
      }
      return count.map { Array(room[..<$0]) }
    }
    #expect(try read(20) == nil)
    try pipe.write(name("abc"))
    #expect(try read(20) == name("abc"))
    #expect(try read(20) == nil)
    try pipe.input.close()
    // Another test's child has the input too, until it executes its program.
    #expect(try read(20_000) == [])
  }

  @Test("non blocking is set and unset")
  func nonBlockingIsSetAndUnset() throws {
    let pipe = try LocalPipe()
    var byte: UInt8 = 0
    try pipe.output.setNonBlocking(true)
    #expect(fcntl(pipe.output.raw, F_GETFL) & O_NONBLOCK != 0)
    try pipe.output.setNonBlocking(false)
    #expect(fcntl(pipe.output.raw, F_GETFL) & O_NONBLOCK == 0)
    try pipe.input.close()
    #expect(try withUnsafeMutableBytes(of: &byte) { try pipe.output.read(into: $0) } == 0)
  }

  @Test("nothing to write is written at once")
  func nothingToWriteIsWrittenAtOnce() throws {
    let pipe = try LocalPipe()
    let empty = UnsafeRawBufferPointer(start: nil, count: 0)
    #expect(try pipe.input.writeAvailable(empty, timeoutMilliseconds: 0) == 0)
  }

  /// The pipe is ready and then has nothing: as where another reader is faster.
  @Test("a wait that was in vain goes on")
  func aWaitThatWasInVainGoesOn() async {
    await #expect(processExitsWith: .success) {
      guard SystemCallTrace.isAvailable else { return }
      let pipe = try LocalPipe()
      try pipe.output.setNonBlocking(true)
      try pipe.write([1])
      var room = [UInt8](repeating: 0, count: 10)
      var count: Int?
      let calls = try SystemCallTrace.record(failing: [.read: (1, .wouldBlock)]) {
        count = try room.withUnsafeMutableBytes { try pipe.output.readAvailable(into: $0, timeoutMilliseconds: 10_000) }
      }
      precondition(count == 1 && calls == [.poll: 2, .read: 2], "\(calls)")
    }
  }

  @Test("a signal ends the wait")
  func aSignalEndsTheWait() async {
    await #expect(processExitsWith: .success) {
      CurrentProcess.rememberSignals()
      // Swift's own threads are kept from signals.
      var none = sigset_t()
      sigemptyset(&none)
      pthread_sigmask(SIG_SETMASK, &none, nil)
      let pipe = try LocalPipe()
      try pipe.output.setNonBlocking(true)
      let reader = pthread_self()
      // More than one, for the first may be early; not without end, or a wait that starts over would have none.
      let sent = Atomic<Int>(0)
      let ticker = Ticker(intervalMilliseconds: 200) {
        if sent.add(1, ordering: .relaxed).newValue <= 10 { pthread_kill(reader, SIGTERM) }
      }
      let before = Posix.Clock.monotonic()
      var room = [UInt8](repeating: 0, count: 10)
      let count = try room.withUnsafeMutableBytes {
        try pipe.output.readAvailable(into: $0, timeoutMilliseconds: 60_000)
      }
      let elapsed = Posix.Clock.monotonic() - before
      ticker.stop()
      precondition(count == nil && elapsed < 40, "\(String(describing: count)) after \(elapsed) s")
      precondition(CurrentProcess.rememberedSignal == SIGTERM)
      try pipe.input.close()
    }
  }

  @Test("a standard stream can be had as a descriptor", arguments: [StandardStream.input, .output, .error])
  func aStandardStreamCanBeHadAsADescriptor(_ stream: StandardStream) throws {
    var expected = stat()
    try #require(fstat(stream.rawValue, &expected) == 0)
    let descriptor = try CurrentProcess.standardStream(stream)
    #expect(try descriptor.status().inode == expected.st_ino)
    #expect(descriptor.raw > 2 && fcntl(descriptor.raw, F_GETFD) & FD_CLOEXEC != 0)
    try descriptor.close()
    // The stream itself stays open.
    #expect(fstat(stream.rawValue, &expected) == 0)
  }
}
