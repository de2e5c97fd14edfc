public import Catalog
public import Model

/// A group of sources, such as those of a configuration.
public struct SourceSet: Sendable, Hashable {
  /// The directory inside a snapshot that contains the sources.
  public var label: [UInt8]
  /// Absolute paths, as in the catalog. A path without a leading slash begins with another label.
  public var paths: [[UInt8]]

  public init(label: [UInt8], paths: [[UInt8]]) { (self.label, self.paths) = (label, paths) }

  /// The paths with the label in front, which makes a source distinct from the sources of other hosts.
  public var keys: [[UInt8]] { paths.map { $0.first == slash ? label + [slash] + $0.drop { $0 == slash } : $0 } }

  /// The number of these sources that the snapshot was asked to back up. Absent sources count too.
  func count(in summary: CatalogSummary) -> Int {
    guard summary.label == label else { return 0 }
    let known = Set(summary.sources + summary.otherSources + summary.allAbsentSources)
    return paths.count { known.contains($0) }
  }
}

extension SnapshotStore {
  /// The newest snapshot of some sources, optionally among the members of `set`. Without sources, the newest snapshot.
  ///
  /// A snapshot of some of the sources never stands for the others. The newest snapshot of all sources is meant. A
  /// source may be new, so if none has all, the newest of those with the most sources is returned. `nil` if no snapshot
  /// has any.
  public func newest(
    of sources: SourceSet?, in set: SnapshotSet? = nil, among list: SnapshotList
  ) throws(Failure) -> Snapshot? {
    var candidates = list.snapshots
    if let set {
      let members = Set(try members(of: list)[set] ?? [])
      candidates = candidates.filter { members.contains($0.name) }
    }
    guard let sources else { return candidates.last }
    let counts = candidates.map { sources.count(in: $0.summary) }
    guard let most = counts.max(), most > 0 else { return nil }
    return candidates[counts.lastIndex(of: most)!]
  }
}

extension CatalogSummary {
  /// The requested sources that the snapshot lacks, including the databases that were left out.
  public var allAbsentSources: [[UInt8]] { absentSources + databases.filter(\.isLeftOut).map(\.source) }

  /// The sources of other hosts, which begin with their labels.
  public var hostSources: [[UInt8]] {
    let dumps = Set(databases.map(\.source))
    return otherSources.filter { !dumps.contains($0) }
  }

  /// The sources of other hosts in the form `web01:/etc`.
  public var hostTitles: [String] {
    hostSources.map { source in
      let path = TreePath(parsing: source)
      return displayName(path.first ?? []) + ":" + displayName(path.dropFirst().absolute)
    }
  }

  /// The sources as paths from the snapshot's root. Each begins with its label.
  public var placesOfSources: [TreePath] { places(of: sources + otherSources) }

  private func places(of sources: [[UInt8]]) -> [TreePath] {
    SourceSet(label: label, paths: sources).keys.map { TreePath(parsing: $0) }
  }

  /// True if a path from the snapshot's root is in a source, unless it is in a nested absent source.
  public func covers(_ place: TreePath) -> Bool {
    let counts = [placesOfSources, places(of: absentSources)].map { $0.innermost(around: place)?.count ?? 0 }
    return counts[0] > counts[1]
  }

  fileprivate func sources(below place: TreePath) -> [TreePath] { placesOfSources.filter { $0.starts(with: place) } }

  /// The sources at or below a path of another snapshot that has another label, if the other snapshot lacks them.
  ///
  /// This snapshot's label is replaced by the other's, because a restore puts both at the same paths.
  fileprivate func sources(below place: TreePath, lackingIn other: CatalogSummary) -> [TreePath] {
    guard label != other.label, place.first == other.label else { return [] }
    return sources.map { TreePath(parsing: $0) }.filter { path in
      let there = other.label + path
      return there.starts(with: place) && !other.covers(there)
    }.map { label + $0 }
  }
}

extension SnapshotList {
  /// True if a path is only a parent directory of the snapshot's sources, and another snapshot has its content.
  public func isOnlyParentOfSources(_ place: TreePath, in snapshot: Snapshot) -> Bool {
    !snapshot.summary.covers(place) && snapshots.contains { $0.summary.covers(place) }
  }

  /// The parts of some paths that this snapshot lacks, each with the newest snapshot that has it.
  ///
  /// A part is a source at or below a path, or a path inside a source. All paths and sources begin with a label. A
  /// snapshot that names no sources lacks nothing.
  public func lacking(in snapshot: Snapshot, below places: [TreePath]) -> [(source: TreePath, newest: Snapshot)] {
    if snapshot.summary.sources.isEmpty && snapshot.summary.otherSources.isEmpty { return [] }
    var lacking: [(source: TreePath, newest: Snapshot)] = []
    for other in snapshots.reversed() {
      let found = places.flatMap { place in
        other.summary.covers(place)
          ? [place]
          : other.summary.sources(below: place) + other.summary.sources(below: place, lackingIn: snapshot.summary)
      }
      for source in found
      where !snapshot.summary.covers(source) && !lacking.contains(where: { source == $0.source }) {
        lacking.append((source, other))
      }
    }
    return lacking
  }
}
