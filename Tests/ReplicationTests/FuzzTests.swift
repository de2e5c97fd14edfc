import Catalog
import Model
import Posix
import Repository
import TestSupport
import Testing

@testable import Replication

/// What damage, accident and malice do to bytes.
private func mutate(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
  var bytes = bytes
  for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
    let place = Int.random(in: 0..<bytes.count, using: &random)
    let length = min(Int.random(in: 1...64, using: &random), bytes.count - place)
    switch Int.random(in: 0..<8, using: &random) {
    case 0, 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 2: bytes[place] = [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &random)!
    case 3: bytes.removeLast(bytes.count - place)
    case 4: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
    case 5: bytes.removeSubrange(place..<place + length)
    case 6: bytes.insert(contentsOf: (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }, at: place)
    default:
      let other = Int.random(in: 0..<bytes.count, using: &random)
      let count = min(length, bytes.count - other)
      bytes.replaceSubrange(place..<place + length, with: bytes[other..<other + count])
    }
  }
  return bytes
}

/// The frames of a recorded direction.
private func frames(_ bytes: [UInt8]) -> [(type: UInt8, payload: [UInt8])] {
  var found: [(UInt8, [UInt8])] = []
  var place = 0
  while place + 5 <= bytes.count {
    let length = bytes[place + 1..<place + 5].reversed().reduce(0) { $0 << 8 | Int($1) }
    found.append((bytes[place], Array(bytes[place + 5..<place + 5 + length])))
    place += 5 + length
  }
  return found
}

private func encoded(_ frames: [(type: UInt8, payload: [UInt8])]) -> [UInt8] {
  frames.flatMap { [$0.type] + withUnsafeBytes(of: UInt32($0.payload.count).littleEndian) { Array($0) } + $0.payload }
}

@Suite struct FuzzTests {
  /// Both directions of an honest push of the newer snapshot, which is forgotten then.
  private func record(_ world: World) throws -> (client: [UInt8], server: [UInt8]) {
    let server = Server(world.serveOptions())
    let connection = try Connection(options: world.remoteOptions(), over: server.client)
    _ = try push(
      world.newer, of: world.near, over: connection, isDryRun: false, progress: PushProgress(),
      monitor: SilentMonitor())
    server.end()
    try world.forgetNewer()
    return (server.client.recording, server.recording)
  }

  /// What a client said, in the stream's own terms: everything up to the stream, and what is in it.
  private func opened(_ client: [UInt8]) throws -> (head: [UInt8], stream: [UInt8]) {
    let all = frames(client)
    var pieces = all.filter { $0.type == FrameType.stream.rawValue }.map(\.payload)[...]
    let decompressor = StreamDecompressor(maximumWindowLog: Wire.windowLog) { pieces.popFirst() }
    var content: [UInt8] = []
    while let byte = try? decompressor.read(count: 1) { content += byte }
    return (encoded(all.filter { $0.type != FrameType.stream.rawValue }), content)
  }

  private func compressed(_ content: [UInt8]) throws -> [UInt8] {
    var pieces: [(UInt8, [UInt8])] = []
    let compressor = StreamCompressor(level: 1, windowLog: 20) { pieces.append((FrameType.stream.rawValue, Array($0))) }
    try content.withUnsafeBytes { try compressor.write($0) }
    try compressor.flush()
    return encoded(pieces)
  }

  /// Says all of it to a server, and looks at what it has made of it.
  private func replay(_ world: World, _ bytes: [UInt8], _ what: String) throws {
    let server = Server(world.serveOptions(timeoutSeconds: 2))
    server.client.swallow()
    server.client.writeAll(bytes)
    let start = Clock.monotonic()
    server.end()
    #expect(Clock.monotonic() - start < hangSeconds, "\(what)")
    let list = try world.far.snapshots()
    #expect(list.damaged.isEmpty, "\(what)")
    let new = list.snapshots.filter { $0.name != world.older.name }
    #expect(new.allSatisfy { $0.summary.root.digest == world.newer.summary.root.digest }, "\(what)")
    if !new.isEmpty {
      for name in new.map(\.name) { try world.run("rm -rf far/\(name) far/.treering/catalogs/\(name).catalog") }
      try world.forgetNewer()
    }
    #expect(world.becomesFree(), "\(what): the repository is locked")
  }

  @Test("whatever a client says a session ends well", arguments: [UInt64(1), 2])
  func whateverAClientSaysASessionEndsWell(_ seed: UInt64) throws {
    let world = try World()
    let honest = try record(world).client
    let (head, stream) = try opened(honest)
    let before = try world.fingerprint()
    try replay(world, honest, "nothing changed")
    try replay(world, head + compressed(stream), "compressed anew")
    for number in 0..<(isExhaustive ? 500 : 100) {
      var random = SeededGenerator(seed: seed << 32 | UInt64(number))
      let bytes: [UInt8]
      if number % 4 == 0 {
        bytes = mutate(honest, &random)
      } else if number % 4 == 1 {
        var all = frames(head)
        let place = Int.random(in: 0..<all.count, using: &random)
        all[place].payload = mutate(all[place].payload, &random)
        bytes = try encoded(all) + compressed(stream)
      } else {
        bytes = try head + compressed(mutate(stream, &random))
      }
      try replay(world, bytes, "seed \(seed), number \(number)")
    }
    // Older sets' links were made anew where something was published.
    let isOld = { (path: ByteString) in path.hasPrefix("2020-") || path.hasPrefix(".treering/catalogs/2020-") }
    let isSame = try world.fingerprint().filter(isOld) == before.filter(isOld)
    #expect(isSame)
    #expect(try world.pushHonestly(world.newer).isNew)
  }

  @Test("whatever a server says a push ends well", arguments: [UInt64(3), 4])
  func whateverAServerSaysAPushEndsWell(_ seed: UInt64) throws {
    let world = try World()
    let honest = try record(world).server
    for number in 0..<(isExhaustive ? 500 : 100) {
      var random = SeededGenerator(seed: seed << 32 | UInt64(number))
      var bytes = mutate(honest, &random)
      if number % 2 == 0 {
        var all = frames(honest)
        let place = Int.random(in: 0..<all.count, using: &random)
        all[place].payload = mutate(all[place].payload, &random)
        bytes = encoded(all)
      }
      let (client, server) = MemoryTransport.pair()
      server.swallow()
      server.writeAll(bytes)
      server.close()
      let start = Clock.monotonic()
      do {
        let connection = try Connection(options: world.remoteOptions(timeoutSeconds: 2), over: client)
        _ = try push(
          world.newer, of: world.near, over: connection, isDryRun: false, progress: PushProgress(),
          monitor: SilentMonitor())
      } catch { #expect(error is Failure, "seed \(seed), number \(number): \(error)") }
      #expect(Clock.monotonic() - start < hangSeconds, "seed \(seed), number \(number)")
    }
    #expect(try world.near.snapshots().snapshots.count == 2)
    try world.run("rm -rf near/.treering/remotes")
    #expect(try world.pushHonestly(world.newer).isNew)
  }
}
