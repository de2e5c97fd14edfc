internal import Model

/// A file below `index/`: packs, and the blobs in each.
enum IndexFile {
  /// The number of blobs, and that of packs, at which a new index is written.
  ///
  /// restic itself begins a new one at 150,000 blobs, and reads larger ones. A look at one file of a repository that no
  /// cache knows reads all indexes, so they are few. The packs that no index names yet bound the work after a crash.
  static let mostBlobs = 300_000
  static let mostPacks = 8192

  private static let pieceBytes = 64 << 10

  /// Writes an index in pieces.
  static func write(
    _ packs: [(id: Digest, blobs: [PackedBlob])], to sink: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    var writer = JSONWriter(capacity: 2 * pieceBytes)
    func flush() throws {
      try writer.bytes.withUnsafeBytes(sink)
      writer.removeAll()
    }
    writer.raw("{\"packs\":[")
    for (number, pack) in packs.enumerated() {
      if number > 0 { writer.raw(",") }
      writer.raw("{\"id\":")
      writer.digest(pack.id)
      writer.raw(",\"blobs\":[")
      for (number, blob) in pack.blobs.enumerated() {
        if number > 0 { writer.raw(",") }
        append(blob, to: &writer)
        if writer.bytes.count >= pieceBytes { try flush() }
      }
      writer.raw("]}")
    }
    writer.raw("]}")
    try flush()
  }

  private static func append(_ blob: PackedBlob, to writer: inout JSONWriter) {
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

  /// Reads an index piece by piece. `blob` gets each blob of a pack, and `endOfPack` then the pack's ID.
  static func read(
    _ pieces: @escaping UnpackedText.Pieces, blob: (PackedBlob) throws -> Void, endOfPack: (Digest) throws -> Void
  ) throws {
    try JSONCursor.read(pieces) { cursor in
      try cursor.members { cursor, key in
        guard case "packs" = key else { return try cursor.skip() }
        try cursor.elements { cursor in
          var id: Digest?
          try cursor.members { cursor, key in
            switch key {
            case "id": id = try cursor.digest()
            case "blobs": try cursor.elements { try blob(try Self.blob(&$0)) }
            default: try cursor.skip()
            }
          }
          guard let id else { throw ResticError("an index has a pack without an ID") }
          try endOfPack(id)
        }
      }
    }
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
