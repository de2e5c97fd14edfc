import Foundation
import TestSupport
import Testing

/// A catalog's trailer may claim anything: every command answers or refuses, and prints no control character.
@Suite("Hostile trailers", .waits)
struct HostileTrailerTests {
  private static let editor = ByteString(
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("edit_trailer.py").path)

  private static func hex(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }

  private static func bytes(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }

  /// Numbers where arithmetic goes wrong, and others.
  private static func number(_ generator: inout SeededGenerator) -> UInt64 {
    switch Int.random(in: 0..<4, using: &generator) {
    case 0: [0, 1, .max, .max - 1, 1 << 63, 1 << 62, 1 << 48].randomElement(using: &generator)!
    case 1: UInt64(bitPattern: Int64.random(in: -63_000_000_000...254_000_000_000, using: &generator))
    case 2: UInt64.random(in: 0...1 << 48, using: &generator)
    default: generator.next()
    }
  }

  /// A field of the trailer, by its tag in treering-catalog(5).
  private static func field(_ tag: Int, _ generator: inout SeededGenerator) -> ByteString {
    let value: [UInt8] =
      switch tag {
      case 3: bytes(number(&generator)) + bytes(number(&generator))
      case 4: bytes(number(&generator))
      case 5, 6, 16, 21: bytes(number(&generator)) + [0, 0, 0, 0]
      case 8, 9: (0..<3).flatMap { _ in bytes(number(&generator)) }
      default: [0x1B, 0x9B, 0x0A, 0xC2, 0x85, 0x2F] + generator.bytes(8)
      }
    return ByteString("\(tag)=\(hex(value))")
  }

  @Test("more sources than are protected, of a push: rotate and status say so")
  func manySources() throws {
    let world = try World()
    try world.source.write("file", "one")
    let first = try world.snapshot()
    let invented = (0..<4096).map { ByteString("+11=" + Self.hex(Array("/\($0)".utf8))) }
    let received = ByteString("16=" + Self.hex(Self.bytes(UInt64(Date().timeIntervalSince1970)) + [0, 0, 0, 0]))
    try tool(
      "python3",
      [Self.editor, world.repository.root / ".treering/catalogs" / (first.name + ".catalog"), received] + invented)
    for command in [["rotate"], ["rotate", "-n"], ["status"]] as [[ByteString]] {
      let result = try world.treering(command)
      #expect(result.errorText.contains("may expire; keep it with: treering hold"), "\(command): \(result.errorText)")
      #expect(result.status == 1, "\(result.errorText)")
    }
  }

  @Test("no command ends by a signal or prints what a terminal obeys", arguments: sample(1, of: [UInt64(1), 2, 3, 4]))
  func fuzzed(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("file", "one")
    let first = try world.snapshot()
    try world.source.write("file", "two")
    try world.snapshot()
    try tool("cp", ["-a", world.repository.root, world.directory.path / "whole"])
    let path = world.source.root / "file"
    for tags in [[3], [4], [5], [6], [8], [9], [10], [11], [16], [16, 21, 22], [3, 5, 6, 8, 9]] {
      try tool("rm", ["-rf", world.repository.root])
      try tool("cp", ["-a", world.directory.path / "whole", world.repository.root])
      let catalogs = try world.repository.names(".treering/catalogs")
      let catalog = world.repository.root / ".treering/catalogs" / catalogs.randomElement(using: &generator)!
      let edits = tags.map { Self.field($0, &generator) }
      try tool("python3", [Self.editor, catalog] + edits)
      let commands: [[ByteString]] = [
        ["list"], ["list", "--json"], ["status"], ["status", "--json"], ["versions", path],
        ["diff", first.name, "latest"],
        ["verify"], ["rotate", "--dry-run", "--minimum-free", "99%"],
      ]
      for command in commands {
        let result = try world.treering(command)
        let what = "seed \(seed): \(edits) of \(catalog.lastComponent): \(command): \(result.errorText)"
        #expect(result.status < 128, "\(what)")
        #expect((result.output + result.errors).allSatisfy { $0 >= 0x20 || $0 == 0x0A }, "\(what)")
      }
    }
  }
}
