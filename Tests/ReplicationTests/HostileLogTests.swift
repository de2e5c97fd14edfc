import Catalog
import Model
import Posix
import Repository
import Testing

@testable import Replication

/// Lies of a client about the archived logs of databases.
@Suite struct HostileLogTests {
  private static let name = "000000010000000000000003"
  private static let longName = String(repeating: "a", count: 201)

  private static func message(_ texts: [String]) -> [UInt8] {
    var message = MessageWriter()
    for text in texts { message.text(Array(text.utf8)) }
    return message.bytes
  }

  private static func request(_ type: FrameType, _ texts: [String], more: [UInt8] = []) -> Lie {
    Lie("\(type) of \(texts) \(more)") {
      try $0.greet()
      try $0.channel.send(type, message(texts) + more)
    }
  }

  @Test("names that lead elsewhere, and bytes to spare")
  func names() throws {
    var lies: [Lie] = []
    for database in ["", ".", "..", "a/b", "../..", "a\0", "a.b", String(repeating: "a", count: 65)] {
      lies.append(Self.request(.logs, [database]))
      for type in [FrameType.storeLog, .fetchLog] { lies.append(Self.request(type, [database, Self.name])) }
    }
    for name in ["", ".", "..", ".lock", ".system", ".new", "../x", "a/b", "a\0", Self.longName] {
      for type in [FrameType.storeLog, .fetchLog] { lies.append(Self.request(type, ["main", name])) }
    }
    lies.append(Self.request(.logs, ["main"], more: [0]))
    for type in [FrameType.storeLog, .fetchLog] {
      lies.append(Self.request(type, ["main", Self.name], more: [0]))
      lies.append(Self.request(type, ["main"]))
    }
    try World().tell(lies)
  }

  /// A log as an archive stores it.
  private func stored(_ content: [UInt8], in world: World) throws -> [UInt8] {
    try world.run("mkdir -m 700 logs")
    let archive = try LogArchive(at: Array("\(world.path)/logs".utf8))
    let file = SharedFile(try Descriptor.memoryFile())
    try file.descriptor.write(content)
    _ = try archive.store(file, as: Array(Self.name.utf8))
    var bytes: [UInt8] = []
    #expect(try archive.readStored(Array(Self.name.utf8)) { bytes += $0 })
    return bytes
  }

  @Test("contents that are not whole leave nothing")
  func contents() throws {
    let world = try World()
    let whole = try stored([UInt8](repeating: 7, count: 100_000), in: world)
    // Otherwise the directory itself would be a change.
    _ = try world.far.makePushedLogs(of: Array("main".utf8))
    try world.run("touch far/.treering/logs/main/.lock")
    func send(_ name: String, _ bytes: [UInt8], end: FrameType? = .end) -> Lie {
      Lie(name) {
        try $0.greet()
        let channel = $0.channel
        try channel.send(.storeLog, Self.message(["main", Self.name]))
        for start in stride(from: 0, to: bytes.count, by: 1000) {
          try channel.send(.stream, Array(bytes[start..<min(start + 1000, bytes.count)]))
        }
        if let end { try channel.send(end) }
      }
    }
    try world.tell([
      send("nothing", []), send("the end alone", Array(whole.suffix(48))), send("no end", whole.dropLast(48)),
      send("a byte less", whole.dropLast()), send("a byte more", whole + [0]),
      send("the content twice", whole.dropLast(48) + whole),
      send("another size", whole.dropLast(40) + [9] + whole.suffix(39)),
      send("another digest", whole.dropLast() + [whole.last! ^ 1]),
      send("no frame", [UInt8](repeating: 0, count: 1000) + whole.suffix(48)),
      send("cut off", whole, end: nil), send("another request", whole, end: .list),
      send("a push in it", whole, end: .push),
    ])
  }
}
