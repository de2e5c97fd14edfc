internal import Catalog
internal import Model
internal import Repository

/// The snapshot that is meant by a reference together with paths.
struct SnapshotChoice {
  let snapshot: Snapshot
  /// The paths from the snapshot's root, label first.
  var places: [TreePath]
  /// The snapshot that the reference alone means, if it does not have the paths.
  let passedOver: Snapshot?
}

extension SnapshotStore {
  /// The newest snapshot for a reference that has all paths and all sources below them.
  ///
  /// Without a path, or with the path `/`, it is the first candidate of the reference. If no candidate has all sources
  /// below the paths, the newest one with the paths is returned.
  func choose(reference: String, having paths: [[UInt8]], in list: SnapshotList) throws(Failure) -> SnapshotChoice {
    let candidates = try candidates(for: reference, in: list)
    func choice(of snapshot: Snapshot) throws(Failure) -> SnapshotChoice {
      SnapshotChoice(
        snapshot: snapshot, places: try places(of: paths, in: snapshot),
        passedOver: snapshot.name == candidates[0].name ? nil : candidates[0])
    }
    if try places(of: paths, in: candidates[0]).allSatisfy({ $0 == [candidates[0].summary.label] }) {
      return try choice(of: candidates[0])
    }
    var first: Snapshot?
    for snapshot in candidates {
      let places = try places(of: paths, in: snapshot)
      guard try has(places, in: snapshot) else { continue }
      if list.lacking(in: snapshot, below: places).isEmpty { return try choice(of: snapshot) }
      first = first ?? snapshot
    }
    if let first { return try choice(of: first) }
    throw try missing(paths, among: candidates, in: list)
  }

  /// The newest snapshot for a reference that covers a path, or has it.
  func resolve(_ reference: String, of path: [UInt8]?, in list: SnapshotList) throws(Failure) -> Snapshot {
    let candidates = try candidates(for: reference, in: list)
    guard let path else { return candidates[0] }
    var first: Snapshot?
    for snapshot in candidates {
      let places = try places(of: [path], in: snapshot)
      if snapshot.summary.covers(places[0]) { return snapshot }
      guard try has(places, in: snapshot) else { continue }
      if !list.isOnlyParentOfSources(places[0], in: snapshot) { return snapshot }
      first = first ?? snapshot
    }
    return first ?? candidates[0]
  }

  private func places(of paths: [[UInt8]], in snapshot: Snapshot) throws(Failure) -> [TreePath] {
    var places: [TreePath] = []
    for path in paths { places.append(try TreePath(named: path, below: snapshot.summary.label)) }
    return places
  }

  private func has(_ places: [TreePath], in snapshot: Snapshot) throws(Failure) -> Bool {
    let reader = CatalogReader(reading: try openCatalog(of: snapshot.name))
    do {
      for place in places where try reader.find(place) == nil { return false }
      return true
    } catch { throw Failure(.damaged, "the catalog of \(snapshot.name) is damaged: \(error)") }
  }

  /// The error if no snapshot has all paths. It names the newest snapshot of each path.
  private func missing(_ paths: [[UInt8]], among candidates: [Snapshot], in list: SnapshotList) throws(Failure)
    -> Failure
  {
    var found: [String] = []
    for path in paths {
      let shown = displayName(path)
      guard let snapshot = try newest(of: candidates, having: path) else {
        let elsewhere = try newest(of: list.snapshots.reversed(), having: path)
        let place =
          candidates.count == 1 ? "not in the snapshot \(candidates[0].name)" : "in none of the snapshots meant"
        return Failure(
          .usage, "\(shown) is \(elsewhere == nil && candidates.count > 1 ? "in no snapshot" : place)", path: path,
          hint: elsewhere.map { "it is in \($0.name)" } ?? TreePath.hint(forAbsent: path))
      }
      found.append("\(shown) is newest in \(snapshot.name)")
    }
    return Failure(
      .usage, "no snapshot has all of these paths: \(found.joined(separator: ", "))", hint: "name them one at a time")
  }

  private func newest(of snapshots: [Snapshot], having path: [UInt8]) throws(Failure) -> Snapshot? {
    for snapshot in snapshots where try has(places(of: [path], in: snapshot), in: snapshot) { return snapshot }
    return nil
  }
}

extension SnapshotChoice {
  /// Refuses to restore a part as if it were the whole, if other snapshots have sources that this one lacks.
  func refusePartial(in list: SnapshotList) throws(Failure) {
    // A whole restore also includes the other hosts of adopted trees, but no dumps.
    let hosts = Set(
      list.snapshots.flatMap(\.summary.otherSources).compactMap { TreePath(parsing: $0).first }
    ).subtracting([DatabaseRecord.label])
    let wanted = places.isEmpty ? [[snapshot.summary.label]] + hosts.map { [$0] } : places
    let lacking = list.lacking(in: snapshot, below: wanted)
    guard !lacking.isEmpty else { return }
    let label = snapshot.summary.label
    func shown(source: TreePath) -> String {
      displayName(source.first == label ? source.dropFirst().absolute : source.bytes)
    }
    var groups: [(snapshot: Snapshot, sources: [String])] = []
    for (source, newest) in lacking {
      if let last = groups.indices.last, groups[last].snapshot.name == newest.name {
        groups[last].sources.append(shown(source: source))
      } else {
        groups.append((newest, [shown(source: source)]))
      }
    }
    let elsewhere = groups.map { "\($0.sources.joined(separator: ", ")) (newest in \($0.snapshot.name))" }
    throw Failure(
      .refused,
      "the snapshot \(snapshot.name) has only \(snapshot.sourcesText), and lacks "
        + elsewhere.joined(separator: ", "),
      hint: "name the paths that you want, or take what it has with --partial")
  }

  /// The note about a newer snapshot that was skipped, or `nil` if none was.
  func note(for reference: String) -> String? {
    guard let passedOver else { return nil }
    let name = reference == "latest" ? "the newest" : reference
    let why =
      places.allSatisfy { passedOver.summary.covers(passedOver.summary.label + $0.dropFirst()) }
      ? "does not have it" : "has only \(passedOver.sourcesText)"
    let label = snapshot.summary.label
    let below = label == passedOver.summary.label ? "" : ", below the label \(displayName(label))"
    return "taken from \(snapshot.name)\(below); \(name), \(passedOver.name), \(why)"
  }
}

extension Snapshot {
  /// The sources, for messages.
  var sourcesText: String {
    let dumps = summary.databases.filter { !$0.isLeftOut }.map { displayName($0.source) }
    let all = summary.sources.map { displayName($0) } + summary.hostTitles + dumps
    return all.count <= 4
      ? all.joined(separator: ", ") : all.prefix(3).joined(separator: ", ") + " and \(all.count - 3) more"
  }
}

extension TreePath {
  /// The operator's path inside a snapshot: absolute as at the source, or beginning with the label.
  init(named path: [UInt8], below label: [UInt8]) throws(Failure) {
    let names = TreePath(parsing: path)
    if names.contains(Array("..".utf8)) {
      throw Failure(.usage, "the path \(displayName(path)) must not contain \"..\"", path: path)
    }
    // An empty path may come from an unset variable of a script, or from habit. Only "/" or no path at all means
    // everything.
    if names.isEmpty && path.first != slash {
      throw Failure(
        .usage, "the path \"\(displayName(path))\" names nothing in a snapshot", path: path,
        hint: "name it as it was at the source, beginning with /")
    }
    self = path.first == slash ? label + names : names
  }

  /// Looks the operator's path up in the catalogs, in order.
  init(named path: [UInt8], in catalogs: [CatalogReader]) throws {
    for catalog in catalogs {
      self = try TreePath(named: path, below: catalog.summary.label)
      if try catalog.find(self) != nil { return }
    }
    throw Failure(.usage, "\(displayName(path)) is not in the snapshot", path: path, hint: Self.hint(forAbsent: path))
  }

  static func hint(forAbsent path: [UInt8]) -> String {
    path.first == slash
      ? "name it as it was at the source; look for it with: treering find PATTERN"
      : "a path without a leading / begins with the label, such as localhost/etc"
  }
}
