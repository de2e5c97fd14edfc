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
    (self.base, self.writer, self.reader) = (base, writer, reader)
  }
}

/// The work of an adoption: in each directory, the merge of the names on disk with the newest catalog's.
///
/// A tree that cannot be described as a whole is not adopted: the first error ends the walk.
final class AdoptWork: TreeWork {
  typealias State = AdoptDirectory
  private let adoption: Adoption
  private let files: PlacedFiles
  /// The mount that holds the whole tree.
  private let mount: UInt64
  private let progress: Progress

  init(_ adoption: Adoption, files: PlacedFiles, mount: UInt64, counting progress: Progress) {
    (self.adoption, self.files, self.mount, self.progress) = (adoption, files, mount, progress)
  }

  func makeWorker() throws -> AdoptWorker {
    AdoptWorker(
      base: files.base.map { CatalogReader(reading: $0.catalog) }, writer: FrameWriter(sink: adoption.sink),
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
    guard worker.listing.refusedNames == 0
    else { throw failure(at: node, name: nil, words: "has names longer than 255 bytes") }
    guard attributes.bytes.count <= AttributeBlock.maximumBytes
    else { throw failure(at: node, name: nil, words: PlacedFiles.tooManyAttributes.words) }
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
      if let record, let row, files.isSame(row, accordingTo: status) {
        encoder.append(row, of: record, hints: PlacedFiles.hints(storedInode: status.inode))
        continue
      }
      do {
        let entry = try files.entry(named: name, status: status, in: node.directory!, with: worker.reader)
        encoder.append(name.span, entry)
      } catch let trouble as PlacedFiles.Trouble { throw failure(at: node, name: name, words: trouble.words) }
    }
    while let pair = try merge.nextDirectory() {
      let (listed, row) = pair.sides
      guard let listed else { continue }
      let name = Array(worker.listing.bytes[listed.range])
      node.children.append(Node(parent: node, name: name, AdoptDirectory(base: row.map { Subtree($0) })))
    }
  }

  // MARK: Leaving a directory

  func leave(_ node: Node, with worker: AdoptWorker) throws {
    guard let encoder = node.encoder, let status = node.status, let directory = node.directory else { return }
    guard let now = try? directory.descriptor.status(), now.isSameState(as: status)
    else { throw failure(at: node, name: nil, words: "changed while it was read; is rsnapshot at work?") }
    for child in node.children {
      let name = child.name
      if let subtree = child.result { encoder.append(name.span, subtree) }
    }
    node.result = try encoder.finish(
      PlacedFiles.hints(storedInode: status.inode), blocks: status.blocks, into: worker.writer, hasher: worker.hasher)
    node.encoder = nil
    node.directory = nil
    node.children = []
  }
}
