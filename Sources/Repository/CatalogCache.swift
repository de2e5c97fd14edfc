public import Catalog
public import Model
public import Posix

/// The catalogs of a remote, as the memory of a machine that takes snapshots without a local repository.
///
/// The cache is a repository whose trees have no files. It can be removed at any time. The caller holds the lock.
public struct CatalogCache {
  public let repository: Repository
  private static let pieceBytes: UInt64 = 1 << 20
  /// A twentieth of the file system stays free, but not more than this.
  private static let largestReserve: UInt64 = 1 << 30

  /// Opens the cache. Makes it if it is missing, and anew if it cannot be used.
  public init(at path: [UInt8], time: Timestamp) throws(Failure) {
    do {
      try Self.makeDirectories(above: path)
      repository = try Self.openOrMake(path, at: time)
    } catch { throw .writing("make the cache", at: path, because: error) }
  }

  private static func openOrMake(_ path: [UInt8], at time: Timestamp) throws -> Repository {
    let (parent, name) = splitLast(of: path)
    let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
    try lock(above)
    guard try above.descriptor.statusIfPresent(of: name.span) != nil
    else { return try Repository.initialize(path, at: time) }
    do { return try Repository.open(path) } catch {
      let unusable = name + (try Publication.unfinishedSuffix())
      try above.descriptor.rename(name.span, to: above.descriptor, as: unusable.span)
      let repository = try Repository.initialize(path, at: time)
      try repository.retirement.discard(unusable, of: above)
      return repository
    }
  }

  /// Keeps other processes from making the cache at the same time, until the descriptor is closed.
  private static func lock(_ directory: Directory) throws {
    for attempt in 0... {
      do {
        try directory.descriptor.lockExclusively()
        return
      } catch {
        // A file system without locks has only this to offer.
        guard error == .wouldBlock else { return }
        if attempt == 600 { throw Failure(.locked, "another process is making its cache") }
        CurrentProcess.sleep(milliseconds: 100)
      }
    }
  }

  /// Makes the directories on the way to a path in the user's cache directory.
  public static func makeDirectories(above path: [UInt8]) throws(Errno) {
    let parent = splitLast(of: path).parent
    do throws(Errno) {
      _ = try Descriptor.open(path: parent, [.pathOnly, .directory])
      return
    } catch {
      guard error == .noSuchEntry, parent != [slash] else { throw error }
    }
    try makeDirectories(above: parent)
    let (above, name) = splitLast(of: parent)
    do throws(Errno) {
      try Descriptor.open(path: above, [.read, .directory]).makeDirectory(name.span, mode: 0o700)
    } catch {
      guard error == .exists else { throw error }
    }
  }

  /// Brings the cache up to date for the next snapshot of some places, such as `localhost/home`.
  ///
  /// `isThere` is true for a cached snapshot that the remote has. `open` opens a catalog of the remote. A catalog that
  /// the remote does not have serves only the search for files that were read before.
  public func update(
    from remote: SnapshotList, for places: [TreePath], isThere: (Snapshot) -> Bool,
    open: (SnapshotName) throws -> any CatalogSource
  ) throws {
    let cached = try repository.snapshots()
    for unusable in cached.unusable { try discard(unusable.name) }
    let known = cached.snapshots.filter(isThere)
    var others = cached.snapshots.filter { snapshot in
      !isThere(snapshot) && places.contains { snapshot.summary.covers($0) }
    }
    // The guards need a catalog to compare with, even if the remote has lost the snapshot.
    let lost = places.filter { place in !(known + remote.snapshots).contains { $0.summary.covers(place) } }
    if let last = others.firstIndex(where: { other in lost.contains { other.summary.covers($0) } }) {
      others.remove(at: last)
    }
    for other in others.dropLast() { try discard(other.name) }
    if let last = others.last { try keepUnfinished(last.name) }
    var wanted: [SnapshotName] = []
    for place in places {
      guard let newest = remote.snapshots.last(where: { $0.summary.covers(place) }), !wanted.contains(newest.name),
        !known.contains(where: { $0.name == newest.name })
      else { continue }
      wanted.append(newest.name)
    }
    for name in wanted { try add(name, from: open(name)) }
  }

  /// Adds a catalog of the remote.
  private func add(_ name: SnapshotName, from source: any CatalogSource) throws {
    let pending = try repository.pending
    let catalogs = try repository.catalogs
    // A remote that lies about the size must not fill the disk.
    let free = try pending.descriptor.fileSystem()
    let reserve = min((free.bytesUsed &+ free.bytesAvailable) / 20, Self.largestReserve)
    guard !free.lacks(bytes: source.byteCount, inodes: 2, reserve: reserve) else { throw Errno.noSpace }
    let file = try repository.openFile(name.catalogName, in: pending, flags: [.readWrite, .truncate])
    var position: UInt64 = 0
    while position < source.byteCount {
      let bytes = try source.read(at: position, count: Int(min(source.byteCount - position, Self.pieceBytes)))
      if bytes.isEmpty { throw CatalogError("the catalog of \(name) ends too early") }
      try file.write(bytes)
      position += UInt64(bytes.count)
    }
    try file.synchronize()
    try repository.makeDirectory(name.bytes, in: repository.root)
    try pending.descriptor.rename(
      name.catalogName.span, to: catalogs.descriptor, as: name.catalogName.span, replacing: true)
  }

  /// Makes a catalog one of an interrupted run: it proves what its files contain, but nothing is compared with it.
  public func keepUnfinished(_ name: SnapshotName) throws {
    let pending = try repository.pending
    let catalogs = try repository.catalogs
    try removeCopies(of: name)
    let unfinished = name.bytes + (try Publication.unfinishedSuffix())
    try repository.root.descriptor.rename(name.bytes.span, to: pending.descriptor, as: name.bytes.span)
    try catalogs.descriptor.rename(name.catalogName.span, to: pending.descriptor, as: unfinished.span)
  }

  /// Removes the files that were copied because they changed too often.
  public func removeCopies(of name: SnapshotName) throws {
    let tree = try repository.root.directory(name.bytes.span)
    for copy in try tree.names() { try tree.descriptor.unlink(copy.span) }
  }

  /// Removes all catalogs but the newest of each source.
  public func prune() throws {
    var covered: Set<TreePath> = []
    for snapshot in try repository.snapshots().snapshots.reversed() {
      let summary = snapshot.summary
      let places =
        summary.sources.map { summary.label + TreePath(parsing: $0) }
        + summary.otherSources.map { TreePath(parsing: $0) }
      if covered.isSuperset(of: places) { try discard(snapshot.name) }
      covered.formUnion(places)
    }
  }

  /// Removes the caches beside this one that were used least recently, so that all together take at most so many bytes.
  ///
  /// The directory must have no other repositories than caches that can be lost.
  public func removeOthers(beyond byteCount: UInt64) throws {
    let (parent, own) = splitLast(of: repository.path)
    let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
    let lockName = Repository.lockName
    var others: [(name: [UInt8], used: Timestamp, byteCount: UInt64)] = []
    for name in try above.names() where name != own && Self.isName(name) {
      // Each use writes to the lock's file.
      let control = try? above.directory(path: [name, Repository.controlName])
      let used = try? control?.descriptor.status(of: lockName.span).modified
      let root = try? above.directory(name.span)
      others.append((name, used ?? Timestamp(seconds: 0, nanoseconds: 0), Self.byteCount(of: root)))
    }
    others.sort { $0.used > $1.used }
    var total = Self.byteCount(of: repository.root)
    for other in others {
      let (sum, overflow) = total.addingReportingOverflow(other.byteCount)
      total = overflow ? .max : sum
      guard total > byteCount, let cache = try? Repository.open(parent + [slash] + other.name),
        let lock = try? cache.lock(command: "remove", at: Clock.now())
      else { continue }
      try withExtendedLifetime(lock) { try repository.retirement.discard(other.name, of: above) }
    }
  }

  /// The bytes of the files in a cache: catalogs, and copies of files that a killed process left.
  private static func byteCount(of directory: Directory?) -> UInt64 {
    guard let directory, let names = try? directory.names() else { return 0 }
    return names.reduce(0) { total, name in
      let status = try? directory.descriptor.status(of: name.span)
      guard status?.kind == .directory else { return total &+ (status?.size ?? 0) }
      return total &+ byteCount(of: try? directory.directory(name.span))
    }
  }

  /// True for the name of a cache: 32 hexadecimal digits.
  private static func isName(_ name: [UInt8]) -> Bool {
    name.count == 32 && name.allSatisfy { "0123456789abcdef".utf8.contains($0) }
  }

  private func discard(_ name: SnapshotName) throws { try repository.forget(name) }
}

extension Repository {
  /// Removes a snapshot whose catalog alone is of use.
  func forget(_ name: SnapshotName) throws {
    let catalogs = try self.catalogs
    do { try catalogs.descriptor.unlink(name.catalogName.span) } catch {
      guard error == .noSuchEntry else { throw error }
    }
    if try hasTree(of: name) { try retirement.discard(name.bytes, of: root) }
  }
}
