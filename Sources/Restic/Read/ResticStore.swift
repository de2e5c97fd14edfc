public import Catalog
public import Engine
public import Model
internal import Posix
public import Repository
public import Retention
internal import Synchronization

/// A repository of restic's format, read as one of treering's: its own snapshots and those that restic made.
public final class ResticStore: VerifiableStore, Sendable {
  public let restic: ResticRepository
  private struct Memory {
    var index: BlobIndex?
    var listing: [SnapshotName: ListedFile]?
    var list = SnapshotList()
    var catalogs: [(name: SnapshotName, catalog: OpenCatalog)] = []
    var places: [TreePath] = []
  }
  private let memory = Mutex(Memory())
  /// A catalog takes memory, so only those that a comparison needs are kept.
  private static let keptCatalogs = 2

  /// The policy that decides about the members of the sets.
  private let policy: RetentionPolicy

  public init(_ restic: ResticRepository, policy: RetentionPolicy = .standard) {
    (self.restic, self.policy) = (restic, policy)
  }

  public var path: [UInt8] { Array(restic.displayName.utf8) }
  public var repositoryID: [UInt8] { Array(restic.id.description.utf8) }
  public var local: Repository? { nil }
  /// The members of each set by the policy, as `rotate` keeps them. Those of several hosts are in one order.
  public func members(of list: SnapshotList) throws(Failure) -> [SnapshotSet: [SnapshotName]] {
    var members: [SnapshotSet: [SnapshotName]] = [:]
    for item in try retentionPlan(by: policy, unwanted: [], now: Clock.now()).judged.reversed() {
      for (set, _) in item.decision.sets { members[set, default: []].append(item.snapshot.name) }
    }
    return members
  }
  public func heldSnapshots() -> [SnapshotName: String] { [:] }
  public func heldRotation() -> String? { nil }

  // MARK: Snapshots

  /// A snapshot's file, and the ID by which restic names it.
  struct ListedFile: Sendable {
    let id: Digest
    let file: SnapshotFile
    let snapshot: Snapshot
  }

  public func snapshots() throws(Failure) -> SnapshotList {
    _ = try listing()
    return memory.withLock { $0.list }
  }

  /// The ID by which restic names a snapshot.
  public func id(of name: SnapshotName) throws(Failure) -> Digest { try listed(name).id }

  func listed(_ name: SnapshotName) throws(Failure) -> ListedFile {
    guard let found = try listing()[name] else {
      throw Failure(.usage, "there is no snapshot \(name) in \(restic.displayName)")
    }
    return found
  }

  private func listing() throws(Failure) -> [SnapshotName: ListedFile] {
    if let listing = memory.withLock({ $0.listing }) { return listing }
    let found: [ResticRepository.FoundSnapshot]
    do { found = try restic.snapshotFiles() } catch { throw restic.failure(error) }
    var list = SnapshotList()
    var listing: [SnapshotName: ListedFile] = [:]
    var usable: [(id: Digest, file: SnapshotFile)] = []
    for item in found {
      switch item.snapshot {
      case .success(let file): usable.append((item.id, file))
      case .failure(let failure):
        list.addNameless(because: failure.message)
      }
    }
    usable.sort { ($0.file.time, $0.id.description) < ($1.file.time, $1.id.description) }
    var next = Int64.min
    for (id, file) in usable {
      // Two snapshots of one second: the later one has the next second that is free.
      next = max(next, file.time.seconds)
      let name = SnapshotName(seconds: next)
      guard name.seconds == next else {
        list.addNameless(because: "the time of the snapshot \(id) has no name")
        continue
      }
      next += 1
      list.nextSequence += 1
      let snapshot = Snapshot(name: name, summary: file.summary(sequence: list.nextSequence - 1))
      listing[name] = ListedFile(id: id, file: file, snapshot: snapshot)
      list.snapshots.append(snapshot)
    }
    list.sort()
    memory.withLock { ($0.listing, $0.list) = (listing, list) }
    return listing
  }

  // MARK: Catalogs and files

  /// Limits the catalogs to the directories on the way to some paths and below them, so that no other is read.
  ///
  /// The paths are those of a command line: of the source, or with a label in front. No paths mean no limit.
  public func limitCatalogs(to paths: [[UInt8]]) {
    let places = paths.flatMap { path -> [TreePath] in
      let place = TreePath(parsing: path)
      // Whether the first name is a label does not matter much: at worst, more is read.
      return path.first == slash ? [place] : [place, place.dropFirst()]
    }
    memory.withLock { ($0.places, $0.catalogs) = (places, []) }
  }

  func index() throws(Failure) -> BlobIndex {
    // The list of snapshots comes before the index, so that the index has all their blobs.
    _ = try listing()
    if let index = memory.withLock({ $0.index }) { return index }
    let index: BlobIndex
    do { index = try BlobIndex.load(of: restic) } catch { throw restic.failure(error) }
    memory.withLock { $0.index = index }
    return index
  }

  /// Makes the catalog of a snapshot by reading its trees.
  public func openCatalog(of name: SnapshotName) throws(Failure) -> OpenCatalog {
    if let known = memory.withLock({ $0.catalogs.first { $0.name == name }?.catalog }) { return known }
    let listed = try listed(name)
    let catalog: OpenCatalog
    do {
      let places = memory.withLock { $0.places }
      catalog = try CatalogMaker(of: listed, under: places, in: restic, index: try index()).run()
    } catch {
      throw restic.failure(error)
    }
    memory.withLock { memory in
      memory.catalogs.append((name, catalog))
      if memory.catalogs.count > Self.keptCatalogs { memory.catalogs.removeFirst() }
    }
    return catalog
  }

  public func contents(of name: SnapshotName) -> any ContentFetcher { ResticContents(of: name, in: self) }
}

extension ResticRepository {
  /// The failure for any error of a read.
  func failure(_ error: any Error) -> Failure {
    error as? Failure ?? Failure(.failed, "cannot read \(displayName): \(error)")
  }
}

extension SnapshotFile {
  /// The label of the host. A host without a name, or with an impossible one, has treering's own.
  var label: [UInt8] { (Name(host) ?? .localhost).bytes }

  var isOfTreering: Bool { tags.contains(PushedSnapshots.tag) }

  /// The names in the tree's root that are labels beside that of the host.
  var otherLabels: Set<[UInt8]> {
    guard isOfTreering else { return [] }
    let tag = PushedSnapshots.labelTag
    return Set(tags.filter { $0.starts(with: tag) }.compactMap { PushedSnapshots.unescaped($0.dropFirst(tag.count)) })
      .subtracting([label])
  }

  /// A catalog's summary without the facts that only the trees have.
  func summary(sequence: UInt64) -> CatalogSummary {
    var summary = CatalogSummary(root: Subtree(totals: Catalog.Totals(entries: totals.files, bytes: totals.bytes)))
    summary.sequence = sequence
    let range = CalendarTime.seconds
    summary.started = Timestamp(
      seconds: min(max(time.seconds, range.lowerBound), range.upperBound), nanoseconds: time.nanoseconds)
    summary.finished = summary.started
    if let finished = totals.finished, finished > summary.started, range.contains(finished.seconds) {
      summary.finished = finished
    }
    summary.outcome = isOfTreering && tags.contains(PushedSnapshots.warningsTag) ? .warnings : .complete
    summary.files = min(totals.files, 1 << 48)
    summary.bytesCopied = min(totals.bytesAdded, 1 << 60)
    summary.label = label
    let others = otherLabels
    for path in paths where path.first == slash {
      let rest = Array(path.drop { $0 == slash })
      if others.contains(Array(rest.prefix { $0 != slash })) {
        summary.otherSources.append(rest)
      } else {
        summary.sources.append(path)
      }
    }
    if summary.sources.isEmpty, summary.otherSources.isEmpty { summary.sources = [[slash]] }
    summary.program = program
    return summary
  }
}

extension SnapshotList {
  /// Adds a snapshot without a usable time. Its name is the first second that no other such one has.
  fileprivate mutating func addNameless(because reason: String) {
    let name = SnapshotName(seconds: Int64(unusable.count))
    unusable.append(UnusableSnapshot(name: name, reason: reason, isDamage: true))
  }
}
