internal import Catalog
internal import Posix
internal import Repository

/// Stores one regular file that is new, changed, or not known to be unchanged.
struct FileStorer {
  private let work: SnapshotWork
  private let node: SnapshotNode
  private let worker: SnapshotWorker
  private let record: DirectoryRecord?
  private let baseTree: Directory?
  private let moment: Timestamp

  /// Pauses before a file that changed while it was read is read again.
  private static let pausesMilliseconds = [0, 5, 20, 80, 250]

  init(
    _ work: SnapshotWork, _ node: SnapshotNode, _ worker: SnapshotWorker,
    _ record: DirectoryRecord?, _ baseTree: Directory?, _ moment: Timestamp
  ) {
    self.work = work
    self.node = node
    self.worker = worker
    self.record = record
    self.baseTree = baseTree
    self.moment = moment
  }

  func store(_ name: [UInt8], _ seen: FileStatus, _ before: FileRow?) throws -> NewEntry? {
    let file: Descriptor
    do throws(Errno) { file = try node.source!.descriptor.openToRead(name.span) } catch {
      switch error {
      case .noSuchEntry: work.progress.vanished.count()
      case .symbolicLoop, .noDevice, .notADirectory: warnReplaced(name)
      default: work.warn(node.sourcePath(of: name), "cannot be read: \(error)")
      }
      return nil
    }
    let status: FileStatus
    do throws(Errno) { status = try file.status() } catch {
      work.warn(node.sourcePath(of: name), "cannot be read: \(error)")
      return nil
    }
    guard status.kind == .regular else {
      warnReplaced(name)
      return nil
    }
    var flags: StorageFlags = status.isRacy(since: moment) ? .racy : []
    let attributes = work.attributes(of: file, .descriptor, flags: &flags) {
      node.sourcePath(of: name)
    }
    if let before,
      let entry = try linkIfSameContent(file, name, status, attributes, before, flags)
    {
      return entry
    }
    return try copy(file, name, status, attributes, flags)
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

  /// Where only the ctime changed, or was too recent to tell, the content is read: if it is what is
  /// stored, the stored file is linked and nothing is written.
  private func linkIfSameContent(
    _ file: borrowing Descriptor, _ name: [UInt8], _ status: FileStatus,
    _ attributes: AttributeBlock, _ before: FileRow, _ flags: StorageFlags
  ) throws -> NewEntry? {
    guard let record, let baseTree, before.kind == .regular, before.size == status.size,
      before.metadata == status.metadata, record.attributes(of: before) == attributes,
      before.mayStandFor(status), !before.hints.flags.contains(.notStored),
      !before.hints.flags.isWorthRetrying(asRoot: work.isRoot)
    else { return nil }
    let pass: PassResult
    do throws(CopyError) {
      pass = try worker.reader.hash(file, byteCount: status.size, hasHoles: status.hasHoles)
    } catch {
      // Reading it again, to copy it, reports what is wrong.
      try? file.seek(to: 0)
      return nil
    }
    guard pass.byteCount == before.size, pass.digest == before.digest,
      let after = try? file.status(), after.isSameState(as: status)
    else {
      try? file.seek(to: 0)
      return nil
    }
    do throws(Errno) {
      try baseTree.descriptor.link(name.span, to: node.target!.descriptor, as: name.span)
    } catch {
      if error.endsRun { throw Failure.writing("link", node.sourcePath(of: name), error) }
      try? file.seek(to: 0)
      return nil
    }
    work.progress.linked.count()
    // The directory's listing may know better than the previous catalog where that was copied.
    let inode =
      work.baseInodesCount
      ? before.hints.storedInode
      : (try? node.target!.descriptor.status(of: name.span).inode) ?? 0
    return entry(
      status, attributes, pass, storedInode: inode,
      before.hints.flags.intersection([
        .ownerNotStored, .attributesNotStored, .refusedToRoot,
      ]).union(flags))
  }

  private func copy(
    _ file: borrowing Descriptor, _ name: [UInt8], _ first: FileStatus,
    _ attributes: AttributeBlock, _ flags: StorageFlags
  ) throws -> NewEntry? {
    // The mode of a file without extras is right from the start; umask is 0 and nobody else gets here.
    let isPlain = attributes.isEmpty && first.permissions & 0o7000 == 0
    let target: Descriptor
    do throws(Errno) {
      target = try node.target!.descriptor.open(
        name.span, [.write, .create, .exclusive], mode: isPlain ? first.permissions : 0o600)
    } catch {
      try work.storingFailed("make a copy of", node.sourcePath(of: name), error)
      return nil
    }

    var status = first
    var attributes = attributes
    var flags = flags
    var pass = PassResult(digest: .ofNothing, byteCount: 0)
    var changedWhileRead = false
    do throws(CopyError) {
      for (attempt, pause) in Self.pausesMilliseconds.enumerated() {
        if attempt > 0 {
          Process.sleep(milliseconds: pause)
          do throws(Errno) { status = try file.status() } catch { throw .reading(error) }
          attributes = work.attributes(of: file, .descriptor, flags: &flags) {
            node.sourcePath(of: name)
          }
          do throws(Errno) { try file.seek(to: 0) } catch { throw .reading(error) }
          do throws(Errno) {
            try target.setLength(0)
            try target.seek(to: 0)
          } catch { throw .writing(error) }
        }
        pass = try worker.reader.copy(
          file, to: target, byteCount: status.size, hasHoles: status.hasHoles)
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
      case .reading(let error):
        work.warn(node.sourcePath(of: name), "cannot be read: \(error)")
      }
      do throws(Errno) { try node.target!.descriptor.unlink(name.span) } catch {
        throw Failure.writing("remove the unfinished copy of", node.sourcePath(of: name), error)
      }
      return nil
    }
    if status.isRacy(since: moment) { flags.insert(.racy) }
    if changedWhileRead {
      flags.formUnion([.changedWhileRead, .racy])
      work.warn(
        node.sourcePath(of: name),
        "changed each time it was read; the copy may mix several moments")
    }
    do throws(Errno) {
      let made = try target.status()
      let missing = try applyMetadata(
        status.metadata, attributes, to: target, .open, currently: made)
      flags.formUnion(missing.refused(toRoot: work.isRoot))
      try target.close()
      work.progress.copied.count()
      return entry(status, attributes, pass, storedInode: made.inode, flags)
    } catch {
      throw Failure.writing("write a copy of", node.sourcePath(of: name), error)
    }
  }
}
