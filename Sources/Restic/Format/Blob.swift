public import Model

/// The type of a blob. One ID may name a blob of each type.
public enum BlobType: UInt8, Sendable {
  case data = 0
  case tree = 1

  var word: StaticString { self == .data ? "data" : "tree" }
}

/// A blob's name: its type, and the SHA-256 of its plain text.
public struct BlobName: Hashable, Sendable {
  public let type: BlobType
  public let id: Digest

  public init(_ type: BlobType, _ id: Digest) { (self.type, self.id) = (type, id) }
}

/// A blob inside a pack.
struct PackedBlob: Equatable, Sendable {
  let name: BlobName
  let offset: UInt32
  /// The size of the sealed text in the pack, in bytes.
  let byteCount: UInt32
  /// The size of the plain text; 0 if the blob is not compressed.
  let plainByteCount: UInt32

  /// The largest plain text of a blob that is read. Content is cut at 8 MiB; a tree may have a million names.
  static let mostPlainBytes = 1 << 30

  init(name: BlobName, offset: UInt32, byteCount: UInt32, plainByteCount: UInt32) throws(ResticError) {
    (self.name, self.offset, self.byteCount, self.plainByteCount) = (name, offset, byteCount, plainByteCount)
    guard byteCount >= Sealer.overheadBytes, plainByteCount <= Self.mostPlainBytes,
      byteCount <= UInt32(Self.mostPlainBytes), UInt64(offset) + UInt64(byteCount) <= UInt64(UInt32.max)
    else { throw ResticError("a blob has an impossible size") }
  }
}

/// The header at the end of a pack, and the list of blobs in it.
enum PackHeader {
  /// The largest header that restic reads.
  static let mostBytes = 16 << 20
  static let lengthBytes = 4
  private static let plainEntryBytes = 1 + 4 + 32
  private static let compressedEntryBytes = 1 + 4 + 4 + 32

  static func entryBytes(of blob: PackedBlob) -> Int {
    blob.plainByteCount == 0 ? plainEntryBytes : compressedEntryBytes
  }

  /// The header's plain text.
  static func encoded(_ blobs: [PackedBlob]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(blobs.count * compressedEntryBytes)
    func append(_ value: UInt32) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }
    for blob in blobs {
      let isCompressed = blob.plainByteCount > 0
      bytes.append(blob.name.type.rawValue | (isCompressed ? 2 : 0))
      append(blob.byteCount)
      if isCompressed { append(blob.plainByteCount) }
      bytes += blob.name.id.bytes
    }
    return bytes
  }

  /// The end of a pack: the sealed header and its length.
  static func ending(_ blobs: [PackedBlob], sealer: Sealer) -> [UInt8] {
    let sealed = sealer.seal(encoded(blobs))
    return sealed + withUnsafeBytes(of: UInt32(sealed.count).littleEndian) { Array($0) }
  }

  /// The size of the sealed header, from the last four bytes of a pack of `packBytes`.
  static func sealedBytes(lengthField: [UInt8], packBytes: UInt64) throws(ResticError) -> Int {
    guard lengthField.count == lengthBytes else { throw ResticError("a pack is cut off") }
    let count = lengthField.withUnsafeBytes { Int(UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self))) }
    guard count >= Sealer.overheadBytes + plainEntryBytes, count <= mostBytes,
      UInt64(count + lengthBytes) <= packBytes
    else { throw ResticError("a pack's header has an impossible length") }
    return count
  }

  /// Reads a header's plain text. The blobs must fill the pack up to the header.
  static func decoded(_ header: [UInt8], blobBytes: UInt64) throws(ResticError) -> [PackedBlob] {
    var blobs: [PackedBlob] = []
    var place = 0
    var offset: UInt64 = 0
    func integer(at place: Int) -> UInt32 {
      header.withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: UInt32.self)) }
    }
    while place < header.count {
      let kind = header[place]
      let entryBytes = kind < 2 ? plainEntryBytes : compressedEntryBytes
      guard kind < 4, let type = BlobType(rawValue: kind & 1), place + entryBytes <= header.count else {
        throw ResticError("a pack's header is damaged")
      }
      let id = Digest(Array(header[(place + entryBytes - 32)..<(place + entryBytes)]))!
      let plain = kind < 2 ? 0 : integer(at: place + 5)
      guard kind < 2 || plain > 0, offset <= UInt64(UInt32.max) else {
        throw ResticError("a pack's header is damaged")
      }
      let blob = try PackedBlob(
        name: BlobName(type, id), offset: UInt32(offset), byteCount: integer(at: place + 1), plainByteCount: plain)
      blobs.append(blob)
      offset += UInt64(blob.byteCount)
      place += entryBytes
    }
    guard offset == blobBytes else { throw ResticError("a pack's blobs do not fill it") }
    return blobs
  }
}
