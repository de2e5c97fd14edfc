public import Catalog
internal import Posix

/// A snapshot that the remote may also hold.
public struct BaseCandidate: Sendable {
  public var name: SnapshotName
  public var summary: CatalogSummary
  /// False if only the catalog of the snapshot is left in this repository.
  public var isHere: Bool
  /// The catalog that an earlier push kept, if any.
  fileprivate var kept: OpenCatalog?
}

/// A lock on a snapshot. While a process holds it, no other process can expire the snapshot.
public final class SnapshotUse: Sendable {
  private let file: Descriptor
  init(_ file: consuming Descriptor) { self.file = file }
}

// The records that pushes leave in `remotes/ID`. ID is the id of the remote repository. `NAME.catalog` is the catalog
// of the last pushed snapshot, one for each set of sources. `address` is the address of the remote.
extension Repository {
  private static let remotesName = Array("remotes".utf8)
  private static let addressName = Array("address".utf8)

  /// Keeps a snapshot from expiring until the lock is released. The end of the process also releases the lock.
  public func use(_ name: SnapshotName) throws(Failure) -> SnapshotUse {
    let catalogs = try directory(Self.catalogsName)
    do {
      let file = try catalogs.descriptor.openToRead(name.catalogName.span)
      // A rotation locks the catalog briefly to test for users.
      for attempt in 0... {
        do {
          try file.lockShared()
          break
        } catch {
          guard error == .wouldBlock, attempt < 1500 else { throw error }
          CurrentProcess.sleep(milliseconds: 20)
        }
      }
      // The snapshot may have expired before the lock was taken.
      let status = try catalogs.descriptor.status(of: name.catalogName.span)
      guard status.inode == (try file.status().inode) else { throw Errno.staleHandle }
      return SnapshotUse(file)
    } catch {
      throw Failure(.failed, "the snapshot \(name) of \(displayName(path)) cannot be taken into use: \(error)")
    }
  }

  /// Locks a snapshot exclusively, so that it can expire. `nil` if a process is using it.
  public func claim(_ name: SnapshotName) throws -> SnapshotUse? {
    let file = try directory(Self.catalogsName).descriptor.openToRead(name.catalogName.span)
    do throws(Errno) { try file.lockExclusively() } catch {
      if error == .wouldBlock { return nil }
      // The file system has no locks, so no other process can have locked the snapshot either.
      let hasNoLocks: [Errno] = [.notImplemented, .notSupported, .invalid]
      guard hasNoLocks.contains(error) else { throw error }
    }
    return SnapshotUse(file)
  }

  /// The possible bases for a push of a snapshot to a remote, best first.
  ///
  /// The newest snapshot of the same sources comes first, then those that share the most sources.
  public func baseCandidates(
    for snapshot: Snapshot, remote id: [UInt8], in list: SnapshotList
  ) throws(Failure) -> [BaseCandidate] {
    var candidates = pushed(to: id, list).filter { $0.name != snapshot.name }
    let known = Set(candidates.map(\.name) + [snapshot.name])
    for other in list.snapshots where !known.contains(other.name) {
      candidates.append(BaseCandidate(name: other.name, summary: other.summary, isHere: true))
    }
    let sources = SourceSet(label: snapshot.summary.label, paths: snapshot.summary.sources)
    func rank(_ candidate: BaseCandidate) -> (Int, Int, UInt64) {
      let isSame = candidate.summary.hasSameSources(as: snapshot.summary)
      return (isSame ? 1 : 0, sources.count(in: candidate.summary), candidate.summary.sequence)
    }
    return candidates.map { ($0, rank($0)) }.sorted { $0.1 > $1.1 }.map(\.0)
  }

  /// Opens a candidate's catalog.
  public func openCatalog(_ candidate: BaseCandidate) throws(Failure) -> OpenCatalog {
    if let kept = candidate.kept { return kept }
    return try openCatalog(candidate.name)
  }

  /// The snapshots that were last pushed to a remote, as far as this repository knows. An unreadable catalog is
  /// skipped, because the loss is only a possible base.
  private func pushed(to id: [UInt8], _ list: SnapshotList) -> [BaseCandidate] {
    guard let own = try? control.directory(path: [Self.remotesName, id]) else { return [] }
    var found: [BaseCandidate] = []
    for name in Self.keptNames(own) {
      guard let catalog = Self.keptCatalog(name, own) else { continue }
      let isHere = list.snapshots.contains {
        $0.name == name && $0.summary.root.digest == catalog.summary.root.digest
      }
      found.append(BaseCandidate(name: name, summary: catalog.summary, isHere: isHere, kept: catalog))
    }
    return found
  }

  private static func keptNames(_ own: Directory) -> [SnapshotName] {
    var listing = DirectoryListing()
    guard (try? listing.read(own.descriptor)) != nil else { return [] }
    let suffix = Array(".catalog".utf8)
    return listing.entries.compactMap { entry in
      let name = listing.bytes[entry.range]
      return name.suffix(suffix.count) == suffix[...] ? SnapshotName(name.dropLast(suffix.count)) : nil
    }
  }

  private static func keptCatalog(_ name: SnapshotName, _ own: Directory) -> OpenCatalog? {
    guard let file = try? own.descriptor.openToRead(name.catalogName.span), let source = try? CatalogFile(file) else {
      return nil
    }
    return try? OpenCatalog(source)
  }

  /// The snapshots that were last pushed to the remote at this address, and the time of the last push.
  public func pushed(address: [UInt8]) -> (names: [SnapshotName], time: Timestamp)? {
    for id in remoteIDs() {
      guard let own = try? control.directory(path: [Self.remotesName, id]),
        let file = try? own.descriptor.openToRead(Self.addressName.span),
        (try? file.readToEnd(limit: 1 << 16)) == address, let time = try? file.status().modified
      else { continue }
      return (Self.keptNames(own), time)
    }
    return nil
  }

  private func remoteIDs() -> [[UInt8]] {
    var listing = DirectoryListing()
    guard let remotes = try? control.directory(Self.remotesName.span), (try? listing.read(remotes.descriptor)) != nil
    else { return [] }
    return listing.entries.map { Array(listing.bytes[$0.range]) }
  }

  /// Keeps the catalog of a pushed snapshot, and drops older catalogs of the same sources.
  public func rememberPush(of name: SnapshotName, to id: [UInt8], address: [UInt8]) throws(Failure) {
    let catalogs = try directory(Self.catalogsName)
    do {
      try makeDirectory(Self.remotesName, in: control.descriptor)
      let remotes = try control.directory(Self.remotesName.span)
      // Another repository that had this address is no longer there.
      for other in remoteIDs() where other != id {
        guard let found = try? remotes.directory(other.span),
          (try? found.descriptor.openToRead(Self.addressName.span).readToEnd(limit: 1 << 16)) == address
        else { continue }
        try found.descriptor.unlink(Self.addressName.span)
      }
      try makeDirectory(id, in: remotes.descriptor)
      let own = try remotes.directory(id.span)
      do throws(Errno) {
        try catalogs.descriptor.link(name.catalogName.span, to: own.descriptor, as: name.catalogName.span)
      } catch {
        guard error == .exists else { throw error }
      }
      for other in Self.replaced(by: name, own) { try own.descriptor.unlink(other.catalogName.span) }
      let file = try openFile(Self.addressName, in: own.descriptor, [.write, .truncate])
      try file.write(address)
      try own.descriptor.synchronize()
    } catch { throw .writing("remember a push in", path, error) }
  }

  /// The catalogs that a new one replaces: those of the same sources, and the oldest beyond `mostKept`.
  private static func replaced(by name: SnapshotName, _ own: Directory) -> [SnapshotName] {
    guard let new = keptCatalog(name, own)?.summary else { return [] }
    var going: [SnapshotName] = []
    var staying: [(name: SnapshotName, sequence: UInt64)] = []
    for other in keptNames(own) where other != name {
      if let summary = keptCatalog(other, own)?.summary, !summary.hasSameSources(as: new) {
        staying.append((other, summary.sequence))
      } else {
        going.append(other)
      }
    }
    staying.sort { $0.sequence > $1.sequence }
    return going + staying.dropFirst(mostKept - 1).map(\.name)
  }

  /// The maximum number of catalogs that are kept for one remote.
  private static var mostKept: Int { 16 }
}

extension CatalogSummary {
  fileprivate func hasSameSources(as other: CatalogSummary) -> Bool {
    label == other.label && Set(sources) == Set(other.sources) && Set(otherSources) == Set(other.otherSources)
  }
}
