internal import Catalog
internal import Posix
internal import Repository

/// Restores the files of one directory.
struct RestoreMerge {
  private let work: RestoreWork
  private let node: RestoreNode
  private let record: DirectoryRecord
  private let worker: RestoreWorker

  init(
    _ work: RestoreWork, _ node: RestoreNode, _ record: DirectoryRecord, _ worker: RestoreWorker
  ) {
    self.work = work
    self.node = node
    self.record = record
    self.worker = worker
  }

  func restore(_ row: FileRow) throws {
    try checkForSignal()
    let name = Array(record.bytes[row.name])
    work.progress.entries.count()
    var isReplacing = false
    if !node.isNew, let target = node.target,
      let present = try? target.descriptor.status(of: name.span)
    {
      guard mayReplace(present, row, name) else { return }
      isReplacing = true
    }
    if work.options.isDryRun {
      work.progress.files.count()
      if row.kind == .regular { work.progress.bytesCopied.count(row.size) }
      return
    }
    do throws(Errno) {
      if try make(row, name, isReplacing: isReplacing) { work.progress.files.count() }
    } catch {
      if error == .interrupted { try checkForSignal() }
      if error == .exists {
        work.reportLeft(work.path(node, name), "appeared while it was restored; left as it is")
        return
      }
      if error.endsRun { throw Failure.writing("restore", work.path(node, name), error) }
      work.warn(work.path(node, name), "cannot be restored: \(error)")
    }
  }

  private func mayReplace(_ present: FileStatus, _ row: FileRow, _ name: [UInt8]) -> Bool {
    let path = work.path(node, name)
    if present.kind == .directory {
      work.reportLeft(path, "is a directory where the snapshot has a \(row.kind.word); left as it is")
      return false
    }
    switch work.options.overwrite {
    case .never:
      work.reportLeft(path, "exists; left as it is")
      return false
    case .always: return true
    case .ifChanged:
      let isSame =
        present.kind == row.kind && present.metadata == row.metadata
        && (row.kind != .regular || present.size == row.size)
        && (row.kind != .symbolicLink || linkTarget(name) == record.target(of: row))
      return !isSame
    }
  }

  private func linkTarget(_ name: [UInt8]) -> [UInt8]? {
    try? node.target?.descriptor.readSymbolicLink(name.span)
  }

  /// Makes the entry under its name, or under another that then replaces what is there in one step.
  ///
  /// False where the repository cannot give it, which is reported.
  private func make(
    _ row: FileRow, _ name: [UInt8], isReplacing: Bool
  ) throws(Errno) -> Bool {
    guard isReplacing else { return try make(row, name, as: name) }
    let unique = try Process.randomBytes(8).map { 97 + $0 % 26 }
    let made = Array(".treering-".utf8) + unique
    do throws(Errno) { return try make(row, name, as: made) } catch {
      try? node.target!.descriptor.unlink(made.span)
      throw error
    }
  }

  private func make(_ row: FileRow, _ name: [UInt8], as made: [UInt8]) throws(Errno) -> Bool {
    let target = node.target!
    guard let group = row.linkGroup else {
      guard try makeAlone(row, name, as: made, in: target) != nil else { return false }
      try replace(made, name, in: target)
      return true
    }
    let key = RestoredInode(group: group, digest: row.digest)
    if let first = work.links.begin(key) {
      if try !linkToFirst(first, as: made, in: target) {
        guard try makeAlone(row, name, as: made, in: target) != nil else { return false }
      }
      try replace(made, name, in: target)
      return true
    }
    var link: RestoredLink?
    defer { work.links.finish(key, link) }
    guard let inode = try makeAlone(row, name, as: made, in: target) else { return false }
    try replace(made, name, in: target)
    link = RestoredLink(directory: node.path, name: name, inode: inode)
    return true
  }

  private func replace(_ made: [UInt8], _ name: [UInt8], in target: Directory) throws(Errno) {
    guard made != name else { return }
    try target.descriptor.rename(made.span, to: target.descriptor, as: name.span, replacing: true)
    // Renaming one name of an inode to another of the same does nothing (rename(2)).
    try? target.descriptor.unlink(made.span)
  }

  private func linkToFirst(
    _ first: RestoredLink, as name: [UInt8], in target: Directory
  ) throws(Errno) -> Bool {
    let directory =
      first.directory == node.path
      ? target : try? work.destination!.directory(path: first.directory)
    let firstName = first.name
    guard let directory else { return false }
    do throws(Errno) {
      try directory.descriptor.link(firstName.span, to: target.descriptor, as: name.span)
    } catch {
      if error.meansNoRoom || error == .exists { throw error }
      return false
    }
    // Whoever may write to the destination could have put another file there.
    guard try target.descriptor.status(of: name.span).inode == first.inode else {
      try target.descriptor.unlink(name.span)
      return false
    }
    return true
  }

  /// Opens the stored file; `nil`, and reported, where the repository cannot give it.
  private func openStored(_ name: [UInt8]) -> Descriptor? {
    do throws(Errno) {
      guard let directory = node.stored else { throw .noSuchEntry }
      // Opening a device can do harm, so its kind comes first.
      if try directory.descriptor.status(of: name.span).kind == .regular {
        return try directory.descriptor.openToRead(name.span)
      }
      work.reportDamage(
        work.path(node, name), "is not restored: the repository has no regular file in its place")
    } catch {
      work.reportDamage(
        work.path(node, name), "is not restored: the stored file cannot be read: \(error)")
    }
    return nil
  }

  /// Makes the entry and returns its inode; `nil` where the repository cannot give it.
  private func makeAlone(
    _ row: FileRow, _ name: [UInt8], as made: [UInt8], in target: Directory
  ) throws(Errno) -> UInt64? {
    let attributes = record.attributes(of: row)
    if row.kind != .regular {
      let result = try makeSpecial(
        made.span, in: target.descriptor, kind: row.kind, target: record.target(of: row),
        device: row.size, row.metadata, attributes, mayHaveOthers: !node.isNew)
      if result.missing.contains(.notStored) {
        work.warn(work.path(node, name), "is not restored: only root may make a \(row.kind.word)")
        return nil
      }
      if result.missing.isCatalogOnly { work.progress.catalogOnly.count() }
      return result.inode
    }

    guard let stored = openStored(name) else { return nil }
    let storedStatus = try stored.status()
    let file = try target.descriptor.open(
      made.span, [.write, .create, .exclusive], mode: 0o600)
    let pass: PassResult
    do throws(CopyError) {
      pass = try worker.files.copy(
        stored, to: file, byteCount: storedStatus.size, hasHoles: storedStatus.hasHoles)
    } catch {
      try target.descriptor.unlink(made.span)
      switch error {
      case .writing(let error): throw error
      case .interrupted: throw .interrupted
      case .reading(let error):
        work.reportDamage(
          work.path(node, name), "is not restored: the stored file cannot be read: \(error)")
        return nil
      }
    }
    if pass.digest != row.digest || pass.byteCount != row.size {
      if made != name {
        try target.descriptor.unlink(made.span)
        work.reportDamage(
          work.path(node, name),
          "is left as it is: the stored bytes are not those that the catalog names")
        return nil
      }
      work.reportDamage(
        work.path(node, name),
        "is restored from a damaged copy: its bytes are not those that the catalog names")
    }
    let status = try file.status()
    let missing = try applyMetadata(
      row.metadata, attributes, to: file, .open, currently: status, mayHaveOthers: !node.isNew)
    if missing.isCatalogOnly { work.progress.catalogOnly.count() }
    try file.close()
    work.progress.copied.count()
    return status.inode
  }
}
