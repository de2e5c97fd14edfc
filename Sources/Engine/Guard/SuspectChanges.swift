internal import Catalog
internal import Repository

/// What looks like a disaster rather than work in a snapshot that came from elsewhere: for each source of both,
/// whether most of its entries are gone, or have another content. What was found elsewhere is not gone.
///
/// Only the catalogs are read, and of them what differs.
func suspectChanges(
  from previous: Snapshot, to new: Snapshot, moved: UInt64, in repository: Repository, _ limits: GuardLimits
) throws -> Warning? {
  let before = CatalogReader(try repository.openCatalog(previous.name))
  let after = CatalogReader(try repository.openCatalog(new.name))
  let entries = previous.summary.root.totals.entries
  let shareOfFiles = 1 - Double(min(previous.summary.directories, entries)) / Double(max(entries, 1))
  for source in previous.summary.sources where new.summary.sources.contains(source) {
    let path = [previous.summary.label] + source.split(separator: UInt8(ascii: "/")).map(Array.init)
    guard case .directory(_, let subtree)? = try before.find(path) else { continue }
    var gone: UInt64 = 0
    var changed: UInt64 = 0
    try compareCatalogs(before, after, under: path) { change in
      switch change.verb {
      case .removed: gone += 1
      case .changed: if change.aspects.contains(.content) { changed += 1 }
      case .added: break
      }
    }
    gone -= min(gone, moved)
    let total = subtree.totals.entries
    // A directory has no content. How many a single source has is not known without a walk.
    let staying = max(UInt64(Double(total - min(total, gone)) * shareOfFiles), changed)
    let what: String
    if limits.isTooMuch(gone: gone, of: total) {
      what = "\(gone) of \(total) entries are gone"
    } else if limits.isTooMuch(changed: changed, of: staying) {
      what = "\(changed) of about \(staying) files have another content"
    } else {
      continue
    }
    return Warning(path: source, message: "\(what) since the snapshot \(previous.name)")
  }
  return nil
}
