import Foundation
import TestSupport
import Testing

@Suite("run, config", .waits)
struct RunTests {
  private func world(_ rest: String = "", source: String = "", top: String = "") throws -> World {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("file", "content")
    try configure(world, rest, source: source, top: top)
    return world
  }

  private func configure(_ world: World, _ rest: String, source: String = "", top: String = "") throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      \(top)
      [[source]]
      path = "\(world.source.root)"
      \(source)
      \(rest)
      """)
  }

  @discardableResult
  private func run(
    _ world: World, _ options: [ByteString] = [], command: [ByteString] = ["run"], status: Int32 = 0,
    location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(command + ["-c", world.directory.path / "c.toml"] + options, inRepository: false)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  @Test("a good run says nothing, makes a snapshot of what is configured, and is in the history")
  func good() throws {
    let world = try world("[retention]\nhourly = 2", source: "exclude = [\"*.tmp\"]")
    try world.source.write("x.tmp", "t")
    let result = try run(world)
    #expect(result.outputText == "" && result.errorText == "")
    let name = try #require(try world.snapshotNames().first)
    let stored = Tree(world.repository.root / name / "localhost" / world.source.root)
    #expect(try stored.names() == ["file"])
    let line = try #require(try world.runHistory().first)
    #expect(line.result == "made" && line.exitStatus == 0 && line.steps.map(\.step) == ["snapshot", "rotate"])
    #expect(line.runId.count == 36)
  }

  @Test("what is not due is not made, unless one says so; what expires, expires")
  func due() throws {
    let world = try world("[retention]\ndaily = 3")
    try run(world)
    let second = try run(world, ["--json"]).decoded(RunAnswer.self)
    #expect(second.result == "not_due" && second.exitStatus == 0)
    #expect(try world.snapshotNames().count == 1)
    #expect(try world.runHistory().count == 1)
    try run(world, ["--now"])
    #expect(try world.snapshotNames().count == 2)
    let third = try run(world, ["--now", "--json"]).decoded(RunAnswer.self)
    #expect(third.expired.count == 1)
    #expect(try world.snapshotNames().count == 2)
    #expect(try world.repository.names(".treering/spare").count == 1)
    try configure(world, "[retention]\ndaily = 3", top: "keep_spare = false")
    try run(world, ["--now"])
    #expect(try world.repository.names(".treering/spare") == [])
    try configure(world, "[retention]\nkeep_last = 2")
    let always = try run(world, ["--json"]).decoded(RunAnswer.self)
    #expect(always.result == "made")
    // Another source has none yet.
    try configure(world, "[[source]]\npath = \"/etc/apt\"\n[retention]\ndaily = 3")
    #expect(try run(world, ["--json"]).decoded(RunAnswer.self).result == "made")
  }

  @Test("hooks: before and after, with their environment; output only where it matters")
  func hooks() throws {
    let log = "$TREERING_STEP $TREERING_EXIT_STATUS $TREERING_SNAPSHOT >> log"
    let world = try world(
      """
      [hooks]
      before = [["/bin/sh", "-c", "echo said; umask >> log; echo \(log)"]]
      after = [["/bin/sh", "-c", "echo \(log)"]]
      """)
    let result = try run(world)
    #expect(result.errorText == "" && result.outputText == "")
    let name = try #require(try world.snapshotNames().first)
    let text = String(decoding: try tool("cat", [world.directory.path / "log"]), as: UTF8.self)
    #expect(text == "0077\nbefore 0\nafter 0 \(name)\n")
    let verbose = try run(world, ["--now", "-v"])
    #expect(verbose.errorText.contains("/bin/sh: said"))
  }

  @Test("a required hook that fails ends the run before anything is made, and the hooks after are run")
  func failingHook() throws {
    let world = try world(
      "[hooks]\nbefore = [[\"/bin/sh\", \"-c\", \"echo why; exit 7\"]]\nafter = [[\"/bin/sh\", \"-c\", \"echo $TREERING_EXIT_STATUS > log\"]]"
    )
    let result = try run(world, status: 3)
    #expect(result.errorLines.contains { $0.contains("/bin/sh: why") })
    #expect(result.errorLines.contains { $0.contains("the hook /bin/sh ended with status 7; no snapshot was taken") })
    #expect(try world.snapshotNames() == [])
    #expect(try tool("cat", [world.directory.path / "log"]) == Array("3\n".utf8))
    let line = try #require(try world.runHistory().first)
    #expect(line.result == "failed" && line.exitStatus == 3 && line.error != nil)
    #expect(line.steps.map(\.outcome) == ["failed", "done"])
  }

  @Test("what fails after the snapshot was published is a warning", arguments: ["hook", "rotation"])
  func failureAfterPublication(_ what: String) throws {
    let world = try world(
      what == "hook"
        ? "[hooks]\nafter = [{ command = [\"/bin/sh\", \"-c\", \"echo $TREERING_EXIT_STATUS >> log; exit 7\"], required = true }, "
          + "[\"/bin/sh\", \"-c\", \"echo $TREERING_EXIT_STATUS >> log\"]]"
        : "[hooks]\nafter = [[\"/bin/sh\", \"-c\", \"echo $TREERING_EXIT_STATUS >> log\"]]")
    if what == "rotation" {
      try run(world)
      try tool("sh", ["-c", "rm -rf held; echo x > held"], in: world.repository.root / ".treering")
    }
    let result = try run(world, ["--now", "--json"], status: 1)
    let answer = try result.decoded(RunAnswer.self)
    #expect(answer.result == "made" && answer.exitStatus == 1 && answer.error != nil, "\(result.errorText)")
    #expect(try world.snapshotNames().count == (what == "hook" ? 1 : 2))
    #expect(try world.runHistory().last?.exitStatus == 1)
    let log = String(decoding: try tool("cat", [world.directory.path / "log"]), as: UTF8.self)
    #expect(log == "0\n1\n")
  }

  @Test(
    "an optional hook that fails, or is no program, or does not end, is a warning",
    arguments: [
      "{ command = [\"/bin/sh\", \"-c\", \"kill -9 $$\"], required = false }",
      "{ command = \"/nowhere/at/all\", required = false }",
      "{ command = [\"/bin/sleep\", \"60\"], timeout = \"1s\", required = false }",
      "{ command = \"/etc/hostname\", required = false }",
    ])
  func optionalHook(_ hook: String) throws {
    let world = try world("[hooks]\nbefore = [\(hook)]")
    let result = try run(world, status: 1)
    #expect(result.errorText.contains("warning: the hook "))
    #expect(try world.snapshotNames().count == 1)
    #expect(try world.runHistory().first?.steps.map(\.outcome) == ["warnings", "done", "done"])
  }

  @Test("what a hook leaves running holds nothing up")
  func leftRunning() throws {
    let world = try world("[hooks]\nbefore = [[\"/bin/sh\", \"-c\", \"sleep 30 & echo started\"]]")
    let start = Date()
    try run(world)
    #expect(Date().timeIntervalSince(start) < 25)
  }

  @Test("SIGTERM ends a run and its hook within a second; the hooks after are run")
  func terminated() throws {
    let world = try world(
      "[hooks]\nbefore = [[\"/bin/sh\", \"-c\", \"touch began; exec sleep 50\"]]\nafter = [[\"/bin/sh\", \"-c\", \"sleep 0.1; echo $TREERING_EXIT_STATUS > log\"]]"
    )
    let running = try RunningCommand(
      try treeringBinary(), ["run", "-c", world.directory.path / "c.toml"], in: world.directory.path)
    let deadline = Date().addingTimeInterval(20)
    while !Tree(world.directory.path).exists("began"), Date() < deadline { usleep(5000) }
    let start = Date()
    running.signal(SIGTERM)
    #expect(try running.wait().status == 143)
    // Within a second, where the machine has nothing else to do.
    #expect(Date().timeIntervalSince(start) < 20)
    #expect(try world.snapshotNames() == [])
    #expect(try tool("cat", [world.directory.path / "log"]) == Array("143\n".utf8))
    #expect(try world.runHistory().last?.exitStatus == 143)
  }

  @Test("a second run ends at once and says who is at it; or waits")
  func locked() throws {
    let world = try world(
      "[retention]\nkeep_last = 5\n[hooks]\nbefore = [[\"/bin/sh\", \"-c\", \"touch began; sleep 2\"]]")
    let first = try RunningCommand(
      try treeringBinary(), ["run", "-c", world.directory.path / "c.toml"], in: world.directory.path)
    let deadline = Date().addingTimeInterval(20)
    while !Tree(world.directory.path).exists("began"), Date() < deadline { usleep(5000) }
    let second = try run(world, ["--json"], status: 5)
    #expect(second.errorText.contains("is in use by treering run, process "))
    #expect(try second.decoded(RunAnswer.self).result == "locked")
    try run(world, ["--wait"])
    #expect(try first.wait().status == 0)
    #expect(try world.snapshotNames().count == 2)
  }

  @Test("a refusal by a guard, and held rotation, are told from other failures")
  func refusedAndHeld() throws {
    let world = try world("[retention]\nkeep_last = 1")
    for index in 0..<20 { try world.source.write(ByteString("f\(index)"), "\(index)") }
    try run(world)
    try tool("sh", ["-c", "rm f*"], in: world.source.root)
    let refused = try run(world, ["--json"], status: 4).decoded(RunAnswer.self)
    #expect(refused.result == "refused" && refused.exitStatus == 4)
    try tool("sh", ["-c", "echo '2026-01-01T00:00:00Z because' > .treering/rotation-held"], in: world.repository.root)
    try run(world, ["--accept-changes"], status: 1)
    #expect(try world.snapshotNames().count == 2)
  }

  @Test("config check finds what is wrong with what the file names")
  func check() throws {
    let world = try world()
    let good = try run(world, command: ["config", "check"])
    #expect(good.outputText.contains("take a snapshot in \(world.repository.root)"))
    #expect(good.outputText.contains("hourly 24, daily 7, weekly 4, monthly 12, yearly 3"))
    try configure(
      world,
      "[[source]]\npath = \"/not/there\"\n[[source]]\npath = \"\(world.repository.root)\"\n[hooks]\nbefore = [\"/not/a/program\", \"/etc/passwd\"]"
    )
    let bad = try run(world, command: ["config", "check"], status: 2)
    #expect(bad.outputText == "")
    let file = (world.directory.path / "c.toml").description
    #expect(bad.errorLines.count == 4)
    for (line, words) in [
      (6, "/not/there"), (8, "inside the repository"), (11, "/not/a/program"), (11, "not executable"),
    ] {
      #expect(bad.errorLines.contains { $0.contains("\(file):\(line): ") && $0.contains(words) }, "\(bad.errorText)")
    }
    // A run goes on without what is missing, and not with what must not be.
    let stopped = try run(world, status: 2)
    #expect(stopped.errorLines.count == 1 && stopped.errorText.contains("inside the repository"))
    try Tree(world.directory.path).write("c.toml", "repository = \"/x\"\nsorce = 3\n")
    #expect(
      try run(world, status: 2).errorText.contains(
        "c.toml:2:1: unknown key \"sorce\" in the file; did you mean \"source\"?"))
    try tool("rm", [world.directory.path / "c.toml"])
    #expect(try run(world, status: 2).errorText.contains("c.toml"))
  }

  @Test("config check names patterns that cannot do what was meant")
  func patterns() throws {
    let world = try world()
    let source = world.source.root
    func check(_ patterns: [String], _ more: String = "") throws -> CommandResult {
      let list = patterns.map { "'\($0)'" }.joined(separator: ", ")
      try configure(world, "", source: "exclude = [\(list)]\n\(more)")
      return try world.treering(["config", "check", "-c", world.directory.path / "c.toml"], inRepository: false)
    }
    for wrong in [
      "\(source)/cache", "./x", "a/../b", "a//b", "", "#x", "!keep", "**.cache[", "re:.*", "*", "/*", "/**", "x\\",
    ] {
      let result = try check([wrong])
      #expect(result.status == 2 && result.errorLines.count == 1, "\(wrong): \(result.errorText)")
      #expect(result.errorText.contains("c.toml:5: the pattern"), "\(wrong): \(result.errorText)")
    }
    for right in [["/*", "!file"], ["*.tmp", "!keep.tmp"], ["/cache/", "**/x", "[a-z]?", "..x", "\\!a", "*/"]] {
      let result = try check(right)
      #expect(result.status == 0, "\(right): \(result.errorText)")
    }
    try Tree(world.directory.path).write("rules", "# comment\r\n\r\n*.o\r\n./x\r\n")
    let rules = world.directory.path / "rules"
    let inFile = try check(["!keep.o"], "exclude_from = [\"\(rules)\"]")
    #expect(inFile.errorLines.count == 1 && inFile.errorText.contains("\(rules):4: "), "\(inFile.errorText)")
    try configure(world, "", source: "exclude = [\"*.o\\r\"]")
    let ending = try run(world, command: ["config", "check"], status: 2)
    #expect(ending.errorText.contains("carriage return"))
  }

  @Test("the example of config can be read by config check, and by another parser of TOML")
  func example() throws {
    let world = try world()
    let text = try run(world, command: ["config", "example"]).output
    try Tree(world.directory.path).write("c.toml", bytes: text)
    let result = try run(world, ["-r", world.repository.root], command: ["config", "check"], status: 0)
    #expect(result.errorText == "")
    try tool(
      "python3", ["-c", "import tomllib, sys; tomllib.load(open(sys.argv[1], 'rb'))", world.directory.path / "c.toml"])
  }

  @Test("rotate takes the retention of the configuration of its repository")
  func rotate() throws {
    let world = try world("[retention]\nkeep_last = 1")
    try world.snapshot()
    try world.snapshot()
    try run(world, command: ["rotate"])
    #expect(try world.snapshotNames().count == 1)
  }

  // MARK: Status, metrics, schedule

  private struct Status: Decodable {
    struct Source: Decodable {
      let source: String
      let newestGood: String?
      let state: String
    }
    struct Verification: Decodable {
      let snapshots: Int
      let ofSnapshots: Int
      let exitStatus: Int
    }
    struct Run: Decodable {
      let exitStatus: Int
    }
    let isWell: Bool
    let findings: [String]
    let sources: [Source]
    let snapshots: Int
    let lastVerification: Verification?
    let runs: [Run]
    let rotationHeld: String?
    let damagedSnapshots: [String]
  }

  private func status(_ world: World, _ options: [ByteString] = [], status: Int32 = 0) throws -> Status {
    try run(world, ["--json"] + options, command: ["status"], status: status).decoded(Status.self)
  }

  @Test("status answers whether all is well, for people and for monitors")
  func statusOfAll() throws {
    let world = try world("[objectives]\nrpo = \"2h\"")
    let never = try status(world, status: 1)
    #expect(never.sources.map(\.state) == ["never"] && !never.isWell && never.snapshots == 0)
    try run(world)
    try run(world, ["--now"])
    #expect(try world.treering(["verify", "latest"]).status == 0)
    let well = try status(world)
    #expect(well.isWell && well.findings == [] && well.runs.map(\.exitStatus) == [0, 0])
    #expect(well.lastVerification?.snapshots == 1 && well.lastVerification?.ofSnapshots == 2)
    let page = try run(world, command: ["status"])
    #expect(page.outputText.contains("all is well") && page.errorText == "")
    #expect(page.outputText.contains("1 of 2 snapshots, no damage"))
    // A clock four hours on: late by the configuration, and not by the option.
    let later = try runCommand(
      "faketime", ["-f", "+4h", try treeringBinary(), "status", "--json", "-c", world.directory.path / "c.toml"])
    #expect(later.status == 1)
    #expect(try later.decoded(Status.self).sources.map(\.state) == ["late"])
    let patient = try runCommand(
      "faketime",
      ["-f", "+4h", try treeringBinary(), "status", "--max-age", "26h", "-c", world.directory.path / "c.toml"])
    #expect(patient.status == 0, "\(patient.errorText)")
    // A snapshot with warnings is not good.
    try world.source.makeDirectory("later")
    try tool("sh", ["-c", "echo '2026-01-01T00:00:00Z because' > .treering/rotation-held"], in: world.repository.root)
    let held = try status(world, status: 1)
    #expect(held.rotationHeld?.contains("because") == true && held.findings.count == 1)
    try tool("rm", [world.repository.root / ".treering/rotation-held"])
    let oldest = try #require(try world.snapshotNames().first)
    try tool("truncate", ["-s", "10", world.repository.root / ".treering/catalogs" / (oldest + ".catalog")])
    let damaged = try status(world, status: 6)
    #expect(damaged.damagedSnapshots == [oldest.description])
  }

  @Test("status shows the last run's failure")
  func statusAfterFailure() throws {
    let world = try world()
    try run(world)
    try configure(world, "[hooks]\nbefore = [\"/bin/false\"]")
    try run(world, ["--now"], status: 3)
    let failed = try status(world, status: 1)
    #expect(failed.findings.count == 1 && failed.findings[0].contains("/bin/false ended with status 1"))
    #expect(failed.sources.map(\.state) == ["well"])
    // A rotation since does not make it well.
    #expect(try run(world, command: ["rotate"]).status == 0)
    #expect(try status(world, status: 1).findings == failed.findings)
  }

  @Test("known damage is not forgotten, whatever is verified later, and however long the history is")
  func damageStaysKnown() throws {
    let world = try world()
    try run(world)
    try world.source.write("file", "changed")
    try run(world, ["--now"])
    let names = try world.snapshotNames()
    let stored = world.repository.root / names[0] / "localhost" / world.source.root / "file"
    try tool("sh", ["-c", "echo tampered > \"$0\"", stored])
    #expect(try world.treering(["verify"]).status == 6)
    #expect(try world.treering(["verify", names[1]]).status == 0)
    let lengthen =
      "line=$(tail -1 history.jsonl); yes \"$line\" | head -n 5000 >> history.jsonl; "
      + "printf '{\"time\":\"20' >> history.jsonl"
    try tool("sh", ["-c", ByteString(lengthen)], in: world.repository.root / ".treering")
    #expect(try status(world, status: 6).damagedSnapshots == [names[0].description])
    try world.treering(["verify", "latest"])
    #expect(try status(world, status: 6).lastVerification?.exitStatus == 0)
    // Mended, it must be found whole.
    try tool("sh", ["-c", "printf content > \"$0\"; touch -r \"$1\" \"$0\"", stored, stored])
    #expect(try world.treering(["verify", names[0]]).status == 6)
    try tool(
      "rm",
      ["-r", world.repository.root / names[0], world.repository.root / ".treering/catalogs" / (names[0] + ".catalog")])
    #expect(try status(world).damagedSnapshots == [])
  }

  @Test("status sees a snapshot from the future, and knows its configuration however the path is spelled")
  func statusOfAnOddClock() throws {
    let world = try world("[objectives]\nrpo = \"1s\"")
    try run(world)
    try tool("sleep", ["2.1"])
    let odd = ByteString("\(world.repository.root)/./../repository/")
    for path in [world.repository.root, odd] {
      #expect(
        try run(world, ["--json", "-r", path], command: ["status"], status: 1).decoded(Status.self).sources[0].state
          == "late")
    }
    let earlier = try runCommand(
      "faketime", ["-f", "-400d", try treeringBinary(), "status", "--json", "-c", world.directory.path / "c.toml"])
    #expect(earlier.status == 1)
    #expect(try earlier.decoded(Status.self).sources[0].state == "future")
  }

  @Test("where the disk is full, what may expire makes room, and the snapshot is taken")
  func fullDisk() throws {
    let world = try World(initialized: false)
    world.provesOlderUnchanged = false
    let disk = try LoopFileSystem("ext4", mebibytes: 48, at: world.repository.root, options: ["-m", "0"])
    try tool("rmdir", [disk.tree.root / "lost+found"])
    try world.treering(["init"])
    try configure(world, "[retention]\nkeep_last = 9\nminimum_free = \"20%\"")
    for number in 0..<4 {
      try world.source.write("file", bytes: [UInt8](repeating: UInt8(number), count: 8 << 20))
      try world.snapshot()
    }
    try world.source.write("file", bytes: [UInt8](repeating: 9, count: 20 << 20))
    let result = try run(world, status: 1)
    #expect(result.errorText.contains("expired to make room"), "\(result.errorText)")
    #expect(try world.treering(["verify"]).status == 0)
    let newest = world.repository.root / "latest/localhost" / world.source.root
    #expect(try differences(world.source.root, newest) == [])
    // What can't be reached costs nothing.
    let before = try world.snapshotNames()
    try configure(world, "[retention]\nkeep_last = 9\nminimum_free = \"20T\"")
    #expect(try run(world, ["--now"], status: 1).errorText.contains("nothing expired for space"))
    #expect(try Set(world.snapshotNames()).isSuperset(of: before))
  }

  @Test(
    "nothing makes room for what looks like a disaster",
    arguments: ["changed", "changed secretly", "disk full", "gone"])
  func disasterWithoutRoom(_ disaster: String) throws {
    let world = try World(initialized: false)
    world.provesOlderUnchanged = false
    let disk = try LoopFileSystem("ext4", mebibytes: 24, at: world.repository.root, options: ["-m", "0"])
    try tool("rmdir", [disk.tree.root / "lost+found"])
    try world.treering(["init"])
    try configure(world, "[retention]\nkeep_last = 9\nminimum_free = \"500K\"", top: "keep_spare = false")
    func write(_ range: Range<Int>, _ content: UInt8) throws {
      for index in range {
        let bytes = [UInt8](repeating: content, count: 100_000)
        let name = ByteString("file\(index)")
        try world.source.write(name, bytes: bytes)
        if disaster == "changed secretly" { try tool("touch", ["-d", "2020-01-01", world.source.root / name]) }
      }
    }
    try write(0..<30, 1)
    for number in 2..<5 {
      try world.snapshot()
      try world.settle()
      try write(0..<12, UInt8(number))
    }
    try world.snapshot()
    try world.settle()
    let before = try world.snapshotNames()
    let leaving = ["disk full": 0, "changed secretly": 2_600_000][disaster] ?? 1_800_000
    try tool(
      "sh",
      [
        "-c",
        ByteString(
          "f=$(df -B1 --output=avail . | tail -1); head -c $((f - \(leaving))) /dev/zero > fill"
            + (leaving == 0 ? "; cat /dev/zero >> fill || true" : "") + "; sync -f ."),
      ], in: disk.tree.root)
    if disaster == "gone" {
      for index in 0..<20 { try world.source.remove(ByteString("file\(index)")) }
      try world.source.write("large", bytes: [UInt8](repeating: 9, count: 3_000_000))
    } else {
      try write(0..<30, 9)
    }
    let result = try run(world, ["--now"], status: disaster == "gone" ? 4 : 8)
    #expect(try world.snapshotNames() == before)
    if disaster == "gone" {
      #expect(result.errorText.contains("are gone"), "\(result.errorText)")
      return
    }
    #expect(result.errorText.contains("nothing expires to make room"), "\(result.errorText)")
    #expect(result.errorText.contains("treering release"), "\(result.errorText)")
    // The last snapshot before the disaster outlives the release. A disk without a free block takes no mark.
    if disaster != "disk full" { #expect(try world.repository.names(".treering/held") == [before.last!]) }
    let rotated = try world.treering(["rotate", "--minimum-free", "4M"])
    #expect(rotated.status == 4 && rotated.errorText.contains("rotation is held"), "\(rotated.errorText)")
    // By the operator's word it is no disaster.
    if disaster != "changed" { return }
    try world.treering(["release"])
    let accepted = try run(world, ["--now", "--accept-changes"], status: 1)
    #expect(accepted.errorText.contains("expired to make room"), "\(accepted.errorText)")
    #expect(try differences(world.source.root, world.repository.root / "latest/localhost" / world.source.root) == [])
  }

  @Test("a rotation goes on where links cannot be renewed, and they come with the next though no snapshot is due")
  func rotationAgain() throws {
    let world = try world("[retention]\nyearly = 1")
    try run(world)
    try run(world, ["--now"])
    try tool("sh", ["-c", "rm -r yearly; touch yearly"], in: world.repository.root)
    let hindered = try run(world, ["--now", "--json"], status: 1).decoded(RunAnswer.self)
    #expect(hindered.expired.count == 1)
    try tool("rm", ["yearly"], in: world.repository.root)
    let answer = try run(world, ["--json"]).decoded(RunAnswer.self)
    #expect(answer.result == "not_due" && answer.expired == [])
    #expect(try world.repository.names("yearly").count == 1)
  }

  @Test("a configuration that others can change is refused, and so are a FIFO for metrics and closed streams")
  func hostileSurroundings() throws {
    let world = try world("")
    let file = world.directory.path / "c.toml"
    try tool("chmod", ["o+w", file])
    #expect(try run(world, status: 2).errorText.contains("can be changed by others"))
    try tool("chmod", ["o-w", file])
    let metrics = world.directory.path / "x.prom"
    try configure(world, "[metrics]\ntextfile = \"\(metrics)\"")
    try tool("mkfifo", [metrics + ".new"])
    try run(world)
    #expect(String(decoding: try tool("cat", [metrics]), as: UTF8.self).contains("treering_last_run_exit_status"))
    try tool("sh", ["-c", "\"$0\" run --now -c c.toml <&- >&- 2>&-", try treeringBinary()], in: world.directory.path)
    let lock = String(decoding: try tool("cat", [world.repository.root / ".treering/lock"]), as: UTF8.self)
    #expect(lock.hasPrefix("treering run, process ") && lock.split(separator: "\n").count == 1)
  }

  @Test("metrics are a whole file in the format of Prometheus, by promtool's judgement")
  func metrics() throws {
    let world = try world("", top: "")
    let file = world.directory.path / "treering.prom"
    try configure(world, "[metrics]\ntextfile = \"\(file)\"")
    try run(world)
    let text = String(decoding: try tool("cat", [file]), as: UTF8.self)
    #expect(text.contains("treering_last_run_exit_status{repository=\"\(world.repository.root)\"} 0\n"))
    let line = try #require(
      text.split(separator: "\n").first { $0.hasPrefix("treering_last_success_timestamp_seconds{") })
    let seconds = try #require(line.split(separator: " ").last.flatMap { Double($0) })
    #expect(abs(seconds - Date().timeIntervalSince1970) < 60)
    let checked = try runCommand("sh", ["-c", "promtool check metrics < \"$0\"", file])
    #expect(checked.status == 0, "\(checked.errorText)")
    #expect(checked.errorText == "" && checked.outputText == "")
    // Where it cannot be written, the snapshot is made all the same.
    try configure(world, "[metrics]\ntextfile = \"/not/there/x.prom\"")
    try run(world, ["--now"], status: 1)
    #expect(try world.snapshotNames().count == 2)
  }

  @Test("schedule prints what systemd and cron take")
  func schedule() throws {
    let world = try world()
    let cron = try run(world, command: ["schedule", "--cron"])
    let line = try #require(cron.outputText.split(separator: "\n").last)
    #expect(
      line.hasPrefix("4 * * * * root nice -n 10 ionice -c 3 /")
        && line.hasSuffix(" run --config \(world.directory.path)/c.toml"))
    let units = try run(world, command: ["schedule", "--systemd"]).output
    try Tree(world.directory.path).write("units", bytes: units)
    try tool(
      "sh",
      [
        "-c",
        "sed '/^# 2\\./,$d' units > treering.service; sed -n '/^# 2\\./,/^# 3\\./p' units > treering-failure.service; "
          + "sed -n '/^# 3\\./,$p' units > treering.timer",
      ], in: world.directory.path)
    let verified = try runCommand(
      "systemd-analyze",
      ["verify", "--man=no", "./treering.service", "./treering.timer", "./treering-failure.service"],
      in: world.directory.path)
    #expect(verified.status == 0 && verified.errorText == "", "\(verified.errorText)")
    // A second disk is written, too.
    try configure(world, "[remote.disk]\nurl = \"/mnt/second/web01\"\n")
    let second = try run(world, command: ["schedule", "--systemd"]).outputText
    #expect(second.contains("\nReadWritePaths=-/mnt/second/web01\n"), "\(second)")
    // A drill needs namespaces.
    #expect(
      second.contains("\nRestrictNamespaces=yes\n") && !second.contains("/var/tmp") && second.contains("CAP_LEASE\n"))
    try configure(world, "[[drill]]\nname = \"web\"\nrestore = [\"/srv\"]\nevery = \"30d\"\n")
    let third = try run(world, command: ["schedule", "--systemd"]).outputText
    #expect(third.contains("\nRestrictNamespaces=no\n") && third.contains("\nReadWritePaths=/var/tmp\n"), "\(third)")
    // So does a frozen source.
    try configure(world, "", source: "freeze = \"lvm\"")
    let fourth = try run(world, command: ["schedule", "--systemd"]).outputText
    #expect(fourth.contains("\nRestrictNamespaces=no\n") && fourth.contains("CAP_LEASE CAP_SYS_CHROOT\n"), "\(fourth)")
    #expect(fourth.contains("\nReadWritePaths=/run\nReadWritePaths=-/etc/lvm\n"))
    // An SQLite database is read as its owner, in a mount namespace.
    try configure(world, "[[database]]\nname = \"app\"\nkind = \"sqlite\"\npath = \"/srv/app.db\"\n")
    let fifth = try run(world, command: ["schedule", "--systemd"]).outputText
    #expect(fifth.contains("\nRestrictNamespaces=no\n") && fifth.contains("\nMemoryDenyWriteExecute=yes\n"), "\(fifth)")
    #expect(fifth.contains("CAP_LEASE CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_KILL\n"), "\(fifth)")
    try run(world, command: ["schedule"], status: 2)
    try run(world, command: ["schedule", "--cron", "--systemd"], status: 2)
  }

  @Test("under a service manager each step is its status")
  func serviceManager() throws {
    let world = try world()
    let script = """
      import socket, subprocess, sys
      s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
      s.bind("notify")
      s.settimeout(10)
      subprocess.run(sys.argv[1:], check=True)
      text = ""
      while "STOPPING=1" not in text:
          text += s.recv(4096).decode() + "\\n"
      print(text)
      """
    let result = try runCommand(
      "python3", ["-c", ByteString(script), try treeringBinary(), "run", "-c", "c.toml"], in: world.directory.path,
      environment: ["NOTIFY_SOCKET": (world.directory.path / "notify").description])
    #expect(result.status == 0, "\(result.errorText)")
    for word in ["READY=1", "STATUS=taking a snapshot", "STATUS=rotating", "STATUS=made"] {
      #expect(result.outputText.contains(word))
    }
  }
}
