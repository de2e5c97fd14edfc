internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// A dump in one attempt to take a snapshot, and the files of its newest stored version by their content.
final class DumpedTree: Sendable {
  let dump: Dump
  let base: SourceBase?
  /// True if the stored version is known to be damaged. Then nothing of it is linked.
  private let isDamaged: Bool
  private let owner: (user: UInt32, group: UInt32)

  /// The content of a regular file.
  private struct Content: Hashable {
    var byteCount: UInt64
    var digest: ContentDigest
  }

  /// The stored version's names of each content, without those that this attempt has linked.
  private struct Contents {
    var places: [Content: [TreePath]] = [:]
    var sizes: Set<UInt64> = []
  }

  /// `nil` until the first file needs it.
  private let contents = Mutex<Contents?>(nil)

  init(of dump: Dump, comparedWith base: SourceBase?, in repository: Repository) {
    self.dump = dump
    self.base = base.flatMap { $0.tree.isUnfinished ? nil : $0 }
    isDamaged = base.map { repository.marks.contains(.damaged, on: $0.tree.name) } ?? false
    owner = repository.ownerNumbers
  }

  /// The directories that the stored version has and the new dump lacks: of a server's dump, its lost databases.
  func lostDirectories() throws -> [[UInt8]] {
    guard let base else { return [] }
    let record = try CatalogReader(reading: base.tree.catalog).record(at: base.subtree.place, for: base.subtree.digest)
    let present = Set(try Directory(Descriptor.open(path: dump.directory, [.read, .directory])).names())
    return try record.directories().map { Array(record.bytes[$0.name]) }.filter { !present.contains($0) }
  }

  /// The refusal of a dump with an entry that cannot be stored: a dump is whole, or not in the snapshot.
  func refusal(at path: [UInt8]) -> SourceRefusal {
    SourceRefusal(
      path: dump.record.source,
      failure: Failure(
        .failed, "\(displayName(path)) could not be stored", path: path, hint: "the reason is the warning before"))
  }

  // MARK: Metadata

  /// The metadata of a file of the dump. Only its time is its own.
  func metadata(of status: FileStatus) -> Metadata { metadata(permissions: 0o600, modified: status.modified) }

  func directoryMetadata(of status: FileStatus) -> Metadata { metadata(permissions: 0o700, modified: status.modified) }

  private func metadata(permissions: UInt16, modified: Timestamp) -> Metadata {
    Metadata(permissions: permissions, user: owner.user, group: owner.group, modified: modified)
  }

  /// The hints of an entry. No later run may trust an inode of a dump: its content alone is compared.
  static func hints(storedInode: UInt64, flags: StorageFlags) -> Hints {
    var hints = Hints.none
    hints.storedInode = storedInode
    hints.flags = flags.union(.racy)
    return hints
  }

  // MARK: Stored contents

  /// True if a stored file has this size.
  func mayHaveContent(byteCount: UInt64, by finder: StoredFinder) throws -> Bool {
    try withContents(by: finder) { $0.sizes.contains(byteCount) }
  }

  /// A stored file with this content, which no other file of the attempt gets; one at the wanted path is preferred.
  func takeFile(_ pass: PassResult, wanted path: TreePath, by finder: StoredFinder) throws -> StoredFile? {
    let content = Content(byteCount: pass.byteCount, digest: pass.digest)
    let place = try withContents(by: finder) { contents -> TreePath? in
      guard let places = contents.places[content], !places.isEmpty else { return nil }
      let index = places.firstIndex(of: path) ?? places.count - 1
      return contents.places[content]!.remove(at: index)
    }
    guard let place, let base, case .file(let row, let record)? = try finder.reader(of: base.tree)?.find(place)
    else { return nil }
    return StoredFile(
      row: row, record: record, directory: try? base.tree.root?.directory(path: place.dropLast()), tree: base.tree,
      isFoundByInode: false)
  }

  private func withContents<R>(by finder: StoredFinder, body: (inout Contents) throws -> R) throws -> R {
    try contents.withLock { contents in
      if contents == nil {
        // A damaged catalog is read once, and costs copies.
        contents = Contents()
        var found = Contents()
        if let base, !isDamaged, let reader = finder.reader(of: base.tree) {
          try read(base, with: reader, into: &found)
        }
        contents = found
      }
      return try body(&contents!)
    }
  }

  private func read(_ base: SourceBase, with reader: CatalogReader, into contents: inout Contents) throws {
    var waiting = [(path: base.place, subtree: base.subtree)]
    while let (path, subtree) = waiting.popLast() {
      let record = try reader.record(at: subtree.place, for: subtree.digest)
      var position = record.firstFile
      while let row = try record.nextFile(at: &position) {
        guard isUsable(row) else { continue }
        let content = Content(byteCount: row.size, digest: row.digest)
        contents.places[content, default: []].append(path + record.bytes[row.name])
        contents.sizes.insert(row.size)
      }
      waiting += try record.directories(after: position).map { (path + record.bytes[$0.name], Subtree($0)) }
    }
  }

  /// True for a file that was stored with the metadata that it would get now, and surely whole.
  private func isUsable(_ row: FileRow) -> Bool {
    row.kind == .regular && row.linkGroup == nil
      && row.metadata == metadata(permissions: 0o600, modified: row.metadata.modified)
      && row.hints.flags.isDisjoint(with: [.notStored, .changedWhileRead])
  }
}

extension StoredFile {
  /// True if the stored inode still has the size and the time of the catalog. A file system may round the time.
  fileprivate var seemsWhole: Bool {
    guard let status = try? directory?.descriptor.status(of: name.span) else { return false }
    return status.kind == .regular && status.size == row.size
      && status.modified.seconds == row.metadata.modified.seconds
  }
}

extension SnapshotWork {
  /// Takes a directory of a dump over, so that only the repository's owner can change it from now on.
  ///
  /// Without that its files are copied: an inode that others can change must not become a stored one.
  func takeOver(_ node: SnapshotNode) {
    guard let dump = node.dump, let status = node.sourceStatus, let source = node.source else { return }
    let metadata = dump.directoryMetadata(of: status)
    node.build.metadata = metadata
    node.build.hints = DumpedTree.hints(storedInode: 0, flags: [])
    guard builder != nil, status.device == context.repository.identity.device else { return }
    node.isTakenOver = (try? source.descriptor.giveAlone(to: metadata, currently: status)) != nil
  }
}

extension Descriptor {
  /// Gives an inode the owner and the permissions, if it has others.
  fileprivate borrowing func giveAlone(to metadata: Metadata, currently status: FileStatus) throws(Errno) {
    if status.user != metadata.user || status.group != metadata.group {
      try setOwner(user: metadata.user, group: metadata.group)
    }
    if status.permissions != UInt32(metadata.permissions) { try setPermissions(UInt32(metadata.permissions)) }
  }
}

// The files of a dump.
extension FileStorer {
  /// Links a stored file with the same content, or moves the dump's own file in; `nil` if the file must be copied.
  ///
  /// `before` is the stored file of the same path.
  func takeIn(_ file: inout SourceFile, of tree: DumpedTree, comparedWith before: StoredFile?) throws -> NewEntry? {
    // The change of the mode would change an ACL that was read before.
    let isMovable = node.isTakenOver && file.attributes.isEmpty && takeOver(&file, of: tree)
    do {
      guard try isMovable || tree.mayHaveContent(byteCount: file.status.size, by: finder) else { return nil }
      let status = file.status
      let pass = try reader.hash(file.descriptor, byteCount: status.size, hasHoles: status.hasHoles, elidingZeros: true)
      if pass.byteCount == status.size, try file.descriptor.status().isSameState(as: status) {
        if let entry = try linkStored(pass, for: file, of: tree) { return entry }
        if isMovable, !mayShareBlocks(file, with: before, in: tree),
          let entry = try move(file, pass: pass, of: tree)
        {
          return entry
        }
      }
    } catch let error as CatalogError {
      builder.context.warn(
        at: node.sourcePath, "the previous catalog is damaged here, so the dump is stored anew: \(error)")
    } catch is CopyError, is Errno {
      // The copy reads the file again and reports the error.
    }
    try? file.descriptor.seek(to: 0)
    return nil
  }

  /// True if the copy of a changed file takes less space than the file itself.
  private func mayShareBlocks(_ file: borrowing SourceFile, with before: StoredFile?, in tree: DumpedTree) -> Bool {
    tree.dump.changesInPlace && builder.context.capabilities.reflinks
      && before?.row.isWorthCloning(for: file.status) == true
  }

  /// The fresh file is whole, so it is better than a stored one that is not what its catalog says.
  private func linkStored(_ pass: PassResult, for file: borrowing SourceFile, of tree: DumpedTree) throws -> NewEntry? {
    guard let stored = try tree.takeFile(pass, wanted: node.path + file.name, by: finder), stored.seemsWhole,
      stored.record.attributes(of: stored.row) == file.attributes,
      !stored.row.hints.flags.isWorthRetrying(asRoot: builder.context.isRoot),
      let inode = try work.link(stored, for: file.status, in: node, as: file.name)
    else { return nil }
    var entry = NewEntry(stored.row, of: stored.record)
    entry.hints = DumpedTree.hints(storedInode: inode, flags: stored.row.hints.flags)
    return entry
  }

  /// Makes a file of a dump the repository's own; false if others may still change it.
  ///
  /// A process may have it open for writing, and another name may be in the reach of its owner. The order matters:
  /// no process can open the file any more once the directory and the file are taken over.
  private func takeOver(_ file: inout SourceFile, of tree: DumpedTree) -> Bool {
    let inode = file.status.inode
    let isMovedBefore = tree.dump.movedInodes.withLock { $0.contains(inode) }
    guard file.status.linkCount == 1 || isMovedBefore else { return false }
    do throws(Errno) {
      try file.descriptor.giveAlone(to: file.metadata, currently: file.status)
      if try file.descriptor.isOpenForWriting() { return false }
      file.status = try file.descriptor.status()
      return file.status.linkCount == 1 || isMovedBefore
    } catch { return false }
  }

  /// Makes the dump's own inode the stored one.
  private func move(_ file: borrowing SourceFile, pass: PassResult, of tree: DumpedTree) throws -> NewEntry? {
    try file.descriptor.synchronize()
    let (name, status) = (file.name, file.status)
    let path = node.sourcePath(of: name)
    guard status.metadata == file.metadata,
      try builder.linked(from: node.source!.descriptor, name: name.span, inode: 0, in: node, as: name.span)
    else { return nil }
    let target = node.build.target!
    guard try target.descriptor.status(of: name.span).isSameInode(as: status) else {
      try target.descriptor.unlink(name.span)
      throw Failure(.failed, "\(displayName(path)) was replaced while the snapshot was taken", path: path)
    }
    tree.dump.movedInodes.withLock { _ = $0.insert(status.inode) }
    builder.context.progress.copied.count()
    builder.context.progress.bytesCopied.count(min(status.size, status.blocks &* 512))
    return file.entry(pass, storedInode: status.inode, flags: [])
  }
}
