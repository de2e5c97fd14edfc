internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// Computes the bytes freed by deleting the first `n` of `leaving`, for each `n` from 1.
///
/// They are the bytes of the stored inodes that no other snapshot has, according to the catalogs. `staying` has all
/// other snapshots. A catalog that cannot be read is named in `unreadable`, and its inodes count as zero. A large
/// file may have holes, so its block count is read from the disk.
func freedBytes(
  deleting leaving: [SnapshotName], keeping staying: [SnapshotName], in repository: Repository,
  unreadable: inout [(name: SnapshotName, reason: String)]
) throws -> [UInt64] {
  func forEach(_ name: SnapshotName, body: (UInt64, () -> UInt64) -> Void) throws {
    do { try forEachStoredInode(of: name, in: repository, body: body) } catch {
      if case .interrupted? = (error as? Failure)?.kind { throw error }
      unreadable.append((name, "\(error)"))
    }
  }
  var freed = [UInt64](repeating: 0, count: leaving.count)
  // For each inode: the index of the last leaving snapshot that has it, and the inode's bytes.
  var last: [UInt64: (index: Int, bytes: UInt64)] = [:]
  for (index, name) in leaving.enumerated() { try forEach(name) { last[$0] = (index, $1()) } }
  for name in staying { try forEach(name) { inode, _ in last[inode] = nil } }
  for (index, bytes) in last.values { freed[index] += bytes }
  var sum: UInt64 = 0
  return freed.map {
    sum += $0
    return sum
  }
}

/// A smaller file is assumed to have as many blocks as its size needs.
private let largeFileBytes: UInt64 = 1 << 20

private func forEachStoredInode(
  of name: SnapshotName, in repository: Repository, body: (UInt64, () -> UInt64) -> Void
) throws {
  let root = try repository.openTree(of: name)
  let tree = StoredTree(of: name, catalog: try repository.openCatalog(of: name), root: root, in: repository)
  let reader = CatalogReader(reading: tree.catalog)
  let status = try root.descriptor.status()
  // The space of one directory: a block on ext4, no additional space on other file systems.
  let directoryBytes = status.blocks &* 512
  let blockBytes: UInt64 = 4096
  var waiting: [(subtree: Subtree, path: [[UInt8]])] = [(tree.catalog.summary.root, [])]
  while let (subtree, path) = waiting.popLast() {
    try checkForSignal()
    let record = try reader.record(at: subtree.place, for: subtree.digest)
    var directory: Directory?
    func opened() -> Directory? {
      if directory == nil { directory = try? root.directory(path: path) }
      return directory
    }
    var names: [[UInt8]: UInt64] = [:]
    if !tree.inodeNumbersAreValid, let directory = opened() {
      var listing = DirectoryListing()
      try listing.read(directory.descriptor)
      for entry in listing.entries { names[Array(listing.bytes[entry.range])] = entry.inode }
    }
    if tree.inodeNumbersAreValid { body(record.hints.storedInode) { directoryBytes } }
    var position = record.firstFile
    while let row = try record.nextFile(at: &position) {
      if row.hints.flags.contains(.notStored) { continue }
      let fileName = Array(record.bytes[row.name])
      let inode = tree.inodeNumbersAreValid ? row.hints.storedInode : names[fileName] ?? 0
      if inode == 0 { continue }
      body(inode) {
        guard row.kind == .regular else { return 0 }
        if row.size >= largeFileBytes, let status = try? opened()?.descriptor.status(of: fileName.span) {
          return status.blocks &* 512
        }
        return (row.size &+ (blockBytes - 1)) / blockBytes &* blockBytes
      }
    }
    for row in try record.directories(after: position) {
      waiting.append((Subtree(row), path + [Array(record.bytes[row.name])]))
    }
  }
}
