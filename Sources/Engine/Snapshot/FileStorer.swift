internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// Stores one regular file that is new, changed, or not known to be unchanged.
struct FileStorer {
  let builder: SnapshotBuilder
  let work: SnapshotWork
  let node: SnapshotNode
  let reader: FileReader
  let finder: StoredFinder
  private let directory: DirectoryContext

  init(of directory: DirectoryContext, with builder: SnapshotBuilder) {
    self.builder = builder
    work = directory.work
    node = directory.node
    reader = directory.worker.tools.reader
    finder = directory.worker.finder
    self.directory = directory
  }

  /// Stores a file that may have the content of the stored file `before`; `nil` if it is left out.
  func store(named name: [UInt8], comparedWith before: StoredFile?) throws -> NewEntry? {
    guard var file = try directory.openFile(named: name) else { return nil }
    if let dump = node.dump {
      if let entry = try takeIn(&file, of: dump, comparedWith: before) { return entry }
    } else if let before, let entry = try reuse(before, for: file) {
      return entry
    }
    return try copy(&file, updating: before)
  }

  // MARK: The content is stored already

  /// Reads a file whose content may be stored already, and writes no content.
  ///
  /// If the content is stored, the stored file is linked. If the metadata differ, a new inode shares its blocks, on a
  /// file system that can do so.
  private func reuse(_ before: StoredFile, for file: borrowing SourceFile) throws -> NewEntry? {
    let (row, status) = (before.row, file.status)
    guard row.kind == .regular, row.size == status.size, !row.hints.flags.contains(.notStored) else { return nil }
    let mayLink =
      row.metadata == status.metadata && before.record.attributes(of: before.row) == file.attributes
      && row.mayBeLinked(for: status) && !row.hints.flags.isWorthRetrying(asRoot: builder.context.isRoot)
    // Another mtime almost always means another content: then one read is better than two.
    let mayClone = builder.context.capabilities.reflinks && row.size > 0 && row.metadata.modified == status.modified
    guard mayLink || mayClone else { return nil }
    let pass: PassResult
    do throws(CopyError) {
      pass = try reader.hash(
        file.descriptor, byteCount: status.size, hasHoles: status.hasHoles, elidingZeros: row.digest.isSparse)
    } catch {
      // The copy reads the file again and reports the error.
      try? file.descriptor.seek(to: 0)
      return nil
    }
    if pass.byteCount == row.size, pass.digest == row.digest,
      let after = try? file.descriptor.status(), after.isSameState(as: status)
    {
      if mayLink, let inode = try work.link(before, for: status, in: node, as: file.name) {
        let kept: StorageFlags = [
          .ownerNotStored, .attributesNotStored, .refusedToRoot, .timeNotStored, .modeNotStored,
        ]
        return file.entry(pass, storedInode: inode, flags: row.hints.flags.intersection(kept))
      }
      if mayClone, let entry = try clone(before, for: file, pass: pass) { return entry }
    }
    try? file.descriptor.seek(to: 0)
    return nil
  }

  /// Makes a new inode with the blocks of the stored file and the metadata of the source's file.
  private func clone(_ before: StoredFile, for file: borrowing SourceFile, pass: PassResult) throws -> NewEntry? {
    guard let old = openOld(before), let target = try makeTarget(for: file) else { return nil }
    do throws(Errno) { try target.descriptor.clone(old.file) } catch {
      let path = node.sourcePath(of: file.name)
      try builder.remove(target, for: path)
      if error.endsRun { throw Failure.writing("share the blocks of", at: path, because: error) }
      return nil
    }
    builder.context.progress.cloned.count()
    return try finish(target, for: file, pass: pass)
  }

  // MARK: Copying

  private func makeTarget(for file: borrowing SourceFile) throws -> NewFile? {
    // The mode of a file without extras is right from the start. The umask is 0, and no other user can get here.
    let permissions = UInt32(file.metadata.permissions)
    let isPlain = file.attributes.isEmpty && permissions & 0o7000 == 0
    try node.makeRoom()
    do throws(Errno) {
      return try NewFile(file.name, in: node.build.target!, mode: isPlain ? permissions : 0o600)
    } catch {
      try builder.context.storingFailed(
        "make a copy of", at: node.sourcePath(of: file.name), because: error, isName: true)
      return nil
    }
  }

  private func finish(
    _ target: consuming NewFile, for file: borrowing SourceFile, pass: PassResult
  ) throws -> NewEntry? {
    do throws(Errno) {
      let made = try target.finish(file.metadata, attributes: file.attributes)
      builder.context.progress.copied.count()
      return file.entry(pass, storedInode: made.inode, flags: made.missing.refused(toRoot: builder.context.isRoot))
    } catch {
      let path = node.sourcePath(of: file.name)
      try builder.context.storingFailed("write a copy of", at: path, because: error)
      try builder.remove(target, for: path)
      return nil
    }
  }

  /// Clones the old version of a large file, so that only the differences are written; `nil` if it cannot.
  private func cloneOldVersion(
    _ before: StoredFile?, of status: FileStatus, to target: borrowing Descriptor
  ) throws -> OldVersion? {
    guard builder.context.capabilities.reflinks, let before, before.row.isWorthCloning(for: status),
      let old = openOld(before)
    else { return nil }
    do throws(Errno) {
      try target.clone(old.file)
      target.keepCopiesSmall()
      builder.context.progress.cloned.count()
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
    return OldVersion(of: file, byteCount: status.size)
  }

  private func copy(_ file: inout SourceFile, updating before: StoredFile?) throws -> NewEntry? {
    guard let target = try makeTarget(for: file) else { return nil }
    let old = try cloneOldVersion(before, of: file.status, to: target.descriptor)
    let name = file.name
    var path: [UInt8] { node.sourcePath(of: name) }
    // The space that a file with shared blocks will take is not known beforehand.
    if old == nil { try builder.context.space.take(bytes: min(file.status.size, file.status.blocks &* 512), for: path) }
    let pass: PassResult
    do throws(CopyError) { pass = try copyUntilStill(&file, to: target.descriptor, updating: old) } catch {
      switch error {
      case .interrupted:
        try checkForSignal()
        throw Failure(.failed, "interrupted")
      case .writing(let error): try builder.context.storingFailed("write a copy of", at: path, because: error)
      case .reading(let error): try work.readingFailed(at: path, because: error)
      }
      try builder.remove(target, for: path)
      return nil
    }
    if file.flags.contains(.changedWhileRead), let dump = file.dump { throw dump.refusal(at: path) }
    return try finish(target, for: file, pass: pass)
  }

  private func copyUntilStill(
    _ file: inout SourceFile, to target: borrowing Descriptor, updating old: OldVersion?
  ) throws(CopyError) -> PassResult {
    try directory.readUntilStill(&file) { file, attempt throws(CopyError) in
      let status = file.status
      if attempt == 0, let old {
        return try reader.update(
          target, holding: old, from: file.descriptor, byteCount: status.size, hasHoles: status.hasHoles)
      }
      if attempt > 0 { try empty(target) }
      return try reader.copy(
        file.descriptor, to: target, byteCount: status.size, hasHoles: status.hasHoles, elidingZeros: true)
    }
  }

  private func empty(_ target: borrowing Descriptor) throws(CopyError) {
    do throws(Errno) {
      try target.setLength(0)
      try target.seek(to: 0)
    } catch { throw .writing(error) }
  }
}

extension FileRow {
  /// True if both versions are large enough that sharing their blocks is worth a comparison.
  func isWorthCloning(for status: FileStatus) -> Bool {
    let large: UInt64 = 1 << 20
    return kind == .regular && status.kind == .regular && size >= large && status.size >= large
  }
}
