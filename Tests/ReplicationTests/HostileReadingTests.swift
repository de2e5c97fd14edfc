import Catalog
import Model
import Posix
import Repository
import Testing

@testable import Replication

@Suite struct HostileReadingTests {
  private static func request(
    _ name: String, _ type: FrameType, _ build: @escaping @Sendable (inout MessageWriter) -> Void
  ) -> Lie {
    Lie(name) {
      try $0.greet()
      var message = MessageWriter()
      build(&message)
      try $0.channel.send(type, message.bytes)
    }
  }

  private static let snapshot = Array("2020-01-01T00-00-00Z".utf8)

  @Test("requests come back")
  func requests() throws {
    var lies: [Lie] = []
    for name in ["", ".", "..", "latest", "../far", "2020-01-01T00-00-00Z/..", "/etc/passwd", "2020-01-01T00-00-0\0Z"] {
      for type in [FrameType.openCatalog, .readCatalog, .fetch] {
        lies.append(Self.request("\(type) of \(name)", type) { $0.text(Array(name.utf8)) })
      }
      for type in [FrameType.verify, .space] {
        lies.append(
          Self.request("\(type) \(name)", type) {
            $0.integer(1)
            $0.text(Array(name.utf8))
          })
      }
    }
    lies.append(
      Self.request("a catalog that is not there", .openCatalog) { $0.text(Array("2020-01-02T00-00-00Z".utf8)) })
    for offset: UInt64 in [.max, 1 << 63, 1 << 40] {
      lies.append(
        Self.request("a catalog at \(offset)", .readCatalog) {
          $0.text(Self.snapshot)
          $0.integer(offset)
          $0.integer(10)
        })
    }
    for count: UInt64 in [.max, 128 << 10 + 1] {
      lies.append(
        Self.request("\(count) bytes of a catalog", .readCatalog) {
          $0.text(Self.snapshot)
          $0.integer(0)
          $0.integer(count)
        })
    }
    for path in [[], [""], ["."], [".."], ["localhost", ".."], ["a/b"], ["a\0"], [String(repeating: "x", count: 256)]] {
      lies.append(
        Self.request("fetch \(path)", .fetch) {
          $0.text(Self.snapshot)
          $0.path(TreePath(path.map { Array($0.utf8) }))
        })
    }
    lies.append(
      Self.request("a path without end", .fetch) {
        $0.text(Self.snapshot)
        $0.integer(UInt64.max)
      })
    lies.append(
      Self.request("verify twice the same", .verify) {
        $0.integer(2)
        $0.text(Self.snapshot)
        $0.text(Self.snapshot)
      })
    lies.append(Self.request("verify very much", .verify) { $0.integer(UInt64(1) << 40) })
    lies.append(Self.request("space of very much", .space) { $0.integer(UInt64(1) << 40) })
    lies.append(Self.request("list with bytes to spare", .list) { $0.integer(1) })
    try World().tell(lies)
  }

  /// What is no regular file is never opened, and no link is followed.
  @Test("only regular files are fetched", arguments: ["a/link", "a/fifo", "a", "a/link/x", "a/none", "outside/one"])
  func onlyRegularFilesAreFetched(_ path: String) throws {
    let world = try World()
    try world.run(
      "cd far/2020*/localhost\(world.path)/source; chmod u+w .; ln -s \(world.path)/source/a outside")
    let client = ScriptedClient(world)
    try client.greet()
    var message = MessageWriter()
    message.text(Self.snapshot)
    message.path(TreePath(parsing: "localhost\(world.path)/source/\(path)".utf8))
    try client.channel.send(.fetch, message.bytes)
    let stream = IncomingStream {
      let frame = try client.channel.receive(.stream, .end)
      return frame.type == .stream ? frame.payload : nil
    }
    var parts = stream.fields
    #expect(try parts.integer() == 0)
    _ = try parts.text(limit: 4096)
    #expect(client.server.end() == nil)
  }
}
