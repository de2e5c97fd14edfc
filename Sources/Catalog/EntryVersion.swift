public import Model

/// The facts about an entry that make one version of it.
public struct EntryFacts: Sendable {
  public let kind: EntryKind
  public let metadata: Metadata
  /// The size of a regular file or of a link's target in bytes, or the numbers of a device; otherwise 0.
  public let size: UInt64
  /// The content of a regular file.
  public let digest: ContentDigest?
  /// The target of a symbolic link.
  public let target: [UInt8]
  public let attributes: AttributeBlock
  /// The digest of all that is in and below a directory.
  public let subtree: Digest?
  /// True for a directory that treering made: a label, or a directory above a source that is not saved itself.
  public let isSynthetic: Bool

  public init(of entry: Found) {
    kind = entry.kind
    subtree = entry.subtree?.digest
    switch entry {
    case .file(let row, let record):
      metadata = row.metadata
      size = row.kind == .fifo || row.kind == .socket ? 0 : row.size
      digest = row.kind == .regular ? row.digest : nil
      target = record.target(of: row)
      attributes = record.attributes(of: row)
      isSynthetic = false
    case .directory(let record, _):
      metadata = record.metadata
      size = 0
      digest = nil
      target = []
      attributes = record.attributes
      isSynthetic = record.isSynthetic
    }
  }

  /// True if nothing tells the two entries apart. One content may have digests of two forms.
  ///
  /// What is below a directory is not part of it.
  public func isSame(as other: EntryFacts) -> Bool {
    guard kind == other.kind, size == other.size, metadata == other.metadata, target == other.target,
      attributes == other.attributes
    else { return false }
    guard let digest, let theirs = other.digest else { return true }
    return digest.isConsistent(with: theirs, sameTime: true)
  }
}

/// One version of an entry: its facts are the same from the first snapshot to the last.
public struct EntryVersion: Sendable {
  /// The path from the snapshot's root.
  public let path: TreePath
  public let facts: EntryFacts
  public internal(set) var first: SnapshotName
  public internal(set) var last: SnapshotName
  /// The number of searched snapshots that have it.
  public internal(set) var snapshots: Int
}

/// A difference between two successive catalogs: the matching facts on each side.
public struct VersionChange: Sendable {
  /// The path from the snapshot's root.
  let path: TreePath
  let newer, older: EntryFacts?
}

/// Searches successive catalogs, newest first, for all versions of the entries that match.
///
/// The first catalog is read as a whole. Of each further one, only its differences from the catalog before are read.
/// Threads can read differences ahead: `changes` is independent of the state, and only `add` needs the order.
public struct VersionSearch: Sendable {
  /// Decides about one version of an entry. It may keep a state, so each reading has one of its own.
  public typealias Match = (EntryPlace, Found) throws -> Bool

  private let makeMatch: @Sendable () -> Match
  /// True if only the entry at the path is searched. All that is below a directory is part of its versions then.
  private let isOnePath: Bool
  /// The matching versions in the catalog that was searched last.
  private var current: [TreePath: EntryVersion] = [:]
  /// The versions at paths that later catalogs do not cover, up to the last one that has them.
  private var paused: [TreePath: EntryVersion] = [:]
  /// The snapshot that was searched last.
  private var oldest: SnapshotName?
  private var newerCovers: @Sendable (TreePath) -> Bool = { _ in true }
  /// The number of catalogs that were searched.
  private var count = 0

  public init(where makeMatch: @escaping @Sendable () -> Match) { (self.makeMatch, isOnePath) = (makeMatch, false) }

  /// Searches for the versions of the one path that is given to `changes`.
  public init() { (makeMatch, isOnePath) = ({ { _, _ in true } }, true) }

  /// The differences between two catalogs at and below a path. Before the newest catalog there is none.
  public func changes(
    from newer: CatalogReader?, to older: CatalogReader, under path: TreePath
  ) throws -> [VersionChange] {
    let isMatch = makeMatch()
    var changes: [VersionChange] = []
    try forEachDifference(from: newer, to: older, under: path, entering: { _, _ in !isOnePath }) { entries, place in
      func facts(_ entry: Found?) throws -> EntryFacts? {
        guard let entry, try isMatch(place, entry) else { return nil }
        return EntryFacts(of: entry)
      }
      let sides = entries.sides
      let (known, found) = (try facts(sides.left), try facts(sides.right))
      if known == nil, found == nil { return }
      changes.append(VersionChange(path: place.path, newer: known, older: found))
    }
    return changes
  }

  /// Takes the changes from the last catalog to an older one. Returns the versions that began with the last one, which
  /// are complete.
  ///
  /// `covers` is true for a path inside a source of the snapshot. A path that it does not cover ends no version.
  public mutating func add(
    _ changes: [VersionChange], to name: SnapshotName, covers: @escaping @Sendable (TreePath) -> Bool
  ) -> [EntryVersion] {
    func continues(_ change: VersionChange) -> Bool {
      guard let known = change.newer, let found = change.older, isSame(known, as: found) else { return false }
      return newerCovers(change.path) && covers(change.path)
    }
    // A file may have given way to a directory of its name, so all ends come before all beginnings.
    var complete: [EntryVersion] = []
    for change in changes where change.newer != nil && newerCovers(change.path) && !continues(change) {
      guard let known = current.removeValue(forKey: change.path) else { continue }
      if covers(change.path) { complete.append(finished(known)) } else { paused[change.path] = finished(known) }
    }
    for change in changes {
      guard let facts = change.older, covers(change.path), !continues(change) else { continue }
      var version = EntryVersion(path: change.path, facts: facts, first: name, last: name, snapshots: count)
      if let known = paused.removeValue(forKey: version.path) {
        if isSame(known.facts, as: version.facts) {
          version.last = known.last
          version.snapshots -= known.snapshots
        } else {
          complete.append(known)
        }
      }
      current[version.path] = version
    }
    (newerCovers, oldest) = (covers, name)
    count += 1
    return complete
  }

  /// Reports the versions that are still open after the oldest catalog; starts over.
  public mutating func finish(report: (EntryVersion) throws -> Void) rethrows {
    let paths = (Array(current.keys) + paused.keys).sorted()
    for path in paths {
      if let version = current[path].map({ finished($0) }) ?? paused[path] { try report(version) }
    }
    self = isOnePath ? VersionSearch() : VersionSearch(where: makeMatch)
  }

  private func isSame(_ facts: EntryFacts, as other: EntryFacts) -> Bool {
    facts.isSame(as: other) && (!isOnePath || facts.subtree == other.subtree)
  }

  private func finished(_ version: EntryVersion) -> EntryVersion {
    var version = version
    version.first = oldest ?? version.last
    version.snapshots = count - version.snapshots
    return version
  }
}
