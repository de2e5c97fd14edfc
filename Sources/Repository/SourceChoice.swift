public import Catalog
public import Retention

/// Sources that belong together, such as those of a configuration.
public struct SourceSet: Sendable, Equatable {
  /// The directory inside a snapshot that the sources are below.
  public var label: [UInt8]
  /// Absolute paths, as a catalog names them.
  public var paths: [[UInt8]]

  public init(label: [UInt8], paths: [[UInt8]]) {
    self.label = label
    self.paths = paths
  }

  /// Each with its label first: what tells a source from those of other hosts.
  public var keys: [[UInt8]] { paths.map { label + [UInt8(ascii: "/")] + $0.drop { $0 == UInt8(ascii: "/") } } }

  /// The number of these sources that a snapshot was asked for: those that were absent count.
  func count(in summary: CatalogSummary) -> Int {
    guard summary.label == label else { return 0 }
    let known = Set(summary.sources + summary.absentSources)
    return paths.count { known.contains($0) }
  }
}

extension SnapshotStore {
  /// The newest snapshot of some sources, or the newest member of `set` of them; the newest of all without sources.
  ///
  /// A snapshot of some of them never stands for the others: one of all of them is meant. Where there is none,
  /// for instance because a source is new, it is the newest of those that have the most. `nil` where none has any.
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
  /// The sources, from the snapshot's root: each begins with its label.
  private var placesOfSources: [[[UInt8]]] {
    Self.places(SourceSet(label: label, paths: sources).keys + otherSources)
  }

  private static func places(_ keys: [[UInt8]]) -> [[[UInt8]]] {
    keys.map { $0.split(separator: UInt8(ascii: "/")).map(Array.init) }
  }

  /// True where a place, named from the snapshot's root, is a source or lies in one, and in no absent one in it.
  public func covers(_ place: [[UInt8]]) -> Bool {
    func longest(_ sources: [[[UInt8]]]) -> Int { sources.filter { place.starts(with: $0) }.map(\.count).max() ?? 0 }
    return longest(placesOfSources) > longest(Self.places(SourceSet(label: label, paths: absentSources).keys))
  }

  /// The sources at or below a place.
  fileprivate func sources(below place: [[UInt8]]) -> [[[UInt8]]] { placesOfSources.filter { $0.starts(with: place) } }

  /// The sources at or below a place of another snapshot, whose label stands for this one's: a restore puts both at the
  /// same paths.
  fileprivate func sources(below place: [[UInt8]], lackingIn other: CatalogSummary) -> [[[UInt8]]] {
    guard label != other.label, place.first == other.label else { return [] }
    return Self.places(sources).filter { path in
      let there = [other.label] + path
      return there.starts(with: place) && !other.covers(there)
    }.map { [label] + $0 }
  }
}

extension SnapshotList {
  /// True if a snapshot has a place only as a directory that leads to its sources, and another snapshot has the content.
  public func merelyLeads(_ snapshot: Snapshot, to place: [[UInt8]]) -> Bool {
    !snapshot.summary.covers(place) && snapshots.contains { $0.summary.covers(place) }
  }

  /// The parts of some places that other snapshots have and this one lacks, each with the newest snapshot that has it: a
  /// source at or below a place, or a place that lies in a source. A place, and a source, begins with its label. A
  /// snapshot that does not say of what it is lacks none.
  public func lacking(
    in snapshot: Snapshot, below places: [[[UInt8]]]
  ) -> [(source: [[UInt8]], newest: Snapshot)] {
    if snapshot.summary.sources.isEmpty && snapshot.summary.otherSources.isEmpty { return [] }
    var lacking: [(source: [[UInt8]], newest: Snapshot)] = []
    for other in snapshots.reversed() {
      let found = places.flatMap { place in
        other.summary.covers(place)
          ? [place] : other.summary.sources(below: place) + other.summary.sources(below: place, lackingIn: snapshot.summary)
      }
      for source in found
      where !snapshot.summary.covers(source) && !lacking.contains(where: { source == $0.source }) {
        lacking.append((source, other))
      }
    }
    return lacking
  }
}
