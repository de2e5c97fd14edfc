internal import Catalog
internal import Model
internal import Synchronization

/// The space that a push needs on the server, and the bytes of the files to read.
struct PushMeasure {
  private(set) var needs = SpaceNeeds()
  private(set) var bytes: UInt64 = 0
  private let parts: ServerParts
  private let files: any SnapshotFiles
  private var seen: Set<UInt64>
  private var linkGroups: Set<UInt64> = []

  /// Adds up the items of `plan`. `files` are those of the snapshot, and `parts` is what the server has.
  init(of plan: PushPlan, parts: ServerParts, files: any SnapshotFiles, progress: PushProgress) throws {
    (self.parts, self.files) = (parts, files)
    seen = parts.known
    var plan = plan
    while let item = try plan.next() { if add(item) { progress.changed.add(1, ordering: .relaxed) } }
  }

  /// Returns true if the item is a change that is sent.
  private mutating func add(_ item: PushPlan.Item) -> Bool {
    switch item.change {
    case .record:
      if !seen.contains(item.folder.digest.prefix) { needs.bytes &+= UInt64(item.folder.record.content.count) }
    case .file(_, let row, _):
      let isSent = seen.insert(row.digest.prefix).inserted
      // A content that the server received earlier has its space already.
      if isSent || !parts.known.contains(row.digest.prefix) { add(row, in: item.folder, isSent: isSent) }
      if isSent { bytes &+= row.size }
      return isSent
    case .copy(let row):
      add(row, in: item.folder, isSent: false)
      return false
    case .baseFile(_, let row, _, let isLinked):
      if !isLinked { add(row, in: item.folder, isSent: false) }
    case .baseDirectory: break
    }
    return true
  }

  private mutating func add(_ row: FileRow, in folder: PushPlan.Folder, isSent: Bool) {
    // All hard links of one inode together take its space once.
    if let group = row.linkGroup, !linkGroups.insert(group).inserted { return }
    needs.inodes += 1
    let size = files.storedBytes(of: folder.path(of: row), row: row)
    if isSent {
      needs.bytes &+= size - min(size, parts.partialBytes[row.digest] ?? 0)
    } else {
      needs.copiedBytes &+= size
    }
  }
}
