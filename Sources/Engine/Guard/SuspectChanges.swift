internal import Catalog
internal import Model
internal import Repository

/// A change of one source that looks like a disaster rather than work.
struct SuspectChange {
  var source: [UInt8]
  /// Such as `16 of 30 files`.
  var amount: String
  /// Such as `have another content`.
  var state: String
  /// The last snapshot before the change.
  var previous: SnapshotName

  /// The change in a clause, with the path of the source.
  var description: String { "\(amount) of \(displayName(source)) \(state)" }
}

extension Repository {
  /// Holds rotation because of suspect changes, until the operator releases it.
  ///
  /// The last snapshot before each change is held as well, and the release of rotation does not end that. The
  /// snapshots after the change look good to retention, and would let this one expire. `reason` is the reason of the
  /// hold on rotation. The caller holds the lock.
  func holdRotation(_ reason: String, because suspects: [SuspectChange], at time: Timestamp) throws(Failure) {
    try rotationFreeze.begin(reason, at: time)
    for suspect in suspects { try marks.hold(suspect.previous, asLastBefore: suspect.description, at: time) }
  }
}

/// Returns the changes of a received snapshot that look like a disaster rather than work.
///
/// A change does if most of a source's entries are gone, or have another content. Each source is compared with the
/// newest earlier snapshot that has it. A moved file is not gone.
///
/// Only the differing parts of the catalogs are read. An error names the snapshot that a source cannot be compared
/// with.
func suspectChanges(
  in snapshot: Snapshot, among list: SnapshotList, moved: UInt64, repository: Repository, limits: GuardLimits
) throws -> [SuspectChange] {
  var suspects: [SuspectChange] = []
  // A hostile client must not choose the snapshot that its own is compared with.
  let order = list.retentionOrder.map { list.snapshots[$0.index] }
  let earlier = order.prefix { $0.name != snapshot.name }.reversed()
  for source in snapshot.summary.sources {
    let path = snapshot.summary.label + TreePath(parsing: source)
    for previous in earlier where previous.summary.covers(path) {
      do {
        let before = CatalogReader(reading: try repository.openCatalog(of: previous.name))
        guard case .directory(_, let subtree)? = try before.find(path) else { continue }
        let after = CatalogReader(reading: try repository.openCatalog(of: snapshot.name))
        let found = try suspicion(
          before: before, after: after, path: path, total: subtree.totals.entries,
          shareOfFiles: previous.summary.shareOfFiles, moved: moved, limits: limits)
        if let (amount, state) = found {
          suspects.append(SuspectChange(source: source, amount: amount, state: state, previous: previous.name))
        }
      } catch { throw Failure(.failed, "with \(previous.name): \(error)") }
      break
    }
  }
  return suspects
}

private func suspicion(
  before: CatalogReader, after: CatalogReader, path: TreePath, total: UInt64, shareOfFiles: Double,
  moved: UInt64, limits: GuardLimits
) throws -> (amount: String, state: String)? {
  var gone: UInt64 = 0
  var changed: UInt64 = 0
  try compareCatalogs(before, right: after, under: path) { change in
    switch change.verb {
    case .removed: gone += 1
    case .changed: if change.aspects.contains(.content) { changed += 1 }
    case .added, .renamed: break
    }
  }
  gone -= min(gone, moved)
  if limits.isTooMuch(gone: gone, of: total) { return ("\(gone) of \(total) entries", "are gone") }
  // A directory has no content. The number of directories in a single source is not known without a walk.
  let staying = max(UInt64(Double(total - min(total, gone)) * shareOfFiles), changed)
  if limits.isTooMuch(changed: changed, of: staying) {
    return ("\(changed) of about \(staying) files", "have another content")
  }
  return nil
}

extension CatalogSummary {
  /// The share of the entries that are not directories.
  fileprivate var shareOfFiles: Double {
    let entries = root.totals.entries
    return 1 - Double(min(directories, entries)) / Double(max(entries, 1))
  }
}
