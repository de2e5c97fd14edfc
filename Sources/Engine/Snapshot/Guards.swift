internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The changes of one source since the previous snapshot.
final class SourceTally: Sendable {
  let path: [UInt8]
  /// The stored version that the source is compared with.
  let base: SourceBase?
  let previous: SnapshotName?
  /// Entries of the source in the previous snapshot, directories included.
  var entriesBefore: UInt64 { base?.subtree.totals.entries ?? 0 }
  let gone = Atomic<UInt64>(0)
  /// Entries that were found under new names, in this source or in another.
  let moved = Atomic<UInt64>(0)
  /// True if the source was listed and has no entries.
  let isEmpty = Atomic<Bool>(false)
  /// True for a source of another host, whose file systems are not known.
  let isFetched = Atomic<Bool>(false)
  /// Files that existed before and are unchanged, and files that existed before and have another content.
  let unchanged = Atomic<UInt64>(0)
  let changed = Atomic<UInt64>(0)

  init(of path: [UInt8], base: SourceBase?, newest: StoredTree?) {
    (self.path, self.base) = (path, base)
    previous = (base?.tree ?? newest)?.name
  }
}

/// The stored version that a source is compared with.
///
/// It is in the newest of all snapshots that have the source, however old.
struct SourceBase: Sendable {
  /// The source's path from the snapshot's root.
  let place: TreePath
  let tree: StoredTree
  let subtree: Subtree
}

/// Compares the sources of a run with older snapshots.
final class Guards: Sendable {
  private let limits: GuardLimits
  /// The sources that an older snapshot has, by their paths there.
  private let compared: [TreePath: SourceTally]
  /// The trees of these snapshots.
  private let comparedTrees: [StoredTree]
  private let newest: StoredTree?
  /// The last known file system at each path, and the newest snapshot that has it.
  private let mountsBefore: [[UInt8]: (record: MountRecord, snapshot: SnapshotName)]
  /// The last components of those paths, for a quick first comparison with a directory's name.
  private let mountNames: Set<[UInt8]>
  private let tallies = Mutex<[SourceTally]>([])
  private let mountsNow = Mutex<[MountRecord]>([])

  /// `snapshots` are all published snapshots, the oldest first.
  init(limits: GuardLimits, snapshots: [Snapshot], bases: [[UInt8]: SourceBase], newest: StoredTree?) {
    self.limits = limits
    compared = Dictionary(
      uniqueKeysWithValues: bases.map { path, base in (base.place, SourceTally(of: path, base: base, newest: newest)) })
    comparedTrees = Array(Dictionary(bases.values.map { ($0.tree.name, $0.tree) }) { first, _ in first }.values)
    self.newest = newest
    var mounts: [[UInt8]: (MountRecord, SnapshotName)] = [:]
    var known: Set<[UInt8]> = []
    for (index, snapshot) in snapshots.enumerated().reversed() {
      for mount in snapshot.summary.mounts where known.insert(mount.path).inserted {
        // If a newer snapshot covers the path without the mount, the mount was removed on purpose.
        let place = TreePath(parsing: mount.path)
        if snapshots[(index + 1)...].contains(where: { $0.summary.covers(place) }) { continue }
        mounts[mount.path] = (mount, snapshot.name)
      }
    }
    mountsBefore = mounts
    mountNames = Set(mounts.keys.map { splitLast(of: $0).name })
  }

  /// The file systems that this run has seen, for its catalog.
  var mounts: [MountRecord] { mountsNow.withLock { $0.sorted { $0.path.lexicographicallyPrecedes($1.path) } } }

  /// Begins to count the changes of an opened source, against the newest snapshot that has it.
  ///
  /// If that is not the newest snapshot of all, it becomes the source's base.
  func begin(at node: SnapshotNode, isDump: Bool) -> SourceTally {
    let tally =
      compared[node.path]
      ?? SourceTally(
        of: node.sourcePath,
        base: node.build.base.map { SourceBase(place: node.path, tree: node.build.tree!, subtree: $0) },
        newest: newest)
    if let base = tally.base, node.build.base == nil || node.build.tree !== base.tree || node.isMoved {
      node.build.base = base.subtree
      node.build.tree = base.tree
      node.isOlder = base.tree !== newest
      node.isMoved = false
      node.origin = nil
      node.build.basePath = node.path
    }
    // A dump may change as a whole, and has no mount point.
    if !isDump { tallies.withLock { $0.append(tally) } }
    return tally
  }

  /// The source that an entry was in; `nil` if there is none, or if it cannot be found.
  func origin(of status: FileStatus, on fileSystem: FileSystemKey, by finder: StoredFinder) -> SourceTally? {
    for tree in comparedTrees {
      if let path = finder.path(of: status, on: fileSystem, in: tree), let origin = source(of: path, in: tree) {
        return origin
      }
    }
    return nil
  }

  /// The source that a path of a snapshot is in; `nil` if the source is compared with another snapshot.
  func source(of path: TreePath, in tree: StoredTree) -> SourceTally? {
    for count in stride(from: path.count, to: 0, by: -1) {
      if let found = compared[path.prefix(count)], found.base?.tree === tree { return found }
    }
    return nil
  }

  /// Checks a directory after it was opened. Refuses its source if a mounted file system is missing.
  func check(_ node: SnapshotNode, on identity: FileSystemIdentity, isMount: Bool) throws(SourceRefusal) {
    guard isMount || mountNames.contains(node.name) else { return }
    let path = node.path.absolute
    if isMount, identity.type != 0 {
      mountsNow.withLock {
        $0.append(MountRecord(path: path, type: identity.type, number: identity.number, volume: identity.volume))
      }
    }
    guard !limits.acceptsChanges, let before = mountsBefore[path],
      identity.isOther(than: (before.record.type, before.record.number))
    else { return }
    throw refusal(
      of: node.tally?.path ?? node.sourcePath,
      message: "\(displayName(node.sourcePath)) is on another file system than in the snapshot \(before.snapshot)",
      hint: "mount the right one, or, if this is right, run again with --accept-changes")
  }

  private func refusal(of source: [UInt8], message: String, hint: String) -> SourceRefusal {
    SourceRefusal(path: source, failure: Failure(.refused, message, hint: hint))
  }

  /// Refuses a source that became empty or lost most of its entries; called after the walk.
  ///
  /// An entry that was found under a new name, in any source, is not gone.
  func checkGone() throws(SourceRefusal) {
    guard !limits.acceptsChanges, !limits.leavesCounts else { return }
    for tally in tallies.withLock({ $0 }) {
      let isEmpty = tally.isEmpty.load(ordering: .relaxed)
      // All entries but the source's own directory, even if the catalog cannot be read.
      let missing = isEmpty ? max(tally.entriesBefore, 1) - 1 : tally.gone.value
      let gone = missing - min(missing, tally.moved.value)
      if isEmpty, gone > 0 {
        throw refusal(
          of: tally.path,
          message: "the source \(displayName(tally.path)) is empty, and the snapshot \(tally.previous!) has "
            + "\(tally.entriesBefore) entries of it",
          hint: "mount its file system, or, if this is right, run again with --accept-changes")
      }
      // A host's mount point without its file system may hold an entry or two.
      let isReplaced = tally.isFetched.load(ordering: .relaxed) && gone > 0 && gone + 1 >= tally.entriesBefore
      guard isReplaced || limits.isTooMuch(gone: gone, of: tally.entriesBefore) else { continue }
      throw refusal(
        of: tally.path,
        message: "\(gone) of the \(tally.entriesBefore) entries that the snapshot \(tally.previous!) has of "
          + "\(displayName(tally.path)) are gone",
        hint: (isReplaced ? "mount its file system, or, " : "") + "if this is right, run again with --accept-changes")
    }
  }

  /// The sources in which most files have another content, as ransomware leaves them.
  func suspects() -> [SuspectChange] {
    guard !limits.acceptsChanges, !limits.leavesCounts else { return [] }
    return tallies.withLock { $0 }.compactMap { tally in
      let changed = tally.changed.value
      let existing = changed + tally.unchanged.value
      guard limits.isTooMuch(changed: changed, of: existing) else { return nil }
      return SuspectChange(
        source: tally.path, amount: "\(changed) of \(existing) files", state: "have another content",
        previous: tally.previous!)
    }
  }
}
