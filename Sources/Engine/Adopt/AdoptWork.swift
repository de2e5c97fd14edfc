internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// A directory of a tree that is cataloged in place.
struct AdoptDirectory {
  /// The newest snapshot's directory at the same path.
  let base: Subtree?
  /// Open from `enter` to `leave`.
  var directory: Directory?
  var status: FileStatus?
  var encoder: RecordEncoder?
  /// Set by `leave`.
  var result: Subtree?
}

final class AdoptWorker {
  let base: CatalogReader?
  let writer: FrameWriter
  let reader: FileReader
  let hasher = SHA256()
  var listing = DirectoryListing()

  init(base: CatalogReader?, writer: FrameWriter, reader: FileReader) {
    self.base = base
    self.writer = writer
    self.reader = reader
  }
}

/// The content of an inode with several names, as it was read.
private struct Content: Sendable {
  var status: FileStatus
  var digest: ContentDigest
}

/// The work of an adoption: in each directory, the merge of the names on disk with the newest catalog's.
///
/// An inode that the newest snapshot also has is already described. Every other inode is read and hashed once.
/// Nothing is changed. A tree that cannot be described as a whole is not adopted: the first error ends the walk.
final class AdoptWork: TreeWork {
  typealias State = AdoptDirectory
  private let adoption: Adoption
  private let base: StoredTree?
  /// The inodes with several names in this tree.
  private let linkedInodes: Set<UInt64>
  /// The mount that holds the whole tree.
  private let mount: UInt64
  private let progress: Progress
  private let contents = LinkTable<UInt64, Content>()

  init(_ adoption: Adoption, base: StoredTree?, linkedInodes: Set<UInt64>, mount: UInt64, counting progress: Progress) {
    self.adoption = adoption
    self.base = base
    self.linkedInodes = linkedInodes
    self.mount = mount
    self.progress = progress
  }

  func makeWorker() throws -> AdoptWorker {
    AdoptWorker(
      base: base.map { CatalogReader(reading: $0.catalog) }, writer: FrameWriter(sink: adoption.sink),
      reader: FileReader(for: .verifying, counting: progress))
  }

  func finish(with worker: AdoptWorker) throws { try worker.writer.flush() }

  private func failure(at node: Node, name: [UInt8]?, words: String) -> Failure {
    Failure(.failed, "\((node.path + name).displayed) \(words)")
  }

  // MARK: Entering a directory

  func enter(_ node: Node, with worker: AdoptWorker) throws -> [Node] {
    progress.entries.count()
    progress.directories.count()
    let name = node.name
    let status: FileStatus
    let attributes: AttributeBlock
    do throws(Errno) {
      if let above = node.parent {
        node.directory = Directory(try above.directory!.descriptor.openDirectory(name.span))
      }
      status = try node.directory!.descriptor.status()
      attributes = AttributeBlock(try node.directory!.descriptor.extendedAttributes())
      try worker.listing.read(node.directory!.descriptor)
    } catch { throw failure(at: node, name: nil, words: "cannot be read: \(error)") }
    guard status.mount == mount else { throw failure(at: node, name: nil, words: "is a mount point; unmount it") }
    guard worker.listing.refusedNames == 0 else {
      throw failure(at: node, name: nil, words: "has names longer than 255 bytes")
    }
    guard attributes.bytes.count <= AttributeBlock.maximumBytes else { throw tooManyAttributes(at: node) }
    node.status = status
    let encoder = RecordEncoder()
    node.encoder = encoder
    encoder.begin(with: status.metadata, flags: node.parent == nil ? .synthetic : [], attributes: attributes)
    var record: DirectoryRecord?
    // If the newest catalog's record cannot be read, the files are only read again from the tree.
    if let base = node.base { record = try? worker.base?.record(at: base.place, for: base.digest) }
    try merge(in: node, record: record, encoder: encoder, with: worker)
    worker.listing.trim()
    return node.children
  }

  private func merge(in node: Node, record: DirectoryRecord?, encoder: RecordEncoder, with worker: AdoptWorker) throws {
    var merge = try ListingMerge(worker.listing, with: record)
    while let pair = try merge.nextEntry() {
      let (listed, row) = pair.sides
      guard let entry = listed else { continue }
      try checkForSignal()
      let name = Array(worker.listing.bytes[entry.range])
      if entry.isSurelyDirectory {
        merge.mergeAsDirectory(entry)
        continue
      }
      let status: FileStatus
      do throws(Errno) { status = try node.directory!.descriptor.status(of: name.span) } catch {
        throw failure(at: node, name: name, words: "cannot be read: \(error)")
      }
      if status.kind == .directory {
        merge.mergeAsDirectory(entry)
        continue
      }
      guard status.mount == mount else { throw failure(at: node, name: name, words: "is a mount point; unmount it") }
      progress.entries.count()
      progress.files.count()
      if encoder.isFull { throw failure(at: node, name: nil, words: "has more than a record can hold") }
      if let record, let row, isSame(row, status: status) {
        encoder.append(row, of: record, hints: hints(of: status))
      } else {
        encoder.append(name.span, try entryOf(named: name, status: status, in: node, with: worker))
      }
    }
    while let pair = try merge.nextDirectory() {
      let (listed, row) = pair.sides
      guard let listed else { continue }
      let name = Array(worker.listing.bytes[listed.range])
      node.children.append(Node(parent: node, name: name, AdoptDirectory(base: row.map { Subtree($0) })))
    }
  }

  /// True if the newest snapshot has this inode at the same path, with the same description.
  private func isSame(_ row: FileRow, status: FileStatus) -> Bool {
    base!.inodeNumbersAreValid && row.hints.storedInode == status.inode && row.kind == status.kind
      && row.metadata == status.metadata && row.size == status.recordedSize
      && row.hints.flags.isDisjoint(with: [.notStored, .changedWhileRead]) && !row.hints.flags.isCatalogOnly
      && row.linkGroup == group(of: status)
  }

  private func group(of status: FileStatus) -> UInt64? { linkedInodes.contains(status.inode) ? status.inode : nil }

  /// The hints of an adopted entry. Its inode at the source is unknown, and so is the source's present content. The
  /// next snapshot therefore reads the file once.
  private func hints(of status: FileStatus) -> Hints {
    Hints(sourceInode: 0, changed: Timestamp(seconds: 0, nanoseconds: 0), storedInode: status.inode, flags: .racy)
  }

  private func tooManyAttributes(at node: Node, name: [UInt8]? = nil) -> Failure {
    failure(at: node, name: name, words: "has more than 1 MiB of extended attributes")
  }

  private func entryOf(
    named name: [UInt8], status: FileStatus, in node: Node, with worker: AdoptWorker
  ) throws -> NewEntry {
    guard let kind = status.kind else {
      throw failure(at: node, name: name, words: "is of a kind that this system does not name")
    }
    var entry = NewEntry(kind: kind, metadata: status.metadata, hints: hints(of: status))
    entry.linkGroup = group(of: status)
    entry.device = status.deviceNumber
    let directory = node.directory!
    do throws(Errno) {
      if kind == .regular {
        let file = try directory.descriptor.openToRead(name.span)
        guard try file.status().isSameState(as: status) else { throw .staleHandle }
        entry.attributes = AttributeBlock(try file.extendedAttributes())
        entry.size = status.size
        entry.digest = try digest(of: file, status: status, with: worker)
      } else {
        if kind == .symbolicLink { entry.target = try directory.descriptor.readSymbolicLink(name.span) }
        let handle = try directory.descriptor.open(name.span, .pathOnly)
        entry.attributes = AttributeBlock(try handle.extendedAttributes(.handle))
      }
    } catch {
      if error == .interrupted { try checkForSignal() }
      throw failure(
        at: node, name: name, words: error == .staleHandle ? "changed while it was read" : "cannot be read: \(error)")
    }
    if entry.attributes.bytes.count > AttributeBlock.maximumBytes { throw tooManyAttributes(at: node, name: name) }
    return entry
  }

  private func digest(
    of file: borrowing Descriptor, status: FileStatus, with worker: AdoptWorker
  ) throws(Errno) -> ContentDigest {
    if status.size == 0 { return .ofNothing }
    guard linkedInodes.contains(status.inode) else { return try read(contentOf: file, status: status, with: worker) }
    if let known = contents.begin(status.inode) {
      return known.status.isSameState(as: status)
        ? known.digest : try read(contentOf: file, status: status, with: worker)
    }
    var content: Content?
    defer { contents.finish(status.inode, storing: content) }
    let digest = try read(contentOf: file, status: status, with: worker)
    content = Content(status: status, digest: digest)
    return digest
  }

  private func read(
    contentOf file: borrowing Descriptor, status: FileStatus, with worker: AdoptWorker
  ) throws(Errno) -> ContentDigest {
    do throws(CopyError) {
      let pass = try worker.reader.hash(file, byteCount: status.size, hasHoles: status.hasHoles, elidingZeros: true)
      guard pass.byteCount == status.size, let after = try? file.status(), after.isSameState(as: status) else {
        throw CopyError.reading(.staleHandle)
      }
      return pass.digest
    } catch { throw error.errno }
  }

  // MARK: Leaving a directory

  func leave(_ node: Node, with worker: AdoptWorker) throws {
    guard let encoder = node.encoder, let status = node.status, let directory = node.directory else { return }
    guard let now = try? directory.descriptor.status(), now.isSameState(as: status) else {
      throw failure(at: node, name: nil, words: "changed while it was read; is rsnapshot at work?")
    }
    for child in node.children {
      let name = child.name
      if let subtree = child.result { encoder.append(name.span, subtree) }
    }
    node.result = try encoder.finish(
      hints(of: status), blocks: status.blocks, into: worker.writer, hasher: worker.hasher)
    node.encoder = nil
    node.directory = nil
    node.children = []
  }
}
