import Foundation
import TestSupport
import Testing

@Suite("wal push, wal fetch", .waits)
struct WalTests {
  private let directory: TemporaryDirectory
  private let tree: Tree
  private let program: ByteString
  private static let name: ByteString = "000000010000000000000003"
  private var archive: ByteString { directory.path / "archive" }
  private var segment: ByteString { directory.path / Self.name }

  init() throws {
    directory = try TemporaryDirectory("wal")
    tree = Tree(directory.path)
    program = try treeringBinary()
    try tree.makeDirectory("archive", mode: 0o700)
    try tree.write(Self.name, bytes: Self.content)
  }

  /// As a segment, but smaller. A part of it cannot be compressed.
  private static let content: [UInt8] = {
    var generator = SeededGenerator(seed: 5)
    return generator.bytes(200_000) + [UInt8](repeating: 0, count: 300_000)
  }()

  private func push(_ options: ByteString..., archive: ByteString? = nil) throws -> CommandResult {
    try runCommand(program, ["wal", "push", segment, "--archive", archive ?? self.archive] + options)
  }

  private func fetch(_ name: ByteString, _ options: ByteString...) throws -> CommandResult {
    try runCommand(
      program, ["wal", "fetch", name, directory.path / "back"] + (options.isEmpty ? ["--archive", archive] : options))
  }

  private func expectStored(at location: SourceLocation = #_sourceLocation) throws {
    #expect(try fetch(Self.name).status == 0, sourceLocation: location)
    #expect(try tool("cmp", [segment, directory.path / "back"]) == [], sourceLocation: location)
  }

  @Test("a log is stored once, again if it is the same, and never replaced")
  func storing() throws {
    let first = try push("-v")
    #expect(first.status == 0 && first.outputText == "\(Self.name) stored\n")
    #expect(try push("-v").outputText == "\(Self.name) was stored already\n")
    #expect(try push().outputText == "")
    #expect(try tool("zstd", ["-dcq", archive / (Self.name + ".zst")]) == Self.content)
    try expectStored()
    try tree.append(Self.name, "x")
    let other = try push()
    #expect(other.status == 4)
    #expect(
      other.errorText
        == "treering: the archive \(archive) has another \(Self.name) already; do two servers use one archive, or two recoveries of one server? Give each its own\n"
    )
    #expect(try tool("zstd", ["-dcq", archive / (Self.name + ".zst")]) == Self.content)
  }

  @Test("the history of a timeline comes with its first segment, if the server never archived it")
  func history() throws {
    try tree.makeDirectory("pg_wal", mode: 0o700)
    try tree.write("pg_wal/00000002.history", "1\t0/3000000\tno recovery target specified\n")
    for number in 3...4 { try tree.write("pg_wal/00000002000000000000000\(number)", "x") }
    func store(_ name: ByteString) throws -> Int32 {
      try runCommand(program, ["wal", "push", "pg_wal" / name, "--archive", archive], in: directory.path).status
    }
    #expect(try store("000000020000000000000003") == 0)
    #expect(Tree(archive).exists("00000002.history.zst"))
    // Another recovery from the same archive has the same number.
    try tree.write("pg_wal/00000002.history", "1\t0/5000000\tno recovery target specified\n")
    #expect(try store("00000002.history") == 4)
    #expect(try store("000000020000000000000004") == 0)
    // A history that is nowhere does not keep the log back.
    try tree.write("pg_wal/000000030000000000000005", "x")
    #expect(try store("000000030000000000000005") == 0)
  }

  @Test(
    "the files of PostgreSQL, and no others",
    arguments: [
      ("00000002.history", 0), ("000000010000000000000003.00000028.backup", 0), ("000000010000000000000003.partial", 0),
      ("RECOVERYXLOG", 2), ("00000001000000000000000x", 2), (".new", 2),
    ] as [(ByteString, Int32)])
  func names(_ name: ByteString, _ status: Int32) throws {
    try tree.write(name, "text\n")
    #expect(try runCommand(program, ["wal", "push", name, "--archive", archive], in: directory.path).status == status)
    #expect(Tree(archive).exists(name + ".zst") == (status == 0))
  }

  @Test("fetch: 1 is the end of the log, and every other failure stops the recovery")
  func fetchStatus() throws {
    _ = try push()
    let missing = try fetch("000000010000000000000004")
    #expect(missing.status == 1)
    #expect(missing.errorText == "treering: the archive \(archive) has no 000000010000000000000004\n")
    #expect(try fetch(Self.name, "--archive", directory.path / "nowhere").status == 126)
    #expect(try fetch(Self.name, "--archiv", archive).status == 126)
    #expect(try fetch("../x", "--archive", archive).status == 126)
    #expect(try fetch(Self.name, "--database", "main", "-c", directory.path / "nowhere").status == 126)
    #expect(
      try runCommand(program, ["wal", "fetch", Self.name, directory.path / "nowhere/x", "--archive", archive]).status
        == 126)
    #expect(!tree.exists("back"))
    try tool(
      "sh", ["-c", ByteString("printf x | dd of=\(archive)/\(Self.name).zst bs=1 seek=1000 conv=notrunc status=none")])
    let damaged = try fetch(Self.name)
    #expect(damaged.status == 126 && damaged.errorText.contains("is damaged"))
    #expect(!tree.exists("back") && !tree.exists("back.new"))
    // A copy that is not certain must not let the server forget its own.
    #expect(try push().status == 6)
  }

  @Test("the archive of the configuration, and JSON")
  func configuration() throws {
    func configure(_ text: String) throws { try tree.write("c.toml", text, mode: 0o600) }
    func table(_ name: String, _ more: String = "") -> String {
      "[[database]]\nname = '\(name)'\nkind = 'postgresql'\nmode = 'physical'\n\(more)\n"
    }
    let words: [ByteString] = ["wal", "push", segment, "-c", directory.path / "c.toml", "--json"]
    try configure(table("a") + table("b", "archive = '\(archive)'"))
    #expect(try runCommand(program, words + ["--database", "a"]).status == 2)
    #expect(try runCommand(program, words + ["--database", "c"]).status == 2)
    let answer = try runCommand(program, words)
    #expect(answer.status == 0)
    let json = try #require(try JSONSerialization.jsonObject(with: Data(answer.output)) as? [String: Any])
    #expect(
      json["file"] as? String == Self.name.text && json["archive"] as? String == archive.text
        && json["stored"] as? Bool == true)
    #expect(try runCommand(program, words + ["--database", "b"]).outputText.contains("\"stored\" : false"))
    try configure(table("a", "archive = '/tmp'") + table("b", "archive = '\(archive)'"))
    #expect(try runCommand(program, words).status == 2)
    #expect(try runCommand(program, words + ["--database", "b"]).status == 0)
  }

  @Test("an archive for an account, into which root stores, too")
  func accounts() throws {
    try tool("chown", ["postgres", archive])
    #expect(try push().status == 0)
    #expect(
      try Set(Tree(archive).names().map { try tool("stat", ["-c", "%U %a", archive / $0]) }) == [
        Array("postgres 600\n".utf8)
      ])
    let copy = directory.path / "treering"
    try tool("install", ["-m", "755", program, copy])
    for (account, status) in [("postgres", 0), ("nobody", 3)] as [(ByteString, Int32)] {
      let words: [ByteString] = ["-u", account, "--", copy, "wal", "push", segment, "--archive", archive]
      #expect(try runCommand("runuser", words).status == status)
    }
    try tool("chmod", ["750", archive])
    let open = try push()
    #expect(open.status == 4 && open.errorText.contains("other accounts may enter the archive"))
  }

  @Test("many pushes of one log at once")
  func concurrency() throws {
    let pushes = try (0..<8).map { _ in try RunningCommand(program, ["wal", "push", segment, "--archive", archive]) }
    #expect(try pushes.map { try $0.wait().status } == [Int32](repeating: 0, count: 8))
    try expectStored()
    #expect(try Tree(archive).names() == [".lock", Self.name + ".zst"])
  }

  @Test(
    "a kill at any call, and an error of any call, leaves the log whole or absent",
    arguments: ["signal=SIGKILL", "error=EIO", "error=ENOSPC"])
  func everyCall(_ injected: String) throws {
    let stored = archive / (Self.name + ".zst")
    for call in [
      "openat", "flock", "statx", "fstat", "write", "fsync", "renameat2", "unlinkat", "fchownat", "close", "getxattr",
    ] {
      for place in 1...40 {
        try tool("rm", ["-rf", archive])
        try tree.makeDirectory("archive", mode: 0o700)
        let log = directory.path / "log"
        let traced: [ByteString] = [
          "-f", "-qq", "-o", log, "-P", archive, "-P", archive / ".new", "-P", archive / ".lock", "-P", stored,
        ]
        let result = try runCommand(
          "strace",
          traced + [
            "-e", ByteString("trace=\(call)"), "-e", ByteString("inject=\(call):\(injected):when=\(place)"), program,
            "wal", "push", segment, "--archive", archive, "--timeout", "0",
          ])
        let isDone = !(try tree.text("log")).contains(injected.hasPrefix("signal") ? "killed by" : "INJECTED")
        if result.status == 0 {
          try expectStored()
        } else if Tree(archive).exists(Self.name + ".zst") {
          // Only the calls after the renaming can fail then.
          #expect(["fsync", "close"].contains(call) || injected.hasPrefix("signal"), "\(call) \(place)")
          try expectStored()
        }
        if !injected.hasPrefix("signal") {
          #expect(!Tree(archive).exists(".new") || call == "unlinkat", "\(call) \(place)")
        }
        // The server tries again.
        #expect(try push().status == 0, "\(call) \(place)")
        try expectStored()
        #expect(try Tree(archive).names() == [".lock", Self.name + ".zst"], "\(call) \(place)")
        if isDone { break }
      }
    }
  }

  @Test("a full disk: the push fails, and works when there is space")
  func fullDisk() throws {
    let disk = try LoopFileSystem("tmpfs", mebibytes: 1, at: directory.path / "disk")
    try disk.tree.makeDirectory("archive", mode: 0o700)
    try disk.tree.write("filler", bytes: [UInt8](repeating: 1, count: 900_000))
    let archive = disk.tree.root / "archive"
    let full = try push(archive: archive)
    #expect(full.status == 8)
    #expect(
      full.errorText
        == "treering: cannot store \(archive / Self.name).zst: No space left on device; free some space on the archive's file system\n"
    )
    #expect(try Tree(archive).names() == [".lock"])
    try disk.tree.remove("filler")
    #expect(try push(archive: archive).status == 0)
  }

  @Test("a disk that hangs in the kernel, and a lock that is never released: the push fails in time")
  func hanging() throws {
    let disk = try LoopFileSystem("ext4", mebibytes: 20, at: directory.path / "disk")
    try disk.tree.makeDirectory("archive", mode: 0o700)
    let archive = disk.tree.root / "archive"
    try tool("fsfreeze", ["-f", disk.tree.root])
    let start = Date()
    let result = try push("--timeout", "2s", archive: archive)
    let seconds = Date().timeIntervalSince(start)
    try tool("fsfreeze", ["-u", disk.tree.root])
    #expect(result.status == 3 && (2...15).contains(seconds), "\(seconds)")
    #expect(result.errorText.hasPrefix("treering: \(Self.name) was not stored within 2 seconds; "))
    #expect(try push(archive: archive).status == 0)
    let script =
      "import fcntl, time; f = open('\(archive)/.lock', 'r+'); fcntl.flock(f, fcntl.LOCK_EX); time.sleep(100)"
    let holder = try RunningCommand("python3", ["-c", ByteString(script)])
    while try runCommand("flock", ["-n", archive / ".lock", "true"]).status == 0 {}
    #expect(try push("--timeout", "1s", archive: archive).status == 3)
    holder.signal(SIGKILL)
    #expect(try push(archive: archive).status == 0)
  }
}
