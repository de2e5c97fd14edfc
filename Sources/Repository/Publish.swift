public import Catalog
public import Posix
internal import Synchronization

/// A snapshot under construction in `.treering/pending`. It is never listed, and no snapshot links to its files.
public final class PendingSnapshot: Sendable {
  public let name: SnapshotName
  /// The tree under construction.
  public let tree: Directory
  /// True if the tree was the spare. Names of the older snapshot are still in it and must become those of the new one.
  public let isRecycled: Bool
  let catalog: NewCatalogFile
  private let repository: Repository
  private let pending: Directory

  /// The sink for finished frames of the catalog.
  public var sink: any FrameSink { catalog }

  /// The minimum preallocation for a catalog. It covers the records that are open when a run ends.
  private static var reservedBytes: UInt64 { 1 << 20 }

  init(
    _ repository: Repository, _ name: SnapshotName, catalogBytes: UInt64, mayRecycle: Bool
  ) throws(Failure) {
    self.repository = repository
    self.name = name
    pending = try repository.directory(Repository.pendingName)
    do {
      if let spare = mayRecycle ? repository.takeSpare(as: name, in: pending) : nil {
        tree = spare
        isRecycled = true
      } else {
        isRecycled = false
        try pending.descriptor.makeDirectory(name.bytes.span, mode: 0o700)
        tree = try pending.directory(name.bytes.span)
        // All directories below inherit a default ACL, but a snapshot may have only the ACLs of its source.
        try tree.descriptor.dropInheritedACLs()
      }
      catalog = try NewCatalogFile(
        try repository.openFile(name.catalogName, in: pending.descriptor, [.readWrite, .exclusive]))
      try catalog.reserve(byteCount: catalogBytes + catalogBytes / 4 + Self.reservedBytes)
    } catch { throw .writing("begin a snapshot in", repository.path, error) }
  }

  /// Makes tree and catalog durable, then visible: the catalog first, the tree second.
  ///
  /// No rename precedes the return of `syncfs`, so every name that is found after a crash refers to complete data. A
  /// crash between the two renames leaves one of the pair in `pending`. `Repository.recover` finds its published
  /// partner and completes the pair.
  ///
  /// An error undoes all renames, so nothing is published if this throws. If the undo fails, the snapshot stays, with a
  /// warning. `latest` and the set links are updated after this.
  public func publish(_ summary: CatalogSummary, _ writer: FrameWriter) throws {
    let catalogs = try repository.directory(Repository.catalogsName)
    var isVisible = false
    do {
      try catalog.finish(summary, writer)
      try tree.descriptor.setPermissions(0o755)
      try tree.descriptor.setModificationTime(summary.started)
      try repository.giveToOwner(tree.descriptor)
      try repository.synchronize(pending.descriptor)
      try pending.descriptor.rename(
        name.catalogName.span, to: catalogs.descriptor, as: name.catalogName.span)
      try pending.descriptor.rename(
        name.bytes.span, to: repository.root.descriptor, as: name.bytes.span)
      isVisible = true
      try catalogs.descriptor.synchronize()
      try repository.root.descriptor.synchronize()
    } catch {
      do throws(Errno) { try withdraw(catalogs, isVisible: isVisible) } catch let refusal {
        repository.note(
          Failure(
            .failed,
            "the snapshot \(name) is published, but a power cut may take it away: \(error); it cannot be taken "
              + "back: \(refusal)"))
        return
      }
      guard let error = error as? Errno else { throw error }
      throw Failure.writing("publish the snapshot \(name) in", repository.path, error)
    }
  }

  /// Keeps an interrupted run's tree, so that the next run can link to its files.
  ///
  /// The catalog's new name contains the boot ID. A tree that cannot be made durable is not kept: its data may be lost
  /// before the next run.
  public func keepUnfinished(_ summary: CatalogSummary, _ writer: FrameWriter) throws {
    try catalog.finish(summary, writer)
    try repository.synchronize(pending.descriptor)
    let unfinished = name.bytes + (try Repository.unfinishedSuffix())
    try pending.descriptor.rename(name.catalogName.span, to: pending.descriptor, as: unfinished.span)
  }

  /// Undoes the renames, the tree first: a catalog alone is no snapshot. Throws if the tree stays visible.
  private func withdraw(_ catalogs: Directory, isVisible: Bool) throws(Errno) {
    if isVisible {
      try repository.root.descriptor.rename(name.bytes.span, to: pending.descriptor, as: name.bytes.span)
    }
    do throws(Errno) {
      try catalogs.descriptor.rename(name.catalogName.span, to: pending.descriptor, as: name.catalogName.span)
    } catch {
      // If the catalog stayed published, the next recovery would publish the tree. Without it, the tree is built anew.
      try? catalogs.descriptor.unlink(name.catalogName.span)
    }
  }
}

extension Repository {
  /// Begins a snapshot under the first free name from `time` on. The caller holds the lock.
  ///
  /// `catalogBytes` is the expected size of the catalog, as far as it is known.
  public func beginSnapshot(
    at time: Timestamp, catalogBytes: UInt64 = 0, mayRecycle: Bool = true
  ) throws(Failure) -> PendingSnapshot {
    var seconds = time.seconds
    while true {
      let name = SnapshotName(seconds: seconds)
      if try !isTaken(name) {
        // If two runs begin in one second, the later run waits for the next second.
        let ahead = Timestamp(seconds: seconds, nanoseconds: 0) - Clock.now()
        if seconds > time.seconds && ahead > 0 && ahead < 2 {
          CurrentProcess.sleep(milliseconds: Int(ahead * 1000) + 1)
        }
        return try PendingSnapshot(self, name, catalogBytes: catalogBytes, mayRecycle: mayRecycle)
      }
      seconds += 1
    }
  }

  /// Begins a snapshot under the name that it has in another repository. The caller holds the lock.
  public func beginSnapshot(
    named name: SnapshotName, catalogBytes: UInt64 = 0, mayRecycle: Bool = true
  ) throws(Failure) -> PendingSnapshot {
    guard try !isTaken(name) else {
      throw Failure(.refused, "\(displayName(path)) has another snapshot \(name) already")
    }
    return try PendingSnapshot(self, name, catalogBytes: catalogBytes, mayRecycle: mayRecycle)
  }

  /// True if a tree or catalog of this name exists, published or pending.
  func isTaken(_ name: SnapshotName) throws(Failure) -> Bool {
    let catalogs = try directory(Self.catalogsName)
    let pending = try directory(Self.pendingName)
    let places: [(Directory, [UInt8])] = [
      (root, name.bytes), (catalogs, name.catalogName), (pending, name.bytes), (pending, name.catalogName),
    ]
    do throws(Errno) {
      for (directory, entry) in places where try directory.descriptor.statusIfPresent(of: entry.span) != nil {
        return true
      }
      return false
    } catch { throw .writing("look for the snapshot \(name) in", path, error) }
  }

  /// Points `latest` to a snapshot, with an atomic replacement of the link.
  public func pointLatest(to name: SnapshotName) throws(Failure) {
    let latest = Self.latestName
    if (try? root.descriptor.readSymbolicLink(latest.span)) == name.bytes { return }
    let pending = try directory(Self.pendingName)
    do throws(Errno) {
      do throws(Errno) { try pending.descriptor.unlink(latest.span) } catch {
        guard error == .noSuchEntry else { throw error }
      }
      try pending.descriptor.makeSymbolicLink(latest.span, to: name.bytes)
      try pending.descriptor.rename(
        latest.span, to: root.descriptor, as: latest.span, replacing: true)
    } catch { throw .writing("point the link latest to \(name) in", path, error) }
  }

  /// The suffix of an interrupted run's catalog in `pending`.
  static func unfinishedSuffix() throws(Errno) -> [UInt8] {
    if CurrentProcess.bootID.isEmpty { throw .noSuchEntry }
    return [UInt8(ascii: ".")] + CurrentProcess.bootID + Array(".unfinished".utf8)
  }

  /// The interrupted snapshots in `pending`, newest first.
  public func unfinished() throws(Failure) -> [(name: SnapshotName, catalog: OpenCatalog, tree: Directory)] {
    guard let suffix = try? Self.unfinishedSuffix() else { return [] }
    let pending = try directory(Self.pendingName)
    var listing = DirectoryListing()
    do { try listing.read(pending.descriptor) } catch {
      throw .writing("look for unfinished snapshots in", path, error)
    }
    return listing.entries.reversed().compactMap { entry in
      guard let name = SnapshotName(listing.bytes[entry.range]),
        let tree = try? pending.directory(name.bytes.span)
      else { return nil }
      let catalogName = name.bytes + suffix
      guard let file = try? pending.descriptor.openToRead(catalogName.span),
        let source = try? CatalogFile(file), let catalog = try? OpenCatalog(source)
      else { return nil }
      return (name, catalog, tree)
    }
  }

  /// Runs `syncfs` on the repository's file system through `descriptor`. The caller holds the lock.
  ///
  /// `syncfs` reports the errors since `descriptor` was opened. The kernel reports a lost write once and does not name
  /// the file. Therefore an error discards all unpublished data: the trees of interrupted runs and the received parts
  /// of pushes.
  public func synchronize(_ descriptor: borrowing Descriptor) throws(Errno) {
    do { try descriptor.synchronizeFileSystem() } catch {
      hasLostWrites.store(true, ordering: .relaxed)
      try? discardUnfinished()
      for name in (try? incomingSnapshots()) ?? [] { try? discardIncoming(name) }
      throw error
    }
  }

  /// Gives up the trees of interrupted runs.
  public func discardUnfinished(but name: SnapshotName? = nil) throws(Failure) {
    let names = try unfinished().map(\.name).filter { $0 != name }
    let pending = try directory(Self.pendingName)
    for name in names {
      do throws(Errno) {
        let suffix = try Self.unfinishedSuffix()
        let catalog = name.bytes + suffix
        // `recover` moves away a tree that has no catalog.
        try pending.descriptor.unlink(catalog.span)
      } catch { throw .writing("give up an unfinished snapshot in", path, error) }
    }
  }

  /// Completes or moves to `trash` the entries that an earlier run left in `pending`. The caller holds the lock.
  ///
  /// If neither is possible, the entry stays and is noted; it blocks no run. `keepingUnfinished` keeps the trees of
  /// interrupted runs.
  public func recover(keepingUnfinished: Bool = true) throws(Failure) {
    let unfinishedNames = keepingUnfinished ? Set(try unfinished().map(\.name)) : []
    let unfinishedSuffix = (try? Self.unfinishedSuffix()) ?? []
    let pending = try directory(Self.pendingName)
    let catalogs = try directory(Self.catalogsName)
    var listing = DirectoryListing()
    do throws(Errno) { try listing.read(pending.descriptor) } catch {
      throw .writing("look for what an interrupted run left in", path, error)
    }
    for entry in listing.entries {
      let found = Array(listing.bytes[entry.range])
      let isUnfinished = unfinishedNames.contains { found == $0.bytes || found == $0.bytes + unfinishedSuffix }
      if isUnfinished || Self.incomingSnapshot(found) != nil { continue }
      do { try recover(found, pending, catalogs) } catch {
        if Self.isLeftToRoot(error) { continue }
        note([Self.pendingName, found], "was left by an interrupted run and cannot be cleaned up", "\(error)")
      }
    }
    if listing.entries.isEmpty { return }
    do throws(Errno) {
      try catalogs.descriptor.synchronize()
      try root.descriptor.synchronize()
    } catch { throw .writing("make durable what an interrupted run left in", path, error) }
  }

  private func recover(_ found: [UInt8], _ pending: Directory, _ catalogs: Directory) throws {
    if let name = SnapshotName(found), try hasCatalog(name), try !hasTree(name), (try? openCatalog(name)) != nil {
      // The crash came between the two renames. `syncfs` preceded the first rename, so the tree is complete.
      try pending.descriptor.rename(found.span, to: root.descriptor, as: found.span)
    } else if let name = Self.catalogOf(found), try hasTree(name) {
      try recoverCatalog(name, pending, catalogs)
    } else if let name = expiringName(found) {
      try finishExpiring(name)
    } else if try pending.descriptor.status(of: found.span).kind == .directory {
      // An incomplete snapshot is as good a spare as a complete one.
      let isTree = SnapshotName(found) != nil && !hasLostWrites.load(ordering: .relaxed)
      let isSpare = isTree ? try keepAsSpare(found, of: pending) : false
      if !isSpare { try discard(found, of: pending) }
    } else {
      try pending.descriptor.unlink(found.span)
    }
  }

  private static func catalogOf(_ found: [UInt8]) -> SnapshotName? {
    let suffix = Array(".catalog".utf8)
    return Array(found.suffix(suffix.count)) == suffix ? SnapshotName(found.dropLast(suffix.count)) : nil
  }

  /// Completes the pair for a published tree, unless the tree has an intact catalog already.
  private func recoverCatalog(_ name: SnapshotName, _ pending: Directory, _ catalogs: Directory) throws {
    let found = name.catalogName
    if try hasCatalog(name) {
      var isWhole = true
      do { _ = try openCatalog(name) } catch {
        guard error.kind == .damaged else { throw error }
        isWhole = false
      }
      if isWhole { return try pending.descriptor.unlink(found.span) }
    }
    _ = try OpenCatalog(CatalogFile(try pending.descriptor.openToRead(found.span)))
    try pending.descriptor.rename(found.span, to: catalogs.descriptor, as: found.span, replacing: true)
  }

  /// True if an ordinary user lacks permission for an operation, for instance in a snapshot that root took.
  ///
  /// The next run of root does it.
  static func isLeftToRoot(_ error: any Error) -> Bool {
    CurrentProcess.effectiveUser != 0 && (error as? Errno)?.meansNoPermission == true
  }

  /// Discards the tree under construction, because an entry of the recycled spare cannot be changed.
  public func setAside(_ snapshot: PendingSnapshot, at path: [UInt8], because reason: any Error) {
    if !Self.isLeftToRoot(reason) {
      note([Self.spareName], "cannot be recycled, and is set aside", "\(displayName(path)): \(reason)")
    }
    let name = snapshot.name
    do {
      let pending = try directory(Self.pendingName)
      try pending.descriptor.unlink(name.catalogName.span)
      try discard(name.bytes, of: pending)
    } catch { note([Self.pendingName, name.bytes], "cannot be set aside", "\(error)") }
  }
}
