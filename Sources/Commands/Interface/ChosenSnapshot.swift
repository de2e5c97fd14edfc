internal import Catalog
internal import Engine
internal import Model
internal import Repository

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
  func openList(connection: RemoteConnectionOptions) throws -> (store: any VerifiableStore, list: SnapshotList) {
    let store = try openStore(connection: connection)
    return (store, try store.snapshots())
  }

  /// Opens a repository, and chooses the newest snapshot for a reference that has all the paths.
  func openSnapshot(
    _ reference: String, having paths: [PathArgument], connection: RemoteConnectionOptions
  ) throws -> ChosenSnapshot {
    let (store, list) = try openList(connection: connection)
    let choice = try store.choose(reference: reference, having: paths.map(\.bytes), in: list)
    return ChosenSnapshot(store: store, list: list, choice: choice, reference: reference)
  }
}
