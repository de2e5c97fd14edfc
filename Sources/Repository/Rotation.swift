public import Catalog
public import Posix

// How snapshots come to an end: expired, then the spare, or trash.
//
// A snapshot is expired by one rename of its catalog to `pending/NAME.expired`; what follows can be done at any
// time, and `recover` does it where a run was killed in between.
extension Repository {
  private static let expiredSuffix = Array(".expired".utf8)

  /// The snapshot whose end a file in `pending` announces.
  func expiringName(_ name: [UInt8]) -> SnapshotName? {
    let suffix = Self.expiredSuffix
    return Array(name.suffix(suffix.count)) == suffix ? SnapshotName(name.dropLast(suffix.count)) : nil
  }

  /// A directory in `.treering`.
  private func inside(_ name: [UInt8]) throws(Errno) -> Directory { try control.directory(name.span) }

  /// True where a snapshot has been expired and its tree is still on its way out.
  func isExpiring(_ name: SnapshotName) throws -> Bool {
    let marker = name.bytes + Self.expiredSuffix
    return try directory(Self.pendingName).descriptor.statusIfPresent(of: marker.span) != nil
  }

  /// Takes a snapshot away: its tree becomes the spare, in place of an older one, or trash. The caller holds
  /// the lock. Throws where it cannot be taken away; then it stays a snapshot.
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

  /// Moves an expired snapshot's tree away. Where that cannot be done, the catalog goes back: the snapshot is as it was.
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

  /// Makes a directory the spare, unless there is one; false then.
  func keepAsSpare(_ name: [UInt8], of directory: Directory) throws(Errno) -> Bool {
    let spare = try inside(Self.spareName)
    guard try Self.isEmpty(spare) else { return false }
    try directory.descriptor.rename(name.span, to: spare.descriptor, as: name.span)
    return true
  }

  /// Moves an entry to `trash` under a name of its own.
  func discard(_ name: [UInt8], of directory: Directory) throws(Errno) {
    try Self.move(name, of: directory, to: try inside(Self.trashName))
  }

  /// Moves a directory that lies deep in the trash to its top; needs no further descriptor.
  public func discard(_ name: [UInt8], of directory: Directory, toTopOf trash: Directory) throws(Errno) {
    try Self.move(name, of: directory, to: trash)
  }

  private static func move(_ name: [UInt8], of directory: Directory, to trash: Directory) throws(Errno) {
    let unique = try uniqueName()
    do {
      try directory.descriptor.rename(name.span, to: trash.descriptor, as: unique.span)
    } catch {
      // A directory that changes its parent must be writable for an ordinary user.
      guard error == .accessDenied else { throw error }
      try directory.descriptor.unlock(name.span)
      try directory.descriptor.rename(name.span, to: trash.descriptor, as: unique.span)
    }
  }

  static func uniqueName() throws(Errno) -> [UInt8] { try Process.randomBytes(16).map { 97 + $0 % 26 } }

  /// Moves a directory of a tree that is being built to `trash`.
  public func discard(directory name: [UInt8], of directory: Directory) throws(Errno) {
    try discard(name, of: directory)
  }

  private static func isEmpty(_ directory: Directory) throws(Errno) -> Bool {
    var listing = DirectoryListing()
    try listing.read(try directory.descriptor.reopenDirectory())
    return listing.entries.isEmpty
  }

  /// Moves whatever is in `spare` to `trash`; true where there was something. What cannot be moved stays, and is noted.
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

  /// Takes the spare as the tree of a new snapshot; `nil` where there is none that can serve. One that makes trouble is
  /// set aside, and noted: it hinders no snapshot.
  func takeSpare(as name: SnapshotName, in pending: Directory) -> Directory? {
    do {
      let spare = try directory(Self.spareName)
      var listing = DirectoryListing()
      try listing.read(try spare.descriptor.reopenDirectory())
      guard let entry = listing.entries.last else { return nil }
      let found = Array(listing.bytes[entry.range])
      // What somebody has mounted in it is not ours to change, and what somebody reads must stay what it was.
      guard hasNoMounts(below: [Self.controlName, Self.spareName, found]), isSpareUnread() else { return nil }
      let status = try spare.descriptor.status(of: found.span)
      guard status.kind == .directory, status.user == Process.effectiveUser, SnapshotName(found) != nil else {
        return nil
      }
      do throws(Errno) {
        let tree = try spare.directory(found.span)
        // An adopted tree has attributes and an owner of its own, and a default ACL would reach what is made below.
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

  /// What is to be deleted, for whoever deletes it.
  public func trash() throws(Failure) -> Directory { try directory(Self.trashName) }
}
