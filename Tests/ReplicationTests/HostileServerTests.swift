import Catalog
import Engine
import Model
import Posix
import Repository
import Testing

@testable import Replication

/// A server that says what it is told to, on a thread of its own.
private final class ScriptedServer: @unchecked Sendable {
  let client: MemoryTransport
  private let server: MemoryTransport
  private var thread: BackgroundThread!

  init(_ act: @escaping @Sendable (Channel) throws -> Void) {
    (client, server) = MemoryTransport.pair()
    thread = try! BackgroundThread { [server] in
      try? act(Channel(over: server, to: .client, timeoutSeconds: 20, readsWhileSending: false))
      server.close()
      server.swallow()
    }
  }

  func end() {
    client.close()
    client.stopReading()
    thread.join()
  }
}

private func message(_ build: (inout MessageWriter) -> Void) -> [UInt8] {
  var writer = MessageWriter()
  build(&writer)
  return writer.bytes
}

private func hello(id: String = "0123456789abcdef0123456789abcdef", version: UInt64 = 1) -> [UInt8] {
  Wire.magic
    + message {
      $0.numbers(version, version)
      $0.text(Array(id.utf8))
      $0.text([])
      $0.numbers(0)
    }
}

/// Something that a server says, up to which it is honest.
struct ServerLie: Sendable, CustomTestStringConvertible {
  let testDescription: String
  fileprivate let act: @Sendable (Channel) throws -> Void

  fileprivate init(_ name: String, _ act: @escaping @Sendable (Channel) throws -> Void) {
    testDescription = name
    self.act = act
  }

  fileprivate static func greeted(
    _ name: String, version: UInt64 = 1, _ act: @escaping @Sendable (Channel) throws -> Void
  ) -> ServerLie {
    ServerLie(name) {
      _ = try $0.receive(.hello)
      try $0.send(.hello, hello(version: version))
      try act($0)
    }
  }

  /// In answer to a push or another request.
  fileprivate static func asked(
    _ name: String, _ type: FrameType = .push, version: UInt64 = 1, _ act: @escaping @Sendable (Channel) throws -> Void
  ) -> ServerLie {
    greeted(name, version: version) {
      _ = try $0.receive(type)
      try act($0)
      // Takes what still comes, so that it is the lie that ends it.
      while try $0.receive() != nil {}
    }
  }

  fileprivate static func sent(_ name: String, _ act: @escaping @Sendable (Channel) throws -> Void) -> ServerLie {
    asked(name) {
      try $0.send(.accept, [0, 0, 0])
      try act($0)
    }
  }
}

@Suite struct HostileServerTests {
  private func expectFailures(
    _ world: World, _ lies: [ServerLie], _ body: (Connection) throws -> Void
  ) throws {
    let before = try world.run("find near -printf '%p %y %s %T@ %i\\n' | grep -v /lock | sort")
    for lie in lies {
      let server = ScriptedServer(lie.act)
      let start = Clock.monotonic()
      let failure = #expect(throws: Failure.self, "\(lie.testDescription)") {
        try body(Connection(options: world.remoteOptions(timeoutSeconds: 1), over: server.client))
      }
      server.end()
      #expect(Clock.monotonic() - start < hangSeconds, "\(lie.testDescription)")
      #expect(failure.map { $0.kind == .remote } ?? true, "\(lie.testDescription): \(failure as Any)")
    }
    let isSame = try world.run("find near -printf '%p %y %s %T@ %i\\n' | grep -v /lock | sort") == before
    #expect(isSame)
  }

  private func pushTo(_ world: World) -> (Connection) throws -> Void {
    { connection in
      _ = try push(
        world.newer, of: world.near, over: connection, isDryRun: false, progress: PushProgress(),
        monitor: SilentMonitor())
    }
  }

  @Test("hellos come back")
  func hellos() throws {
    let world = try World()
    var lies: [ServerLie] = [
      ServerLie("nothing") { _ in },
      ServerLie("silence") { _ in CurrentProcess.sleep(milliseconds: 1500) },
      ServerLie("no magic") { try $0.send(.hello, Array(hello().dropFirst())) },
      ServerLie("another frame") { try $0.send(.end) },
      ServerLie("newer versions") { try $0.send(.hello, Wire.magic + [7, 9, 1, 97, 0, 0]) },
      ServerLie("alive for ever at nothing") { channel in
        for _ in 0..<3_000_000 { try channel.send(.alive, [1]) }
      },
    ]
    for id in ["", ".", "..", "a/b", "../..", "a b", String(repeating: "a", count: 65)] {
      lies.append(ServerLie("the id \(id)") { try $0.send(.hello, hello(id: id)) })
    }
    try expectFailures(world, lies) { _ in }
  }

  @Test("answers to a push come back")
  func answersToAPush() throws {
    let world = try World()
    let needNothing = message {
      $0.numbers(1)
      $0.path([[120]])
    }
    let needRoot = message { $0.numbers(0, 0) }
    try expectFailures(
      world,
      [
        .asked("a base that was not offered") { try $0.send(.accept, message { $0.numbers(100, 0, 0) }) },
        .asked("a base of 2^64") { try $0.send(.accept, message { $0.numbers(.max, 0, 0) }) },
        .asked("2^31 parts") { try $0.send(.accept, message { $0.numbers(0, 0, 1 << 31) }) },
        .asked("parts that do not come") { try $0.send(.accept, message { $0.numbers(0, 0, 1 << 30) }) },
        .asked("half a part") {
          try $0.send(.accept, [0, 0, 2])
          try $0.send(.have, [UInt8](repeating: 1, count: 12))
        },
        .asked("more parts than were announced") {
          try $0.send(.accept, [0, 0, 1])
          try $0.send(.have, [UInt8](repeating: 1, count: 16))
        },
        .asked("no parts at all") {
          try $0.send(.accept, [0, 0, 1])
          try $0.send(.have, [])
        },
        .asked("bytes to spare") { try $0.send(.accept, [0, 0, 0, 0]) },
        .asked("published and new") { try $0.send(.published, [1, 1, 0, 0]) },
        .asked("published without a word") { try $0.send(.published, []) },
        .asked("a failure") { try $0.send(.failure, Failure(.failed, "no").payload) },
        .asked("the end") { _ in throw ProtocolViolation("over") },
        .sent("published, and there already") { try $0.send(.published, [0, 1, 0, 0]) },
        .sent("published with bytes to spare") { try $0.send(.published, [1, 1, 0, 0, 0]) },
        .sent("a list") { try $0.send(.snapshot, []) },
        .sent("what is not there") { try $0.send(.need, needNothing) },
        .sent("the root, for ever") { while true { try $0.send(.need, needRoot) } },
        .sent("notes without end") { channel in
          while true { try channel.send(.note, message { $0.text([120]) }) }
        },
        .sent("silence") { _ in },
        .sent("alive at nothing") { channel in while true { try channel.send(.alive, [1]) } },
        .sent("large frames without end") { channel in
          while true { try channel.send(.have, [UInt8](repeating: 0, count: Wire.frameBytes)) }
        },
      ], pushTo(world))
  }

  /// Where the base is only known by its catalog, its signatures come from the server.
  @Test("signatures come back")
  func signatures() throws {
    let world = try World()
    try world.run(
      """
      cd near; rm -rf 2020* .treering/catalogs/2020*
      mv .treering/remotes/* .treering/remotes/0123456789abcdef0123456789abcdef
      """)
    func lie(_ name: String, _ act: @escaping @Sendable (Channel) throws -> Void) -> ServerLie {
      .asked(name) { channel in
        try channel.send(.accept, [1, 0, 0])
        try act(channel)
      }
    }
    try expectFailures(
      world,
      [
        lie("garbage") { try $0.send(.signature, [1, 2, 3]) },
        lie("blocks of nothing") { try $0.send(.signature, [UInt8](repeating: 0, count: 24)) },
        lie("everything set") { try $0.send(.signature, [UInt8](repeating: 255, count: 240)) },
        lie("without end") { channel in
          while true { try channel.send(.signature, [UInt8](repeating: 0, count: Wire.frameBytes)) }
        },
        lie("published instead") { try $0.send(.published, [1, 1, 0, 0]) },
      ], pushTo(world))
  }

  @Test("listings come back")
  func listings() throws {
    let world = try World()
    let whole = message {
      $0.numbers(1)
      $0.text(world.older.name.bytes)
      $0.text(world.older.summary.encoded)
      $0.numbers(0, 0, 0)
    }
    func lie(_ name: String, _ frames: [[UInt8]]) -> ServerLie {
      .asked(name, .list) { channel in for frame in frames { try channel.send(.snapshot, frame) } }
    }
    try expectFailures(
      world,
      [
        lie("a snapshot twice", [whole, whole]), lie("an empty one", [[]]), lie("bytes to spare", [whole + [0]]),
        lie("cut off", [Array(whole.dropLast(4))]), lie("nothing that follows", [whole]),
        lie("no name", [message { $0.numbers(1, 2, 46, 46) }]),
        .asked("another frame", .list) { try $0.send(.published) },
      ]
    ) { _ = try RemoteRepository(over: $0).snapshots() }
  }

  @Test("spaces come back")
  func spaces() throws {
    let world = try World()
    let name = world.older.name
    let spare = message {
      $0.numbers(1)
      $0.text(name.bytes)
      $0.text(world.older.summary.encoded)
      $0.numbers(0, 0, 0)
    }
    func lie(_ name: String, _ act: @escaping @Sendable (Channel) throws -> Void) -> ServerLie {
      .asked(name, .space, version: 5, act)
    }
    try expectFailures(
      world,
      [
        lie("a spare without a space") { try $0.send(.snapshot, spare) },
        lie("spares without end") { channel in
          while true {
            try channel.send(HeldSpace.Row(name: name, aloneBytes: 1))
            try channel.send(.snapshot, spare)
          }
        },
      ]
    ) { _ = try RemoteRepository(over: $0).heldSpace(of: [], in: SnapshotList(), threads: 1, progress: Progress()) }
  }

  @Test("catalogs and files come back")
  func catalogsAndFiles() throws {
    let world = try World()
    func catalog(_ name: String, _ byteCount: UInt64, _ answer: [UInt8]) -> ServerLie {
      .asked(name, .openCatalog) { channel in
        try channel.send(.bytes, message { $0.numbers(byteCount) })
        while try channel.receive(.readCatalog).type == .readCatalog { try channel.send(.bytes, answer) }
      }
    }
    let header = CatalogFormat.header
    try expectFailures(
      world,
      [
        catalog("no bytes", 0, []), catalog("2^64 bytes", .max, []),
        catalog("zeros", .max, [UInt8](repeating: 0, count: 24)),
        catalog("more than was asked for", 1000, [UInt8](repeating: 0, count: 100)),
        catalog("headers", .max, header), catalog("footers", .max, Array((header + Array("TRCATEND".utf8)).suffix(16))),
      ]
    ) { _ = try RemoteRepository(over: $0).openCatalog(of: world.older.name) }

    func file(_ name: String, _ build: @escaping @Sendable (OutgoingStream, Channel) throws -> Void) -> ServerLie {
      .asked(name, .fetch) { channel in
        let stream = OutgoingStream(over: channel, windowLog: 20)
        try build(stream, channel)
        try stream.flush()
      }
    }
    @Sendable func head(_ values: UInt64...) -> [UInt8] { message { for value in values { $0.integer(value) } } }
    try expectFailures(
      world,
      [
        file("the end at once") { _, channel in try channel.send(.end) },
        file("2^63 bytes") { stream, _ in try stream.write(head(1, 1 << 63)) },
        file("more than was announced") { stream, _ in try stream.write(head(1, 4, 10)) },
        file("a copy") { stream, _ in try stream.write(head(1, 4, 4 << 1 | 1, 0)) },
        file("a long excuse") { stream, _ in try stream.write(head(0, 1 << 40)) },
        file("no zstd") { _, channel in try channel.send(.stream, [1, 2, 3, 4, 5]) },
        file("no end") { stream, channel in
          try stream.write(head(1, 0, 0))
          try stream.flush()
          while true { try channel.send(.stream, [0]) }
        },
      ]
    ) {
      let contents = RemoteRepository(over: $0).contents(of: world.older.name)
      try contents.request([[120]])
      _ = try contents.receive(byteCount: 4, takeZeros: { _ in }, { _ in })
    }
    // A size that is not the catalog's is a trouble of that file.
    let server = ScriptedServer(
      ServerLie.asked("another size", .fetch) { channel in
        let stream = OutgoingStream(over: channel, windowLog: 20)
        try stream.write(head(1, 2, 4, 65))
        try stream.write([65, 0])
        try stream.finish()
        try channel.send(.end)
      }.act)
    defer { server.end() }
    let connection = try Connection(options: world.remoteOptions(timeoutSeconds: 1), over: server.client)
    let contents = RemoteRepository(over: connection).contents(of: world.older.name)
    try contents.request([[120]])
    #expect(try contents.receive(byteCount: 4, takeZeros: { _ in }, { _ in }) == "its size is 2 and not 4 bytes")
  }
}
