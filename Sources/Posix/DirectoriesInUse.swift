internal import CPosix
internal import Glibc

extension CurrentProcess {
  /// The most passes over `/proc` for new processes. A pass takes about a millisecond.
  private static let passLimit = 100

  /// Searches the directories of one device that other processes use, and the mounts that any process sees.
  ///
  /// `isMeant` gets a `pathOnly` descriptor of each directory that another process has open, works in or has as its
  /// root. `isShown` gets each mount and the path of that process's root. The search ends with true as soon as one of
  /// them returns true. `/proc/PID/fd`, `/proc/PID/task/TID/cwd`, `root` and `mountinfo`, see proc(5).
  ///
  /// A mount is a way into a directory even while no process uses it. A directory in use may lie in a mount that no
  /// process sees. The content of that mount is unknown then, and the result is true.
  ///
  /// `isComplete` becomes false if permission is lacking for some processes: another user's, without
  /// `CAP_SYS_PTRACE`. Throws `busy` if the search does not end because new processes start all the time. Throws
  /// `interrupted` after a remembered signal, and any other error of the search.
  public static func findDirectoryInUse(
    on device: UInt64, isComplete: inout Bool, isShown: (MountLine, _ root: String) -> Bool,
    isMeant: (borrowing Descriptor) -> Bool
  ) throws(Errno) -> Bool {
    try SystemCallTrace.uncounted { () throws(Errno) in
      // Without the capability, proc(5) may not even list other users' processes (`hidepid`).
      if try !mayLookAtAll() { isComplete = false }
      var known: Set<Int32> = [identifier]
      var mounts = MountsSeen()
      if try find("/proc/self", seen: &mounts, isComplete: &isComplete, where: isShown) { return true }
      // A process may pass its directories to a new one during the search.
      for _ in 0..<passLimit {
        let new = try processes().filter { known.insert($0).inserted }
        if new.isEmpty { return false }
        for process in new {
          if rememberedSignal != nil { throw .interrupted }
          if try find("/proc/\(process)", seen: &mounts, isComplete: &isComplete, where: isShown) { return true }
        }
        for process in new {
          if rememberedSignal != nil { throw .interrupted }
          if try find("/proc/\(process)", on: device, mounts: mounts, isComplete: &isComplete, where: isMeant) {
            return true
          }
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

  private struct MountsSeen {
    /// The `id` of each `MountLine`.
    var numbers: Set<UInt64> = []
    /// The mount namespaces and roots seen so far: a process sees its namespace's mounts below its root.
    var views: Set<[UInt64]> = []
    /// The mount tables of processes whose namespace and root are unreadable.
    var texts: Set<[UInt8]> = []
  }

  /// Ignores a process that has ended, because it uses nothing. A lack of permission only makes the search
  /// incomplete.
  private static func pass(_ error: Errno, isComplete: inout Bool) throws(Errno) {
    if error.meansNoPermission { isComplete = false } else if !error.meansNoProcess { throw error }
  }

  private static func names(in path: String, isComplete: inout Bool) throws(Errno) -> [String] {
    var listing = DirectoryListing()
    do throws(Errno) {
      try listing.read(try Descriptor.open(path: Array(path.utf8), [.read, .directory]))
    } catch { try pass(error, isComplete: &isComplete) }
    return listing.entries.map { "\(path)/\(String(decoding: listing.bytes[$0.range], as: UTF8.self))" }
  }

  private static func status(at path: String) throws(Errno) -> FileStatus {
    var status = tr_status()
    let result = withCString(Array(path.utf8)) { tr_statx(tr_at_fdcwd, $0, tr_at_statx_dont_sync, &status) }
    if result < 0 { throw Errno(Int32(-result)) }
    return FileStatus(status)
  }

  /// Calls `body` with the mounts that the threads of a process see.
  private static func find(
    _ process: String, seen: inout MountsSeen, isComplete: inout Bool, where body: (MountLine, _ root: String) -> Bool
  ) throws(Errno) -> Bool {
    var isHidden = false
    for thread in try names(in: "\(process)/task", isComplete: &isComplete) {
      do throws(Errno) {
        let root = try status(at: "\(thread)/root")
        let space = try status(at: "\(thread)/ns/mnt")
        guard seen.views.insert([space.inode, root.mount, root.device, root.inode]).inserted else { continue }
      } catch {
        try pass(error, isComplete: &isComplete)
        // If the threads are unreadable, one of them stands for all.
        if isHidden || !error.meansNoPermission { continue }
        isHidden = true
      }
      let text: [UInt8]
      do throws(Errno) {
        text = try Descriptor.open(path: Array("\(thread)/mountinfo".utf8), .read).readWhole(limit: 64 << 20)
      } catch {
        // proc(5) reports EINVAL for a process that has ended and waits for its parent.
        if error.number != EINVAL { try pass(error, isComplete: &isComplete) }
        continue
      }
      if isHidden, !seen.texts.insert(text).inserted { continue }
      for mount in MountLine.all(in: text) where seen.numbers.insert(mount.id).inserted {
        if body(mount, "\(thread)/root") { return true }
      }
    }
    return false
  }

  private static func find(
    _ process: String, on device: UInt64, mounts: MountsSeen, isComplete: inout Bool,
    where body: (borrowing Descriptor) -> Bool
  ) throws(Errno) -> Bool {
    var paths = try names(in: "\(process)/fd", isComplete: &isComplete)
    for thread in try names(in: "\(process)/task", isComplete: &isComplete) {
      paths += ["\(thread)/cwd", "\(thread)/root"]
    }
    for path in paths {
      do throws(Errno) {
        // Only directories on the device are opened: a dead network file system would block.
        let status = try status(at: path)
        guard status.device == device, status.mode & UInt32(S_IFMT) == UInt32(S_IFDIR) else { continue }
        if status.mount != 0, !mounts.numbers.contains(status.mount) { return true }
        if body(try Descriptor.open(path: Array(path.utf8), [.pathOnly, .directory])) { return true }
      } catch { try pass(error, isComplete: &isComplete) }
    }
    return false
  }
}

extension Errno {
  /// True for the errors of proc(5) for an ended process or a closed descriptor.
  fileprivate var meansNoProcess: Bool { self == .noSuchEntry || self == .notADirectory || number == ESRCH }
}
