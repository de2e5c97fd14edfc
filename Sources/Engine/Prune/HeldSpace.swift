public import Model
internal import Posix
public import Repository

/// The space that the snapshots of a repository hold.
public struct HeldSpace: Sendable {
  /// A snapshot, and the bytes that come free if only it is deleted.
  public struct Row: Sendable {
    public let name: SnapshotName
    public let aloneBytes: UInt64

    public init(name: SnapshotName, aloneBytes: UInt64) { (self.name, self.aloneBytes) = (name, aloneBytes) }
  }

  public var rows: [Row] = []
  /// The expired snapshot that is kept to be recycled, and what it holds.
  public var spare: (snapshot: Snapshot, aloneBytes: UInt64)?
  /// The bytes that come free if the named snapshots are deleted together; `nil` if none is named.
  public var togetherBytes: UInt64?
  public var doubts: Set<FreedSpaceDoubt> = []
  public var unreadable: [UnusableSnapshot] = []
  /// The free space of the repository's file system; `nil` if it is not known.
  public var bytesFree: UInt64?

  public init() {}
}

extension VerifiableStore {
  public func heldSpace(
    of named: Set<SnapshotName>, in list: SnapshotList, threads: ThreadCount, progress: Progress
  ) throws -> HeldSpace {
    try spaceByCatalogs(of: named, in: list, threads: threads, progress: progress)
  }

  /// Measures the space by comparing the catalogs here.
  public func spaceByCatalogs(
    of named: Set<SnapshotName>, in list: SnapshotList, threads: ThreadCount, progress: Progress
  ) throws -> HeldSpace {
    let search = FreedSpaceSearch(in: self, among: list.snapshots, progress: progress)
    if named.isEmpty { search.compareAll(threads: threads) }
    var held = HeldSpace()
    func taken(_ found: FreedSpace) -> UInt64 {
      held.doubts.formUnion(found.doubts)
      held.unreadable = found.unreadable
      return found.bytes
    }
    for snapshot in list.snapshots where named.isEmpty || named.contains(snapshot.name) {
      held.rows.append(
        HeldSpace.Row(name: snapshot.name, aloneBytes: taken(try search.space(heldAloneBy: snapshot.name))))
      progress.entries.count()
    }
    if let spare = search.spare { held.spare = (spare, taken(try search.space(deleting: [spare.name]))) }
    if !named.isEmpty {
      let spare = Set([search.spare?.name].compactMap(\.self))
      let all = try search.space(deleting: named.union(spare))
      held.togetherBytes = taken(all) &- (spare.isEmpty ? 0 : all.bytes(ofOnly: spare))
    }
    if let system = try? local?.root.descriptor.fileSystem(), system.hasSize { held.bytesFree = system.bytesAvailable }
    return held
  }
}
