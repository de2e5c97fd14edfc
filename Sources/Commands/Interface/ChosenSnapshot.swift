internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Repository
internal import Restic

/// The snapshot that a command reads, with its repository and the list of all snapshots.
struct ChosenSnapshot {
  let store: any VerifiableStore
  let list: SnapshotList
  var choice: SnapshotChoice
  /// The snapshot as the operator named it.
  let reference: String

  var snapshot: Snapshot { choice.snapshot }
  var name: SnapshotName { snapshot.name }
  /// The note that another snapshot was taken than the reference alone means.
  var note: String? { choice.note(for: reference) }

  func openCatalog() throws(Failure) -> CatalogReader { CatalogReader(reading: try store.openCatalog(of: name)) }

  /// Keeps the snapshot from being recycled while the result lives. Reading goes on if nothing can be locked.
  func lock() -> (any Sendable)? { try? store.local?.locks.lockShared(name) }
}

extension CommonOptions {
  /// Opens a repository to read from, and lists its snapshots.
  func openList(
    connection: RemoteConnectionOptions, allowsRate: Bool = false, fromCache: Bool = true
  ) throws -> (store: any VerifiableStore, list: SnapshotList) {
    let store = try openStore(connection: connection, allowsRate: allowsRate, fromCache: fromCache)
    return (store, try store.snapshots())
  }

  /// Opens a repository, and chooses the newest snapshot for a reference that has all the paths.
  func openSnapshot(
    _ reference: String, having paths: [PathArgument], connection: RemoteConnectionOptions
  ) throws -> ChosenSnapshot {
    let (store, list) = try openList(connection: connection)
    let named = try paths.map { try list.path($0.bytes) }
    (store as? ResticStore)?.limitCatalogs(to: named)
    let choice = try store.choose(reference: reference, having: named, in: list)
    if choice.passedOver == nil { noteDistance(of: choice.snapshot, from: reference) }
    return ChosenSnapshot(store: store, list: list, choice: choice, reference: reference)
  }
}

/// Throws if a path stands in the place of the snapshot. `end` are the further words of the corrected command line.
func requireSnapshot(_ reference: String, before paths: [PathArgument], then end: String = "") throws {
  guard reference.contains("/") else { return }
  // restic's form has the path behind a colon.
  let parts = reference.split(separator: ":/", maxSplits: 1)
  let isJoined = parts.count == 2 && !parts[0].contains("/")
  let first = isJoined ? [String(parts[0]), "/" + parts[1]] : ["latest", reference]
  let words = first + paths.map { escapedArgument($0.bytes) } + (end.isEmpty ? [] : [end])
  let shown = words.map { displayName(argumentBytes($0)) }
  throw ValidationError(
    "\(displayName(argumentBytes(reference))) is no snapshot; name one before the path, such as: treering \(Treering.command) "
      + shown.joined(separator: " "))
}

extension CommonOptions {
  /// Says which snapshot a time means, if it is much older than the time.
  func noteDistance(of snapshot: Snapshot, from reference: String) {
    guard !quiet, let (time, usual) = Moment.timeWithUsualDistance(reference) else { return }
    let distance = time - snapshot.name.seconds
    guard distance > usual else { return }
    Console.note("\"\(reference)\" means \(snapshot.name), which is \(durationText(Double(distance))) older")
  }
}

extension SnapshotList {
  /// The operator's path, for a look into a snapshot.
  ///
  /// A relative path that begins with no label is one of the working directory.
  func path(_ path: [UInt8]) throws(Failure) -> [UInt8] {
    guard path.first != slash, let first = path.split(separator: slash).first.map(Array.init) else { return path }
    let labels = snapshots.map(\.summary.label) + snapshots.flatMap(\.summary.placesOfSources).compactMap(\.first)
    return labels.contains(first) || snapshots.contains { $0.places == [[]] } ? path : try absolutePath(of: path)
  }
}
