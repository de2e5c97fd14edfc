internal import CPosix
internal import Glibc

/// A directory that a process has open, works in, or has as its root.
public struct DirectoryInUse: ~Copyable {
  public let process: Int32
  /// Opened with `pathOnly`.
  public let directory: Descriptor
}

extension Process {
  /// Calls `body` with each directory of one device that another process has in use, until that returns true; true if
  /// it did. `/proc/PID/fd`, `/proc/PID/task/TID/cwd` and `root`, see proc(5).
  ///
  /// `isComplete` becomes false where a process could not be looked at: another user's, for whoever is not root. Throws
  /// where proc(5) is not mounted.
  public static func findDirectoryInUse(
    on device: UInt64, isComplete: inout Bool, _ body: (borrowing DirectoryInUse) -> Bool
  ) throws(Errno) -> Bool {
    var known: Set<Int32> = [identifier]
    return try SystemCallTrace.uncounted { () throws(Errno) in
      // A process may hand over its directories to a new one while others are looked at.
      while true {
        let new = try processes().filter { known.insert($0).inserted }
        if new.isEmpty { return false }
        for process in new {
          if find(process, on: device, &isComplete, body) { return true }
        }
      }
    }
  }

  private static func processes() throws(Errno) -> [Int32] {
    var listing = DirectoryListing()
    do { try listing.read(try Descriptor.open(path: Array("/proc".utf8), [.read, .directory])) } catch {
      throw error == .noSuchEntry ? .procIsMissing : error
    }
    let numbers = listing.entries.compactMap { Int32(String(decoding: listing.bytes[$0.range], as: UTF8.self)) }
    if numbers.isEmpty { throw .procIsMissing }
    return numbers
  }

  private static func find(
    _ process: Int32, on device: UInt64, _ isComplete: inout Bool, _ body: (borrowing DirectoryInUse) -> Bool
  ) -> Bool {
    let own = "/proc/\(process)"
    var paths = ["\(own)/root"]
    for (list, ending) in [("fd", ""), ("task", "/cwd")] {
      var listing = DirectoryListing()
      do {
        try listing.read(try Descriptor.open(path: Array("\(own)/\(list)".utf8), [.read, .directory]))
      } catch {
        if error.meansNoPermission { isComplete = false }
        continue
      }
      for entry in listing.entries {
        paths.append("\(own)/\(list)/\(String(decoding: listing.bytes[entry.range], as: UTF8.self))\(ending)")
      }
    }
    for path in paths {
      // What ends meanwhile uses nothing. Only what is on the device is opened: a dead network file system would wait.
      var status = tr_status()
      let bytes = Array(path.utf8)
      let result = withCString(bytes) { tr_statx(tr_at_fdcwd, $0, tr_at_statx_dont_sync, &status) }
      if result == -Int(EACCES) || result == -Int(EPERM) { isComplete = false }
      guard result == 0, status.device == device, status.mode & UInt32(S_IFMT) == UInt32(S_IFDIR),
        let directory = try? Descriptor.open(path: bytes, [.pathOnly, .directory])
      else { continue }
      if body(DirectoryInUse(process: process, directory: directory)) { return true }
    }
    return false
  }
}
