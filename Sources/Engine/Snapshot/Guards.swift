internal import Catalog
internal import Posix
internal import Repository
internal import Synchronization

/// What became of one source since the previous snapshot.
final class SourceTally: Sendable {
  let path: [UInt8]
  /// Entries that the previous snapshot has of it, directories included.
  let entriesBefore: UInt64
  /// What it is compared with.
  let tree: StoredTree?
  var previous: SnapshotName? { tree?.name }
  /// Entries whose names are no longer there.
  let gone = Atomic<UInt64>(0)
  /// Of them, entries that were found elsewhere.
  let moved = Atomic<UInt64>(0)
  /// Files that existed and are unchanged, and files that existed and have another content.
  let unchanged = Atomic<UInt64>(0)
  let changed = Atomic<UInt64>(0)

  init(_ path: [UInt8], entriesBefore: UInt64, _ tree: StoredTree?) {
    self.path = path
    self.tree = tree
    self.entriesBefore = entriesBefore
  }
}

/// What a source is compared with: the newest of all snapshots that has it, however old.
struct SourceBase: Sendable {
  let tree: StoredTree
  let subtree: Subtree
}

/// Compares what a run sees with what older snapshots have.
final class Guards: Sendable {
  private let limits: GuardLimits
  /// By the source's path.
  private let bases: [[UInt8]: SourceBase]
  private let newest: StoredTree?
  /// The file systems of the newest snapshots that have the paths, by path, and whose.
  private let mountsBefore: [[UInt8]: (record: MountRecord, snapshot: SnapshotName)]
  /// Last components of those paths: what a directory's name is compared with first.
  private let mountNames: Set<[UInt8]>
  private let tallies = Mutex<[SourceTally]>([])
  private let mountsNow = Mutex<[MountRecord]>([])

  /// `snapshots` are all that are published, the oldest first.
  init(_ limits: GuardLimits, _ snapshots: [Snapshot], _ bases: [[UInt8]: SourceBase], newest: StoredTree?) {
    self.limits = limits
    self.bases = bases
    self.newest = newest
    var mounts: [[UInt8]: (MountRecord, SnapshotName)] = [:]
    var known: Set<[UInt8]> = []
    for (index, snapshot) in snapshots.enumerated().reversed() {
      for mount in snapshot.summary.mounts where known.insert(mount.path).inserted {
        // What a newer snapshot covers and has not mounted was taken away on purpose since.
        let place = mount.path.split(separator: UInt8(ascii: "/")).map(Array.init)
        if snapshots[(index + 1)...].contains(where: { $0.summary.covers(place) }) { continue }
        mounts[mount.path] = (mount, snapshot.name)
      }
    }
    mountsBefore = mounts
    mountNames = Set(mounts.keys.map { splitLast($0).name })
  }

  /// The file systems that this run has seen, for its catalog.
  var mounts: [MountRecord] {
    mountsNow.withLock { $0.sorted { $0.path.lexicographicallyPrecedes($1.path) } }
  }

  /// A source was opened: from here on its changes are counted, against the newest snapshot that has it. Where that
  /// is not the newest of all, it becomes the source's base.
  func begin(_ node: SnapshotNode) -> SourceTally {
    if let base = bases[node.sourcePath], node.base == nil || node.tree !== base.tree {
      node.base = base.subtree
      node.tree = base.tree
      node.isOlder = base.tree !== newest
      node.hasOwnBase = true
    }
    let tally = SourceTally(
      node.sourcePath, entriesBefore: node.base?.totals.entries ?? 0, node.base == nil ? newest : node.tree)
    tallies.withLock { $0.append(tally) }
    return tally
  }

  /// A directory was opened. Refuses its source where a file system was mounted that is not there now.
  func check(_ node: SnapshotNode, _ identity: FileSystemIdentity, isMount: Bool) throws(SourceRefusal) {
    guard isMount || mountNames.contains(node.name) else { return }
    let path = joined(node.path, absolute: true)
    if isMount, identity.type != 0 {
      mountsNow.withLock {
        $0.append(
          MountRecord(
            path: path, type: identity.type, number: identity.number, volume: identity.volume))
      }
    }
    guard !limits.acceptsChanges, let before = mountsBefore[path],
      identity.isOther(than: (before.record.type, before.record.number))
    else { return }
    throw refusal(
      of: node.tally?.path ?? node.sourcePath,
      "\(displayName(node.sourcePath)) is on another file system than in the snapshot \(before.snapshot)",
      hint: "mount the right one, or, if this is right, run again with --accept-changes")
  }

  private func refusal(of source: [UInt8], _ message: String, hint: String) -> SourceRefusal {
    SourceRefusal(path: source, failure: Failure(.refused, message, hint: hint))
  }

  /// A source was listed. Refuses it where it is empty and was not.
  func checkNotEmpty(_ node: SnapshotNode) throws(SourceRefusal) {
    guard !limits.acceptsChanges, let tally = node.tally, tally.entriesBefore > 1 else { return }
    throw refusal(
      of: tally.path,
      "the source \(displayName(tally.path)) is empty, and the snapshot \(tally.previous!) has "
        + "\(tally.entriesBefore) entries of it",
      hint: "mount its file system, or, if this is right, run again with --accept-changes")
  }

  /// The walk is over. Refuses a source where most entries of it are gone.
  func checkGone() throws(SourceRefusal) {
    guard !limits.acceptsChanges else { return }
    for tally in tallies.withLock({ $0 }) {
      let gone = tally.gone.value - min(tally.gone.value, tally.moved.value)
      guard limits.isTooMuch(gone: gone, of: tally.entriesBefore) else { continue }
      throw refusal(
        of: tally.path,
        "\(gone) of the \(tally.entriesBefore) entries that the snapshot \(tally.previous!) has of "
          + "\(displayName(tally.path)) are gone",
        hint: "if this is right, run again with --accept-changes")
    }
  }

  /// The sources of which most files have another content than before, as encryption by an extortionist
  /// leaves them: what to say of each.
  func suspects() -> [Warning] {
    guard !limits.acceptsChanges else { return [] }
    return tallies.withLock { $0 }.compactMap { tally in
      let changed = tally.changed.value
      let existing = changed + tally.unchanged.value
      guard limits.isTooMuch(changed: changed, of: existing) else { return nil }
      return Warning(
        path: tally.path,
        message: "\(changed) of \(existing) files have another content than in the snapshot \(tally.previous!); "
          + "look whether that is right; rotation is held until you run: treering release")
    }
  }
}
