public import Catalog
public import Model
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

/// The records that pushes leave in `remotes/ID`. ID is the id of the remote repository.
///
/// `NAME.catalog` is the catalog of the last pushed snapshot, one for each set of sources. `address` is the address of
/// the remote.
public struct PushMemory {
  let repository: Repository
  private static let directoryName = Array("remotes".utf8)
  private static let addressName = Array("address".utf8)

  /// The possible bases for a push of a snapshot to a remote, best first.
  ///
  /// The newest snapshot of the same sources comes first, then those that share the most sources.
  public func baseCandidates(
    for snapshot: Snapshot, remote id: [UInt8], in list: SnapshotList
  ) throws(Failure) -> [BaseCandidate] {
    var candidates = known(to: id, in: list).filter { $0.name != snapshot.name }
    let known = Set(candidates.map(\.name) + [snapshot.name])
    for other in list.snapshots where !known.contains(other.name) {
      candidates.append(BaseCandidate(name: other.name, summary: other.summary, isHere: true))
    }
    let sources = SourceSet(label: snapshot.summary.label, paths: snapshot.summary.sources)
    func rank(of candidate: BaseCandidate) -> (Int, Int, UInt64) {
      let isSame = candidate.summary.hasSameSources(as: snapshot.summary)
      return (isSame ? 1 : 0, sources.count(in: candidate.summary), candidate.summary.sequence)
    }
    return candidates.map { ($0, rank(of: $0)) }.sorted { $0.1 > $1.1 }.map(\.0)
  }

  /// Opens a candidate's catalog.
  public func openCatalog(of candidate: BaseCandidate) throws(Failure) -> OpenCatalog {
    if let kept = candidate.kept { return kept }
    return try repository.openCatalog(of: candidate.name)
  }

  /// The snapshots that were last pushed to a remote, as far as this repository knows. An unreadable catalog is
  /// skipped, because the loss is only a possible base.
  private func known(to id: [UInt8], in list: SnapshotList) -> [BaseCandidate] {
    guard let own = try? repository.control.directory(path: [Self.directoryName, id]) else { return [] }
    var found: [BaseCandidate] = []
    for name in Self.keptNames(in: own) {
      guard let catalog = Self.keptCatalog(of: name, in: own) else { continue }
      let isHere = list.snapshots.contains { $0.name == name && $0.summary.root.digest == catalog.summary.root.digest }
      found.append(BaseCandidate(name: name, summary: catalog.summary, isHere: isHere, kept: catalog))
    }
    return found
  }

  private static func keptNames(in own: Directory) -> [SnapshotName] {
    ((try? own.names()) ?? []).compactMap { SnapshotName($0, suffix: SnapshotName.catalogSuffix) }
  }

  private static func keptCatalog(of name: SnapshotName, in own: Directory) -> OpenCatalog? {
    guard let file = try? own.descriptor.openToRead(name.catalogName.span), let source = try? CatalogFile(file: file)
    else { return nil }
    return try? OpenCatalog(reading: source)
  }

  /// The snapshots that were last pushed to the remote at this address, and the time of the last push.
  public func last(address: [UInt8]) -> (names: [SnapshotName], time: Timestamp)? {
    for own in remotes() where self.address(in: own) == address {
      guard let status = try? own.descriptor.status(of: Self.addressName.span) else { continue }
      return (Self.keptNames(in: own), status.modified)
    }
    return nil
  }

  /// The directories of all remotes. One that cannot be read is skipped: the loss is only a possible base.
  private func remotes() -> [Directory] {
    guard let remotes = try? repository.control.directory(path: [Self.directoryName]), let names = try? remotes.names()
    else { return [] }
    return names.compactMap { try? remotes.directory($0.span) }
  }

  private func address(in remote: Directory) -> [UInt8]? {
    try? repository.file(named: Self.addressName, in: remote).read(limit: 1 << 16)
  }

  /// Keeps the catalog of a pushed snapshot, and drops older catalogs of the same sources.
  public func remember(_ name: SnapshotName, to id: [UInt8], address: [UInt8]) throws(Failure) {
    let catalogs = try repository.catalogs
    do {
      try repository.makeDirectory(Self.directoryName, in: repository.control)
      let remotes = try repository.control.directory(Self.directoryName.span)
      try repository.makeDirectory(id, in: remotes)
      let own = try remotes.directory(id.span)
      let inode = try own.descriptor.status().inode
      // Another repository that had this address is no longer there.
      for other in self.remotes() where self.address(in: other) == address {
        guard try other.descriptor.status().inode != inode else { continue }
        try other.descriptor.unlink(Self.addressName.span)
      }
      do throws(Errno) {
        try catalogs.descriptor.link(name.catalogName.span, to: own.descriptor, as: name.catalogName.span)
      } catch {
        guard error == .exists else { throw error }
      }
      for other in Self.replaced(by: name, in: own) { try own.descriptor.unlink(other.catalogName.span) }
      try repository.file(named: Self.addressName, in: own).replace(with: address)
    } catch { throw .writing("remember a push in", at: repository.path, because: error) }
  }

  /// The catalogs that a new one replaces: those of the same sources, and the oldest beyond `mostKept`.
  private static func replaced(by name: SnapshotName, in own: Directory) -> [SnapshotName] {
    guard let new = keptCatalog(of: name, in: own)?.summary else { return [] }
    var going: [SnapshotName] = []
    var staying: [(name: SnapshotName, sequence: UInt64)] = []
    for other in keptNames(in: own) where other != name {
      if let summary = keptCatalog(of: other, in: own)?.summary, !summary.hasSameSources(as: new) {
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
