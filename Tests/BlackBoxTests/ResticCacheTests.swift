import TestSupport
import Testing

@Suite("Copies of a repository's small files in the user's cache", .waits)
struct ResticCacheTests {
  /// Makes directories of files with different contents, and pushes them.
  private func push(_ world: ResticWorld, directories: Int, files: Int) throws {
    let script = """
      import os, sys
      for d in range(int(sys.argv[2])):
        path = f"{sys.argv[1]}/data/{d % 7}/directory{d}"
        os.makedirs(path)
        for f in range(int(sys.argv[3])): open(f"{path}/file{f}", "w").write(f"content {d} {f}")
      """
    try tool(
      "python3",
      ["-c", ByteString(script), world.world.source.root, ByteString("\(directories)"), ByteString("\(files)")])
    try world.world.snapshot()
    try world.push()
  }

  private func expect(_ content: String, of path: ByteString, in world: ResticWorld) throws {
    #expect(try world.there(["cat", "latest", world.world.source.root / path]).outputText == content)
  }

  @Test("one file of a bucket costs nine requests without a cache, and six with it")
  func requests() throws {
    let world = try ResticWorld(at: .s3)
    try push(world, directories: 60, files: 100)
    try tool("rm", ["-r", world.world.cache])
    _ = try world.storage.takeRequests()
    try expect("content 17 31", of: "data/3/directory17/file31", in: world)
    // The configuration, keys and snapshots, a key, a snapshot, the indexes, an index, the trees above, a tree, a chunk.
    let cold = try world.storage.takeRequests()
    #expect(cold.count <= 9, "\(cold)")
    try expect("content 50 99", of: "data/1/directory50/file99", in: world)
    let warm = try world.storage.takeRequests()
    #expect(warm.count <= 6, "\(warm)")
    let out = world.destination()
    try world.there(["restore", "latest", world.world.source.root / "data/0/directory0/file7", "--to", out])
    let restored = try world.storage.takeRequests()
    #expect(restored.count <= 6, "\(restored)")
  }

  @Test("only the user can read or change the copies, and a directory of another user is not used")
  func owners() throws {
    let world = try ResticWorld(at: .rest)
    try push(world, directories: 2, files: 3)
    let caches = world.world.cache / "treering"
    let modes = try tool("find", [caches, "-printf", "%y %m\n"])
    #expect(Set(String(decoding: modes, as: UTF8.self).split(separator: "\n")) == ["d 700", "f 600"])
    func isFilled() throws -> Bool { try !tool("find", [world.world.cache, "-type", "f"]).isEmpty }
    #expect(try isFilled())
    for change in [["chmod", "777"], ["chown", "65534"]] as [[ByteString]] {
      try tool("rm", ["-r", world.world.cache])
      for directory in [world.world.cache, caches] { try tool("mkdir", [directory]) }
      try tool(change[0], [change[1], caches])
      try expect("content 1 2", of: "data/1/directory1/file2", in: world)
      #expect(try !isFilled(), "\(change)")
    }
    let elsewhere = try Tree(making: world.world.directory.path / "elsewhere")
    try tool("rm", ["-r", caches])
    try tool("ln", ["-s", elsewhere.root, caches])
    try expect("content 1 2", of: "data/1/directory1/file2", in: world)
    #expect(try elsewhere.names() == [])
  }

  @Test("damaged copies are read again, and copies of removed files go")
  func damagedCopies() throws {
    let world = try ResticWorld(at: .rest)
    try push(world, directories: 2, files: 3)
    func copies() throws -> [ByteString] {
      let found = try tool("find", [world.world.cache, "-type", "f"])
      return String(decoding: found, as: UTF8.self).split(separator: "\n").map { ByteString(String($0)) }.sorted()
    }
    let whole = try copies()
    #expect(whole.count == 3)
    for (number, copy) in whole.enumerated() { try tool("truncate", ["-s", ByteString("\(number * 50)"), copy]) }
    try expect("content 1 2", of: "data/1/directory1/file2", in: world)
    #expect(try copies() == whole)
    // What restic removes is not shown, and its copy goes.
    try world.world.source.write("later", "x")
    try world.world.snapshot()
    try world.push()
    #expect(try copies().count == 5)
    try world.restic(["forget", "latest", "--prune"])
    #expect(try world.there(["list"]).outputLines.count == 2)
    try expect("content 1 2", of: "data/1/directory1/file2", in: world)
    #expect(try copies().count == 3)
  }

  @Test("a verification reads the repository and not the copies")
  func verification() throws {
    let world = try ResticWorld(at: .rest)
    try push(world, directories: 2, files: 3)
    let index = world.place.root / "a/index"
    let name = ByteString(String(decoding: try tool("ls", [index]), as: UTF8.self).filter { $0 != "\n" })
    try tool("cp", ["-a", index / name, world.world.directory.path / "kept"])
    try tool("sh", ["-c", "printf x | dd of=\"$0\" bs=1 seek=40 conv=notrunc status=none", index / name])
    try expect("content 1 2", of: "data/1/directory1/file2", in: world)
    try world.there(["verify"], status: 6)
    // Another size is noticed at once, before more relies on the index.
    try tool("truncate", ["-s", "-1", index / name])
    try world.there(["cat", "latest", world.world.source.root / "data/1/directory1/file2"], status: 6)
    try tool("cp", ["-a", world.world.directory.path / "kept", index / name])
    try world.there(["verify"])
  }
}
