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
/// `NAME.catalog` is the catalog of the newest pushed snapshot, one for each set of sources. `address` is the address of
/// the remote. `pushed` has the names of the snapshots that the remote has or had, one a line.
public struct PushMemory {
  let repository: Repository
  private static let directoryName = Array("remotes".utf8)
  private static let addressName = Array("address".utf8)
  private static let pushedName = Array("pushed".utf8)

  /// The possible bases for a push of a snapshot to a remote, best first.
  ///
  /// Snapshots of the same sources come first, then those that share the most sources. Among these the nearest by time
  /// comes first, because it has the most in common. Of more than `limit` candidates, those that the remote is known to
  /// have stay.
  public func baseCandidates(
    for snapshot: Snapshot, remote id: [UInt8], in list: SnapshotList, limit: Int
  ) throws(Failure) -> [BaseCandidate] {
    var candidates = known(to: id, in: list).filter { $0.name != snapshot.name }
    let known = Set(candidates.map(\.name) + [snapshot.name])
    for other in list.snapshots where !known.contains(other.name) {
      candidates.append(BaseCandidate(name: other.name, summary: other.summary, isHere: true))
    }
    let sources = SourceSet(label: snapshot.summary.label, paths: snapshot.summary.sources)
    func rank(of candidate: BaseCandidate) -> (Int, Int, Double, UInt64) {
      let isSame = candidate.summary.hasSameSources(as: snapshot.summary)
      let distance = abs(candidate.summary.taken - snapshot.summary.taken)
      return (isSame ? 1 : 0, sources.count(in: candidate.summary), -distance, candidate.summary.sequence)
    }
    let sorted = candidates.map { ($0, rank(of: $0)) }.sorted { $0.1 > $1.1 }.map(\.0)
    guard sorted.count > limit else { return sorted }
    let there = try pushed(to: id)
    return limited(sorted, to: limit, preferring: { there.contains($0.name) })
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
    let names = try? Directory(own.descriptor.reopenDirectory()).names()
    return (names ?? []).compactMap { SnapshotName($0, suffix: SnapshotName.catalogSuffix) }
  }

  private static func keptCatalog(of name: SnapshotName, in own: Directory) -> OpenCatalog? {
    guard let file = try? own.descriptor.openToRead(name.catalogName.span), let source = try? CatalogFile(file: file)
    else { return nil }
    return try? OpenCatalog(reading: source)
  }

  /// The snapshots that the remote at this address has or had, and the time of the last push.
  public func last(address: [UInt8]) -> (names: Set<SnapshotName>, time: Timestamp)? {
    for own in remotes() where self.address(in: own) == address {
      guard let status = try? own.descriptor.status(of: Self.addressName.span) else { continue }
      return ((try? pushed(in: own)) ?? [], status.modified)
    }
    return nil
  }

  /// The catalog of a snapshot that was pushed to this address, if it was kept.
  public func keptCatalog(of name: SnapshotName, at address: [UInt8]) -> OpenCatalog? {
    remotes().first { self.address(in: $0) == address }.flatMap { Self.keptCatalog(of: name, in: $0) }
  }

  /// The verifications of the remote at this address from here; `nil` if nothing was pushed there.
  public func verifiedParts(at address: [UInt8]) -> VerifiedParts? {
    for own in remotes() where self.address(in: own) == address { return VerifiedParts(in: repository, directory: own) }
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

  /// The snapshots of this repository that a remote has or had, as far as is known.
  public func pushed(to id: [UInt8]) throws(Failure) -> Set<SnapshotName> {
    do throws(Errno) {
      return try pushed(in: try repository.control.directory(path: [Self.directoryName, id]))
    } catch {
      if error == .noSuchEntry { return [] }
      throw .writing("read what was pushed in", at: repository.path, because: error)
    }
  }

  private func pushed(in own: Directory) throws(Errno) -> Set<SnapshotName> {
    let text = try repository.file(named: Self.pushedName, in: own).read(limit: 64 << 20) ?? []
    let lines = text.split(separator: UInt8(ascii: "\n"))
    return Set(lines.compactMap { SnapshotName($0) } + Self.keptNames(in: own))
  }

  /// Notes that a remote has some snapshots. The names of snapshots that this repository no longer has are dropped.
  public func note(_ names: Set<SnapshotName>, areAt id: [UInt8]) throws(Failure) {
    do { try note(names, in: makeDirectory(for: id)) } catch {
      throw .writing("remember a push in", at: repository.path, because: error)
    }
  }

  private func note(_ names: Set<SnapshotName>, in own: Directory) throws {
    let known = try pushed(in: own)
    if names.isSubset(of: known) { return }
    let here = try Set(repository.catalogs.names().compactMap { SnapshotName($0, suffix: SnapshotName.catalogSuffix) })
    let lines = known.union(names).intersection(here).map { "\($0)\n" }.sorted().joined()
    try repository.file(named: Self.pushedName, in: own).replace(with: Array(lines.utf8))
  }

  /// The cache of pushes to a repository of restic's format. It may be removed at any time.
  public func cacheFile(for id: [UInt8]) throws(Failure) -> ControlFile {
    do { return repository.file(named: Array("restic-cache".utf8), in: try makeDirectory(for: id)) } catch {
      throw .writing("keep a cache in", at: repository.path, because: error)
    }
  }

  private static let keyTestName = Array("key-test".utf8)

  /// Records that a password was proved, which is kept somewhere else than here.
  public func noteKeyTest(of id: [UInt8], at time: Timestamp, address: [UInt8]) throws(Failure) {
    let text = Array("\(CalendarTime(seconds: time.seconds).rfc3339)\n".utf8) + address
    do { try repository.file(named: Self.keyTestName, in: makeDirectory(for: id)).replace(with: text) } catch {
      throw .writing("record the test of a key in", at: repository.path, because: error)
    }
  }

  /// The time of the last test of a key of the repository at this address; `nil` if there was none.
  public func lastKeyTest(address: [UInt8]) -> Timestamp? {
    remotes().compactMap { own -> Timestamp? in
      guard let text = try? repository.file(named: Self.keyTestName, in: own).read(limit: 1 << 16),
        let end = text.firstIndex(of: UInt8(ascii: "\n")), text[(end + 1)...].elementsEqual(address),
        let seconds = Moment.seconds(of: String(decoding: text[..<end], as: UTF8.self))
      else { return nil }
      return Timestamp(seconds: seconds, nanoseconds: 0)
    }.max()
  }

  private func makeDirectory(for id: [UInt8]) throws(Errno) -> Directory {
    try repository.makeDirectory(Self.directoryName, in: repository.control)
    let remotes = try repository.control.directory(Self.directoryName.span)
    try repository.makeDirectory(id, in: remotes)
    return try remotes.directory(id.span)
  }

  /// Keeps the catalog of a pushed snapshot, and only the newest catalog of the same sources.
  public func remember(_ name: SnapshotName, to id: [UInt8], address: [UInt8]) throws(Failure) {
    let catalogs = try repository.catalogs
    do {
      let own = try makeDirectory(for: id)
      let inode = try own.descriptor.status().inode
      // Another repository that had this address is no longer there.
      for other in self.remotes() where self.address(in: other) == address {
        guard try other.descriptor.status().inode != inode else { continue }
        try other.descriptor.unlink(Self.addressName.span)
      }
      try note([name], in: own)
      do throws(Errno) {
        try catalogs.descriptor.link(name.catalogName.span, to: own.descriptor, as: name.catalogName.span)
      } catch {
        guard error == .exists else { throw error }
      }
      for other in Self.superfluous(in: own) { try own.descriptor.unlink(other.catalogName.span) }
      try repository.file(named: Self.addressName, in: own).replace(with: address)
    } catch { throw .writing("remember a push in", at: repository.path, because: error) }
  }

  /// The kept catalogs that a newer one of the same sources replaces, and the oldest beyond `mostKept`.
  private static func superfluous(in own: Directory) -> [SnapshotName] {
    let names = keptNames(in: own)
    var list = SnapshotList()
    for name in names {
      guard let summary = keptCatalog(of: name, in: own)?.summary else { continue }
      list.snapshots.append(Snapshot(name: name, summary: summary))
    }
    list.sort()
    var staying: [Snapshot] = []
    for snapshot in list.snapshots.reversed() where staying.count < mostKept {
      if !staying.contains(where: { $0.summary.hasSameSources(as: snapshot.summary) }) { staying.append(snapshot) }
    }
    return names.filter { name in !staying.contains { $0.name == name } }
  }

  /// The maximum number of catalogs that are kept for one remote.
  private static var mostKept: Int { 16 }
}

/// The first elements, in their order; the preferred ones come before others that follow them only beyond the limit.
func limited<Element>(_ elements: [Element], to limit: Int, preferring isPreferred: (Element) -> Bool) -> [Element] {
  let preferred = elements.indices.filter { isPreferred(elements[$0]) }.prefix(limit)
  let others = elements.indices.filter { !isPreferred(elements[$0]) }.prefix(limit - preferred.count)
  return (preferred + others).sorted().map { elements[$0] }
}

extension CatalogSummary {
  fileprivate func hasSameSources(as other: CatalogSummary) -> Bool {
    label == other.label && Set(sources) == Set(other.sources) && Set(otherSources) == Set(other.otherSources)
  }
}
