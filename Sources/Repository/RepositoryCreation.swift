public import Model
internal import Posix
internal import Synchronization

extension Repository {
  /// Creates a repository in a new or an empty directory.
  public static func initialize(_ path: [UInt8], at time: Timestamp) throws(Failure) -> Repository {
    do {
      let (root, isNew) = try openOrMakeRoot(at: path)
      try checkIsFree(root, at: path)
      do { _ = try FileSystemProbe.probe(in: root, of: path) } catch {
        if isNew, error.kind == .refused {
          let (parent, name) = splitLast(of: path)
          try? Descriptor.open(path: parent, [.read, .directory]).removeDirectory(name.span)
        }
        throw error
      }
      try makeControlDirectory(in: root, at: time)
    } catch let failure as Failure {
      throw failure
    } catch let error as Errno {
      var failure = Failure.writing("make the repository", at: path, because: error)
      failure.kind = error.meansNoRoom ? .noSpace : .usage
      if error == .noSuchEntry { failure.hint = "the directory above it must exist: is its disk mounted?" }
      throw failure
    } catch { throw Failure(.failed, "cannot make the repository \(displayName(path)): \(error)", path: path) }
    return try open(path)
  }

  /// Opens a repository inside the control directory of another, or creates it in the empty directory.
  ///
  /// Its snapshots have `onlyPath` alone.
  static func openInner(
    _ path: [UInt8], for onlyPath: TreePath, at time: Timestamp, owner: ControlOwner
  ) throws -> Repository {
    let root = Directory(try Descriptor.open(path: path, [.read, .directory]))
    if try !isRepository(root) {
      try makeControlDirectory(in: root, at: time)
      let control = try root.directory(path: [controlName])
      for name in try control.names() { try owner.give(try control.descriptor.openToRead(name.span)) }
      try owner.give(control.descriptor)
    }
    let repository = try open(path)
    repository.innerPath.withLock { $0 = onlyPath }
    return repository
  }

  /// Opens the directory, or makes it if it is missing. Refuses a place inside a repository.
  private static func openOrMakeRoot(at path: [UInt8]) throws -> (root: Directory, isNew: Bool) {
    let (parent, name) = splitLast(of: path)
    let existing: Directory?
    do { existing = Directory(try Descriptor.open(path: path, [.read, .directory])) } catch {
      guard error == .noSuchEntry, !name.isEmpty else { throw error }
      existing = nil
    }
    let above = existing == nil ? parent : path + Array("/..".utf8)
    if try isInside(try Descriptor.open(path: above, [.pathOnly, .directory])) {
      throw Failure(
        .usage, "\(displayName(path)) is in a repository, where nothing may change", path: path,
        hint: "name another directory")
    }
    if let existing { return (existing, false) }
    let directory = Directory(try Descriptor.open(path: parent, [.read, .directory]))
    try directory.descriptor.makeDirectory(name.span, mode: 0o700)
    try directory.descriptor.synchronize()
    return (try directory.directory(name.span), true)
  }

  /// Throws `usage` if the directory holds a repository or another entry.
  private static func checkIsFree(_ root: Directory, at path: [UInt8]) throws {
    for name in try root.names() {
      // A new ext4 file system has `lost+found`.
      if name == Array("lost+found".utf8) || name == FileSystemProbe.name { continue }
      guard name == controlName else {
        throw Failure(
          .usage, "\(displayName(path)) is not empty: it holds \(displayName(name))", path: path,
          hint: "name an empty or a new directory")
      }
      // A half-made repository is completed.
      let format = formatName
      if try root.directory(name.span).descriptor.statusIfPresent(of: format.span) != nil {
        throw Failure(.usage, "\(displayName(path)) is already a repository", path: path)
      }
    }
  }

  /// Makes `.treering`. Before `repository.toml` is written, the repository does not exist.
  private static func makeControlDirectory(in root: Directory, at time: Timestamp) throws(Errno) {
    try root.descriptor.setPermissions(0o700)
    try makeIfMissing(controlName, in: root)
    let control = try root.directory(path: [controlName])
    for name in [catalogsName, pendingName, spareName, trashName] { try makeIfMissing(name, in: control) }
    let id = try CurrentProcess.randomBytes(count: 16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    let format = RepositoryFormat(id: id, created: CalendarTime(seconds: time.seconds).rfc3339)
    try ControlFile(named: formatName, in: control, owner: nil).replace(with: Array(format.text.utf8))
    try root.descriptor.synchronize()
  }

  private static func makeIfMissing(_ name: [UInt8], in directory: Directory) throws(Errno) {
    do { try directory.descriptor.makeDirectory(name.span, mode: 0o700) } catch {
      guard error == .exists else { throw error }
    }
  }
}
