public import Model
internal import Posix

/// A lock on a file. The last reference releases it.
public final class FileLock: Sendable {
  private let file: Descriptor
  init(file: consuming Descriptor) { self.file = file }
}

extension Repository {
  /// Locks a file of the control directory; `nil` if another process has the lock.
  func lock(_ name: [UInt8], what: String) throws(Failure) -> FileLock? {
    do throws(Errno) {
      let file = try openFile(name, in: control, flags: .readWrite)
      do { try file.lockExclusively() } catch {
        if error == .wouldBlock { return nil }
        throw error
      }
      return FileLock(file: file)
    } catch { throw .writing("lock \(what) of", at: path, because: error) }
  }
}

/// The locks on snapshots that are being read. A lock is on the catalog's file. While a process holds one, no other
/// process can expire the snapshot.
public struct SnapshotLocks {
  let repository: Repository

  /// Keeps a snapshot from expiring until the lock is released. The end of the process also releases the lock.
  public func lockShared(_ name: SnapshotName) throws(Failure) -> FileLock {
    let catalogs = try repository.catalogs
    do {
      let file = try catalogs.descriptor.openToRead(name.catalogName.span)
      // A rotation locks the catalog briefly to test for users.
      for attempt in 0... {
        do {
          try file.lockShared()
          break
        } catch {
          guard error == .wouldBlock, attempt < 1500 else { throw error }
          CurrentProcess.sleep(milliseconds: 20)
        }
      }
      // The snapshot may have expired before the lock was taken.
      let status = try catalogs.descriptor.status(of: name.catalogName.span)
      guard status.inode == (try file.status().inode) else { throw Errno.staleHandle }
      return FileLock(file: file)
    } catch {
      throw Failure(
        .failed, "the snapshot \(name) of \(displayName(repository.path)) cannot be taken into use: \(error)",
        path: repository.path)
    }
  }

  /// Locks a snapshot exclusively, so that it can expire. `nil` if a process is using it.
  public func lockForExpiry(_ name: SnapshotName) throws -> FileLock? {
    let file = try repository.catalogs.descriptor.openToRead(name.catalogName.span)
    do throws(Errno) { try file.lockExclusively() } catch {
      if error == .wouldBlock { return nil }
      // The file system has no locks, so no other process can have locked the snapshot either.
      let hasNoLocks: [Errno] = [.notImplemented, .notSupported, .invalid]
      guard hasNoLocks.contains(error) else { throw error }
    }
    return FileLock(file: file)
  }
}
