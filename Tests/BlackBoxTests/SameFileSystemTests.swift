import TestSupport
import Testing

/// An equal inode number means the same file only on a file system that is provably the same one.
@Suite("The same file system", .waits)
struct SameFileSystemTests {
  /// An image whose files have the same inode numbers and times in every build.
  private func image(_ world: World, _ name: ByteString, program: String) throws -> ByteString {
    let tree = try Tree(making: world.directory.path / (name + ".tree"))
    try tree.write("program", program)
    try tree.write("other", "same")
    let image = world.directory.path / (name + ".squashfs")
    try tool(
      "mksquashfs", [tree.root, image, "-all-time", "1700000000", "-mkfs-time", "1700000000", "-noappend", "-quiet"])
    return image
  }

  private final class Mount {
    let point: ByteString
    init(_ arguments: [ByteString], at point: ByteString) throws {
      self.point = point
      try tool("mount", arguments + [point])
    }
    deinit { _ = try? runCommand("umount", ["-l", point]) }
  }

  @Test("an image that was replaced by another build at the same mount point is read")
  func replacedImage() throws {
    let world = try World()
    let (one, two) = (try image(world, "one", program: "version 1"), try image(world, "two", program: "VERSION 2"))
    do {
      let mount = try Mount(["-o", "loop,ro", one], at: world.source.root)
      withExtendedLifetime(mount) {}
      try world.snapshot()
      #expect(try world.snapshot().bytesRead == 0, "the image stays mounted, so its files are not read again")
    }
    let mount = try Mount(["-o", "loop,ro", two], at: world.source.root)
    defer { withExtendedLifetime(mount) {} }
    let second = try world.snapshot()
    #expect(try world.tree(of: second).text("program") == "VERSION 2")
    #expect(try world.tree(of: second).text("other") == "same")
  }

  @Test("a file of one image is not taken for the moved file of another")
  func twoImages() throws {
    let world = try World()
    try world.source.makeDirectory("1")
    try world.source.makeDirectory("2")
    let first = try Mount(
      ["-o", "loop,ro", try image(world, "one", program: "version 1")], at: world.source.root / "1")
    try world.snapshot()
    let second = try Mount(
      ["-o", "loop,ro", try image(world, "two", program: "VERSION 2")], at: world.source.root / "2")
    defer { withExtendedLifetime((first, second)) {} }
    let tree = world.tree(of: try world.snapshot())
    #expect(try tree.text("1/program") == "version 1")
    #expect(try tree.text("2/program") == "VERSION 2")
  }

  @Test("a file of one tmpfs is not taken for that of another, whose numbers and times are equal")
  func twoMemoryFileSystems() throws {
    let world = try World()
    var mounts: [Mount] = []
    for (name, text) in [("a", "AAAA"), ("b", "BBBB")] as [(ByteString, String)] {
      try world.source.makeDirectory(name)
      mounts.append(try Mount(["-t", "tmpfs", "none"], at: world.source.root / name))
      try world.source.write(name / "f", text)
      try world.source.setTime(name / "f", seconds: 1_700_000_000)
      if name == "a" {
        try world.settle()
        try world.snapshot()
      }
    }
    defer { withExtendedLifetime(mounts) {} }
    try world.settle()
    let tree = world.tree(of: try world.snapshot())
    #expect(try tree.text("a/f") == "AAAA")
    #expect(try tree.text("b/f") == "BBBB")
    #expect(try world.snapshot().bytesRead == 0, "nothing was mounted anew")
  }

  @Test("a mount in another namespace for each run, as a service has, is still the same mount")
  func namespaces() throws {
    let world = try World()
    let mount = try Mount(["-t", "tmpfs", "none"], at: world.source.root)
    defer { withExtendedLifetime(mount) {} }
    try world.source.write("f", "text")
    try world.settle()
    // The shell is the first process of its own PID namespace, and its mounts stay.
    let script = """
      for n in 1 2 3; do unshare -m --propagation private "$0" snapshot "$1" -r "$2" --json; sleep 0.1; done
      """
    let result = try runCommand(
      "unshare",
      [
        "-m", "--pid", "--fork", "--mount-proc", "--propagation", "private", "sh", "-c", ByteString(script),
        try treeringBinary(), world.source.root, world.repository.root,
      ])
    #expect(result.status == 0, "\(result.errorText)")
    let read = result.outputLines.filter { $0.contains("bytes_read") }.map { $0.filter(\.isNumber) }
    #expect(read == ["4", "4", "0"] || read == ["4", "0", "0"])
  }

  @Test("where the ctime is a copy of the mtime, a file is read")
  func copiedChangeTimes() throws {
    let world = try World()
    let far = try Tree(making: world.directory.path / "far")
    try far.write("f", "AAAA")
    try far.setTime("f", seconds: 1_577_836_800)
    let script = world.directory.path / "sftp"
    try Tree(world.directory.path).write("sftp", "#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n", mode: 0o755)
    try tool("sshfs", ["-o", "ssh_command=" + script, "far:" + far.root, world.source.root])
    defer { _ = try? runCommand("umount", ["-l", world.source.root]) }
    try world.snapshot()
    try world.source.overwrite("f", bytes: Array("BBBB".utf8))
    try world.source.setTime("f", seconds: 1_577_836_800)
    #expect(try world.tree(of: try world.snapshot()).text("f") == "BBBB")
  }
}
