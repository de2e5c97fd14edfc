import Foundation
import TestSupport
import Testing

/// The page that an operator reads every morning, and the figures that a monitor reads.
@Suite("status", .waits)
struct StatusTests {
  private let world: World
  private let remote: ByteString

  init() throws {
    world = try World()
    world.provesOlderUnchanged = false
    remote = world.directory.path / "far"
    try world.source.write("file", "content")
    #expect(try world.treering(["init", remote], inRepository: false).status == 0)
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [objectives]
      rpo = "1d"
      [retention]
      hourly = 24
      daily = 7
      [remote."far-away_1"]
      url = "\(remote)"
      rpo = "3d"
      [verify]
      [metrics]
      textfile = "\(world.directory.path)/treering.prom"
      """)
  }

  private func at(
    _ time: String, _ command: [ByteString], status: Int32 = 0, location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(
      "faketime",
      ["-f", ByteString("@2027-01-\(time):00"), try treeringBinary()] + command + [
        "-c", world.directory.path / "c.toml",
      ],
      environment: fakedClock)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  @Test("the page: problems first, then what is due and how old everything is; 80 columns")
  func page() throws {
    _ = try at("10 23:00", ["run"])
    let good = try at("11 07:00", ["status"])
    let lines = good.outputText.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines[0] == "\(world.repository.root): all is well" && good.errorText == "")
    for words in [
      "SOURCE", "8 h 0 min", "2027-01-10T23-00-00Z", "2027-01-10 23:00", "well",
      "due           snapshot, push far-away_1, verify 2/30",
      "verification  2027-01-10 23:00, part 1/30 of 1 of 1 snapshots, no damage; not yet everything",
      "far-away_1", "hourly 1, daily 1", "goes on", "disk          the same as \(world.source.root)",
    ] {
      let unwrapped = good.outputText.replacing("\n              ", with: " ")
      #expect(unwrapped.contains(words), "\(words): \(good.outputText)")
    }
    let bad = try at("15 07:00", ["status"], status: 1)
    let page = bad.outputText.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(page[0].hasSuffix("NOT WELL, 3 problems"))
    #expect(page[2].hasPrefix("  ! the newest good snapshot of "), "\(bad.outputText)")
    let texts = ["the newest snapshot at far-away_1 is 4 d 8 h old", "the last verification was 4 d 8 h ago", "LATE"]
    for words in texts { #expect(bad.outputText.replacing("\n    ", with: " ").contains(words), "\(bad.outputText)") }
    // Not on a terminal: a monitor gets the problems on standard error.
    #expect(bad.errorLines.count == 3)
    #expect(try at("15 07:00", ["status", "-q"], status: 1).outputText == "")
    // On a terminal they are said once.
    let terminal = try runCommand(
      "script",
      [
        "-qec", "\(try treeringBinary()) status -c \(world.directory.path)/c.toml --max-age 1s" as ByteString,
        "/dev/null",
      ])
    #expect(terminal.outputText.contains("  ! "))
    #expect(!terminal.outputText.contains("treering: the newest"), "\(terminal.outputText)")
  }

  @Test("no line is longer than 80 columns where the paths are short")
  func width() throws {
    let file = "/tmp/tw-\(getpid())"
    try tool("mkdir", ["-p", ByteString(file + "/s")])
    defer { _ = try? tool("rm", ["-rf", ByteString(file)]) }
    func program(_ words: [ByteString]) throws -> CommandResult {
      try runCommand(try treeringBinary(), words + ["-r", ByteString(file + "/r")])
    }
    #expect(try runCommand(try treeringBinary(), ["init", ByteString(file + "/r")]).status == 0)
    for _ in 0..<3 { #expect(try program(["snapshot", ByteString(file + "/s")]).status == 0) }
    #expect(try program(["push", "/n/n"]).status == 7)
    try tool(
      "sh",
      [
        "-c",
        ByteString(
          "echo '2026-01-01T00:00:00Z \(String(repeating: "word ", count: 60))' > \(file)/r/.treering/rotation-held"),
      ])
    let page = try program(["status"]).outputText
    #expect(page.split(separator: "\n").allSatisfy { $0.count <= 80 }, "\(page)")
  }

  @Test("metrics of status and of the text file, by promtool's judgement, and with the figures of the JSON document")
  func metrics() throws {
    _ = try at("10 23:00", ["run"])
    let names: [(String, label: String?)] = [
      ("last_success_timestamp_seconds", "source=\"\(world.source.root)\""), ("last_verify_timestamp_seconds", nil),
      ("push_last_success_timestamp_seconds", "remote=\"far-away_1\""),
      ("push_last_snapshot_timestamp_seconds", "remote=\"far-away_1\""), ("damaged_snapshots", nil),
      ("free_bytes", nil), ("size_bytes", nil), ("snapshots", nil), ("problems", nil),
    ]
    let file = String(decoding: try tool("cat", [world.directory.path / "treering.prom"]), as: UTF8.self)
    let printed = try at("11 07:00", ["status", "--prometheus"])
    for text in [file, printed.outputText] {
      try Tree(world.directory.path).write("metrics", text)
      let checked = try runCommand("sh", ["-c", "promtool check metrics < \"$0\"", world.directory.path / "metrics"])
      #expect(checked.status == 0 && checked.errorText == "" && checked.outputText == "", "\(checked.errorText)")
      for (name, label) in names {
        let start = "treering_\(name){repository=\"\(world.repository.root)\"" + (label.map { ",\($0)" } ?? "") + "} "
        #expect(text.contains(start), "\(start)")
      }
      // 2027-01-10T23:00:00Z
      #expect(
        text.contains("treering_last_verify_timestamp_seconds{repository=\"\(world.repository.root)\"} 1799622000\n"))
      #expect(text.contains("remote=\"far-away_1\"} 1799622000\n"), "\(text)")
    }
    #expect(file.contains("treering_last_run_exit_status{") && !printed.outputText.contains("last_run_"))
    // Python reads the document.
    try Tree(world.directory.path).write("json", try at("11 07:00", ["status", "--json"]).outputText)
    let script = """
      import json, sys
      state = json.load(open(sys.argv[1]))
      assert state["version"] == 1 and state["is_well"] is True and state["findings"] == []
      # The clock of the file that remembers the push is real: after a day it is asked again.
      assert state["due"] == ["snapshot", "push far-away_1", "verify 2/30"], state["due"]
      assert state["verified_parts"] == [{"part": "1/30", "time": "2027-01-10T23:00:00Z"}]
      assert state["last_verified"] == "2027-01-10T23:00:00Z" and "verified_since" not in state
      remote, = state["remotes"]
      assert remote["snapshot"] == "2027-01-10T23-00-00Z" and remote["age_seconds"] == 8 * 3600
      assert remote["arrived"] == "2027-01-10T23:00:00Z" and remote["state"] == "well"
      assert len(state["sources_on_same_disk"]) == 1
      """
    try tool("python3", ["-c", ByteString(script), world.directory.path / "json"])
    #expect(try at("11 07:00", ["status", "--prometheus", "--json"], status: 2).outputText == "")
    #expect(try at("15 07:00", ["status", "--prometheus"], status: 1).outputText.contains("problems{"))
  }

  @Test(
    "source and repository on one disk: a note, and none on two disks; a remote on the same disk is no second medium")
  func sameDisk() throws {
    let other = try LoopFileSystem("tmpfs", mebibytes: 16, at: world.directory.path / "other")
    let image = try LoopFileSystem("ext4", mebibytes: 16, at: world.directory.path / "image")
    try image.tree.write("file", "content")
    try other.tree.write("file", "content")
    try world.snapshot()
    let alone = try world.treering(["status"])
    #expect(
      alone.status == 0 && alone.outputText.contains("- the repository is on the same disk"), "\(alone.outputText)")
    // Another file system in a file on the disk does not hide it.
    try tool("rm", ["-rf", world.repository.root])
    #expect(try world.treering(["init", world.repository.root], inRepository: false).status == 0)
    try world.snapshot(of: [image.tree.root])
    #expect(try world.treering(["status"]).outputText.contains("- the repository is on the same disk"))
    try tool("rm", ["-rf", world.repository.root])
    #expect(try world.treering(["init", world.repository.root], inRepository: false).status == 0)
    try world.snapshot(of: [other.tree.root])
    #expect(try !world.treering(["status"]).outputText.contains("same"))
    _ = try at("10 23:00", ["run"])
    // The remote is on the disk of the repository.
    #expect(try at("10 23:30", ["status", "--json"]).outputText.contains("not a second medium"))
  }
}
