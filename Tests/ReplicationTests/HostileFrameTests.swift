import Catalog
import Model
import Repository
import Testing

@testable import Replication

private func frame(_ type: UInt8, _ payload: [UInt8] = [], length: UInt32? = nil) -> [UInt8] {
  [type] + withUnsafeBytes(of: (length ?? UInt32(payload.count)).littleEndian) { Array($0) } + payload
}

private func raw(_ name: String, _ bytes: [UInt8]) -> Lie {
  Lie(name) {
    $0.server.client.writeAll(bytes)
    $0.server.client.close()
  }
}

private func hello(_ name: String, _ payload: [UInt8]) -> Lie { raw(name, frame(1, payload)) }

private func greeted(_ name: String, _ bytes: [UInt8]) -> Lie {
  Lie(name) {
    try $0.greet()
    $0.server.client.writeAll(bytes)
  }
}

private func request(_ name: String, _ change: @escaping @Sendable (ScriptedClient) -> Void) -> Lie {
  Lie(name) {
    try $0.greet()
    change($0)
    try $0.channel.send(.push, $0.request)
  }
}

@Suite struct HostileFrameTests {
  static let tooLong: [[UInt8]] = [
    [UInt8](repeating: 0x80, count: 11), [UInt8](repeating: 0xFF, count: 10), [0x80, 0x00],
    [UInt8](repeating: 0x80, count: 9) + [2],
  ]

  @Test("frames come back")
  func frames() throws {
    let magic = Wire.magic
    var lies = [
      raw("a text", Array("GET / HTTP/1.1\r\n\r\n".utf8)), raw("a type of 0", frame(0)),
      raw("an unknown type", frame(99)),
      raw("the longest length", frame(1, [], length: .max)),
      raw("one byte too long", frame(1, [], length: 128 << 10 + 1)),
      raw("a push first", frame(21)), raw("cut off", Array(frame(1, ScriptedClient.helloBytes).dropLast())),
      raw("nothing", []),
      hello("no magic", Array(ScriptedClient.helloBytes.dropFirst())), hello("magic alone", magic),
      hello("newer versions", magic + [7, 9, 0, 0]), hello("versions in disorder", magic + [9, 1, 0, 0]),
      hello("a path that is longer than its frame", magic + [1, 1, 100, 0]),
      hello("a path of 2^63", magic + [1, 1] + [UInt8](repeating: 0x80, count: 9) + [1]),
      hello("a path with NUL", magic + [1, 1, 2, 47, 0, 0]),
    ]
    lies += Self.tooLong.map { hello("a number \($0)", magic + $0) }
    // What only a server sends, what belongs into a push, and another hello.
    lies += [1, 4, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43].map {
      greeted("a frame of type \($0)", frame($0, [0, 0]))
    }
    lies.append(greeted("alive without a number", frame(3)))
    lies.append(greeted("a failure that cannot be read", frame(2, [1])))
    try World().tell(lies)
  }

  @Test("requests to push come back")
  func requestsToPush() throws {
    let world = try World()
    var lies: [Lie] = [
      request("no name") { $0.name = [] }, request("a path as name") { $0.name = Array("../../../../tmp/2021-1".utf8) },
      request("a long name") { $0.name = [UInt8](repeating: 50, count: 65) },
      request("no client") { $0.clientID = [] }, request("a client with a space") { $0.clientID = Array("a b".utf8) },
      request("a long client") { $0.clientID = [UInt8](repeating: 97, count: 65) },
      request("a label that leads up") { $0.summary.label = Array("..".utf8) },
      request("a label with a slash") { $0.summary.label = Array("a/b".utf8) },
      request("too many sources") { $0.summary.sources = [[UInt8]](repeating: Array("/x".utf8), count: 1001) },
      request("an unfinished one") { $0.summary.outcome = .unfinished },
      request("too many candidates") { $0.candidates = [Digest](repeating: .ofNothing, count: 1001) },
      request("no entries") { $0.summary.root.totals = Totals() },
    ]
    for source in ["", "relative", "/a/../b", "/a//b", "/.", "/a\0b"] {
      lies.append(request("the source \(source)") { $0.summary.sources = [Array(source.utf8)] })
    }
    for seconds in [Int64.min, .max, 253_402_300_800] {
      lies.append(request("began at \(seconds)") { $0.summary.started = Timestamp(seconds: seconds, nanoseconds: 0) })
    }
    lies.append(
      Lie("bytes to spare") {
        try $0.greet()
        try $0.channel.send(.push, $0.request + [0])
      })
    let count = ScriptedClient(world).request.count
    for length in Array(0..<min(count, 40)) + Array(stride(from: 40, to: count, by: 23)) {
      lies.append(
        Lie("\(length) bytes of a request") {
          try $0.greet()
          try $0.channel.send(.push, Array($0.request.prefix(length)))
        })
    }
    // Nothing is made for the one without entries before the end of its stream.
    try world.tell(lies.filter { $0.testDescription != "no entries" })
  }

  @Test("a name that exists is never replaced")
  func aNameThatExistsIsNeverReplaced() throws {
    let world = try World()
    let before = try world.fingerprint()
    let same = ScriptedClient(world)
    same.name = world.older.name.bytes
    same.summary = world.older.summary
    try same.greet()
    try same.channel.send(.push, same.request)
    #expect(try same.channel.receive(.published).payload.first == 0)
    #expect(same.server.end() == nil)
    let other = ScriptedClient(world)
    other.name = world.older.name.bytes
    try other.greet()
    try other.channel.send(.push, other.request)
    #expect(throws: Failure.self) { try other.channel.receive() }
    #expect((other.server.end() as? Failure)?.kind == .refused)
    #expect(try world.fingerprint() == before)
  }

  @Test(
    "a name of another age changes nothing for others",
    arguments: ["0000-01-01T00-00-00Z", "9999-12-31T23-59-59Z", "2021-99-99T99-99-99Z"])
  func aNameOfAnotherAgeChangesNothingForOthers(_ name: String) throws {
    let world = try World()
    let client = ScriptedClient(world)
    client.name = Array(name.utf8)
    try client.pushAll()
    #expect(client.server.end() == nil)
    #expect(try world.pushHonestly(world.newer).isNew)
    // Order is by the receiver's own count.
    #expect(try world.names() == ["2020-01-01T00-00-00Z", name, "2021-01-01T00-00-00Z"])
  }

  @Test("nothing is pushed to a read only server")
  func nothingIsPushedToAReadOnlyServer() throws {
    let world = try World()
    let before = try world.fingerprint()
    let client = ScriptedClient(world, isReadOnly: true)
    try client.greet()
    try client.channel.send(.push, client.request)
    #expect(throws: Failure.self) { try client.channel.receive() }
    #expect((client.server.end() as? Failure)?.kind == .refused)
    #expect(try world.fingerprint() == before)
    #expect(try world.run("ls far/.treering/pending") == "")
  }

  @Test("silence ends a session")
  func silenceEndsASession() throws {
    let silent = 0.4
    let lies = [
      Lie("from the beginning", timeoutSeconds: silent) { _ in },
      Lie("after hello", timeoutSeconds: silent) { try $0.greet() },
      Lie("in a frame", timeoutSeconds: silent) {
        try $0.greet()
        $0.server.client.writeAll([21, 100, 0, 0, 0, 1])
      },
      Lie("after the request", timeoutSeconds: silent) { try $0.begin() },
      Lie("in a record", timeoutSeconds: silent) {
        try $0.begin()
        try $0.stream.message(.record) {
          $0.integer(0)
          $0.integer(1000)
        }
        try $0.stream.flush()
      },
      Lie("when something is needed", timeoutSeconds: silent) {
        try $0.begin()
        try $0.end()
      },
      Lie("alive, and at nothing", timeoutSeconds: silent) { client in
        try client.begin()
        let alive = frame(3, [7])
        while client.server.client.writeAll(alive), !client.server.isOver {}
      },
    ]
    try World().tell(lies)
  }

  @Test("a client that takes nothing is left")
  func aClientThatTakesNothingIsLeft() throws {
    let world = try World()
    let server = Server(world.serveOptions(timeoutSeconds: 0.5))
    server.client.writeAll(frame(1, ScriptedClient.helloBytes))
    // Each answer is some hundred bytes, and nobody reads them.
    while !server.isOver { server.client.writeAll(frame(16)) }
    #expect((server.end() as? Failure)?.kind == .remote)
  }
}
