public import Catalog
public import Model
internal import Posix
public import Repository
internal import Synchronization

/// The space that comes free when some snapshots are deleted together.
public struct FreedSpace: Sendable {
  /// A stored inode that no other snapshot has.
  public struct Inode: Sendable {
    public let place: StoredPlace
    /// The snapshot that has the place.
    public let snapshot: SnapshotName
    /// The label of that snapshot.
    public let label: [UInt8]
    /// The snapshots that have the inode.
    public let holders: Set<SnapshotName>
    /// The space on disk. That of a remote repository is computed from the size.
    public let bytes: UInt64
  }
  public var inodes: [Inode] = []
  /// The space of the directories and the catalog of each deleted snapshot.
  public var ownBytes: [SnapshotName: UInt64] = [:]
  /// The reasons for which the figures may be wrong; none if they are exact.
  public var doubts: Set<FreedSpaceDoubt> = []
  /// Catalogs that cannot be read. A deleted snapshot among them counts as staying.
  public var unreadable: [UnusableSnapshot] = []

  public init() {}

  /// All bytes that come free.
  public var bytes: UInt64 { inodes.reduce(ownBytes.values.reduce(0, &+)) { $0 &+ $1.bytes } }

  /// The bytes that come free with a part of the snapshots.
  public func bytes(ofOnly part: Set<SnapshotName>) -> UInt64 {
    let own = ownBytes.reduce(0) { part.contains($1.key) ? $0 &+ $1.value : $0 }
    return inodes.reduce(own) { $1.holders.isSubset(of: part) ? $0 &+ $1.bytes : $0 }
  }

  /// The bytes that come free with the first `n` snapshots, for each `n` from 0. A snapshot that is not named, such as
  /// the spare, goes before all.
  public func bytes(inOrder names: [SnapshotName]) -> [UInt64] {
    let number = Dictionary(uniqueKeysWithValues: zip(names, 1...))
    var sums = [UInt64](repeating: 0, count: names.count + 1)
    for (name, bytes) in ownBytes { sums[number[name] ?? 0] &+= bytes }
    for inode in inodes { sums[inode.holders.reduce(0) { max($0, number[$1] ?? 0) }] &+= inode.bytes }
    for index in sums.indices.dropFirst() { sums[index] &+= sums[index - 1] }
    return sums
  }
}

/// A reason for which figures of freed space may be wrong.
public enum FreedSpaceDoubt: String, Sendable, CaseIterable, Comparable {
  /// The catalog was written by a version that did not record the space of directories and the sum of its inodes.
  case oldCatalog = "old_catalog"
  /// The inode numbers are of another repository or disk.
  case copiedRepository = "copied_repository"
  /// A file was replaced by a repair.
  case repaired
  /// Some stored inodes have no number in the catalog.
  case unknownInodes = "unknown_inodes"
  /// Some files could not be examined.
  case unexaminedFiles = "unexamined_files"
  /// The repository is on another host: only sizes are known.
  case remote
  /// The spare has no catalog.
  case unknownSpare = "unknown_spare"

  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// Finds the space that deletions would free, from the differences of successive catalogs.
///
/// The catalogs propose inodes, and the link count of each proves that no other snapshot has it. So only the inodes
/// that come free are looked at, and no tree is walked. Results of comparisons are kept for the next question.
public final class FreedSpaceSearch {
  private let store: any SnapshotStore
  /// The snapshots of one set of sources, oldest first. The spare is among them.
  private var chains: [[Snapshot]]
  private var places: [SnapshotName: (chain: Int, index: Int)] = [:]
  /// The expired snapshot that is kept to be recycled.
  public let spare: Snapshot?
  private var changes: [Pair: NameChanges] = [:]
  private var readers: [SnapshotName: CatalogReader] = [:]
  private var unreadable: [UnusableSnapshot] = []
  private let doubts: Set<FreedSpaceDoubt>
  private let repaired: Set<SnapshotName>
  private let progress: Progress

  private struct Pair: Hashable {
    var older: SnapshotName?
    var newer: SnapshotName
  }

  /// `progress` counts the comparisons, the differences and the examined inodes.
  public init(in store: any SnapshotStore, among snapshots: [Snapshot], progress: Progress = Progress()) {
    (self.store, self.progress) = (store, progress)
    spare = store.local?.retirement.spareSnapshot()
    let hasSpare = (try? store.local?.retirement.hasSpare()) ?? false
    doubts = store.local == nil ? [.remote] : hasSpare && spare == nil ? [.unknownSpare] : []
    repaired = Set(((try? store.local?.marks.all(.repaired)) ?? [:]).keys)
    var all = SnapshotList()
    all.snapshots = snapshots
    if let spare { all.add(spare) }
    chains = Array(Dictionary(grouping: all.snapshots) { $0.sourceSet }.values)
    notePlaces()
  }

  private func notePlaces() {
    places = [:]
    for (number, chain) in chains.enumerated() {
      for (index, snapshot) in chain.enumerated() { places[snapshot.name] = (number, index) }
    }
  }

  /// The space that comes free if all of `deleted` are deleted, and no other snapshot.
  public func space(deleting deleted: Set<SnapshotName>) throws -> FreedSpace {
    while true {
      do { return try examine(deleted) } catch let failure as UnreadableCatalog {
        // The others are compared without it.
        unreadable.append(failure.snapshot)
        for chain in chains.indices { chains[chain].removeAll { $0.name == failure.snapshot.name } }
        notePlaces()
      }
    }
  }

  /// The space that a snapshot holds alone, or together with only the spare.
  ///
  /// Only a neighbour of the spare is expected to share inodes with it.
  public func space(heldAloneBy name: SnapshotName) throws -> FreedSpace {
    guard let spare = spare?.name, let (chain, index) = places[name], let other = places[spare], chain == other.chain,
      abs(index - other.index) == 1
    else { return try space(deleting: [name]) }
    var space = try space(deleting: [name, spare])
    space.ownBytes[spare] = nil
    space.inodes.removeAll { $0.holders == [spare] }
    return space
  }

  private func examine(_ deleted: Set<SnapshotName>) throws -> FreedSpace {
    var space = FreedSpace()
    space.doubts = doubts
    var inodes = ExaminedInodes(in: store, spare: spare?.name, progress: progress)
    let places = Dictionary(grouping: deleted.compactMap { self.places[$0] }) { $0.chain }
    for (number, found) in places.sorted(by: { $0.key < $1.key }) {
      let chain = chains[number]
      for range in RangeSet(found.map(\.index), within: chain).ranges {
        try inodes.add(run(range, in: chain, space: &space))
      }
      for place in found { try addOwn(chain[place.index], to: &space) }
    }
    space.inodes = inodes.freed()
    if inodes.hasFailed { space.doubts.insert(.unexaminedFiles) }
    space.unreadable = unreadable
    return space
  }

  private func run(_ range: Range<Int>, in chain: [Snapshot], space: inout FreedSpace) throws -> Run {
    let older = range.lowerBound > 0 ? chain[range.lowerBound - 1] : nil
    let newer = range.upperBound < chain.count ? chain[range.upperBound] : nil
    let line = [older].compactMap { $0 } + chain[range] + [newer].compactMap { $0 }
    var list: [NameChanges?] = []
    if older == nil { list.append(newer == nil ? try change(from: nil, to: chain[range.lowerBound]) : nil) }
    for (before, after) in zip(line, line.dropFirst()) { list.append(try change(from: before, to: after)) }
    if newer == nil { list.append(nil) }
    if line.contains(where: { repaired.contains($0.name) }) { space.doubts.insert(.repaired) }
    let crosses = zip(line, line.dropFirst()).contains { !$0.summary.hasInodes(of: $1.summary) }
    if crosses {
      space.doubts.insert(.copiedRepository)
      // The numbers change on the way, so the run is followed from its end alone.
      if newer != nil { list[0] = nil }
    }
    for change in list.compactMap({ $0 }) {
      if change.mayHideOthers, !crosses { space.doubts.insert(.oldCatalog) }
      if change.unknown > 0 { space.doubts.insert(.unknownInodes) }
    }
    return Run(snapshots: Array(chain[range]), inodes: SnapshotRun(changes: list).inodesHeldAlone())
  }

  private func change(from older: Snapshot?, to newer: Snapshot) throws -> NameChanges {
    let pair = Pair(older: older?.name, newer: newer.name)
    if let known = changes[pair] { return known }
    try checkForSignal()
    let left = try older.map { try reader(of: $0) }
    let right = try reader(of: newer)
    let made: NameChanges
    do {
      made = try NameChanges(from: left, to: right) { progress.entries.count() }
    } catch let failure as LeftCatalogError {
      throw try UnreadableCatalog(older!, because: failure.error)
    } catch { throw try UnreadableCatalog(newer, because: error) }
    changes[pair] = made
    progress.entries.count()
    return made
  }

  /// Compares all neighbours on several threads. A catalog that cannot be read is left to the questions.
  public func compareAll(threads: ThreadCount) {
    guard let repository = store.local else { return }
    let pairs = chains.flatMap { Array(zip($0, $0.dropFirst())) }
    let spare = spare?.name
    let made = Mutex<[Pair: NameChanges]>([:])
    let next = Atomic<Int>(0)
    runThreads(min(threads.first, pairs.count / Self.pairsAtOnce)) { [progress] _ in
      var last: (name: SnapshotName, reader: CatalogReader)?
      while CurrentProcess.rememberedSignal == nil {
        let start = next.add(Self.pairsAtOnce, ordering: .relaxed).oldValue
        guard start < pairs.count else { return }
        for (older, newer) in pairs[start..<min(start + Self.pairsAtOnce, pairs.count)] {
          guard let right = try? Self.reader(of: newer.name, in: repository, spare: spare) else { continue }
          let left =
            last?.name == older.name ? last?.reader : try? Self.reader(of: older.name, in: repository, spare: spare)
          let count = { progress.entries.count() }
          if let left, let change = try? NameChanges(from: left, to: right, onDifference: count) {
            made.withLock { $0[Pair(older: older.name, newer: newer.name)] = change }
            count()
          }
          last = (newer.name, right)
        }
      }
    }
    changes.merge(made.withLock { $0 }) { known, _ in known }
  }

  /// Neighbours share the readers of the snapshots between them.
  private static var pairsAtOnce: Int { 16 }

  /// A directory that changes in a snapshot often changes in the next one, too.
  private static func reader(
    of name: SnapshotName, in store: any SnapshotStore, spare: SnapshotName?
  ) throws -> CatalogReader {
    let catalog =
      name == spare ? try store.local!.retirement.openCatalog(ofSpare: name) : try store.openCatalog(of: name)
    return CatalogReader(reading: catalog, cachedFrames: 64)
  }

  private func reader(of snapshot: Snapshot) throws -> CatalogReader {
    if let reader = readers[snapshot.name] { return reader }
    do {
      let reader = try Self.reader(of: snapshot.name, in: store, spare: spare?.name)
      // Neighbours are compared one after the other.
      if readers.count > 4 { readers = [:] }
      readers[snapshot.name] = reader
      return reader
    } catch { throw try UnreadableCatalog(snapshot, because: error) }
  }

  /// Adds the directories and the catalog, which no other snapshot shares.
  private func addOwn(_ snapshot: Snapshot, to space: inout FreedSpace) throws {
    let summary = snapshot.summary
    var bytes: UInt64 = 0
    if let stored = summary.root.stored {
      bytes = stored.directoryBlocks &* 512
    } else {
      space.doubts.insert(.oldCatalog)
      // A block for each directory, as on ext4; other file systems need none for a small one.
      let blocks = (try? store.local?.openTree(of: snapshot.name).descriptor.status().blocks) ?? 8
      bytes = summary.directories &* blocks &* 512
    }
    if let repository = store.local {
      let isSpare = snapshot.name == spare?.name
      let status =
        isSpare
        ? try? repository.retirement.catalogStatus(ofSpare: snapshot.name)
        : try? repository.catalogStatus(of: snapshot.name)
      if let status, status.linkCount == 1 { bytes &+= status.blocks &* 512 }
    } else {
      bytes &+= roundedToBlock(try reader(of: snapshot).catalog.byteCount)
    }
    space.ownBytes[snapshot.name] = bytes
  }
}

/// The space of a file without holes on most file systems.
private func roundedToBlock(_ byteCount: UInt64) -> UInt64 {
  let block: UInt64 = 4096
  return byteCount > UInt64(Int64.max) ? byteCount : (byteCount &+ (block - 1)) / block &* block
}

extension Snapshot {
  /// The sources. Only snapshots of the same sources are compared with each other.
  public var sourceSet: SourceSet {
    SourceSet(
      label: summary.label,
      paths: (summary.sources + summary.otherSources).sorted { $0.lexicographicallyPrecedes($1) })
  }
}

private struct UnreadableCatalog: Error {
  let snapshot: UnusableSnapshot

  /// Throws an error that says nothing about the catalog, such as an interruption.
  init(_ snapshot: Snapshot, because error: any Error) throws {
    if let known = error as? UnreadableCatalog { throw known }
    if case .interrupted? = (error as? Failure)?.kind { throw error }
    let isDamage = error is CatalogError || (error as? Failure)?.kind == .damaged
    self.snapshot = UnusableSnapshot(name: snapshot.name, reason: "\(error)", isDamage: isDamage)
  }
}

/// A run of deleted snapshots, with the inodes that it may hold alone.
private struct Run {
  let snapshots: [Snapshot]
  let inodes: [SnapshotRun.Inode]
}

/// The inodes of several runs, as they are on disk.
private struct ExaminedInodes {
  private struct Known {
    var inode: FreedSpace.Inode
    var names: Int64
    /// `nil` for a remote repository.
    var linkCount: Int64?
  }
  private let store: any SnapshotStore
  private let spare: SnapshotName?
  private let progress: Progress
  private var known: [UInt64: Known] = [:]
  private(set) var hasFailed = false

  init(in store: any SnapshotStore, spare: SnapshotName?, progress: Progress) {
    (self.store, self.spare, self.progress) = (store, spare, progress)
  }

  /// The inodes that have no name outside the runs.
  func freed() -> [FreedSpace.Inode] {
    known.values.filter { $0.linkCount == nil || $0.names == $0.linkCount }.map(\.inode)
  }

  mutating func add(_ run: Run) throws {
    let places = run.inodes.sorted {
      $0.snapshot != $1.snapshot
        ? $0.snapshot < $1.snapshot
        : $0.place.directory < $1.place.directory
    }
    var last: (snapshot: Int, path: TreePath, directory: Directory?)?
    for (count, inode) in places.enumerated() {
      if count & 0xFF == 0 { try checkForSignal() }
      progress.entries.count()
      let snapshot = run.snapshots[inode.snapshot]
      guard let repository = store.local else {
        add(inode, of: run, number: inode.number, bytes: roundedToBlock(inode.place.byteCount), linkCount: nil)
        continue
      }
      if last?.snapshot != inode.snapshot || last?.path != inode.place.directory {
        let tree =
          snapshot.name == spare
          ? try? repository.retirement.openTree(ofSpare: snapshot.name) : try? repository.openTree(of: snapshot.name)
        last = (inode.snapshot, inode.place.directory, try? tree?.directory(path: inode.place.directory))
      }
      guard let status = try? last?.directory?.descriptor.status(of: inode.place.name.span), status.kind != .directory
      else {
        hasFailed = true
        continue
      }
      add(inode, of: run, number: status.inode, bytes: status.blocks &* 512, linkCount: Int64(status.linkCount))
    }
  }

  private mutating func add(_ inode: SnapshotRun.Inode, of run: Run, number: UInt64, bytes: UInt64, linkCount: Int64?) {
    var holders = Set(inode.holders.flatMap { run.snapshots[$0.snapshots].map(\.name) })
    if let before = known[number] { holders.formUnion(before.inode.holders) }
    let snapshot = run.snapshots[inode.snapshot]
    known[number] = Known(
      inode: FreedSpace.Inode(
        place: inode.place, snapshot: snapshot.name, label: snapshot.summary.label, holders: holders, bytes: bytes),
      names: inode.names &+ (known[number]?.names ?? 0), linkCount: linkCount)
  }
}
