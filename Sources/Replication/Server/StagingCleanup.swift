internal import Model
internal import Posix
internal import Repository

/// Removes the staging directories that no push of a client will continue.
struct StagingCleanup {
  let repository: Repository
  let client: [UInt8]
  let now: Timestamp
  private static let keptSeconds = 30.0 * 86_400

  /// Removes the staging directories of published snapshots. These and later snapshots may share inodes with the staged
  /// files, so the staged files must not serve again.
  func discard(_ published: Set<SnapshotName>) throws {
    for other in try repository.receivedParts.snapshots() where published.contains(other) {
      try repository.receivedParts.discard(other)
    }
  }

  /// Keeps the staged data of `name`. Without any, it takes over that of the newest snapshot that the client began to
  /// push. All other data of the client, and all old data, is removed.
  func prepare(for name: SnapshotName) throws {
    let found = try repository.receivedParts.snapshots()
    let others = found.filter { $0 != name }
    if !found.contains(name),
      let newest = others.filter({ isOwn($0) && !isOld($0) }).max(by: { $0.description < $1.description })
    {
      try repository.receivedParts.move(from: newest, to: name)
    }
    for other in try repository.receivedParts.snapshots() where other != name && (isOwn(other) || isOld(other)) {
      try repository.receivedParts.discard(other)
    }
  }

  private func isOwn(_ other: SnapshotName) -> Bool {
    guard let directory = repository.receivedParts.existingDirectory(for: other) else { return false }
    return (try? PushStaging.isOwned(directory, by: client)) ?? false
  }

  private func isOld(_ other: SnapshotName) -> Bool {
    guard let status = try? repository.receivedParts.existingDirectory(for: other)?.descriptor.status() else {
      return false
    }
    return now - status.modified > Self.keptSeconds
  }
}
