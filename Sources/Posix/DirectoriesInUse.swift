internal import CPosix
internal import Glibc

/// A directory that a process has open, works in, or has as its root.
public struct DirectoryInUse: ~Copyable {
  public let process: Int32
  /// Opened with `pathOnly`.
  public let directory: Descriptor
}

extension Process {
  /// How often `/proc` is read because there are new processes. A pass takes about a millisecond.
  private static let passLimit = 100

  /// Calls `body` with each directory of one device that another process has in use, until that returns true; true if
  /// it did. `/proc/PID/fd`, `/proc/PID/task/TID/cwd` and `root`, see proc(5).
  ///
  /// `isComplete` becomes false where processes could not be looked at for want of permission: another user's, without
  /// `CAP_SYS_PTRACE`. Throws where anything else hinders the search, where it does not come to an end because new
  /// processes begin all the time (`busy`), and at a signal.
  public static func findDirectoryInUse(
    on device: UInt64, isComplete: inout Bool, _ body: (borrowing DirectoryInUse) -> Bool
  ) throws(Errno) -> Bool {
    return try SystemCallTrace.uncounted { () throws(Errno) in
      // Without it, proc(5) may not even list what belongs to others (`hidepid`).
      if try !mayLookAtAll() { isComplete = false }
      var known: Set<Int32> = [identifier]
      // A process may hand over its directories to a new one while others are looked at.
      for _ in 0..<passLimit {
        let new = try processes().filter { known.insert($0).inserted }
        if new.isEmpty { return false }
        for process in new {
          if rememberedSignal != nil { throw .interrupted }
          if try find(process, on: device, &isComplete, body) { return true }
        }
      }
      throw .busy
    }
  }

  /// True with `CAP_SYS_PTRACE`, number 19; capabilities(7).
  private static func mayLookAtAll() throws(Errno) -> Bool {
    let text = try Descriptor.open(path: Array("/proc/self/status".utf8), .read).readWhole(limit: 1 << 16)
    let title = Array("CapEff:".utf8)
    guard let line = text.split(separator: 10).first(where: { $0.starts(with: title) }) else { return false }
    let digits = String(decoding: line.dropFirst(title.count), as: UTF8.self).filter { !$0.isWhitespace }
    return UInt64(digits, radix: 16).map { $0 >> 19 & 1 == 1 } ?? false
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
  ) throws(Errno) -> Bool {
    /// What ends meanwhile uses nothing.
    func pass(_ error: Errno) throws(Errno) {
      if error.meansNoPermission { isComplete = false } else if !error.meansNoProcess { throw error }
    }
    let own = "/proc/\(process)"
    var paths = ["\(own)/root"]
    for (list, ending) in [("fd", ""), ("task", "/cwd")] {
      var listing = DirectoryListing()
      do throws(Errno) {
        try listing.read(try Descriptor.open(path: Array("\(own)/\(list)".utf8), [.read, .directory]))
      } catch {
        try pass(error)
        continue
      }
      for entry in listing.entries {
        paths.append("\(own)/\(list)/\(String(decoding: listing.bytes[entry.range], as: UTF8.self))\(ending)")
      }
    }
    for path in paths {
      // Only what is on the device is opened: a dead network file system would wait.
      var status = tr_status()
      let bytes = Array(path.utf8)
      let result = withCString(bytes) { tr_statx(tr_at_fdcwd, $0, tr_at_statx_dont_sync, &status) }
      if result < 0 {
        try pass(Errno(Int32(-result)))
        continue
      }
      guard status.device == device, status.mode & UInt32(S_IFMT) == UInt32(S_IFDIR) else { continue }
      let directory: Descriptor
      do throws(Errno) { directory = try Descriptor.open(path: bytes, [.pathOnly, .directory]) } catch {
        try pass(error)
        continue
      }
      if body(DirectoryInUse(process: process, directory: directory)) { return true }
    }
    return false
  }
}

extension Errno {
  /// True for what proc(5) says of a process that has ended, and of a descriptor that it has closed.
  fileprivate var meansNoProcess: Bool { self == .noSuchEntry || self == .notADirectory || number == ESRCH }
}
