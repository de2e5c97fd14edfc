internal import Catalog
internal import Model
internal import Posix

final class VerifyWorker {
  let reader: CatalogReader
  let files: FileReader
  var listing = DirectoryListing()
  init(reader: CatalogReader, files: FileReader) { (self.reader, self.files) = (reader, files) }
}

/// The work of a verification: in each directory, the merge of the names on disk with the catalog's.
final class VerifyWork: TreeWork {
  typealias State = VerifyEntry
  /// A file of this size is left to the next free thread, so that the large files of one directory are read at once.
  private static let largeBytes: UInt64 = 8 << 20

  private let snapshot: SnapshotName
  private let catalog: OpenCatalog
  private let shared: VerifyShared

  init(of snapshot: SnapshotName, catalog: OpenCatalog, shared: VerifyShared) {
    (self.snapshot, self.catalog, self.shared) = (snapshot, catalog, shared)
  }

  func makeWorker() throws -> VerifyWorker {
    VerifyWorker(
      reader: CatalogReader(reading: catalog),
      files: FileReader(for: .verifying, counting: shared.progress, limiter: shared.limiter))
  }

  func finish(with worker: VerifyWorker) throws {}

  func leave(_ node: Node, with worker: VerifyWorker) throws { node.stored = nil }

  private func found(at node: Node, name: some Sequence<UInt8>, message: String) {
    report(at: node.path + [Array(name)], message: message)
  }

  private func found(at node: Node, message: String) { report(at: node.path, message: message) }

  private func report(at path: TreePath, message: String, isDamage: Bool = true) {
    shared.found(
      Problem(
        snapshot: snapshot, path: path.atSource(label: catalog.summary.label), message: message, isDamage: isDamage,
        place: path))
  }

  /// Reports an entry that cannot be read.
  ///
  /// It counts as unverified, not damaged, if the user may not open it or the process cannot open it now.
  private func unreadable(at node: Node, because error: Errno, name: [UInt8]? = nil) {
    if error == .interrupted { return }  // The walk ends at the next entry.
    let isDamage = !error.leavesDataUnknown
    report(
      at: node.path + name,
      message: isDamage ? "cannot be read: \(error)" : "is not verified: \(error)", isDamage: isDamage)
  }

  func enter(_ node: Node, with worker: VerifyWorker) throws -> [Node] {
    switch node.subject {
    case .directory(let subtree): return try enter(node, subtree: subtree, with: worker)
    case .file(let row, let record):
      let parent = node.parent!
      check(row, in: parent, stored: parent.stored!, record: record, with: worker)
      return []
    }
  }

  private func enter(_ node: Node, subtree: Subtree, with worker: VerifyWorker) throws -> [Node] {
    let isInPart = shared.part.isWhole || shared.part.contains(path: node.path)
    if isInPart { shared.progress.entries.count() }
    if let parent = node.parent {
      let name = node.name
      do throws(Errno) { node.stored = try parent.stored!.directory(name.span) } catch {
        switch error {
        case .noSuchEntry: found(at: node, message: "the directory is missing, with everything below it")
        case .notADirectory, .symbolicLoop: found(at: node, message: "is no longer a directory")
        default: unreadable(at: node, because: error)
        }
        return []
      }
    }
    let stored = node.stored!
    let record: DirectoryRecord
    do { record = try worker.reader.record(at: subtree.place, for: subtree.digest) } catch {
      found(at: node, message: "its record in the catalog is damaged, so nothing below it is verified: \(error)")
      return []
    }
    // The entries below can be verified even if the directory itself cannot.
    do throws(Errno) {
      if isInPart, !record.isSynthetic { try checkDirectory(at: node, stored: stored, record: record) }
    } catch {
      unreadable(at: node, because: error)
    }
    // A directory of another part is not listed. Those of its files that are in the part are looked up by name.
    do throws(Errno) { if isInPart { try worker.listing.read(stored.descriptor) } } catch {
      unreadable(at: node, because: error)
      return []
    }
    do { return try merge(in: node, isListed: isInPart, stored: stored, record: record, with: worker) } catch let error
      as CatalogError
    {
      found(at: node, message: "its record in the catalog is damaged, so not all below it is verified: \(error)")
      return []
    }
  }

  /// Compares the directory's own metadata.
  private func checkDirectory(at node: Node, stored: Directory, record: DirectoryRecord) throws(Errno) {
    let status = try stored.descriptor.status()
    let attributes = AttributeBlock(try stored.descriptor.extendedAttributes())
    let differences = compare(
      status: status, attributes: attributes, metadata: record.metadata, expected: record.attributes,
      flags: record.hints.flags)
    if !differences.isEmpty { found(at: node, message: "its \(differences) changed") }
  }

  private func merge(
    in node: Node, isListed: Bool, stored: Directory, record: DirectoryRecord, with worker: VerifyWorker
  ) throws -> [Node] {
    var merge = try ListingMerge(isListed ? worker.listing : DirectoryListing(), with: record)
    var waiting: [FileRow] = []
    let large = try mergeEntries(of: &merge, in: node, isListed: isListed, record: record) { row in
      waiting.append(row)
      if waiting.count == StatusWindow.capacity {
        try verify(&waiting, in: node, stored: stored, record: record, with: worker)
      }
    }
    try verify(&waiting, in: node, stored: stored, record: record, with: worker)
    let names = worker.listing.bytes
    worker.listing.trim()
    return try large + mergeDirectories(of: &merge, in: node, names: names, record: record)
  }

  /// Reads the waiting files in the order of their inodes, which is about that of their contents on the disk.
  private func verify(
    _ waiting: inout [FileRow], in node: Node, stored: Directory, record: DirectoryRecord, with worker: VerifyWorker
  ) throws {
    waiting.sort { $0.hints.storedInode < $1.hints.storedInode }
    for row in waiting {
      try checkForSignal()
      check(row, in: node, stored: stored, record: record, with: worker)
    }
    waiting.removeAll(keepingCapacity: true)
  }

  /// Passes the entries to verify to `verify`, but returns the large files.
  private func mergeEntries(
    of merge: inout ListingMerge, in node: Node, isListed: Bool, record: DirectoryRecord,
    verify: (FileRow) throws -> Void
  ) throws -> [Node] {
    var large: [Node] = []
    while let pair = try merge.nextEntry() {
      try checkForSignal()
      let row: FileRow
      switch pair {
      case .left(let entry):
        merge.mergeAsDirectory(entry)
        continue
      case .right(let missing):
        if missing.hints.flags.contains(.notStored) { continue }
        if isListed { found(at: node, name: record.bytes[missing.name], message: "is missing") }
        if isListed || missing.kind != .regular { continue }
        row = missing
      case .both(_, let stored): row = stored
      }
      if row.kind == .regular, !shared.part.contains(prefix: row.digest.prefix) { continue }
      shared.progress.entries.count()
      if row.kind == .regular, row.size >= Self.largeBytes {
        let file = VerifyEntry(subject: .file(row, of: record))
        large.append(Node(parent: node, name: Array(record.bytes[row.name]), file))
      } else {
        try verify(row)
      }
    }
    return large
  }

  private func mergeDirectories(
    of merge: inout ListingMerge, in node: Node, names: [UInt8], record: DirectoryRecord
  ) throws -> [Node] {
    var children: [Node] = []
    while let pair = try merge.nextDirectory() {
      switch pair {
      case .left(let unknown): found(at: node, name: names[unknown.range], message: "is not in the catalog")
      case .right(let row), .both(_, let row):
        let subject = VerifyEntry.Subject.directory(Subtree(row))
        children.append(Node(parent: node, name: Array(record.bytes[row.name]), VerifyEntry(subject: subject)))
      }
    }
    return children
  }

  // MARK: One file

  private func check(
    _ row: FileRow, in node: Node, stored: Directory, record: DirectoryRecord, with worker: VerifyWorker
  ) {
    let name = Array(record.bytes[row.name])
    guard let status = status(of: name, in: node, stored: stored) else { return }
    guard let kind = status.kind, kind == row.kind else {
      found(at: node, name: name, message: "is now a \(status.kind?.word ?? "something else"), not a \(row.kind.word)")
      return
    }
    var problems: [String] = []
    var attributes = AttributeBlock.empty
    do throws(Errno) {
      switch kind {
      case .regular:
        let inode = try verified(named: name, status: status, row: row, stored: stored, with: worker)
        attributes = inode.attributes
        if status.size != row.size {
          problems.append("its size is \(status.size) and not \(row.size) bytes")
        } else {
          switch inode.content {
          case .success(let pass):
            if pass.digest != row.digest { problems.append("its bytes have changed") }
          case .failure(let error): problems.append("cannot be read: \(error)")
          }
        }
      case .symbolicLink:
        if try stored.descriptor.readSymbolicLink(name.span) != record.target(of: row) {
          problems.append("its target has changed")
        }
        attributes = try attributesByHandle(of: name, stored: stored)
      default:
        if kind == .characterDevice || kind == .blockDevice, status.deviceNumber != row.size {
          problems.append("its device number has changed")
        }
        attributes = try attributesByHandle(of: name, stored: stored)
      }
    } catch {
      unreadable(at: node, because: error, name: name)
      return
    }
    let differences = compare(
      status: status, attributes: attributes, metadata: row.metadata, expected: record.attributes(of: row),
      flags: row.hints.flags)
    if !differences.isEmpty { problems.append("its \(differences) changed") }
    if !problems.isEmpty { found(at: node, name: name, message: problems.joined(separator: "; ")) }
  }

  /// The status of an entry; `nil`, with a report, if there is none.
  private func status(of name: [UInt8], in node: Node, stored: Directory) -> FileStatus? {
    do throws(Errno) { return try stored.descriptor.status(of: name.span) } catch {
      if error == .noSuchEntry {
        found(at: node, name: name, message: "is missing")
      } else {
        unreadable(at: node, because: error, name: name)
      }
      return nil
    }
  }

  private func attributesByHandle(of name: [UInt8], stored: Directory) throws(Errno) -> AttributeBlock {
    let handle = try stored.descriptor.open(name.span, .pathOnly)
    return AttributeBlock(try handle.extendedAttributes(.handle))
  }

  /// Reads an inode, unless it was read under another of its names.
  private func verified(
    named name: [UInt8], status: FileStatus, row: FileRow, stored: Directory,
    with worker: VerifyWorker
  ) throws(Errno) -> VerifiedInode {
    let mayMeetAgain = status.linkCount > 1 && status.size == row.size && (shared.keepsLinked || row.linkGroup != nil)
    if !mayMeetAgain { return try read(named: name, row: row, stored: stored, with: worker) }
    let key = VerifiedContent(inode: status.inode, isSparse: row.digest.isSparse)
    if let known = shared.inodes.begin(key) { return known }
    do throws(Errno) {
      let inode = try read(named: name, row: row, stored: stored, with: worker)
      shared.inodes.finish(key, storing: inode)
      return inode
    } catch {
      shared.inodes.finish(key, storing: nil)
      throw error
    }
  }

  private func read(
    named name: [UInt8], row: FileRow, stored: Directory, with worker: VerifyWorker
  ) throws(Errno) -> VerifiedInode {
    let file = try stored.descriptor.openToRead(name.span)
    let status = try file.status()
    let attributes = AttributeBlock(try file.extendedAttributes())
    guard status.size > 0, status.size == row.size else {
      return VerifiedInode(content: .success(PassResult(digest: .ofNothing, byteCount: 0)), attributes: attributes)
    }
    shared.filesRead.count()
    do throws(CopyError) {
      let pass = try worker.files.hash(
        file, byteCount: status.size, hasHoles: status.hasHoles, elidingZeros: row.digest.isSparse)
      return VerifiedInode(content: .success(pass), attributes: attributes)
    } catch {
      if case .interrupted = error { throw .interrupted }
      return VerifiedInode(content: .failure(error.errno), attributes: attributes)
    }
  }

  /// The metadata that differ, in words. Metadata that were never stored are not expected.
  private func compare(
    status: FileStatus, attributes: AttributeBlock, metadata: Metadata,
    expected: AttributeBlock, flags: StorageFlags
  ) -> String {
    var words: [String] = []
    var mask: UInt16 = 0o7777
    if flags.contains(.ownerNotStored) {
      mask = 0o1777
    } else if status.user != metadata.user || status.group != metadata.group {
      words.append("owner")
    }
    if status.kind != .symbolicLink, !flags.contains(.modeNotStored),
      UInt16(truncatingIfNeeded: status.permissions) & mask != metadata.permissions & mask
    {
      words.append("mode")
    }
    if status.metadata.modified != metadata.modified, !flags.contains(.timeNotStored) { words.append("time") }
    if !flags.contains(.attributesNotStored), !attributes.isStored(as: expected) { words.append("extended attributes") }
    return words.joined(separator: ", ")
  }
}
