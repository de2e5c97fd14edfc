public import Catalog
public import Model
public import Posix

/// The expiry of snapshots: an expired tree becomes the spare or goes to the trash.
///
/// A snapshot expires by one rename of its catalog to `pending/NAME.expired`. The other steps can run at any time, and
/// `recover` completes them if a run was killed in between.
public struct Retirement {
  let repository: Repository
  static let expiredSuffix = Array(".expired".utf8)

  private static func marker(of name: SnapshotName) -> [UInt8] { name.bytes + expiredSuffix }

  /// True if a snapshot has expired, but its tree has not been moved away yet.
  func isExpiring(_ name: SnapshotName) throws -> Bool {
    let marker = Self.marker(of: name)
    return try repository.pending.descriptor.statusIfPresent(of: marker.span) != nil
  }

  /// Expires a snapshot: its tree replaces the spare or goes to the trash. The caller holds the lock.
  ///
  /// Throws if the tree cannot be moved; the snapshot is then kept.
  public func expire(_ name: SnapshotName, asSpare: Bool) throws(Failure) {
    let pending = try repository.pending
    let catalogs = try repository.catalogs
    let marker = Self.marker(of: name)
    do {
      if asSpare { discardSpare() }
      try catalogs.descriptor.rename(name.catalogName.span, to: pending.descriptor, as: marker.span, replacing: true)
      try catalogs.descriptor.synchronize()
      try finishExpiring(name, asSpare: asSpare)
      try repository.root.descriptor.synchronize()
    } catch {
      var failure = Failure.writing("expire the snapshot \(name) of", at: repository.path, because: error)
      if error as? Errno == .busy { failure.hint = "unmount what is mounted on it" }
      throw failure
    }
  }

  /// Moves the tree of an expired snapshot away. If the move fails, the catalog returns, and the snapshot is unchanged.
  func finishExpiring(_ name: SnapshotName, asSpare: Bool = false) throws {
    let pending = try repository.pending
    let found = name.bytes
    let marker = Self.marker(of: name)
    var isSpare = false
    if try repository.hasTree(of: name) {
      do throws(Errno) {
        isSpare = asSpare ? try keepAsSpare(named: found, of: repository.root) : false
        if !isSpare { try discard(found, of: repository.root) }
      } catch {
        let catalogs = try repository.catalogs
        try pending.descriptor.rename(marker.span, to: catalogs.descriptor, as: name.catalogName.span)
        throw error
      }
    }
    if isSpare {
      // It tells the space that the spare holds.
      let kept = Self.spareCatalog(of: name)
      try pending.descriptor.rename(marker.span, to: repository.control.descriptor, as: kept.span, replacing: true)
    } else {
      try pending.descriptor.unlink(marker.span)
    }
    for kind in SnapshotMark.allCases { _ = try? repository.marks.remove(kind, from: name) }
  }

  /// Makes a directory the spare. Returns false if a spare exists already.
  func keepAsSpare(named name: [UInt8], of directory: Directory) throws(Errno) -> Bool {
    let spare = try repository.control.directory(path: [Repository.spareName])
    guard try spare.names().isEmpty else { return false }
    try directory.descriptor.rename(name.span, to: spare.descriptor, as: name.span)
    return true
  }

  /// Moves an entry to `trash` under a unique name.
  public func discard(_ name: [UInt8], of directory: Directory) throws(Errno) {
    try Self.move(named: name, of: directory, to: try repository.control.directory(path: [Repository.trashName]))
  }

  /// Moves an entry to an open `trash` under a unique name. Needs no further descriptor.
  public static func move(named name: [UInt8], of directory: Directory, to trash: Directory) throws(Errno) {
    let unique = try uniqueName()
    do { try directory.descriptor.rename(name.span, to: trash.descriptor, as: unique.span) } catch {
      // An ordinary user can move a directory to another parent only if the directory itself is writable.
      guard error == .accessDenied else { throw error }
      try directory.descriptor.unlock(name.span)
      try directory.descriptor.rename(name.span, to: trash.descriptor, as: unique.span)
    }
  }

  static func uniqueName() throws(Errno) -> [UInt8] { try CurrentProcess.randomBytes(count: 16).map { 97 + $0 % 26 } }

  /// Moves all entries of `spare` to `trash`. Returns true if it moved any.
  ///
  /// An entry that cannot be moved stays and is noted.
  @discardableResult
  public func discardSpare() -> Bool {
    var isFound = false
    do {
      let spare = try repository.spare
      for found in try spare.names() {
        do throws(Errno) {
          try discard(found, of: spare)
          isFound = true
        } catch { repository.problems.note("cannot be given up", at: [Repository.spareName, found], because: error) }
      }
    } catch { repository.problems.note("cannot be given up", at: [Repository.spareName], because: error) }
    forgetSpareCatalog()
    return isFound
  }

  /// Takes the spare as the tree of a new snapshot. `nil` if no usable spare exists.
  ///
  /// A spare that causes an error is set aside and noted; it does not prevent the snapshot.
  func takeSpare(as name: SnapshotName, in pending: Directory) -> Directory? {
    do {
      let spare = try repository.spare
      guard let found = try spare.names().last else { return nil }
      // A mount inside the spare must not be changed, and a tree that a process still reads must stay unchanged.
      let location = repository.location
      guard location.hasNoMounts(below: [Repository.controlName, Repository.spareName, found]), isSpareUnread()
      else { return nil }
      let status = try spare.descriptor.status(of: found.span)
      guard status.kind == .directory, status.user == CurrentProcess.effectiveUser, SnapshotName(found) != nil
      else { return nil }
      do throws(Errno) {
        let tree = try spare.directory(found.span)
        // An adopted tree has its own attributes and owner, and new entries would inherit its default ACL.
        try tree.descriptor.becomePlainDirectory()
        try tree.descriptor.dropInheritedACLs()
        try spare.descriptor.rename(found.span, to: pending.descriptor, as: name.bytes.span)
        forgetSpareCatalog()
        return tree
      } catch {
        repository.problems.note("cannot be recycled, and is set aside", at: [Repository.spareName], because: error)
        discardSpare()
      }
    } catch { repository.problems.note("cannot be recycled", at: [Repository.spareName], because: error) }
    return nil
  }

  /// True if the repository has a spare, an expired tree that can become the next snapshot.
  public func hasSpare() throws(Failure) -> Bool {
    do { return try !repository.spare.names().isEmpty } catch {
      throw .writing("look for a spare in", at: repository.path, because: error)
    }
  }

  private static let spareSuffix = Array(".spare".utf8)

  private static func spareCatalog(of name: SnapshotName) -> [UInt8] { name.bytes + spareSuffix }

  /// Removes the catalog of a spare that is gone. It is of no use to anything but the measurement of space.
  private func forgetSpareCatalog() {
    let names = (try? Directory(repository.control.descriptor.reopenDirectory()).names()) ?? []
    for name in names where SnapshotName(name, suffix: Self.spareSuffix) != nil {
      try? repository.control.descriptor.unlink(name.span)
    }
  }

  /// The spare as the snapshot that it was; `nil` if there is none, or if its catalog is not known.
  public func spareSnapshot() -> Snapshot? {
    guard let name = (try? repository.spare.names().last).flatMap({ SnapshotName($0) }),
      let catalog = try? openCatalog(ofSpare: name)
    else { return nil }
    return Snapshot(name: name, summary: catalog.summary)
  }

  /// Opens the catalog of the spare.
  public func openCatalog(ofSpare name: SnapshotName) throws -> OpenCatalog {
    let kept = Self.spareCatalog(of: name)
    return try OpenCatalog(reading: CatalogFile(file: try repository.control.descriptor.openToRead(kept.span)))
  }

  /// The status of that catalog's file.
  public func catalogStatus(ofSpare name: SnapshotName) throws(Errno) -> FileStatus {
    let kept = Self.spareCatalog(of: name)
    return try repository.control.descriptor.status(of: kept.span)
  }

  /// Opens the tree of the spare.
  public func openTree(ofSpare name: SnapshotName) throws -> Directory {
    try repository.spare.directory(name.bytes.span)
  }

  /// True if an ordinary user lacks permission for an operation, for instance in a snapshot that root took.
  ///
  /// The next run of root does it.
  static func isLeftToRoot(_ error: any Error) -> Bool {
    CurrentProcess.effectiveUser != 0 && (error as? Errno)?.meansNoPermission == true
  }
}
