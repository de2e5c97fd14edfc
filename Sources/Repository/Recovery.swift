public import Catalog
public import Model
public import Posix
internal import Synchronization

/// The remedy for an entry that an interrupted run left in `pending`.
enum RecoveryStep: Equatable {
  /// The catalog is published, and the tree follows.
  case publishTree(SnapshotName)
  /// The tree is published, and the catalog follows.
  case publishCatalog(SnapshotName)
  /// The published catalog is intact, and this one is superfluous.
  case removeFile
  case finishExpiry(SnapshotName)
  /// An incomplete snapshot is as good a spare as a complete one.
  case keepAsSpare
  case discard

  /// The published parts of a snapshot.
  struct Published {
    var hasTree: Bool
    var catalog: CatalogState
  }

  enum CatalogState { case absent, damaged, intact }

  /// The remedy for an entry of this name.
  init(for found: [UInt8], isDirectory: Bool, published: (SnapshotName) throws -> Published) rethrows {
    if let name = SnapshotName(found) {
      let published = try published(name)
      if published.catalog == .intact, !published.hasTree {
        // The crash came between the two renames. `syncfs` preceded the first rename, so the tree is complete.
        self = .publishTree(name)
      } else {
        self = isDirectory ? .keepAsSpare : .removeFile
      }
    } else if let name = SnapshotName(found, suffix: SnapshotName.catalogSuffix),
      case let published = try published(name),
      published.hasTree
    {
      self = published.catalog == .intact ? .removeFile : .publishCatalog(name)
    } else if let name = SnapshotName(found, suffix: Retirement.expiredSuffix) {
      self = .finishExpiry(name)
    } else {
      self = isDirectory ? .discard : .removeFile
    }
  }
}

// The completion or removal of entries that earlier runs left in `pending`. The caller holds the lock.
extension Publication {
  /// The suffix of an interrupted run's catalog in `pending`.
  static func unfinishedSuffix() throws(Errno) -> [UInt8] {
    if CurrentProcess.bootID.isEmpty { throw .noSuchEntry }
    return [UInt8(ascii: ".")] + CurrentProcess.bootID + Array(".unfinished".utf8)
  }

  /// The interrupted snapshots in `pending`, newest first.
  public func unfinished() throws(Failure) -> [(name: SnapshotName, catalog: OpenCatalog, tree: Directory)] {
    guard let suffix = try? Self.unfinishedSuffix() else { return [] }
    let pending = try repository.pending
    let names: [[UInt8]]
    do { names = try pending.names() } catch {
      throw .writing("look for unfinished snapshots in", at: repository.path, because: error)
    }
    return names.reversed().compactMap { name in
      guard let name = SnapshotName(name), let tree = try? pending.directory(name.bytes.span) else { return nil }
      let catalogName = name.bytes + suffix
      guard let file = try? pending.descriptor.openToRead(catalogName.span),
        let source = try? CatalogFile(file: file), let catalog = try? OpenCatalog(reading: source)
      else { return nil }
      return (name, catalog, tree)
    }
  }

  /// Gives up the trees of interrupted runs.
  public func discardUnfinished(but name: SnapshotName? = nil) throws(Failure) {
    let names = try unfinished().map(\.name).filter { $0 != name }
    let pending = try repository.pending
    for name in names {
      do throws(Errno) {
        let suffix = try Self.unfinishedSuffix()
        let catalog = name.bytes + suffix
        // `recover` moves away a tree that has no catalog.
        try pending.descriptor.unlink(catalog.span)
      } catch { throw .writing("give up an unfinished snapshot in", at: repository.path, because: error) }
    }
  }

  /// Completes or moves to `trash` the entries that an earlier run left in `pending`. The caller holds the lock.
  ///
  /// If neither is possible, the entry stays and is noted; it blocks no run. `keepingUnfinished` keeps the trees of
  /// interrupted runs.
  public func recover(keepingUnfinished: Bool = true) throws(Failure) {
    let unfinishedNames = keepingUnfinished ? Set(try unfinished().map(\.name)) : []
    let unfinishedSuffix = (try? Self.unfinishedSuffix()) ?? []
    let pending = try repository.pending
    let catalogs = try repository.catalogs
    let names: [[UInt8]]
    do { names = try pending.names() } catch {
      throw .writing("look for what an interrupted run left in", at: repository.path, because: error)
    }
    for found in names {
      let isUnfinished = unfinishedNames.contains { found == $0.bytes || found == $0.bytes + unfinishedSuffix }
      if isUnfinished || ReceivedParts.snapshot(of: found) != nil { continue }
      do { try recover(found, in: pending, to: catalogs) } catch {
        if Retirement.isLeftToRoot(error) { continue }
        repository.problems.note(
          "was left by an interrupted run and cannot be cleaned up", at: [Repository.pendingName, found], because: error
        )
      }
    }
    if names.isEmpty { return }
    do { try synchronizeRenames(of: catalogs) } catch {
      throw .writing("make durable what an interrupted run left in", at: repository.path, because: error)
    }
  }

  private func recover(_ found: [UInt8], in pending: Directory, to catalogs: Directory) throws {
    let isDirectory = try pending.descriptor.status(of: found.span).kind == .directory
    switch try RecoveryStep(for: found, isDirectory: isDirectory, published: published) {
    case .publishTree:
      try pending.descriptor.rename(found.span, to: repository.root.descriptor, as: found.span)
    case .publishCatalog:
      _ = try OpenCatalog(reading: CatalogFile(file: try pending.descriptor.openToRead(found.span)))
      try pending.descriptor.rename(found.span, to: catalogs.descriptor, as: found.span, replacing: true)
    case .finishExpiry(let name): try repository.retirement.finishExpiring(name)
    case .keepAsSpare:
      let mayKeep = !repository.hasLostWrites.load(ordering: .relaxed)
      let isSpare = mayKeep ? try repository.retirement.keepAsSpare(named: found, of: pending) : false
      if !isSpare { try repository.retirement.discard(found, of: pending) }
    case .discard: try repository.retirement.discard(found, of: pending)
    case .removeFile: try pending.descriptor.unlink(found.span)
    }
  }

  /// Throws if the published catalog cannot be read for a reason other than damage.
  private func published(_ name: SnapshotName) throws -> RecoveryStep.Published {
    var state = RecoveryStep.CatalogState.absent
    if try repository.hasCatalog(of: name) {
      state = .intact
      do { _ = try repository.openCatalog(of: name) } catch {
        guard error.kind == .damaged else { throw error }
        state = .damaged
      }
    }
    return RecoveryStep.Published(hasTree: try repository.hasTree(of: name), catalog: state)
  }
}
