import Model
import TestSupport
import Testing

@testable import Restic

@Suite struct SealTests {
  private func key() throws -> MasterKey {
    try MasterKey(encrypt: (0..<32).map { $0 }, k: (32..<48).map { $0 }, r: (48..<64).map { $0 & 0x0C })
  }

  @Test("a sealed text opens, and one that was changed anywhere does not")
  func seal() throws {
    let sealer = try key().sealer()
    for count in [0, 1, 15, 16, 17, 1000, 100_000] {
      let plain = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
      let sealed = sealer.seal(plain)
      #expect(sealed.count == count + 32)
      #expect(sealer.open(sealed) == plain)
      #expect(sealer.seal(plain) != sealed)
      for place in [0, 15, 16, sealed.count / 2, sealed.count - 17, sealed.count - 1] where place >= 0 {
        var damaged = sealed
        damaged[place] ^= 1
        #expect(sealer.open(damaged) == nil)
      }
      #expect(sealer.open(sealed.dropLast()) == nil)
      #expect(sealer.open(sealed + [0]) == nil)
      #expect(try MasterKey.random().sealer().open(sealed) == nil)
    }
    #expect(sealer.open([]) == nil && sealer.open([UInt8](repeating: 0, count: 31)) == nil)
  }

  @Test("the keys of a file open with its password alone")
  func keyFile() throws {
    let master = try MasterKey.random()
    let file = try KeyFile(
      of: master, password: Array("secret".utf8), user: [0x61], host: [0x62], at: Timestamp(seconds: 5, nanoseconds: 6))
    let read = try KeyFile(json: file.json)
    #expect(try read.open(password: Array("secret".utf8))?.json == master.json)
    #expect(try read.open(password: Array("Secret".utf8)) == nil)
    #expect((read.user, read.host, read.created) == ([0x61], [0x62], Timestamp(seconds: 5, nanoseconds: 6)))
  }

  @Test(
    "impossible costs are refused before they cost",
    arguments: [
      (1 << 40, 8, 1), (1 << 20, 1 << 20, 1 << 20), (0, 8, 1), (3, 8, 1), (1 << 20, 64, 1), (1 << 15, 8, 1 << 12),
    ]
      as [(UInt64, UInt64, UInt64)])
  func costs(n: UInt64, r: UInt64, p: UInt64) {
    #expect(throws: ResticError.self) {
      try MasterKey(password: [1], salt: [2], cost: MasterKey.Cost(n: n, r: r, p: p))
    }
  }
}

@Suite struct FuzzTests {
  private static let seeds = (0..<40).map { UInt64($0) } + [UInt64.random(in: 100...UInt64(UInt32.max))]

  private func mutate(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
      let place = Int.random(in: 0..<bytes.count, using: &random)
      let length = min(Int.random(in: 1...40, using: &random), bytes.count - place)
      switch Int.random(in: 0..<5, using: &random) {
      case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1: bytes.removeLast(bytes.count - place)
      case 2: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
      case 3: bytes.removeSubrange(place..<place + length)
      default: bytes[place] = Array("{}[]\",:0\\u".utf8).randomElement(using: &random)!
      }
    }
    return bytes
  }

  private func id(_ number: UInt8) -> Digest { Digest([UInt8](repeating: number, count: 32))! }

  private func blobs() throws -> [PackedBlob] {
    [
      try PackedBlob(name: BlobName(.data, id(1)), offset: 0, byteCount: 100, plainByteCount: 0),
      try PackedBlob(name: BlobName(.data, id(2)), offset: 100, byteCount: 50, plainByteCount: 400),
      try PackedBlob(name: BlobName(.tree, id(3)), offset: 150, byteCount: 70, plainByteCount: 71),
    ]
  }

  @Test("headers are read back, and damaged ones are refused or other", arguments: seeds)
  func headers(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let blobs = try blobs()
    let header = PackHeader.encoded(blobs)
    #expect(try PackHeader.decoded(header, blobBytes: 220) == blobs)
    #expect(throws: ResticError.self) { try PackHeader.decoded(header, blobBytes: 221) }
    for _ in 0..<200 {
      do {
        let found = try PackHeader.decoded(mutate(header, &random), blobBytes: 220)
        #expect(found.reduce(0) { $0 + Int($1.byteCount) } == 220, "seed \(seed)")
      } catch {}
    }
    for length in 0..<64 as Range<UInt32> {
      let field = withUnsafeBytes(of: length.littleEndian) { Array($0) }
      let size = try? PackHeader.sealedBytes(lengthField: field, packBytes: 70)
      #expect(size == nil || size! + 4 <= 70)
    }
  }

  @Test("indexes are read back, and damaged ones never trap", arguments: seeds)
  func indexes(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var json: [UInt8] = []
    try IndexFile.write([(id(9), try blobs()), (id(8), [])]) { json += $0 }
    var (packs, found): ([Digest], [PackedBlob]) = ([], [])
    try IndexFile.read(UnpackedText.pieces(of: json[...])) {
      found.append($0)
    } endOfPack: {
      packs.append($0)
    }
    #expect(try packs == [id(9), id(8)] && found == blobs())
    for _ in 0..<200 {
      try? IndexFile.read(UnpackedText.pieces(of: mutate(json, &random)[...])) { _ in
      } endOfPack: { _ in
      }
    }
  }

  @Test("an index that is larger than the memory for its text is read back, whatever its encoding")
  func longIndex() throws {
    var random = SeededGenerator(seed: 5)
    let packs = try (0..<3).map { pack in
      let blobs = try (0..<9000).map { number in
        let id = Digest(words: (random.next(), random.next(), random.next(), random.next()))
        return try PackedBlob(
          name: BlobName(.data, id), offset: UInt32(number), byteCount: 99, plainByteCount: UInt32(number % 2))
      }
      return (id: id(UInt8(pack)), blobs: blobs)
    }
    var json: [UInt8] = []
    try IndexFile.write(packs) { json += $0 }
    let encoded = try UnpackedText.encoded { try IndexFile.write(packs, to: $0) }
    #expect(try UnpackedText.decoded(encoded) == json && json.count > 2 << 20 && encoded.count < json.count / 2)
    for text in [json, encoded] {
      var (ids, found): ([Digest], [PackedBlob]) = ([], [])
      try IndexFile.read(UnpackedText.pieces(of: text[...])) {
        found.append($0)
      } endOfPack: {
        ids.append($0)
      }
      #expect(ids == packs.map(\.id) && found == packs.flatMap(\.blobs))
    }
    let cut = json.dropLast(700_000)
    #expect(throws: ResticError.self) {
      try IndexFile.read(UnpackedText.pieces(of: cut)) { _ in
      } endOfPack: { _ in
      }
    }
    #expect(throws: ResticError.self) {
      try IndexFile.read(UnpackedText.pieces(of: (json + [0x7D])[...])) { _ in
      } endOfPack: { _ in
      }
    }
  }

  @Test("trees are read back, and damaged ones have only possible nodes", arguments: seeds)
  func trees(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var writer = TreeWriter()
    for (number, kind) in EntryKind.allCases.enumerated() {
      var node = TreeNode()
      (node.name, node.kind) = ([UInt8(97 + number), 0xFF, 0x22], kind)
      node.metadata = Metadata(
        permissions: 0o4755, user: 7, group: 4_000_000_000, modified: Timestamp(seconds: 9, nanoseconds: 10))
      (node.inode, node.links, node.size) = (5, 2, 12)
      node.attributes = [(Array("user.x".utf8), [0, 1, 255])]
      if kind == .regular { node.content = [id(1), id(2)] } else { node.size = 0 }
      if kind == .directory { node.subtree = id(3) }
      if kind == .symbolicLink { node.target = [0xFE, 0x2F] }
      node.device = 1 << 32 | 3
      writer.append(node)
    }
    #expect(writer.losses.rawTargets == 1)
    let json = writer.finish()
    let nodes = try TreeReader.nodes(in: json)
    #expect(nodes.map(\.kind) == EntryKind.allCases)
    #expect(nodes[0].name == [97, 0xFF, 0x22] && nodes[0].content == [id(1), id(2)] && nodes[0].inode == 5)
    #expect(nodes[1].target == [0xFE, 0x2F] && nodes[0].attributes[0].value == [0, 1, 255])
    for _ in 0..<300 {
      guard let nodes = try? TreeReader.nodes(in: mutate(json, &random)) else { continue }
      for node in nodes {
        #expect(!node.name.isEmpty && !node.name.contains(0x2F) && node.name != [46, 46], "seed \(seed)")
        #expect(node.kind != .directory || node.subtree != nil, "seed \(seed)")
      }
      #expect(Set(nodes.map(\.name)).count == nodes.count, "seed \(seed)")
    }
  }

  @Test("hostile names are refused", arguments: ["", ".", "..", "a/b", "a\\x00b", String(repeating: "x", count: 256)])
  func names(name: String) {
    let json = "{\"nodes\":[{\"name\":\"\(name.replacing("\\", with: "\\\\"))\",\"type\":\"fifo\"}]}"
    #expect(throws: ResticError.self) { try TreeReader.nodes(in: Array(json.utf8)) }
  }
}
