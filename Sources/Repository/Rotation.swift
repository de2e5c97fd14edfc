public import Catalog
public import Posix

// Expiry: an expired tree becomes the spare or goes to the trash.
//
// A snapshot expires by one rename of its catalog to `pending/NAME.expired`. The other steps can run at any time, and
// `recover` completes them if a run was killed in between.
extension Repository {
  private static let expiredSuffix = Array(".expired".utf8)

  /// The snapshot that an `.expired` file in `pending` belongs to.
  func expiringName(_ name: [UInt8]) -> SnapshotName? {
    let suffix = Self.expiredSuffix
    return Array(name.suffix(suffix.count)) == suffix ? SnapshotName(name.dropLast(suffix.count)) : nil
  }

  /// A directory in `.treering`.
  private func inside(_ name: [UInt8]) throws(Errno) -> Directory { try control.directory(name.span) }

  /// True if a snapshot has expired, but its tree has not been moved away yet.
  func isExpiring(_ name: SnapshotName) throws -> Bool {
    let marker = name.bytes + Self.expiredSuffix
    return try directory(Self.pendingName).descriptor.statusIfPresent(of: marker.span) != nil
  }

  /// Expires a snapshot: its tree replaces the spare or goes to the trash. The caller holds the lock.
  ///
  /// Throws if the tree cannot be moved; the snapshot is then kept.
  public func expire(_ name: SnapshotName, asSpare: Bool) throws(Failure) {
    let pending = try directory(Self.pendingName)
    let catalogs = try directory(Self.catalogsName)
    let marker = name.bytes + Self.expiredSuffix
    do {
      if asSpare { discardSpare() }
      try catalogs.descriptor.rename(
        name.catalogName.span, to: pending.descriptor, as: marker.span, replacing: true)
      try catalogs.descriptor.synchronize()
      try finishExpiring(name, asSpare: asSpare)
      try root.descriptor.synchronize()
    } catch {
      var failure = Failure.writing("expire the snapshot \(name) of", path, error)
      if error as? Errno == .busy { failure.hint = "unmount what is mounted on it" }
      throw failure
    }
  }

  /// Moves the tree of an expired snapshot away. If the move fails, the catalog returns, and the snapshot is unchanged.
  func finishExpiring(_ name: SnapshotName, asSpare: Bool = false) throws {
    let pending = try directory(Self.pendingName)
    let found = name.bytes
    let marker = name.bytes + Self.expiredSuffix
    if try hasTree(name) {
      do throws(Errno) {
        let isSpare = asSpare ? try keepAsSpare(found, of: root) : false
        if !isSpare { try discard(found, of: root) }
      } catch {
        let catalogs = try directory(Self.catalogsName)
        try pending.descriptor.rename(marker.span, to: catalogs.descriptor, as: name.catalogName.span)
        throw error
      }
    }
    try pending.descriptor.unlink(marker.span)
    for kind in SnapshotMark.allCases { _ = try? unmark(name, kind) }
  }

  /// Makes a directory the spare. Returns false if a spare exists already.
  func keepAsSpare(_ name: [UInt8], of directory: Directory) throws(Errno) -> Bool {
    let spare = try inside(Self.spareName)
    guard try Self.isEmpty(spare) else { return false }
    try directory.descriptor.rename(name.span, to: spare.descriptor, as: name.span)
    return true
  }

  /// Moves an entry to `trash` under a unique name.
  func discard(_ name: [UInt8], of directory: Directory) throws(Errno) {
    try Self.move(name, of: directory, to: try inside(Self.trashName))
  }

  /// Moves a directory from deep in the trash to its top. Needs no further descriptor.
  public func discard(_ name: [UInt8], of directory: Directory, toTopOf trash: Directory) throws(Errno) {
    try Self.move(name, of: directory, to: trash)
  }

  private static func move(_ name: [UInt8], of directory: Directory, to trash: Directory) throws(Errno) {
    let unique = try uniqueName()
    do {
      try directory.descriptor.rename(name.span, to: trash.descriptor, as: unique.span)
    } catch {
      // An ordinary user can move a directory to another parent only if the directory itself is writable.
      guard error == .accessDenied else { throw error }
      try directory.descriptor.unlock(name.span)
      try directory.descriptor.rename(name.span, to: trash.descriptor, as: unique.span)
    }
  }

  static func uniqueName() throws(Errno) -> [UInt8] { try CurrentProcess.randomBytes(16).map { 97 + $0 % 26 } }

  /// Moves a directory of a tree under construction to `trash`.
  public func discard(directory name: [UInt8], of directory: Directory) throws(Errno) {
    try discard(name, of: directory)
  }

  private static func isEmpty(_ directory: Directory) throws(Errno) -> Bool {
    var listing = DirectoryListing()
    try listing.read(try directory.descriptor.reopenDirectory())
    return listing.entries.isEmpty
  }

  /// Moves all entries of `spare` to `trash`. Returns true if it moved any.
  ///
  /// An entry that cannot be moved stays and is noted.
  @discardableResult
  public func discardSpare() -> Bool {
    var isFound = false
    do {
      let spare = try directory(Self.spareName)
      var listing = DirectoryListing()
      try listing.read(try spare.descriptor.reopenDirectory())
      for entry in listing.entries {
        let found = Array(listing.bytes[entry.range])
        do throws(Errno) {
          try discard(found, of: spare)
          isFound = true
        } catch { note([Self.spareName, found], "cannot be given up", "\(error)") }
      }
    } catch { note([Self.spareName], "cannot be given up", "\(error)") }
    return isFound
  }

  /// Takes the spare as the tree of a new snapshot. `nil` if no usable spare exists.
  ///
  /// A spare that causes an error is set aside and noted; it does not prevent the snapshot.
  func takeSpare(as name: SnapshotName, in pending: Directory) -> Directory? {
    do {
      let spare = try directory(Self.spareName)
      var listing = DirectoryListing()
      try listing.read(try spare.descriptor.reopenDirectory())
      guard let entry = listing.entries.last else { return nil }
      let found = Array(listing.bytes[entry.range])
      // A mount inside the spare must not be changed, and a tree that a process still reads must stay unchanged.
      guard hasNoMounts(below: [Self.controlName, Self.spareName, found]), isSpareUnread() else { return nil }
      let status = try spare.descriptor.status(of: found.span)
      guard status.kind == .directory, status.user == CurrentProcess.effectiveUser, SnapshotName(found) != nil else {
        return nil
      }
      do throws(Errno) {
        let tree = try spare.directory(found.span)
        // An adopted tree has its own attributes and owner, and new entries would inherit its default ACL.
        try tree.descriptor.becomePlainDirectory()
        try tree.descriptor.dropInheritedACLs()
        try spare.descriptor.rename(found.span, to: pending.descriptor, as: name.bytes.span)
        return tree
      } catch {
        note([Self.spareName], "cannot be recycled, and is set aside", "\(error)")
        discardSpare()
      }
    } catch { note([Self.spareName], "cannot be recycled", "\(error)") }
    return nil
  }

  /// The directory of the trees to delete.
  public func trash() throws(Failure) -> Directory { try directory(Self.trashName) }
}
