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
  /// Components from the snapshot's root.
  public let path: [[UInt8]]
  public let facts: EntryFacts
  public internal(set) var first: SnapshotName
  public internal(set) var last: SnapshotName
  /// The number of searched snapshots that have it.
  public internal(set) var snapshots: Int
}

/// Searches successive catalogs, newest first, for all versions of the entries that match.
///
/// The first catalog is read as a whole. Of each further one, only its differences from the catalog before are read.
public struct VersionSearch {
  private let isMatch: (EntryPlace, Found) throws -> Bool
  /// True if only the entry at the path is searched. All that is below a directory is part of its versions then.
  private let isOnePath: Bool
  /// The matching versions in the catalog that was searched last.
  private var current: [[[UInt8]]: EntryVersion] = [:]
  /// The versions at paths that later catalogs do not cover, up to the last one that has them.
  private var paused: [[[UInt8]]: EntryVersion] = [:]
  /// The catalog that was searched last, and its snapshot.
  private var newer: CatalogReader?
  private var oldest: SnapshotName?
  private var newerCovers: ([[UInt8]]) -> Bool = { _ in true }
  /// The number of catalogs that were searched.
  private var count = 0

  /// `isMatch` decides about one version of an entry.
  public init(where isMatch: @escaping (EntryPlace, Found) throws -> Bool) {
    (self.isMatch, isOnePath) = (isMatch, false)
  }

  /// Searches for the versions of the one path that is given to `add`.
  public init() { (isMatch, isOnePath) = ({ _, _ in true }, true) }

  /// Searches an older catalog at and below a path. Returns the versions that began with the catalog before, which
  /// are complete.
  ///
  /// `covers` is true for a path inside a source of the snapshot. A path that it does not cover ends no version. After
  /// an error, the search is as if the catalog had not been there.
  public mutating func add(
    _ older: CatalogReader, named name: SnapshotName, under path: [[UInt8]], covers: @escaping ([[UInt8]]) -> Bool
  ) throws -> [EntryVersion] {
    var begun: [EntryVersion] = []
    var ended: [(path: [[UInt8]], isCovered: Bool)] = []
    try forEachDifference(from: newer, to: older, under: path, entering: { _, _ in !isOnePath }) { entries, place in
      let (known, found) = entries.sides
      let endsVersion = try known.map { try isMatch(place, $0) } ?? false
      let beginsVersion = try found.map { try isMatch(place, $0) } ?? false
      guard endsVersion || beginsVersion else { return }
      let path = place.path
      let (wasCovered, isCovered) = (newerCovers(path), covers(path))
      let facts = found.map { EntryFacts(of: $0) }
      if wasCovered, isCovered, let known, let facts, isSame(EntryFacts(of: known), as: facts) { return }
      if endsVersion, wasCovered { ended.append((path, isCovered)) }
      if beginsVersion, isCovered, let facts {
        begun.append(EntryVersion(path: path, facts: facts, first: name, last: name, snapshots: count))
      }
    }
    var complete: [EntryVersion] = []
    for (path, isCovered) in ended {
      guard let version = current.removeValue(forKey: path).map({ finished($0) }) else { continue }
      if isCovered { complete.append(version) } else { paused[path] = version }
    }
    for var version in begun {
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
    (newer, newerCovers, oldest) = (older, covers, name)
    count += 1
    return complete
  }

  /// The versions that are still open after the oldest catalog; starts over.
  public mutating func finish() -> [EntryVersion] {
    let versions = current.values.map { finished($0) } + paused.values
    self = isOnePath ? VersionSearch() : VersionSearch(where: isMatch)
    return versions.sorted { isPath($0.path, before: $1.path) }
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

/// The order of the bytes, component by component.
private func isPath(_ path: [[UInt8]], before other: [[UInt8]]) -> Bool {
  path.lexicographicallyPrecedes(other) { $0.lexicographicallyPrecedes($1) }
}
