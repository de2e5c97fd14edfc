import CCodec
import Model

@testable import Catalog

/// An entry as bytes, with every number free to lie.
struct RawEntry {
  var kind: UInt8 = 1
  var flags: UInt8 = 0
  var permissions: UInt16 = 0o644
  var seconds: Int64 = 0
  var nanoseconds: UInt32 = 0
  var size: UInt64 = 0
  var name: [UInt8] = [UInt8(ascii: "f")]
  var nameLength: UInt8?
  var group: UInt64?
  var attributes: [UInt8]?
  var attributesLength: UInt32?
  /// A link's target or a file's digest.
  var tail: [UInt8] = []

  static var directory: RawEntry { RawEntry(kind: 7, permissions: 0o755) }

  static func link(_ target: String) -> RawEntry {
    RawEntry(kind: 2, size: UInt64(target.utf8.count), tail: Array(target.utf8))
  }

  func bytes(named: Bool) -> [UInt8] {
    var buffer = ByteBuffer()
    buffer.append(kind)
    buffer.append(flags)
    buffer.append(permissions)
    buffer.append(UInt32(0))
    buffer.append(UInt32(0))
    buffer.append(seconds)
    buffer.append(nanoseconds)
    buffer.append(size)
    if named {
      buffer.append(nameLength ?? UInt8(name.count))
      buffer.append(name.span)
      if let group { buffer.append(group) }
    }
    if attributes != nil || attributesLength != nil {
      buffer.append(attributesLength ?? UInt32(attributes?.count ?? 0))
      let attributes = attributes ?? []
      buffer.append(attributes.span)
    }
    buffer.append(tail.span)
    return [UInt8](buffer.bytes)
  }
}

/// A directory's record as bytes.
struct RawRecord {
  struct Child {
    var name: [UInt8]
    var nameLength: UInt8?
    var subtree: Subtree
  }
  var own = RawEntry.directory
  var files: [RawEntry] = []
  var fileCount: UInt32?
  var children: [Child] = []
  var childCount: UInt32?
  var spare: [UInt8] = []
  var missing = 0
  var hintBytes: Int?
  var contentLength: UInt32?
  var hintLength: UInt32?

  var content: [UInt8] {
    var buffer = ByteBuffer()
    buffer.append(own.bytes(named: false).span)
    buffer.append(fileCount ?? UInt32(files.count))
    for file in files { buffer.append(file.bytes(named: true).span) }
    buffer.append(childCount ?? UInt32(children.count))
    for child in children {
      buffer.append(child.nameLength ?? UInt8(child.name.count))
      buffer.append(child.name.span)
      buffer.append(child.subtree.digest)
    }
    buffer.append(spare.span)
    return Array([UInt8](buffer.bytes).dropLast(missing))
  }

  var digest: Digest { content.withUnsafeBytes { SHA256().digest(of: $0) } }

  /// As it stands in a frame: lengths, content, hints.
  var bytes: [UInt8] {
    var buffer = ByteBuffer()
    let content = content
    var hints = ByteBuffer()
    for _ in 0...files.count { hints.append([UInt8](repeating: 0, count: RecordLayout.hintBytes).span) }
    for child in children {
      hints.append(child.subtree.place.frame)
      hints.append(child.subtree.place.offset)
      hints.append(child.subtree.totals.entries)
      hints.append(child.subtree.totals.bytes)
    }
    var hintContent = [UInt8](hints.bytes)
    if let hintBytes {
      hintContent = Array((hintContent + [UInt8](repeating: 0, count: max(0, hintBytes))).prefix(hintBytes))
    }
    buffer.append(contentLength ?? UInt32(content.count))
    buffer.append(hintLength ?? UInt32(hintContent.count))
    buffer.append(content.span)
    buffer.append(hintContent.span)
    return [UInt8](buffer.bytes)
  }
}

/// A catalog whose checksums are right and whose content is whatever a hostile peer likes.
struct HostileCatalog {
  /// Content of each frame.
  var frames: [[UInt8]]
  var root: Subtree
  var frameNumbers: [UInt32]?
  var frameCount: UInt32?
  var table: [UInt8]?
  var tableOffset: UInt64?
  /// Makes the trailer's content, given where the table is.
  var trailer: ((_ tableOffset: UInt64) -> [UInt8])?
  var trailerOffset: UInt64?
  /// Replaces the claimed size of the content in each frame's header, with a checksum that fits.
  var claimedSize: UInt32?

  init(_ record: RawRecord) {
    frames = [record.bytes]
    root = Subtree(
      digest: record.digest, place: Place(frame: 0, offset: 0), totals: Totals(entries: 1))
  }

  /// A tree of one child under a good root.
  init(child: RawRecord, place: Place = Place(frame: 0, offset: 0), digest: Digest? = nil) {
    let subtree = Subtree(digest: digest ?? child.digest, place: place, totals: Totals(entries: 1))
    self.init(RawRecord(children: [.init(name: name("d"), subtree: subtree)]))
    frames = [child.bytes, frames[0]]
    root.place = Place(frame: 1, offset: 0)
  }

  func file() throws -> MemoryCatalog {
    let file = MemoryCatalog()
    let writer = FrameWriter(sink: file)
    func encoded(_ number: UInt32, _ content: [UInt8], claim: UInt32? = nil) throws -> [UInt8] {
      var frame = try content.withUnsafeBytes { try writer.encode(number: number, content: $0) }
      guard let claim else { return frame }
      frame.replaceSubrange(8..<12, with: withUnsafeBytes(of: claim.littleEndian) { Array($0) })
      let hasher = SHA256()
      hasher.update(Array(frame[..<16]))
      hasher.update(Array(frame[Frame.headerBytes...]))
      frame.replaceSubrange(16..<32, with: hasher.finish().bytes[..<16])
      return frame
    }
    var offsets = ByteBuffer()
    for (index, content) in frames.enumerated() {
      offsets.append(file.byteCount)
      file.append(try encoded(frameNumbers?[index] ?? UInt32(index), content, claim: claimedSize))
    }
    let tableOffset = file.byteCount
    file.append(try encoded(Frame.tableNumber, table ?? [UInt8](offsets.bytes)))
    let trailerOffset = file.byteCount
    let trailer =
      trailer?(tableOffset)
      ?? CatalogSummary(root: root).encode(
        tableOffset: self.tableOffset ?? tableOffset,
        frameCount: frameCount ?? UInt32(frames.count))
    file.append(try encoded(Frame.trailerNumber, trailer))
    var footer = ByteBuffer()
    let magic = CatalogFormat.footerMagic
    footer.append(self.trailerOffset ?? trailerOffset)
    footer.append(magic.span)
    file.append([UInt8](footer.bytes))
    return file
  }
}
