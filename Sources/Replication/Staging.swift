internal import Catalog
internal import Posix
internal import Repository

/// What came of snapshots that were not built, as far as a push of one client's has to do with it.
struct Staging {
  let repository: Repository
  let client: [UInt8]
  let began: Timestamp

  /// What was built of these files has their inodes, and so may later snapshots: they must not serve again.
  func discard(_ published: Set<SnapshotName>) throws {
    for other in try repository.incomingSnapshots() where published.contains(other) {
      try repository.discardIncoming(other)
    }
  }

  /// Leaves what came of `name`, or else of the newest snapshot that the client began to push. The rest of the
  /// client's will never be asked for again, nor will what came long ago.
  func prepare(for name: SnapshotName) throws {
    let found = try repository.incomingSnapshots()
    let others = found.filter { $0 != name }
    if !found.contains(name),
      let newest = others.filter({ isOwn($0) && !isOld($0) }).max(by: { $0.description < $1.description })
    {
      try repository.takeOverIncoming(newest, as: name)
    }
    for other in try repository.incomingSnapshots() where other != name && (isOwn(other) || isOld(other)) {
      try repository.discardIncoming(other)
    }
  }

  private func isOwn(_ other: SnapshotName) -> Bool {
    let name = ReceivedTree.ownerName
    guard let directory = repository.openIncoming(other),
      let owner = try? directory.descriptor.openToRead(name.span).readToEnd(limit: 4096)
    else { return false }
    return owner.starts(with: Array("\(displayName(client)) ".utf8))
  }

  /// True for what nobody has gone on with for a month.
  private func isOld(_ other: SnapshotName) -> Bool {
    guard let status = try? repository.openIncoming(other)?.descriptor.status() else { return false }
    return began - status.modified > 30 * 86_400
  }
}
