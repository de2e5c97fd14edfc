public import Posix

/// `pending/repair`: a repair collects the replacements for damaged entries in it.
public struct RepairDirectory {
  let repository: Repository
  private static let name = Array("repair".utf8)

  /// Makes an empty directory for a repair. The caller holds the lock.
  public func make() throws(Failure) -> Directory {
    try discard()
    let pending = try repository.pending
    do {
      try pending.descriptor.makeDirectory(Self.name.span, mode: 0o700)
      let directory = try pending.directory(Self.name.span)
      try directory.descriptor.dropInheritedACLs()
      return directory
    } catch { throw .writing("repair a snapshot in", at: repository.path, because: error) }
  }

  public func discard() throws(Failure) {
    let pending = try repository.pending
    do { try repository.retirement.discard(Self.name, of: pending) } catch {
      if error == .noSuchEntry { return }
      throw .writing("repair a snapshot in", at: repository.path, because: error)
    }
  }
}
