import TestSupport
import Testing

/// Calls are counted instead of milliseconds.
@Suite("System calls", .waits)
struct SystemCallTests {
  /// What the second snapshot of a tree costs in calls, by name.
  private func callsOfAnUnchangedTree(files: Int) throws -> [String: Int] {
    let world = try World()
    for directory in 0..<10 {
      try world.source.makeDirectory("\(directory)")
      for file in 0..<files / 10 { try world.source.write("\(directory)/\(file)", "text") }
    }
    try world.settle()
    // In the same second another name would have to be found, and that takes calls, too.
    let first = try world.snapshot()
    while try ByteString(tool("date", ["-u", "+%Y-%m-%dT%H-%M-%SZ"])).hasPrefix(first.name) {
      try world.settle()
    }
    let trace = world.directory.path / "trace"
    let result = try runCommand(
      "strace",
      [
        "-f", "-c", "-o", trace, try treeringBinary(), "snapshot", world.source.root, "-r",
        world.repository.root, "--threads", "1", "--json",
      ])
    #expect(result.status == 0)
    let answer: SnapshotAnswer = try result.decoded()
    #expect(answer.filesLinked == files)
    #expect(answer.filesCopied == 0)
    #expect(answer.bytesRead == 0)
    var calls: [String: Int] = [:]
    for line in try Tree(world.directory.path).text("trace").split(separator: "\n") {
      let fields = line.split(separator: " ")
      // The share, seconds, microseconds a call, calls, perhaps errors, the name.
      guard fields.count >= 5, let count = Int(fields[3]) else { continue }
      calls[String(fields.last!)] = count
    }
    #expect(calls["statx"] != nil)
    return calls
  }

  @Test("an unchanged file costs one statx and one linkat, and no other call")
  func anUnchangedFileCostsTwoCalls() throws {
    let files = 1_000
    let baseline = try callsOfAnUnchangedTree(files: 0)
    let calls = try callsOfAnUnchangedTree(files: files)
    func more(_ name: String) -> Int { calls[name, default: 0] - baseline[name, default: 0] }
    #expect(more("statx") == files)
    #expect(more("linkat") == files)
    for name in [
      "openat", "open", "openat2", "newfstatat", "fstat", "close", "flistxattr", "listxattr",
      "llistxattr", "fgetxattr", "readlinkat", "utimensat", "fchmod", "fchownat", "unlinkat",
      "renameat2", "fsync", "fdatasync", "lseek",
    ] {
      #expect(more(name) == 0, "\(name)")
    }
    // Reading ten directories and the catalog, and writing a larger one, takes a few more calls.
    for name in ["read", "pread64", "write", "pwrite64", "getdents64"] {
      #expect(more(name) <= 30, "\(name)")
    }
  }
}
