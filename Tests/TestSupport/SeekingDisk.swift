internal import Foundation

/// A disk image that is served through FUSE and counts the seeks of those who read it. Needs root.
public final class SeekingDisk {
  private let server: RunningCommand
  private let place: Tree
  private let point: ByteString

  /// Serves `image`, and mounts its file system read-only at `point`. The directory `place` must not exist yet.
  public init(_ image: ByteString, at place: ByteString, mountedAt point: ByteString) throws {
    self.place = try Tree(making: place)
    self.point = point
    try self.place.makeDirectory("served")
    server = try RunningCommand(
      "/usr/bin/python3", ["-c", Self.program, image, place / "served", place / "seeks"])
    try DatabaseServer.wait(for: "the disk is served") { self.place.exists("served/disk") }
    try mount()
  }

  deinit {
    _ = try? runCommand("umount", ["-l", point])
    _ = try? runCommand("umount", ["-l", place.root / "served"])
    kill(server.identifier, SIGKILL)
  }

  /// A namespace of another test may keep the former mount for a moment, and xfs mounts no second one of its UUID.
  private func mount() throws {
    try DatabaseServer.wait(for: "the disk is mounted") {
      try runCommand("mount", ["-o", "loop,ro,noatime", place.root / "served/disk", point]).status == 0
    }
  }

  /// The number of seeks while `body` runs on a file system of which nothing is in memory.
  public func seeks(_ body: () throws -> Void) throws -> Int {
    try tool("umount", [point])
    try mount()
    let before = try count()
    try body()
    return try count() - before
  }

  private func count() throws -> Int {
    guard let count = Int(try place.text("seeks").trimmingCharacters(in: .whitespacesAndNewlines)) else {
      throw TestSupportError("the number of seeks cannot be read")
    }
    return count
  }

  /// One file, the image. A read that begins more than 64 KiB from the end of the last one is a seek.
  private static let program: ByteString = """
    import os, sys, threading
    from fusepy import FUSE, FuseOSError, Operations
    class Disk(Operations):
        def __init__(self, image, counter):
            self.image = os.open(image, os.O_RDWR)
            self.counter = os.open(counter, os.O_RDWR | os.O_CREAT)
            self.at, self.seeks, self.lock = 0, 0, threading.Lock()
            os.pwrite(self.counter, b'%12d' % 0, 0)
        def getattr(self, path, file=None):
            if path == '/': return dict(st_mode=0o40755, st_nlink=2)
            if path != '/disk': raise FuseOSError(2)
            return dict(st_mode=0o100600, st_nlink=1, st_size=os.fstat(self.image).st_size)
        def readdir(self, path, file): return ['.', '..', 'disk']
        def read(self, path, size, offset, file):
            with self.lock:
                if abs(offset - self.at) > 65536: self.seeks += 1
                self.at = offset + size
                os.pwrite(self.counter, b'%12d' % self.seeks, 0)
                return os.pread(self.image, size, offset)
        def write(self, path, data, offset, file): return os.pwrite(self.image, data, offset)
    FUSE(Disk(sys.argv[1], sys.argv[3]), sys.argv[2], foreground=True, direct_io=True)
    """
}
