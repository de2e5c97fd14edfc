internal import Catalog
public import Engine
public import Model
internal import Posix
public import Repository
internal import Synchronization

/// The result of a push.
public struct ResticPushResult: Sendable {
  /// The ID of the snapshot in the repository; zero after a dry run.
  public var id = Digest(words: (0, 0, 0, 0))
  /// False if the repository had the snapshot.
  public var isNew = true
  public var bytesWritten: UInt64 = 0
  public var blobsWritten: UInt64 = 0
  public var filesRead: UInt64 = 0
  public var bytesRead: UInt64 = 0
  /// The number of packs that an interrupted push left behind and that this one used.
  public var packsFound = 0
  public var elapsedSeconds = 0.0
  /// Warnings: facts that restic's format cannot hold, or a failure after the push.
  public var losses: [String] = []
  /// Sentences about facts that only old versions of restic do not restore.
  public var notes: [String] = []

  public init() {}
}

/// A push of snapshots of one repository to one in restic's format.
public struct ResticPush {
  private let repository: Repository
  private let restic: ResticRepository
  private let cacheFile: ControlFile
  private let threads: Int
  private let program: [UInt8]
  private let bytesPerSecond: UInt64?
  /// The recorded form of the repository's address.
  private let address: [UInt8]

  /// At most `bytesPerSecond` bytes are written in a second.
  public init(
    from repository: Repository, to restic: ResticRepository, address: [UInt8], program: [UInt8],
    bytesPerSecond: UInt64? = nil
  ) throws(Failure) {
    (self.address, self.program, self.bytesPerSecond) = (address, program, bytesPerSecond)
    (self.repository, self.restic, threads) = (repository, restic, max(processorCount(), restic.store.connections))
    cacheFile = try repository.pushMemory.cacheFile(for: restic.idText)
  }

  /// Pushes a snapshot whose catalog is in a cache, and whose files are those of the sources.
  public func push(
    _ snapshot: Snapshot, of sources: SnapshotOptions, progress: Progress
  ) throws -> SourcePush<ResticPushResult> {
    do { return .done(try push(snapshot, from: sources, progress: progress)) } catch let changed as ChangedFiles {
      return .filesChanged(changed.paths)
    }
  }

  /// Pushes a snapshot: packs first, then indexes, and the snapshot at last.
  public func push(_ snapshot: Snapshot, progress: Progress) throws -> ResticPushResult {
    try push(snapshot, from: nil, progress: progress)
  }

  private func push(
    _ snapshot: Snapshot, from sources: SnapshotOptions?, progress: Progress
  ) throws -> ResticPushResult {
    let start = Clock.monotonic()
    var result = ResticPushResult()
    try restic.store.extendLocks()
    if let present = try PushedSnapshots(in: restic).snapshot(like: snapshot) {
      (result.id, result.isNew, result.losses) = (present, false, sources == nil ? remember(snapshot) : [])
      return result
    }
    let lock = try RepositoryLock(restic)
    defer { lock.release() }
    // A concurrent rotation does not remove a snapshot in use.
    let use = try repository.locks.lockShared(snapshot.name)
    defer { withExtendedLifetime(use) {} }
    let index = try BlobIndex.load(of: restic)
    let cache = PushCache(from: cacheFile, of: restic, index: index)
    let writer = BlobWriter(restic, index: index, lock: lock, bytesPerSecond: bytesPerSecond)
    progress.expectedBytes.store(snapshot.summary.root.totals.bytes, ordering: .relaxed)
    progress.expectedEntries.store(snapshot.summary.root.totals.entries, ordering: .relaxed)
    let maker = try TreeMaker(
      of: snapshot, in: repository, writer: writer, cache: cache, progress: progress, sources: sources)
    if try !isKnown(snapshot, in: cache, index: index) { result.packsFound = try adoptPacks(with: writer) }
    let tree = try maker.run(threads: threads)
    try writer.finish()
    try lock.confirm()
    if restic.isAppendOnly { try requireAll(of: writer, lock: lock) }
    var file = PushedSnapshots.file(of: snapshot, tree: tree)
    file.program = program
    file.totals.bytesAdded = writer.bytesWritten.value
    result.id = try restic.save(.snapshots, file.json)
    let losses = maker.results.withLock { $0.losses }
    let files = index.files.union(writer.indexFiles)
    // The snapshot is there. A cache that cannot be written only makes the next push slower.
    try? cache.save(to: cacheFile, of: restic, indexFiles: files)
    result.bytesWritten = writer.bytesWritten.value
    result.blobsWritten = writer.blobsWritten.value
    result.bytesRead = progress.bytesRead.value
    (result.losses, result.notes) = (
      losses.sentences + (sources == nil ? remember(snapshot) : []), losses.notes
    )
    result.elapsedSeconds = Clock.monotonic() - start
    return result
  }

  /// Throws if another process removed something during this push, which no lock file announced.
  private func requireAll(of writer: BlobWriter, lock: RepositoryLock) throws {
    try lock.refuseOthers()
    let indexes = Set(try restic.store.list(.index).map(\.id))
    let packs = writer.packs.isEmpty ? [] : Set(try restic.store.list(.data).map(\.id))
    guard indexes.isSuperset(of: writer.index.files), packs.isSuperset(of: writer.packs) else {
      throw Failure(
        .failed, "another process removed data from \(restic.displayName) during the push", hint: "push again")
    }
  }

  /// Notes the push in the repository. The snapshot was sent, so a failure is only a warning, which is returned.
  private func remember(_ snapshot: Snapshot) -> [String] {
    do throws(Failure) {
      try repository.pushMemory.remember(snapshot.name, to: restic.idText, address: address)
      return []
    } catch { return [error.description] }
  }

  /// True if the repository has all of the snapshot's trees already.
  private func isKnown(_ snapshot: Snapshot, in cache: PushCache, index: BlobIndex) throws -> Bool {
    let reader = CatalogReader(reading: try repository.openCatalog(of: snapshot.name))
    let root = try reader.root()
    return try root.directories().allSatisfy { row in
      // The content of the snapshot's own label is in the tree's root.
      let isOwn = root.bytes[row.name].elementsEqual(snapshot.summary.label)
      let rows = isOwn ? try reader.record(at: row.place, for: row.digest).directories() : [row]
      return try rows.allSatisfy { try cache.trees(of: $0.digest).contains { index.contains(BlobName(.tree, $0)) } }
    }
  }

  /// Finds the packs that no index names, and takes those that are whole. Returns their number.
  private func adoptPacks(with writer: BlobWriter) throws -> Int {
    try restic.store.removeLeftovers()
    // A pack in an archive cannot be read, so its contents are sent again.
    let known = writer.index.packIDs.union(try restic.store.archivedPacks())
    var count = 0
    let hasher = SHA256()
    for (id, byteCount) in try restic.store.list(.data) where !known.contains(id) {
      try checkForSignal()
      // Nothing has proved yet that the whole pack arrived, so it is read as a whole.
      guard let bytes = try restic.store.read(ObjectName(.data, id), at: 0, count: Int(min(byteCount, 1 << 30))),
        hasher.digest(of: bytes) == id
      else { continue }
      do { try writer.adopt(id, try restic.header(ofPack: id, byteCount: byteCount)) } catch let failure as Failure {
        // It is not needed, and stays as it was: `restic prune` removes it.
        guard failure.kind == .damaged else { throw failure }
        continue
      }
      count += 1
    }
    return count
  }
}

extension ResticRepository {
  /// The ID as text, which names the directory with the memory of pushes.
  public var idText: [UInt8] { Array(id.description.utf8) }
}

extension TreeLosses {
  /// A sentence for each kind of loss.
  fileprivate var sentences: [String] {
    Self.sentence(
      attributeNames, one: "extended attribute has", many: "extended attributes have",
      end: "a name that is not UTF-8, and cannot be kept in a repository of restic")
      + Self.sentence(
        times, one: "entry has", many: "entries have",
        end: "a time outside the years 0 to 9999, which restic's format cannot hold")
  }

  fileprivate var notes: [String] {
    Self.sentence(
      rawTargets, one: "link target is", many: "link targets are",
      end: "not UTF-8: restic before 0.16 restores other targets")
  }

  private static func sentence(_ count: Int, one: String, many: String, end: String) -> [String] {
    count == 0 ? [] : ["\(count) \(count == 1 ? one : many) \(end)"]
  }
}

/// The snapshots of treering in a repository of restic's format.
///
/// The host is the label, the time is that of the name, and the paths are those of the sources. Further labels are in
/// tags.
public struct PushedSnapshots {
  static let tag = Array("treering".utf8)
  static let labelTag = Array("label=".utf8)
  static let warningsTag = Array("warnings".utf8)

  private let found: [ResticRepository.FoundSnapshot]

  public init(in restic: ResticRepository) throws { found = try restic.snapshotFiles() }

  /// The file of a snapshot.
  static func file(of snapshot: Snapshot, tree: Digest) -> SnapshotFile {
    let summary = snapshot.summary
    let others = summary.otherSources.map { [slash] + $0 }
    var file = SnapshotFile(time: time(of: snapshot), tree: tree, paths: summary.sources + others)
    if file.paths.isEmpty { file.paths = [[slash]] }
    file.host = summary.label
    file.user = Array(accountName(ofUser: CurrentProcess.effectiveUser).utf8)
    file.userID = UInt64(CurrentProcess.effectiveUser)
    let labels = Set(summary.otherSources.map { Array($0.prefix { $0 != slash }) }).subtracting([summary.label])
    file.tags = [tag] + labels.map { labelTag + escaped($0) }.sorted { $0.lexicographicallyPrecedes($1) }
    if summary.outcome != .complete { file.tags.append(warningsTag) }
    file.totals.files = summary.files
    file.totals.bytes = summary.root.totals.bytes
    (file.totals.started, file.totals.finished) = (summary.started, summary.finished)
    return file
  }

  /// The time of the snapshot's name, with the fraction of the start if both have the same second.
  private static func time(of snapshot: Snapshot) -> Timestamp {
    let started = snapshot.summary.started
    return started.seconds == snapshot.name.seconds
      ? started : Timestamp(seconds: snapshot.name.seconds, nanoseconds: 0)
  }

  /// True if the repository has a snapshot of treering of this name and label.
  public func contains(_ snapshot: Snapshot) -> Bool { self.snapshot(like: snapshot) != nil }

  /// The ID of the file that a snapshot has in the repository.
  func snapshot(like snapshot: Snapshot) -> Digest? {
    let time = Self.time(of: snapshot)
    return found.first { found in
      guard case .success(let file) = found.snapshot else { return false }
      return file.time == time && file.host == snapshot.summary.label && file.tags.contains(Self.tag)
    }?.id
  }

  /// A label as a tag: restic's options cut tags at commas, so every byte but letters, digits and `._-` is `%XX`.
  static func escaped(_ label: [UInt8]) -> [UInt8] {
    label.flatMap { byte -> [UInt8] in
      let isPlain = (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
      if isPlain || "._-".utf8.contains(byte) { return [byte] }
      return [UInt8(ascii: "%"), hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]]
    }
  }

  /// The inverse of `escaped`.
  static func unescaped(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    var label: [UInt8] = []
    var rest = text
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        label.append(byte)
        continue
      }
      let digits = rest.prefix(2)
      guard digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) else { return nil }
      label.append(value)
      rest = rest.dropFirst(2)
    }
    return label
  }
}
