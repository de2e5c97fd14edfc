internal import Foundation

/// What a test changes on disk, by system calls; every path is relative to `root`.
public struct Tree: Sendable {
  public let root: ByteString

  public init(_ root: ByteString) { self.root = root }

  /// Makes the directory first.
  public init(making root: ByteString) throws {
    self.root = root
    try makeDirectory("", mode: 0o755)
  }

  private func check(_ result: some BinaryInteger, _ call: String, _ path: ByteString) throws {
    if result < 0 { throw TestSupportError.systemCall(call, root / path) }
  }

  private func at(_ path: ByteString) -> [CChar] {
    (path.bytes.isEmpty ? root : root / path).cString
  }

  // MARK: Making

  public func makeDirectory(_ path: ByteString, mode: UInt32 = 0o755) throws {
    try check(mkdir(at(path), mode), "mkdir", path)
    try setMode(path, mode)
  }

  /// Writes a whole file, new or not; an existing one keeps its inode.
  public func write(_ path: ByteString, _ text: String, mode: UInt32? = nil) throws {
    try write(path, bytes: Array(text.utf8), mode: mode)
  }

  public func write(_ path: ByteString, bytes: [UInt8], mode: UInt32? = nil) throws {
    try write(path, bytes, flags: O_WRONLY | O_CREAT | O_TRUNC)
    if let mode { try setMode(path, mode) }
  }

  public func append(_ path: ByteString, _ text: String) throws {
    try write(path, Array(text.utf8), flags: O_WRONLY | O_APPEND)
  }

  /// Writes into an existing file from an offset on, neither shortening nor replacing it.
  public func overwrite(_ path: ByteString, at offset: Int64 = 0, bytes: [UInt8]) throws {
    try write(path, bytes, flags: O_WRONLY, offset: offset)
  }

  private func write(
    _ path: ByteString, _ bytes: [UInt8], flags: Int32, offset: Int64 = 0
  ) throws {
    let descriptor = open(at(path), flags | O_CLOEXEC | O_NOFOLLOW, 0o644)
    try check(descriptor, "open", path)
    defer { close(descriptor) }
    if offset > 0 { try check(lseek(descriptor, off_t(offset), SEEK_SET), "lseek", path) }
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        Foundation.write(descriptor, $0.baseAddress! + done, $0.count - done)
      }
      try check(count, "write", path)
      done += count
    }
  }

  /// Makes a sparse file that takes the time of its size to hash: each MiB has a byte that is not zero.
  public func makeSlowFile(_ path: ByteString, mebibytes: Int) throws {
    try write(path, "")
    let descriptor = open(at(path), O_WRONLY)
    defer { close(descriptor) }
    try check(ftruncate(descriptor, off_t(mebibytes) << 20), "ftruncate", path)
    for mebibyte in 0..<mebibytes {
      var byte: UInt8 = 1
      try check(pwrite(descriptor, &byte, 1, off_t(mebibyte) << 20), "pwrite", path)
    }
  }

  public func truncate(_ path: ByteString, to byteCount: Int64) throws {
    try check(Foundation.truncate(at(path), off_t(byteCount)), "truncate", path)
  }

  public func makeSymbolicLink(_ path: ByteString, to target: ByteString) throws {
    try check(symlink(target.cString, at(path)), "symlink", path)
  }

  public func makeFIFO(_ path: ByteString, mode: UInt32 = 0o644) throws {
    try check(mkfifo(at(path), mode), "mkfifo", path)
    try setMode(path, mode)
  }

  public func makeSocket(_ path: ByteString, mode: UInt32 = 0o644) throws {
    try check(mknod(at(path), S_IFSOCK | mode, 0), "mknod", path)
    try setMode(path, mode)
  }

  public func makeDevice(
    _ path: ByteString, isBlock: Bool, major: UInt32, minor: UInt32, mode: UInt32 = 0o600
  ) throws {
    try tool(
      "mknod",
      ["-m", ByteString(String(mode, radix: 8)), root / path, isBlock ? "b" : "c", "\(major)", "\(minor)"])
  }

  public func link(_ existing: ByteString, as path: ByteString) throws {
    try check(Foundation.link(at(existing), at(path)), "link", path)
  }

  // MARK: Changing

  public func rename(_ path: ByteString, to newPath: ByteString) throws {
    try check(Foundation.rename(at(path), at(newPath)), "rename", path)
  }

  /// Removes an entry with everything below it.
  public func remove(_ path: ByteString) throws { try tool("rm", ["-rf", "--", root / path]) }

  public func setMode(_ path: ByteString, _ mode: UInt32) throws {
    try check(chmod(at(path), mode), "chmod", path)
  }

  public func setOwner(_ path: ByteString, user: UInt32, group: UInt32) throws {
    try check(lchown(at(path), user, group), "lchown", path)
  }

  /// Sets the modification time, of a symbolic link itself where it is one.
  public func setTime(_ path: ByteString, seconds: Int, nanoseconds: Int = 0) throws {
    var times = [timespec(), timespec(tv_sec: seconds, tv_nsec: nanoseconds)]
    times[0] = times[1]
    try check(utimensat(AT_FDCWD, at(path), times, AT_SYMLINK_NOFOLLOW), "utimensat", path)
  }

  /// Gives an entry the modification time of another one, exactly, as `touch -r` does.
  public func copyTime(of other: ByteString, to path: ByteString) throws {
    var status = stat()
    try check(lstat(at(other), &status), "lstat", other)
    try setTime(path, seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
  }

  public func setAttribute(_ path: ByteString, _ name: String, _ value: [UInt8]) throws {
    let digits = value.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    try tool(
      "setfattr", ["-h", "-n", ByteString(name), "-v", "0x\(digits)", "--", root / path])
  }

  public func removeAttribute(_ path: ByteString, _ name: String) throws {
    try tool("setfattr", ["-h", "-x", ByteString(name), "--", root / path])
  }

  /// Changes the ACL; `entries` as `setfacl -m` takes them, such as `u:1000:rw` or `d:g:7:rx`.
  public func setACL(_ path: ByteString, _ entries: ByteString) throws {
    try tool("setfacl", ["-n", "-m", entries, "--", root / path])
  }

  // MARK: Looking

  public func exists(_ path: ByteString) -> Bool {
    var status = stat()
    return lstat(at(path), &status) == 0
  }

  /// The inode's number, which hard links share.
  public func inode(_ path: ByteString) throws -> UInt64 { UInt64(try status(path).st_ino) }

  /// Blocks of 512 bytes that the file system gave to it.
  public func blocks(_ path: ByteString) throws -> Int { Int(try status(path).st_blocks) }

  public func linkCount(_ path: ByteString) throws -> Int { Int(try status(path).st_nlink) }

  public func size(_ path: ByteString) throws -> Int64 { Int64(try status(path).st_size) }

  private func status(_ path: ByteString) throws -> stat {
    var status = stat()
    try check(lstat(at(path), &status), "lstat", path)
    return status
  }

  public func read(_ path: ByteString) throws -> [UInt8] { try tool("cat", ["--", root / path]) }

  public func text(_ path: ByteString) throws -> String {
    String(decoding: try read(path), as: UTF8.self)
  }

  /// The names in a directory, sorted by bytes.
  public func names(_ path: ByteString = "") throws -> [ByteString] {
    let above = path.bytes.isEmpty ? root : root / path
    return ByteString.split(
      try tool("find", [above, "-mindepth", "1", "-maxdepth", "1", "-printf", "%f\\0"]), by: 0
    ).sorted()
  }
}
