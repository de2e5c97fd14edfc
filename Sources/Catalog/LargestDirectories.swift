public import Model

/// A directory of a snapshot with the sizes of all files below it.
public struct DirectorySize: Sendable, Hashable {
  /// The path from the snapshot's root.
  public let path: TreePath
  public let bytes: UInt64
  /// The size in the older snapshot; 0 if it has no such directory.
  public let bytesBefore: UInt64

  public init(path: TreePath, bytes: UInt64, bytesBefore: UInt64 = 0) {
    (self.path, self.bytes, self.bytesBefore) = (path, bytes, bytesBefore)
  }

  /// The growth in bytes; 0 if the directory became smaller.
  public var growth: UInt64 { bytes > bytesBefore ? bytes - bytesBefore : 0 }
}

/// Finds the directories that hold the most, or with `older` those that grew the most, largest first.
///
/// A directory of which one sub-directory makes nine tenths is replaced by that one. The search begins with `tops`.
/// Only records on the way to a result are read.
public func largestDirectories(
  in newer: CatalogReader, since older: CatalogReader? = nil, below tops: [TreePath], count: Int
) throws -> [DirectorySize] {
  var waiting: [WaitingDirectory] = []
  for top in tops {
    guard case .directory(let record, let subtree)? = try newer.find(top) else { continue }
    var before: Subtree?
    if case .directory(_, let known)? = try older?.find(top) { before = known }
    waiting.append(WaitingDirectory(path: top, subtree: subtree, before: before, record: record))
  }
  var found: [DirectorySize] = []
  while found.count < count, let next = takeHeaviest(of: &waiting, isGrowth: older != nil) {
    let weight = next.weight(isGrowth: older != nil)
    guard weight > 0 else { break }
    let children = try next.children(in: newer, since: older)
    waiting += children
    let most = children.map { $0.weight(isGrowth: older != nil) }.max() ?? 0
    if most < weight - weight / 10 { found.append(next.size) }
  }
  return found
}

private struct WaitingDirectory {
  let path: TreePath
  let subtree: Subtree
  let before: Subtree?
  /// The record, if it was read already.
  var record: DirectoryRecord?

  var size: DirectorySize {
    DirectorySize(path: path, bytes: subtree.totals.bytes, bytesBefore: before?.totals.bytes ?? 0)
  }

  func weight(isGrowth: Bool) -> UInt64 { isGrowth ? size.growth : size.bytes }

  func children(in newer: CatalogReader, since older: CatalogReader?) throws -> [WaitingDirectory] {
    if subtree.digest == before?.digest { return [] }
    let record = try record ?? newer.record(at: subtree.place, for: subtree.digest)
    var known: [[UInt8]: Subtree] = [:]
    if let before, let older {
      let record = try older.record(at: before.place, for: before.digest)
      for row in try record.directories() { known[Array(record.bytes[row.name])] = Subtree(row) }
    }
    return try record.directories().map { row in
      let name = Array(record.bytes[row.name])
      return WaitingDirectory(path: path + name, subtree: Subtree(row), before: known[name])
    }
  }
}

/// Removes the directory with the largest weight; of equal ones, that with the first path.
private func takeHeaviest(of waiting: inout [WaitingDirectory], isGrowth: Bool) -> WaitingDirectory? {
  let heaviest = waiting.indices.max { a, b in
    let (x, y) = (waiting[a].weight(isGrowth: isGrowth), waiting[b].weight(isGrowth: isGrowth))
    if x != y { return x < y }
    return waiting[b].path < waiting[a].path
  }
  return heaviest.map { waiting.remove(at: $0) }
}
