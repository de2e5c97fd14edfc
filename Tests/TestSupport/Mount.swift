/// Something mounted on a directory for as long as this lives. Needs root.
public final class Mount {
  public let point: ByteString

  /// `mount --bind`: a directory under a second path.
  public init(_ directory: ByteString, boundTo point: ByteString) throws {
    self.point = point
    try tool("mount", ["--bind", directory, point])
  }

  /// bindfs(1): a directory under a second path, with other owners, modes or rights.
  public init(_ directory: ByteString, shownAt point: ByteString, _ options: [ByteString] = []) throws {
    self.point = point
    try tool("bindfs", ["-o", "nonempty"] + options + [directory, point])
  }

  /// sshfs(1), with a server of its own and without a network.
  public init(_ directory: ByteString, overSSHAt point: ByteString) throws {
    self.point = point
    let program = point + ".ssh"
    try Tree(program).write("", "#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n", mode: 0o755)
    try tool("sshfs", ["-o", "ssh_command=" + program, "there:" + directory, point])
  }

  /// lowntfs-3g(8): a file system to which `A` and `a` are one name.
  public init(ignoringCaseAt point: ByteString) throws {
    self.point = point
    let image = point + ".img"
    try tool("truncate", ["-s", "16M", image])
    try tool("mkfs.ntfs", ["-F", "-Q", "-q", image])
    try tool("lowntfs-3g", ["-o", "ignore_case", image, point])
  }

  public func unmount() throws { try tool("umount", [point]) }

  deinit { _ = try? runCommand("umount", ["-l", point]) }
}
