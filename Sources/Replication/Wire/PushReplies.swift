internal import Catalog
internal import Model

/// `accept`, the answer to a push: the base, and the parts that need not be sent again.
struct PushAccept {
  /// A file that was cut off.
  struct PartialFile {
    let digest: ContentDigest
    let byteCount: UInt64
  }

  /// The place of the base among the candidates; `nil` if there is none.
  let base: Int?
  let partialFiles: [PartialFile]
  /// The number of digests in the `have` frames that follow.
  let knownCount: Int
}

extension PushAccept {
  init(payload: [UInt8], version: ProtocolVersion, candidateCount: Int) throws {
    var reader = MessageReader(payload: payload)
    let place = try reader.count(limit: candidateCount)
    base = place == 0 ? nil : place - 1
    var files: [PartialFile] = []
    if version.hasPartialFileList {
      for _ in 0..<(try reader.count(limit: Wire.partialFiles)) {
        let digest = ContentDigest(try reader.digest(), isSparse: try reader.flag())
        files.append(PartialFile(digest: digest, byteCount: try reader.quantity()))
      }
    } else {
      let successor = try reader.quantity()
      if successor > 0 { files = [PartialFile(digest: ContentDigest(try reader.digest()), byteCount: successor - 1)] }
    }
    partialFiles = files
    knownCount = try reader.count(limit: Wire.knownParts)
    try reader.end()
  }

  func payload(version: ProtocolVersion) -> [UInt8] {
    var writer = MessageWriter()
    writer.count(base.map { $0 + 1 } ?? 0)
    if version.hasPartialFileList {
      writer.count(partialFiles.count)
      for file in partialFiles {
        writer.digest(file.digest.digest)
        writer.flag(file.digest.isSparse)
        writer.integer(file.byteCount)
      }
    } else if let file = partialFiles.first(where: { !$0.digest.isSparse }) {
      writer.integer(file.byteCount + 1)
      writer.digest(file.digest.digest)
    } else {
      writer.integer(0)
    }
    writer.count(knownCount)
    return writer.bytes
  }
}

/// `have`: digest prefixes of parts that came earlier.
struct KnownParts {
  /// The most prefixes in one frame that a sender writes.
  static let sentCount = 8192

  let prefixes: [UInt64]
}

extension KnownParts {
  /// Throws if the payload is empty, or has other than one to `limit` whole prefixes.
  init(payload: [UInt8], limit: Int) throws {
    guard payload.count % 8 == 0, payload.count / 8 <= limit, !payload.isEmpty
    else { throw ProtocolViolation("a list is not whole") }
    prefixes = payload.withUnsafeBytes { bytes in
      stride(from: 0, to: bytes.count, by: 8).map { bytes.loadUnaligned(fromByteOffset: $0, as: UInt64.self) }
    }
  }

  var payload: [UInt8] { prefixes.withUnsafeBytes { Array($0) } }
}

/// `room`: the space suffices.
struct SpaceGranted: FrameMessage {
  static let type = FrameType.room

  init() {}
  init(from reader: inout MessageReader) {}
  func encode(to writer: inout MessageWriter) {}
}

/// `need`: requests a missing part by its path in the new snapshot.
struct PartRequest {
  /// True for a file's content, false for a directory's record.
  let isContent: Bool
  let path: TreePath
}

extension PartRequest: FrameMessage {
  static let type = FrameType.need

  init(from reader: inout MessageReader) throws {
    isContent = try reader.flag()
    path = try reader.path()
  }

  func encode(to writer: inout MessageWriter) {
    writer.flag(isContent)
    writer.path(path)
  }
}

/// `published`: the snapshot is durable and published.
struct Published {
  /// False if the server had the snapshot before.
  let isNew: Bool
  let sequence: UInt64
  var filesLinked: UInt64 = 0
  var filesCopied: UInt64 = 0
}

extension Published: FrameMessage {
  static let type = FrameType.published

  init(from reader: inout MessageReader) throws {
    isNew = try reader.flag()
    sequence = try reader.integer()
    filesLinked = try reader.quantity()
    filesCopied = try reader.quantity()
  }

  func encode(to writer: inout MessageWriter) {
    writer.flag(isNew)
    for number in [sequence, filesLinked, filesCopied] { writer.integer(number) }
  }
}

/// `note`: a text for a person.
struct Note {
  let text: String
}

extension Note: FrameMessage {
  static let type = FrameType.note
  private static let sentBytes = 8000

  init(from reader: inout MessageReader) throws { text = try reader.sentence() }

  func encode(to writer: inout MessageWriter) { writer.sentence(text, limit: Self.sentBytes) }
}
