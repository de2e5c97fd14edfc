internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// The files of a tree that becomes a snapshot, or a part of one, in place.
///
/// An inode that the base also has under the same path is already described. Every other inode is read and hashed
/// once. Nothing is changed.
final class PlacedFiles: Sendable {
  /// The snapshot whose inodes are known; `nil` for none.
  let base: StoredTree?
  /// The inodes with several names in this tree, and the number of these names.
  private let linkedInodes: [UInt64: Int]
  private let contents = LinkTable<UInt64, Content>()

  /// The content of an inode with several names, as it was read.
  private struct Content: Sendable {
    var status: FileStatus
    var digest: ContentDigest
  }

  /// The reason that an entry cannot be described, for a sentence that begins with its path.
  struct Trouble: Error {
    let words: String
  }

  static let tooManyAttributes = Trouble(words: "has more than 1 MiB of extended attributes")

  init(base: StoredTree?, linkedInodes: [UInt64: Int]) { (self.base, self.linkedInodes) = (base, linkedInodes) }

  /// True if the base has this inode at the same path, with the same description.
  func isSame(_ row: FileRow, accordingTo status: FileStatus) -> Bool {
    hasInode(of: row, status: status) && row.kind == status.kind
      && row.metadata == status.metadata && row.size == status.recordedSize
      && row.hints.flags.isDisjoint(with: [.notStored, .changedWhileRead]) && !row.hints.flags.isCatalogOnly
      && row.linkGroup == group(of: status)
  }

  /// True if the base's entry is this inode, and yet has another kind, size or other metadata: it was changed.
  func isChangedInPlace(_ row: FileRow, accordingTo status: FileStatus) -> Bool {
    hasInode(of: row, status: status) && row.hints.flags.isDisjoint(with: [.notStored, .timeNotStored])
      && !row.hints.flags.isCatalogOnly
      && (row.kind != status.kind || row.metadata != status.metadata || row.size != status.recordedSize)
  }

  private func hasInode(of row: FileRow, status: FileStatus) -> Bool {
    base?.inodeNumbersAreValid == true && row.hints.storedInode == status.inode
  }

  private func group(of status: FileStatus) -> UInt64? { linkedInodes[status.inode] != nil ? status.inode : nil }

  /// True if the inode has names outside this tree, and the base does not have it at this path.
  func isForeign(_ status: FileStatus, row: FileRow?) -> Bool {
    base?.inodeNumbersAreValid != false && status.linkCount > linkedInodes[status.inode] ?? 1
      && row?.hints.storedInode != status.inode
  }

  /// The hints of an entry. Its inode at the source is unknown, and so is the source's present content. A snapshot that
  /// walks the source therefore reads the file once.
  static func hints(storedInode: UInt64) -> Hints {
    Hints(sourceInode: 0, changed: Timestamp(seconds: 0, nanoseconds: 0), storedInode: storedInode, flags: .racy)
  }

  /// Describes an entry that the base does not have.
  func entry(
    named name: [UInt8], status: FileStatus, in directory: Directory, with reader: FileReader
  ) throws -> NewEntry {
    guard let kind = status.kind else { throw Trouble(words: "is of a kind that this system does not name") }
    var entry = NewEntry(kind: kind, metadata: status.metadata, hints: Self.hints(storedInode: status.inode))
    entry.linkGroup = group(of: status)
    entry.device = status.deviceNumber
    do throws(Errno) {
      if kind == .regular {
        let file = try directory.descriptor.openToRead(name.span)
        guard try file.status().isSameState(as: status) else { throw .staleHandle }
        entry.attributes = AttributeBlock(try file.extendedAttributes())
        entry.size = status.size
        entry.digest = try digest(of: file, status: status, with: reader)
      } else {
        if kind == .symbolicLink { entry.target = try directory.descriptor.readSymbolicLink(name.span) }
        let handle = try directory.descriptor.open(name.span, .pathOnly)
        entry.attributes = AttributeBlock(try handle.extendedAttributes(.handle))
      }
    } catch {
      if error == .interrupted { try checkForSignal() }
      throw Trouble(words: error == .staleHandle ? "changed while it was read" : "cannot be read: \(error)")
    }
    if entry.attributes.bytes.count > AttributeBlock.maximumBytes { throw Self.tooManyAttributes }
    return entry
  }

  private func digest(
    of file: borrowing Descriptor, status: FileStatus, with reader: FileReader
  ) throws(Errno) -> ContentDigest {
    if status.size == 0 { return .ofNothing }
    guard linkedInodes[status.inode] != nil else { return try read(contentOf: file, status: status, with: reader) }
    if let known = contents.begin(status.inode) {
      return known.status.isSameState(as: status)
        ? known.digest : try read(contentOf: file, status: status, with: reader)
    }
    var content: Content?
    defer { contents.finish(status.inode, storing: content) }
    let digest = try read(contentOf: file, status: status, with: reader)
    content = Content(status: status, digest: digest)
    return digest
  }

  private func read(
    contentOf file: borrowing Descriptor, status: FileStatus, with reader: FileReader
  ) throws(Errno) -> ContentDigest {
    do throws(CopyError) {
      let pass = try reader.hash(file, byteCount: status.size, hasHoles: status.hasHoles, elidingZeros: true)
      guard pass.byteCount == status.size, let after = try? file.status(), after.isSameState(as: status)
      else { throw CopyError.reading(.staleHandle) }
      return pass.digest
    } catch { throw error.errno }
  }
}
