import Engine
import Posix
import Repository
import Synchronization
import Testing

@testable import Replication

/// How long one end bears with the other.
@Suite("channel: silence")
struct ChannelTests {
  private func alive(_ number: UInt64) -> [UInt8] {
    let payload = KeepAlive(number: number).payload
    return [FrameType.alive.rawValue, UInt8(payload.count), 0, 0, 0] + payload
  }

  /// Sends more than a pipe holds.
  private func fill(_ channel: Channel) throws {
    for _ in 0..<8 { try channel.send(.stream, [UInt8](repeating: 1, count: 16 << 10)) }
  }

  /// What `body` throws, and after how many seconds.
  private func failure(_ body: () throws -> Void) -> (error: Failure?, seconds: Double) {
    let start = Clock.monotonic()
    do { try body() } catch { return (error as? Failure, Clock.monotonic() - start) }
    return (nil, Clock.monotonic() - start)
  }

  @Test("a keep-alive sets the counts of the work that is followed, and of no other")
  func followedCounts() throws {
    let (near, far) = MemoryTransport.pair()
    let channel = Channel(over: near, to: .server, timeoutSeconds: 5, readsWhileSending: false)
    let (progress, end) = (Progress(), [FrameType.end.rawValue, 0, 0, 0, 0] as [UInt8])
    func say(_ entries: UInt64, _ bytes: UInt64) throws {
      let payload = KeepAlive(number: entries + bytes, done: (entries, bytes)).payload
      far.writeAll([FrameType.alive.rawValue, UInt8(payload.count), 0, 0, 0] + payload + end)
      _ = try channel.receive(.end)
    }
    channel.follow(progress)
    try say(3, 4)
    #expect(progress.entries.value == 3 && progress.bytesRead.value == 4)
    channel.follow(nil)
    try say(5, 6)
    #expect(progress.entries.value == 3 && progress.bytesRead.value == 4)
  }

  @Test("whoever takes nothing but gets on with its work is waited for, and only then given up")
  func takesNothing() {
    let (near, far) = MemoryTransport.pair()
    let channel = Channel(over: near, to: .server, timeoutSeconds: 1, readsWhileSending: true)
    let talker = try! BackgroundThread {
      for number in 1...20 {
        far.writeAll(alive(UInt64(number)))
        CurrentProcess.sleep(milliseconds: 100)
      }
    }
    let (error, seconds) = failure { try fill(channel) }
    talker.join()
    #expect(error?.message.contains("the server takes nothing") == true, "\(error as Any)")
    #expect(seconds > 2.7 && seconds < hangSeconds, "\(seconds)")
  }

  @Test("a connection with a limit ends in time, though the other process shows progress for ever")
  func endlessProgress() throws {
    for readsWhileSending in [false, true] {
      let (near, far) = MemoryTransport.pair()
      let channel = Channel(
        over: near, to: .client, timeoutSeconds: 100, readsWhileSending: readsWhileSending, longestSeconds: 1)
      let isOver = Atomic(false)
      let talker = try BackgroundThread {
        var number: UInt64 = 0
        while !isOver.load(ordering: .relaxed), number < 4000 {
          number += 1
          far.writeAll(alive(number))
          CurrentProcess.sleep(milliseconds: 20)
        }
      }
      let (error, seconds) = failure { if readsWhileSending { try fill(channel) } else { _ = try channel.receive() } }
      isOver.store(true, ordering: .relaxed)
      talker.join()
      #expect(error?.message.contains("is not done in the time that it has") == true, "\(error as Any)")
      #expect(seconds < 60, "\(seconds)")
    }
  }

  @Test("after a send that failed no other waits")
  func failsAtOnce() {
    let (near, _) = MemoryTransport.pair()
    let channel = Channel(over: near, to: .server, timeoutSeconds: 1, readsWhileSending: false)
    let first = failure { try fill(channel) }
    #expect(first.error != nil && first.seconds > 0.9)
    let second = failure { for _ in 0..<100 { try channel.send(.note, [1]) } }
    #expect(second.error != nil && second.seconds < 20, "\(second)")
  }

  @Test("after a send that failed an answer is not waited for, though the other process is there")
  func failsWhileReceiving() {
    let (near, far) = MemoryTransport.pair()
    let channel = Channel(over: near, to: .server, timeoutSeconds: 100, readsWhileSending: false)
    near.failNextWrite()
    #expect(throws: Failure.self) { try channel.send(.note, [1]) }
    // The last words of the other process are still heard.
    far.writeAll(alive(1) + [FrameType.note.rawValue, 1, 0, 0, 0, 1])
    #expect((try? channel.receive())??.type == .note)
    let (error, seconds) = failure { _ = try channel.receive() }
    #expect(error?.message.contains("the connection was lost") == true, "\(error as Any)")
    #expect(seconds < 30, "\(seconds)")
  }

  @Test("single bytes are no sign of life, and at a low rate a frame has its time")
  func slowFrames() throws {
    for (rate, sends) in [(1 << 30, false), (20_000, true)] as [(UInt64, Bool)] {
      let (near, far) = MemoryTransport.pair()
      let channel = Channel(
        over: near, to: .server, timeoutSeconds: 0.5, readsWhileSending: true, receivedBytesPerSecond: rate)
      let frame = [FrameType.stream.rawValue, 0, 160, 0, 0] + [UInt8](repeating: 1, count: 160 << 8)
      let isOver = Atomic(false)
      let talker = try BackgroundThread {
        if sends {
          far.writeAll(frame)
          return
        }
        for byte in frame where !isOver.load(ordering: .relaxed) {
          far.writeAll([byte])
          CurrentProcess.sleep(milliseconds: 100)
        }
      }
      var length: Int?
      let (error, seconds) = failure { length = try channel.receive()?.payload.count }
      isOver.store(true, ordering: .relaxed)
      talker.join()
      #expect(seconds < hangSeconds)
      #expect(length == (sends ? 160 << 8 : nil))
      #expect((error?.message.contains("the server is silent") == true) != sends, "\(error as Any)")
    }
  }

  @Test("nobody may be alive for ever without a word", arguments: [false, true], [nil, 1 << 20])
  func aliveForEver(readsWhileSending: Bool, rate: UInt64?) {
    let (near, far) = MemoryTransport.pair()
    let channel = Channel(
      over: near, to: .server, timeoutSeconds: 1, readsWhileSending: readsWhileSending, keepAliveLimitSeconds: 2,
      receivedBytesPerSecond: rate)
    let isOver = Atomic(false)
    let talker = try! BackgroundThread {
      var number: UInt64 = 0
      while !isOver.load(ordering: .relaxed) {
        number += 1
        far.writeAll(alive(number))
        CurrentProcess.sleep(milliseconds: 100)
      }
    }
    let (error, seconds) = failure { _ = try channel.receive() }
    #expect(error?.message.contains("the server is silent") == true, "\(error as Any)")
    #expect(seconds > 1.9 && seconds < hangSeconds, "\(seconds)")
    isOver.store(true, ordering: .relaxed)
    talker.join()
  }
}
