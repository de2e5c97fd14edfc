import Catalog
import Delta
import Model
import Posix
import Repository

@testable import Replication

/// A client that builds its frames by itself, and sends whatever it is told to.
final class ScriptedClient {
  let world: World
  let server: Server
  let channel: Channel
  private(set) var stream: OutgoingStream
  var summary: CatalogSummary
  var name: [UInt8]
  var clientID: [UInt8]
  var candidates: [Digest]

  init(_ world: World, timeoutSeconds: Double = 5, isReadOnly: Bool = false, of server: Server? = nil) {
    self.world = world
    self.server = server ?? Server(world.serveOptions(timeoutSeconds: timeoutSeconds, isReadOnly: isReadOnly))
    channel = Channel(over: self.server.client, to: .server, timeoutSeconds: 20, readsWhileSending: true)
    stream = OutgoingStream(over: channel)
    summary = world.newer.summary
    name = world.newer.name.bytes
    clientID = world.near.id
    candidates = [world.older.summary.root.digest]
  }

  static var helloBytes: [UInt8] {
    var hello = MessageWriter()
    hello.integer(1)
    hello.integer(1)
    hello.text([])
    hello.text(Array("test".utf8))
    return Wire.magic + hello.bytes
  }

  func greet() throws {
    try channel.send(.hello, Self.helloBytes)
    _ = try channel.receive(.hello)
  }

  var request: [UInt8] {
    var message = MessageWriter()
    message.text(name)
    message.text(clientID)
    message.text(summary.encoded)
    message.integer(UInt64(candidates.count))
    for candidate in candidates { message.digest(candidate) }
    return message.bytes
  }

  /// Up to where the stream begins.
  func begin() throws {
    try greet()
    try channel.send(.push, request)
    var reader = MessageReader(payload: try channel.receive(.accept).payload)
    _ = try reader.integer()
    if try reader.integer() > 0 { _ = try reader.digest() }
    var left = try reader.count(limit: 1 << 20)
    while left > 0 { left -= try channel.receive(.have).payload.count / 8 }
  }

  func record(_ content: [UInt8]) throws {
    try stream.message(.record) {
      $0.integer(0)
      $0.integer(UInt64(content.count))
    }
    try literal(content)
    try stream.write([0])
  }

  func literal(_ bytes: [UInt8]) throws {
    var writer = InstructionWriter(to: stream)
    try bytes.withUnsafeBytes { try writer.write(.literal($0)) }
  }

  func end() throws {
    try stream.message(.end)
    try stream.flush()
  }

  /// Every record and every content, whole.
  func pushAll() throws {
    try begin()
    try sendTree(CatalogReader(reading: world.near.openCatalog(of: world.newer.name)))
    try end()
    while true {
      guard let frame = try channel.receive() else { throw Channel.ended }
      if frame.type == .published { return }
      if frame.type != .note { throw ProtocolViolation("a frame of type \(frame.type)") }
    }
  }

  private func sendTree(_ reader: CatalogReader) throws {
    var waiting: [(path: TreePath, subtree: Subtree)] = [([], reader.summary.root)]
    let tree = try world.near.openTree(of: world.newer.name)
    while let (path, subtree) = waiting.popLast() {
      let found = try reader.record(at: subtree.place, for: subtree.digest)
      try record(Array(found.content))
      var files = try FileCursor(of: found)
      let directory = try tree.directory(path: path)
      var skipped: UInt64 = 0
      while let row = files.current {
        if row.kind == .regular, row.size > 0 {
          let name = Array(found.bytes[row.name])
          try stream.message(.file) {
            $0.integer(skipped)
            $0.integer(0)
            $0.integer(0)
          }
          try literal(directory.descriptor.openToRead(name.span).readToEnd(limit: 1 << 20))
          try stream.write([0])
          skipped = 0
        } else {
          skipped += 1
        }
        try files.advance()
      }
      for row in try found.directories() { waiting.append((path + found.bytes[row.name], Subtree(row))) }
    }
  }
}

extension OutgoingStream {
  /// A message that need not be a proper one.
  func message(_ tag: StreamTag, _ body: (inout MessageWriter) throws -> Void = { _ in }) throws {
    var writer = MessageWriter()
    writer.integer(tag.rawValue)
    try body(&writer)
    try write(writer.bytes)
  }
}
