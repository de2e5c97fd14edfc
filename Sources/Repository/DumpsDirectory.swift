internal import Model
public import Posix

extension Repository {
  /// `.treering/dumps`, in which databases are dumped before a snapshot takes the dumps in.
  public var dumps: DumpsDirectory { DumpsDirectory(repository: self) }
}

/// The directory of the dumps. The caller of its functions holds the lock.
public struct DumpsDirectory {
  let repository: Repository
  private static let name = Array("dumps".utf8)

  /// Makes the directory and empties it.
  ///
  /// The leftovers of a killed run go to the trash. Their files may be stored inodes, so nothing may write to them.
  public func prepare() throws(Failure) {
    do {
      try repository.makeDirectory(Self.name, in: repository.control)
      try empty()
    } catch { throw .writing("prepare .treering/dumps of", at: repository.path, because: error) }
  }

  /// The absolute path of the dump of a database: below this directory, or hidden below another one.
  public func path(of database: [UInt8], below other: [UInt8]?) throws(Errno) -> [UInt8] {
    if let other { return other + Array("/.treering-".utf8) + repository.id.prefix(8) + Array("-".utf8) + database }
    let place: TreePath = [Repository.controlName, Self.name, database]
    return place.bytes(below: try CurrentProcess.realPath(repository.path))
  }

  /// Moves all dumps to the trash. A dump that cannot be moved is noted, and the next run tries again.
  public func discard() {
    do { try empty() } catch { repository.problems.note("cannot be removed", at: [Self.name], because: error) }
  }

  private func empty() throws(Errno) {
    let directory: Directory
    do { directory = try repository.control.directory(Self.name.span) } catch {
      if error == .noSuchEntry { return }
      throw error
    }
    for name in try directory.names() { try repository.retirement.discard(name, of: directory) }
  }
}
