public import Catalog
public import Model
internal import Posix

/// The catalogs of a remote, as the memory of a machine that takes snapshots without a local repository.
///
/// The cache is a repository whose trees have no files. It can be removed at any time. The caller holds the lock.
public struct CatalogCache {
  public let repository: Repository
  private static let pieceBytes: UInt64 = 1 << 20

  /// Opens the cache, and makes it if it is missing.
  public init(at path: [UInt8], time: Timestamp) throws(Failure) {
    let format = path + Array("/.treering/repository.toml".utf8)
    do throws(Errno) {
      _ = try Descriptor.open(path: format, .pathOnly)
    } catch {
      guard error.meansAbsence else { throw .writing("open the cache", at: path, because: error) }
      do throws(Errno) { try Self.makeDirectories(above: path) } catch {
        throw .writing("make the cache", at: path, because: error)
      }
      repository = try Repository.initialize(path, at: time)
      return
    }
    repository = try Repository.open(path)
  }

  private static func makeDirectories(above path: [UInt8]) throws(Errno) {
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
  /// `isThere` is true for a cached snapshot that the remote has. `open` opens a catalog of the remote. A catalog that the remote does not have serves only the search for files that
  /// were read before.
  public func update(
    from remote: SnapshotList, for places: [TreePath], isThere: (Snapshot) -> Bool,
    open: (SnapshotName) throws -> any CatalogSource
  ) throws {
    let cached = try repository.snapshots()
    for unusable in cached.unusable { try discard(unusable.name) }
    let known = cached.snapshots.filter(isThere)
    let others = cached.snapshots.filter { !isThere($0) }
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

  private func discard(_ name: SnapshotName) throws {
    let catalogs = try repository.catalogs
    do { try catalogs.descriptor.unlink(name.catalogName.span) } catch {
      guard error == .noSuchEntry else { throw error }
    }
    if try repository.hasTree(of: name) { try repository.retirement.discard(name.bytes, of: repository.root) }
  }
}
