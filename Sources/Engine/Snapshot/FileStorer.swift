internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// Stores one regular file that is new, changed, or not known to be unchanged.
struct FileStorer {
  private let work: SnapshotWork
  private let node: SnapshotNode
  private let worker: SnapshotWorker
  private let moment: Timestamp

  /// The pauses before each new attempt to read a file that changed while it was read.
  private static let pausesMilliseconds = [0, 5, 20, 80, 250]

  init(
    _ work: SnapshotWork, _ node: SnapshotNode, _ worker: SnapshotWorker, _ moment: Timestamp
  ) {
    self.work = work
    self.node = node
    self.worker = worker
    self.moment = moment
  }

  func store(_ name: [UInt8], _ seen: FileStatus, _ before: StoredFile?) throws -> NewEntry? {
    let file: Descriptor
    do throws(Errno) { file = try node.source!.descriptor.openToRead(name.span) } catch {
      switch error {
      case .noSuchEntry: work.progress.vanished.count()
      case .symbolicLoop, .noDevice, .notADirectory: warnReplaced(name)
      case .wouldBlock:
        work.warn(node.sourcePath(of: name), "cannot be read: another process holds a lease on it, and keeps it")
      default: try work.readingFailed(node.sourcePath(of: name), error)
      }
      return nil
    }
    let status: FileStatus
    do throws(Errno) { status = try file.status() } catch {
      try work.readingFailed(node.sourcePath(of: name), error)
      return nil
    }
    guard status.kind == .regular else {
      warnReplaced(name)
      return nil
    }
    var flags: StorageFlags = status.isRacy(since: moment, on: node.identity) ? .racy : []
    let attributes = try work.attributes(of: file, .descriptor, flags: &flags) {
      node.sourcePath(of: name)
    }
    if let before, let entry = try reuse(file, name, status, attributes, before, flags) {
      return entry
    }
    return try copy(file, name, status, attributes, before, flags)
  }

  private func warnReplaced(_ name: [UInt8]) {
    work.warn(node.sourcePath(of: name), "was replaced by something else while it was opened")
  }

  private func entry(
    _ status: FileStatus, _ attributes: AttributeBlock, _ pass: PassResult, storedInode: UInt64,
    _ flags: StorageFlags
  ) -> NewEntry {
    var entry = NewEntry(
      kind: .regular, metadata: status.metadata,
      hints: Hints(
        sourceInode: status.inode, changed: status.changed, storedInode: storedInode,
        flags: flags))
    entry.size = pass.byteCount
    entry.digest = pass.digest
    entry.attributes = attributes
    return entry
  }

  // MARK: The content is stored already

  /// Reads a file whose content may be stored already, and writes no content.
  ///
  /// If the content is stored, the stored file is linked. If the metadata differ, a new inode shares its blocks, on a
  /// file system that can do so.
  private func reuse(
    _ file: borrowing Descriptor, _ name: [UInt8], _ status: FileStatus,
    _ attributes: AttributeBlock, _ before: StoredFile, _ flags: StorageFlags
  ) throws -> NewEntry? {
    let row = before.row
    guard row.kind == .regular, row.size == status.size, !row.hints.flags.contains(.notStored) else {
      return nil
    }
    let mayLink =
      row.metadata == status.metadata && before.record.attributes(of: before.row) == attributes
      && row.mayStandFor(status) && !row.hints.flags.isWorthRetrying(asRoot: work.isRoot)
    // Another mtime almost always means another content: then one read is better than two.
    let mayClone =
      work.capabilities.reflinks && row.size > 0 && row.metadata.modified == status.modified
    guard mayLink || mayClone else { return nil }
    let pass: PassResult
    do throws(CopyError) {
      pass = try worker.reader.hash(
        file, byteCount: status.size, hasHoles: status.hasHoles, elidingZeros: row.digest.isSparse)
    } catch {
      // The copy reads the file again and reports the error.
      try? file.seek(to: 0)
      return nil
    }
    if pass.byteCount == row.size, pass.digest == row.digest,
      let after = try? file.status(), after.isSameState(as: status)
    {
      if mayLink, let inode = try work.link(before, status, in: node, as: name) {
        let kept: StorageFlags = [
          .ownerNotStored, .attributesNotStored, .refusedToRoot, .timeNotStored, .modeNotStored,
        ]
        return entry(
          status, attributes, pass, storedInode: inode,
          row.hints.flags.intersection(kept).union(flags))
      }
      if mayClone, let entry = try clone(name, status, attributes, before, pass, flags) { return entry }
    }
    try? file.seek(to: 0)
    return nil
  }

  /// Makes a new inode with the blocks of the stored file and the metadata of the source's file.
  private func clone(
    _ name: [UInt8], _ status: FileStatus, _ attributes: AttributeBlock, _ before: StoredFile,
    _ pass: PassResult, _ flags: StorageFlags
  ) throws -> NewEntry? {
    guard let old = openOld(before) else { return nil }
    guard let target = try makeTarget(name, status, attributes) else { return nil }
    do throws(Errno) { try target.clone(old.file) } catch {
      try removeTarget(name)
      if error.endsRun { throw Failure.writing("share the blocks of", at: node.sourcePath(of: name), because: error) }
      return nil
    }
    work.progress.cloned.count()
    return try finish(target, name, status, attributes, pass, flags)
  }

  // MARK: Copying

  private func makeTarget(
    _ name: [UInt8], _ status: FileStatus, _ attributes: AttributeBlock
  ) throws -> Descriptor? {
    // The mode of a file without extras is right from the start. The umask is 0, and no other user can get here.
    let isPlain = attributes.isEmpty && status.permissions & 0o7000 == 0
    try node.makeRoom()
    do throws(Errno) {
      return try node.build.target!.descriptor.open(
        name.span, [.write, .create, .exclusive], mode: isPlain ? status.permissions : 0o600)
    } catch {
      try work.storingFailed("make a copy of", node.sourcePath(of: name), error, isName: true)
      return nil
    }
  }

  private func removeTarget(_ name: [UInt8]) throws(Failure) {
    do throws(Errno) { try node.build.target!.descriptor.unlink(name.span) } catch {
      throw Failure.writing("remove the unfinished copy of", at: node.sourcePath(of: name), because: error)
    }
  }

  private func finish(
    _ target: consuming Descriptor, _ name: [UInt8], _ status: FileStatus,
    _ attributes: AttributeBlock, _ pass: PassResult, _ flags: StorageFlags
  ) throws -> NewEntry? {
    do throws(Errno) {
      let made = try target.status()
      let missing = try applyMetadata(
        status.metadata, attributes, to: target, .open, currently: made)
      try target.close()
      work.progress.copied.count()
      return entry(
        status, attributes, pass, storedInode: made.inode,
        flags.union(missing.refused(toRoot: work.isRoot)))
    } catch {
      try work.storingFailed("write a copy of", node.sourcePath(of: name), error)
      try removeTarget(name)
      return nil
    }
  }

  /// Clones the old version of a large file, so that only the differences are written; `nil` if it cannot.
  private func cloneOldVersion(
    _ before: StoredFile?, _ status: FileStatus, to target: borrowing Descriptor
  ) throws -> OldVersion? {
    guard work.capabilities.reflinks, let before, before.row.mayBeginLargeFile(status),
      let old = openOld(before)
    else { return nil }
    do throws(Errno) {
      try target.clone(old.file)
      target.keepCopiesSmall()
      work.progress.cloned.count()
      return old
    } catch {
      if error.endsRun { throw Failure.writing("share blocks in", at: node.sourcePath, because: error) }
      return nil
    }
  }

  private func openOld(_ before: StoredFile) -> OldVersion? {
    let name = before.name
    guard let directory = before.directory,
      let file = try? directory.descriptor.openToRead(name.span),
      let status = try? file.status(), status.kind == .regular, status.size == before.row.size
    else { return nil }
    return OldVersion(file, byteCount: status.size)
  }

  private func copy(
    _ file: borrowing Descriptor, _ name: [UInt8], _ first: FileStatus,
    _ attributes: AttributeBlock, _ before: StoredFile?, _ flags: StorageFlags
  ) throws -> NewEntry? {
    guard let target = try makeTarget(name, first, attributes) else { return nil }
    let old: OldVersion?
    do {
      old = try cloneOldVersion(before, first, to: target)
      // The space that a file with shared blocks will take is not known beforehand.
      if old == nil {
        try work.space.take(min(first.size, first.blocks &* 512), for: node.sourcePath(of: name))
      }
    } catch {
      try removeTarget(name)
      throw error
    }
    var status = first
    var attributes = attributes
    var flags = flags
    var pass = PassResult(digest: .ofNothing, byteCount: 0)
    var changedWhileRead = false
    do throws(CopyError) {
      for (attempt, pause) in Self.pausesMilliseconds.enumerated() {
        if attempt > 0 {
          CurrentProcess.sleep(milliseconds: pause)
          do throws(Errno) { status = try file.status() } catch { throw .reading(error) }
          do throws(Failure) {
            attributes = try work.attributes(of: file, .descriptor, flags: &flags) { node.sourcePath(of: name) }
          } catch { throw .reading(.outOfMemory) }
          do throws(Errno) { try file.seek(to: 0) } catch { throw .reading(error) }
          do throws(Errno) {
            try target.setLength(0)
            try target.seek(to: 0)
          } catch { throw .writing(error) }
        }
        if attempt == 0, let old {
          pass = try worker.reader.update(
            target, holding: old, from: file, byteCount: status.size, hasHoles: status.hasHoles)
        } else {
          pass = try worker.reader.copy(
            file, to: target, byteCount: status.size, hasHoles: status.hasHoles, elidingZeros: true)
        }
        let after: FileStatus
        do throws(Errno) { after = try file.status() } catch { throw .reading(error) }
        changedWhileRead = !(after.isSameState(as: status) && pass.byteCount == status.size)
        if !changedWhileRead { break }
      }
    } catch {
      switch error {
      case .interrupted:
        try checkForSignal()
        throw Failure(.failed, "interrupted")
      case .writing(let error):
        try work.storingFailed("write a copy of", node.sourcePath(of: name), error)
      case .reading(let error): try work.readingFailed(node.sourcePath(of: name), error)
      }
      try removeTarget(name)
      return nil
    }
    if status.isRacy(since: moment, on: node.identity) { flags.insert(.racy) }
    if changedWhileRead {
      flags.formUnion([.changedWhileRead, .racy])
      work.warn(
        node.sourcePath(of: name),
        "changed each time it was read; the copy may mix several moments")
    }
    return try finish(target, name, status, attributes, pass, flags)
  }
}

extension FileRow {
  /// True if both versions are large enough that sharing their blocks is worth a comparison.
  func mayBeginLargeFile(_ status: FileStatus) -> Bool {
    let large: UInt64 = 1 << 20
    return kind == .regular && status.kind == .regular && size >= large && status.size >= large
  }
}
