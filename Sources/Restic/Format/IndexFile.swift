internal import Model

/// A file below `index/`: packs, and the blobs in each.
enum IndexFile {
  /// The number of blobs at which a new index is written; restic's own limit is 150,000.
  static let mostBlobs = 100_000

  static func encoded(_ packs: [(id: Digest, blobs: [PackedBlob])]) -> [UInt8] {
    var writer = JSONWriter(capacity: packs.reduce(64) { $0 + 80 + 150 * $1.blobs.count })
    writer.raw("{\"packs\":[")
    for (number, pack) in packs.enumerated() {
      if number > 0 { writer.raw(",") }
      writer.raw("{\"id\":")
      writer.digest(pack.id)
      writer.raw(",\"blobs\":[")
      for (number, blob) in pack.blobs.enumerated() {
        if number > 0 { writer.raw(",") }
        writer.raw("{\"id\":")
        writer.digest(blob.name.id)
        writer.raw(",\"type\":\"")
        writer.raw(blob.name.type.word)
        writer.raw("\",\"offset\":")
        writer.number(blob.offset)
        writer.raw(",\"length\":")
        writer.number(blob.byteCount)
        if blob.plainByteCount > 0 {
          writer.raw(",\"uncompressed_length\":")
          writer.number(blob.plainByteCount)
        }
        writer.raw("}")
      }
      writer.raw("]}")
    }
    writer.raw("]}")
    return writer.bytes
  }

  /// Reads an index. `report` gets each pack with its blobs.
  static func read(_ json: [UInt8], report: (Digest, [PackedBlob]) throws -> Void) throws {
    try JSONCursor.read(json) { cursor in
      try cursor.members { cursor, key in
        guard case "packs" = key else { return try cursor.skip() }
        try cursor.elements { cursor in
          let (pack, blobs) = try pack(&cursor)
          try report(pack, blobs)
        }
      }
    }
  }

  private static func pack(_ cursor: inout JSONCursor) throws -> (Digest, [PackedBlob]) {
    var id: Digest?
    var blobs: [PackedBlob] = []
    try cursor.members { cursor, key in
      switch key {
      case "id": id = try cursor.digest()
      case "blobs": try cursor.elements { blobs.append(try blob(&$0)) }
      default: try cursor.skip()
      }
    }
    guard let id else { throw ResticError("an index has a pack without an ID") }
    return (id, blobs)
  }

  private static func blob(_ cursor: inout JSONCursor) throws -> PackedBlob {
    var id: Digest?
    var type: BlobType?
    var (offset, byteCount, plain): (UInt64, UInt64, UInt64) = (0, 0, 0)
    try cursor.members { cursor, key in
      switch key {
      case "id": id = try cursor.digest()
      case "type":
        let word = try cursor.string()
        type = word.elementsEqual("data".utf8) ? .data : word.elementsEqual("tree".utf8) ? .tree : nil
      case "offset": offset = try cursor.unsigned(atMost: UInt64(UInt32.max))
      case "length": byteCount = try cursor.unsigned(atMost: UInt64(UInt32.max))
      case "uncompressed_length": plain = try cursor.unsigned(atMost: UInt64(UInt32.max))
      default: try cursor.skip()
      }
    }
    guard let id, let type else { throw ResticError("an index has a blob without an ID or a type") }
    return try PackedBlob(
      name: BlobName(type, id), offset: UInt32(offset), byteCount: UInt32(byteCount), plainByteCount: UInt32(plain))
  }
}
