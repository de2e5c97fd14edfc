public import Model

/// The limits on which writer and reader agree; the reader refuses a catalog beyond them.
enum RecordLimit {
  /// Bytes of one directory's record: about eight million files in one directory.
  static let recordBytes = 1 << 30
  static let targetBytes = 1 << 16
}

/// Sizes of the fixed parts; `man/treering-catalog.5` describes them.
enum RecordLayout {
  /// kind, flags, permissions, user, group, mtime, size or device
  static let metadataBytes = 32
  /// source inode, ctime, stored inode, flags
  static let hintBytes = 32
  /// frame, offset, entries, bytes
  static let childHintBytes = 24
}

/// One non-directory entry on its way into a record.
public struct NewEntry: Sendable {
  public var kind: EntryKind
  public var metadata: Metadata
  /// Bytes of a regular file.
  public var size: UInt64 = 0
  /// For a device node: major number in the upper half, minor in the lower.
  public var device: UInt64 = 0
  /// Digest of a regular file's content.
  public var digest = ContentDigest.ofNothing
  /// Target of a symbolic link.
  public var target: [UInt8] = []
  public var attributes = AttributeBlock.empty
  /// Equal for all names of one source inode in this snapshot; `nil` for a file with a single link.
  public var linkGroup: UInt64?
  public var hints: Hints

  public init(kind: EntryKind, metadata: Metadata, hints: Hints) {
    (self.kind, self.metadata, self.hints) = (kind, metadata, hints)
  }

  /// Copies an entry of an earlier catalog, without its name.
  public init(_ file: FileRow, of record: DirectoryRecord) {
    self.init(kind: file.kind, metadata: file.metadata, hints: file.hints)
    if file.kind == .characterDevice || file.kind == .blockDevice { device = file.size }
    if file.kind == .regular { size = file.size }
    digest = file.digest
    target = record.target(of: file)
    attributes = record.attributes(of: file)
    linkGroup = file.linkGroup
  }
}

/// Builds the record of one directory: its own metadata, then its files, then its sub-directories. Names ascend by
/// bytes in both lists. Reusable.
public final class RecordEncoder {
  private var content = ByteBuffer(capacity: 4096)
  private var fileHints = ByteBuffer(capacity: 4096)
  private var directoryHint = ByteBuffer(capacity: RecordLayout.hintBytes)
  private var children = ByteBuffer(capacity: 256)
  private var childHints = ByteBuffer(capacity: 256)
  private var fileCountOffset = 0
  private var fileCount: UInt32 = 0
  private var childCount: UInt32 = 0
  private var hasTooMuch = false
  /// The totals of the subtree so far, the directory itself included.
  public private(set) var totals = Totals()
  /// The sums of the subtree so far; `nil` if those of a sub-directory are unknown.
  private var stored: StoredSums?

  public init() {}

  /// True if the record might not have room for another entry.
  public var isFull: Bool {
    content.count + fileHints.count + children.count + childHints.count
      > RecordLimit.recordBytes - 2 * AttributeBlock.maximumBytes
  }

  /// True if the memory is too large to keep for the next directory.
  public var isOversized: Bool { content.capacity + fileHints.capacity > 4 << 20 }

  /// Starts the record of a directory.
  public func begin(with metadata: Metadata, flags: EntryFlags, attributes: AttributeBlock) {
    content.removeAll()
    fileHints.removeAll()
    directoryHint.removeAll()
    children.removeAll()
    childHints.removeAll()
    fileCount = 0
    childCount = 0
    hasTooMuch = false
    totals = Totals(entries: 1)
    stored = StoredSums()
    appendMetadata(
      .directory, flags: flags.union(attributes.isEmpty ? [] : .hasAttributes), metadata: metadata, size: 0)
    appendAttributes(attributes)
    fileCountOffset = content.count
    content.append(UInt32(0))
  }

  private func appendMetadata(_ kind: EntryKind, flags: EntryFlags, metadata: Metadata, size: UInt64) {
    content.append(kind.rawValue)
    content.append(flags.rawValue)
    content.append(metadata.permissions)
    content.append(metadata.user)
    content.append(metadata.group)
    content.append(metadata.modified)
    content.append(size)
  }

  private func appendAttributes(_ attributes: AttributeBlock) {
    guard !attributes.isEmpty else { return }
    if attributes.bytes.count > AttributeBlock.maximumBytes { hasTooMuch = true }
    content.append(UInt32(attributes.bytes.count))
    content.append(attributes.bytes.span)
  }

  static func append(_ hints: Hints, to buffer: inout ByteBuffer) {
    buffer.append(hints.sourceInode)
    buffer.append(hints.changed)
    buffer.append(hints.storedInode)
    buffer.append(hints.flags.rawValue)
  }

  private func appendFileHints(_ hints: Hints) {
    Self.append(hints, to: &fileHints)
    stored?.names &+= StoredSums.mixed(hints.storedInode)
    fileCount += 1
  }

  /// Adds a file, link or node; names must come in ascending order.
  public func append(_ name: Span<UInt8>, _ entry: NewEntry) {
    var flags: EntryFlags = entry.attributes.isEmpty ? [] : .hasAttributes
    if entry.linkGroup != nil { flags.insert(.hardLinked) }
    if entry.kind == .regular, entry.size > 0 {
      switch entry.digest.form {
      case .plain: break
      case .sparse: flags.insert(.sparseDigest)
      case .chunks: flags.insert(.chunksDigest)
      }
    }
    let size =
      switch entry.kind {
      case .regular: entry.size
      case .symbolicLink: UInt64(entry.target.count)
      case .characterDevice, .blockDevice: entry.device
      default: UInt64(0)
      }
    appendMetadata(entry.kind, flags: flags, metadata: entry.metadata, size: size)
    content.append(UInt8(name.count))
    content.append(name)
    if let group = entry.linkGroup { content.append(group) }
    appendAttributes(entry.attributes)
    if entry.kind == .symbolicLink { content.append(entry.target.span) }
    if entry.kind == .regular && entry.size > 0 { content.append(entry.digest.digest) }
    appendFileHints(entry.hints)
    totals += Totals(entries: 1, bytes: entry.kind == .regular ? entry.size : 0)
  }

  /// Adds an entry equal to one of an earlier catalog, with hints of its own.
  public func append(_ file: FileRow, of record: DirectoryRecord, hints: Hints) {
    record.withUnsafeBytes { content.append(UnsafeRawBufferPointer(rebasing: $0[file.content])) }
    appendFileHints(hints)
    totals += Totals(entries: 1, bytes: file.kind == .regular ? file.size : 0)
  }

  /// Adds a finished sub-directory; names must come in ascending order.
  public func append(_ name: Span<UInt8>, _ subtree: Subtree) {
    children.append(UInt8(name.count))
    children.append(name)
    children.append(subtree.digest)
    childHints.append(subtree.place.frame)
    childHints.append(subtree.place.offset)
    childHints.append(subtree.totals.entries)
    childHints.append(subtree.totals.bytes)
    childCount += 1
    totals += subtree.totals
    if let below = subtree.stored {
      stored?.names &+= below.names
      stored?.directoryBlocks &+= below.directoryBlocks
    } else {
      stored = nil
    }
  }

  /// Closes the record and writes it into `frame`. `hints` are the directory's own; the digest covers the content and
  /// no hints. `blocks` is the space of the stored directory, in units of 512 bytes.
  public func finish(_ hints: Hints, blocks: UInt64, into frame: FrameWriter, hasher: SHA256) throws -> Subtree {
    stored?.directoryBlocks &+= blocks
    Self.append(hints, to: &directoryHint)
    content.overwrite(with: fileCount, at: fileCountOffset)
    content.append(childCount)
    content.append(children.bytes)
    let digest = hasher.digest(of: content.bytes)
    let hintCount = directoryHint.count + fileHints.count + childHints.count
    guard content.count + hintCount + 8 <= RecordLimit.recordBytes, !hasTooMuch
    else { throw CatalogError("a directory has more than one record can hold") }
    let place = try frame.append(content.bytes, hints: directoryHint.bytes, and: fileHints.bytes, and: childHints.bytes)
    return Subtree(digest: digest, place: place, totals: totals, stored: stored)
  }
}

/// Extended attributes in the catalog's form, sorted by name. ACLs are attributes.
///
/// An attribute has its name's length (one byte), its name, its value's length (four bytes), and its value.
public struct AttributeBlock: Sendable, Equatable {
  public let bytes: [UInt8]
  public static let empty = AttributeBlock(bytes: [])
  /// The most bytes of attributes that one entry may have; a catalog that claims more is refused.
  public static let maximumBytes = 1 << 20

  public var isEmpty: Bool { bytes.isEmpty }

  init(bytes: [UInt8]) { self.bytes = bytes }

  public init(_ attributes: some Sequence<(name: [UInt8], value: [UInt8])>) {
    var buffer = ByteBuffer(capacity: 64)
    for (name, value) in attributes.sorted(by: { $0.name.lexicographicallyPrecedes($1.name) }) {
      precondition(name.count <= 255)
      buffer.append(UInt8(name.count))
      buffer.append(name.span)
      buffer.append(UInt32(value.count))
      buffer.append(value.span)
    }
    bytes = [UInt8](buffer.bytes)
  }

  /// Name and value of each attribute.
  public func decoded() throws(CatalogError) -> [(name: [UInt8], value: [UInt8])] {
    try bytes.reading { raw throws(CatalogError) in
      var result: [(name: [UInt8], value: [UInt8])] = []
      var cursor = ByteCursor(raw, in: 0..<raw.count)
      while cursor.left > 0 {
        let name = try cursor.take(Int(try cursor.integer(UInt8.self)))
        let value = try cursor.take(Int(try cursor.integer(UInt32.self)))
        guard !name.isEmpty, !raw[name].contains(0)
        else { throw CatalogError("an extended attribute has an impossible name") }
        result.append((Array(raw[name]), Array(raw[value])))
      }
      return result
    }
  }
}
