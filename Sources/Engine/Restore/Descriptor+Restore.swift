internal import Model
internal import Posix

extension Descriptor {
  /// The status of an entry of this directory; `nil` if there is no such name.
  borrowing func statusIfPresent(of name: Span<UInt8>) throws(Errno) -> FileStatus? {
    do { return try status(of: name) } catch {
      guard error == .noSuchEntry else { throw error }
      return nil
    }
  }

  /// Drops inherited ACLs on a file system that may know neither ACLs nor modes.
  borrowing func dropACLsWherePossible() throws(Errno) {
    do { try dropInheritedACLs() } catch { guard error.refusesMetadata else { throw error } }
  }

  /// Shows other processes that a file with a temporary name is in use.
  borrowing func holdTemporary() { try? lockExclusively() }

  /// Removes a file with a temporary name, unless it is in use.
  borrowing func discardTemporary(_ name: Span<UInt8>) {
    if (try? status(of: name))?.kind == .regular {
      do { try openToRead(name).lockExclusively() } catch { if error == .wouldBlock { return } }
    }
    try? unlink(name)
  }
}
