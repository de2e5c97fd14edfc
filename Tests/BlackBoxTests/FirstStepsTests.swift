import Foundation
import TestSupport
import Testing

/// The mistakes of somebody who is new to the commands: each either works, or its message has the remedy.
@Suite("first steps", .waits)
struct FirstStepsTests {
  private let world: World

  init() throws {
    world = try World()
    world.provesOlderUnchanged = false
    try world.source.makeDirectory("home")
    try world.source.write("home/letter", "to ann")
    try world.source.write("fstab", "disks")
    try configure()
  }

  private var file: [ByteString] { ["-c", world.directory.path / "c.toml"] }

  private func configure(_ more: String = "") throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      label = "web01"
      [[source]]
      path = "\(world.source.root)"
      [retention]
      hourly = 24
      \(more)
      """, mode: 0o600)
  }

  private func command(
    _ words: [ByteString], in directory: ByteString? = nil, status: Int32 = 0,
    location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(treeringBinary(), words, in: directory ?? world.directory.path)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private func at(_ time: String, _ words: [ByteString], status: Int32 = 0) throws -> CommandResult {
    let result = try runCommand(
      "faketime", ["-f", ByteString("@\(time)"), try treeringBinary()] + words + ["-r", world.repository.root],
      environment: fakedClock)
    #expect(result.status == status, "\(result.errorText)")
    return result
  }

  // MARK: The command line

  @Test("options of all commands may precede the name of the command")
  func optionsFirst() throws {
    try world.snapshot()
    let expected = try world.treering(["list"]).outputText
    for words in [
      ["-r", world.repository.root, "list"], ["--repository=" + world.repository.root, "-q", "list"],
      ["-v", "--repository", world.repository.root, "list"],
    ] as [[ByteString]] { #expect(try command(words).outputText == expected) }
    #expect(try command(["-r", "list"], status: 2).errorText.contains("no command is named"))
    #expect(try command(["-x", "list"], status: 2).errorText.contains("Unknown option '-x'"))
  }

  @Test(
    "a path in the place of the snapshot gets the corrected command", arguments: ["ls", "cat", "restore", "export"])
  func forgottenSnapshot(name: ByteString) throws {
    try world.snapshot()
    let result = try command([name, "/home/ann", "-r", world.repository.root], status: 2)
    #expect(result.errorText.contains("such as: treering \(name) latest /home/ann"), "\(result.errorText)")
  }

  @Test("snapshot has no dry run, and names the command that has one")
  func snapshotDryRun() throws {
    for option: ByteString in ["-n", "--dry-run"] {
      try world.expectRefusal(
        ["snapshot", world.source.root, option], status: 2, naming: "treering diff latest --live")
    }
  }

  @Test("run -n names what is due, and does nothing")
  func runDryRun() throws {
    let remote = world.directory.path / "far"
    #expect(try command(["init", remote]).status == 0)
    try configure("[remote.far]\nurl = \"\(remote)\"\n[verify]")
    let before = try Fingerprint(world.directory.path)
    let lines = try command(["run", "-n"] + file).outputLines
    #expect(lines == ["would take a snapshot", "would push to far", "would verify 1/30"])
    #expect(before.differences(to: try Fingerprint(world.directory.path)) == [])
    _ = try command(["run"] + file)
    let due = try command(["run", "--dry-run"] + file).outputText
    #expect(due.hasPrefix("nothing is due\nthe next snapshot is due at "), "\(due)")
    let more = try command(["run", "--now"] + file)
    #expect(more.errorText.contains("is in no set: the next rotation may remove it"), "\(more.errorText)")
    try configure("[remote.far]\nurl = \"\(remote)\"\n")
    struct Answer: Decodable {
      let due, expired: [String]
      let dryRun: Bool
    }
    let answer: Answer = try command(["run", "--now", "-n", "--json"] + file).decoded()
    #expect(answer.due == ["snapshot", "push far"] && answer.expired == [] && answer.dryRun)
    #expect(try world.snapshotNames().count == 2)
  }

  @Test("a relative path is one of the working directory, unless it begins with a label")
  func relativePaths() throws {
    try world.snapshot()
    let repository = ["-r", world.repository.root]
    let home = world.source.root / "home"
    #expect(try command(["cat", "latest", "letter"] + repository, in: home).outputText == "to ann")
    #expect(try command(["cat", "latest", "../fstab"] + repository, in: home).outputText == "disks")
    #expect(try command(["ls", "latest", "."] + repository, in: home).outputText == "letter\n")
    #expect(try command(["cat", "latest", "localhost" + home / "letter"] + repository).outputText == "to ann")
    #expect(try command(["list", "letter"] + repository, in: home).outputLines.count == 2)
    #expect(try command(["versions", "letter"] + repository, in: home).outputLines.count == 2)
    // A file that is gone is what one looks for.
    try world.source.remove("home/letter")
    #expect(try command(["cat", "latest", "../home/letter"] + repository, in: home).outputText == "to ann")
    #expect(try command(["diff", "latest", "--live", "letter"] + repository, in: home).outputText.contains("/letter"))
    let absent = try command(["ls", "latest", "nosuch"] + repository, in: home, status: 2)
    #expect(absent.errorText.contains("\(home)/nosuch is not in the snapshot"), "\(absent.errorText)")
  }

  // MARK: Times

  @Test("a snapshot much older than the time that was given is named")
  func distantTimes() throws {
    _ = try at("2027-01-10 12:00:00", ["snapshot", world.source.root])
    func errors(_ time: String, _ now: String) throws -> String {
      try at(now, ["ls", ByteString(time), "/"]).errorText
    }
    let name = try #require(try world.snapshotNames().first)
    #expect(try errors("1d", "2027-01-12 11:00:00") == "")
    #expect(try errors("yesterday", "2027-01-11 11:00:00") == "")
    #expect(try errors("yesterday 12:30", "2027-01-11 11:00:00") == "")
    _ = try at("2027-01-11 11:00:00", ["ls", "yesterday 11:30", "/"], status: 2)
    #expect(try errors("2027-01-10 12:30", "2027-01-12 11:00:00") == "")
    #expect(try errors("2027-01-10", "2027-01-12 11:00:00") == "")
    #expect(try errors("latest", "2027-01-12 11:00:00") == "")
    #expect(
      try errors("1d", "2027-01-13 13:00:30") == "treering: note: \"1d\" means \(name), which is 2 d 1 h older\n")
    #expect(try errors("yesterday", "2027-01-12 13:00:00").contains("\"yesterday\" means \(name)"))
    #expect(try errors("2027-01-10 14:00", "2027-01-12 11:00:00").contains("which is 2 h 0 min older"))
    #expect(try at("2027-01-13 13:00:30", ["ls", "1d", "/", "-q"]).errorText == "")
    for words in [["verify", "1d"], ["find", "x", "--in", "1d"], ["diff", "1d", "latest"]] as [[ByteString]] {
      #expect(try at("2027-01-13 13:00:30", words).errorText.contains("which is 2 d 1 h older"), "\(words)")
    }
    let day = try at("2027-01-13 13:00:30", ["ls", "2027-01-12"], status: 2)
    #expect(day.errorText.contains("the last one before is \(name)"), "\(day.errorText)")
  }

  // MARK: Labels, sets and holds

  @Test("a snapshot by hand says if its label is not that of the newest one; a configuration in use decides")
  func labels() throws {
    _ = try command(["run"] + file)
    let other = try world.treering(["snapshot", world.source.root])
    #expect(other.errorText.contains("the label is localhost, and that of the newest snapshot"), "\(other.errorText)")
    #expect(other.errorText.contains("--label web01"))
    let list = try world.treering(["list"]).outputLines
    #expect(list[0].contains("  LABEL ") && list[1].contains(" web01 ") && list[2].contains(" localhost "))
    #expect(try world.treering(["snapshot", world.source.root, "--label", "localhost"]).errorText == "")
    let copy = world.directory.path / "copy"
    #expect(try command(["init", copy]).status == 0)
    #expect(try command(["snapshot", world.source.root, "-r", copy] + file).errorText == "")
    #expect(Tree(copy).exists("latest/web01"))
    #expect(try !command(["list", "-r", copy]).outputText.contains("LABEL"))
    let refused = try command(
      ["restore", "latest", "--in-place", "-n", "-r", copy], status: 4)
    #expect(refused.errorText.contains("name its configuration with --config FILE"), "\(refused.errorText)")
    #expect(try command(["restore", "latest", "--in-place", "-n", "-r", copy] + file).status == 0)
  }

  @Test("a snapshot that is in no set says so, and a held one shows its reason")
  func noSet() throws {
    #expect(try !world.treering(["snapshot", world.source.root, "-v"]).outputText.contains("in no set"))
    let second = try world.treering(["snapshot", world.source.root, "-v"])
    let name = try #require(try world.snapshotNames().sorted { $0 < $1 }.last)
    #expect(second.outputText.contains("in no set: "), "\(second.outputText)")
    #expect(second.outputText.contains("hold it with: treering hold \(name)"), "\(second.outputText)")
    let held = try world.treering(["snapshot", world.source.root, "-v", "--hold", "before the upgrade"])
    #expect(!held.outputText.contains("in no set"))
    let plan = try world.treering(["rotate", "-n"]).outputText
    #expect(plan.contains("held 20") && plan.contains("before the upgrade") && plan.contains("expires  in no set"))
    #expect(try world.treering(["rotate", "-n", "--json"]).outputText.contains("before the upgrade\""))
    #expect(try world.treering(["list"]).outputText.contains("before the upgrade"))
  }

  @Test("a restore with nothing to do says so")
  func nothingToRestore() throws {
    let name = try world.snapshot().snapshot
    let to = world.directory.path / "to"
    let words: [ByteString] = ["restore", "latest", world.source.root, "--to", to]
    #expect(try world.treering(words).outputText.hasPrefix("restored 2 files"))
    let said = "all that is named is there as in \(name) already\n"
    #expect(try world.treering(words).outputText == said)
    #expect(try world.treering(["restore", "latest", world.source.root, "--in-place", "-n"]).outputText == said)
    #expect(try world.treering(["restore", "latest", world.source.root, "--in-place", "-y"]).outputText == said)
    try Tree(to).write("x", "x")
    try tool("sh", ["-c", ByteString("echo changed > '\(to)\(world.source.root)/fstab'")])
    #expect(try world.treering(words).outputText.hasPrefix("restored 0 files"))
  }

  // MARK: Once

  @Test("the reason of a failed push is told once, and its status too")
  func once() throws {
    try configure("[remote.disk]\nurl = \"/nonexistent/disk\"")
    let result = try command(["run", "-v"] + file, status: 7)
    let said = result.outputText + result.errorText
    #expect(said.components(separatedBy: "cannot open the repository").count == 2, "\(said)")
    #expect(result.outputText.contains("push disk  failed"))
    _ = try command(["run", "--now"] + file, status: 7)
    let page = try command(["status"] + file, status: 1)
    #expect(page.outputText.hasPrefix("\(world.repository.root): NOT WELL, 1 problem\n"), "\(page.outputText)")
    #expect(page.outputText.contains("status 7: the same"))
  }

  @Test("config check names every error of every table, takes the file as an argument, and shows nested sources")
  func everyError() throws {
    try Tree(world.directory.path).write(
      "bad.toml",
      """
      repositry = "x"
      repository = "\(world.repository.root)"
      [retention]
      hourly = "x"
      [[source]]
      path = "/nonexistent/source"
      [[source]]
      path = "relative"
      [hooks]
      before = [{ comand = "/x" }, "/nonexistent/program"]
      [notify.command]
      on = "failure"
      [remote.odd]
      url = "ftp://x"
      [remote.away]
      url = "/nonexistent/disk"
      """, mode: 0o600)
    let result = try command(["config", "check", "bad.toml"], status: 2)
    for words in [
      ":1:1: unknown key \"repositry\"", ":4:10: \"hourly\" should be", ":8:8: \"path\" should be",
      ":10:11: \"command\" is missing", ":10:13: unknown key \"comand\"", ":11:1: \"command\" is missing",
      ":14:7: \"url\" is wrong",
      ":5: cannot read the source /nonexistent/source", ":10: cannot run /nonexistent/program", ":15: the remote away",
    ] { #expect(result.errorText.contains("bad.toml\(words)"), "\(words): \(result.errorText)") }
    #expect(result.errorLines.count == 10, "\(result.errorText)")
    try world.expectRefusal(
      ["run", "-c", "bad.toml"], status: 2, inRepository: false, naming: "6 more: see treering config check")
    try configure("[[source]]\npath = \"\(world.source.root)/home\"")
    let nested = try command(["config", "check", "c.toml"]).outputText
    #expect(nested.contains("/home, which is inside \(world.source.root) and has rules of its own\n"), "\(nested)")
    #expect(try command(["config", "example", "c.toml"], status: 2).outputText == "")
    #expect(try command(["config", "check", "c.toml"] + file, status: 2).outputText == "")
  }

  @Test("a time where only a name will do, and a path in the place of a snapshot")
  func misplaced() throws {
    let name = try world.snapshot().name
    for verb in ["delete", "hold", "release"] as [ByteString] {
      let time = try command([verb, "now", "-r", world.repository.root], status: 2)
      #expect(time.errorText.contains("\"now\" is a time"), "\(time.errorText)")
      #expect(time.errorText.contains("now it means \(name)"), "\(time.errorText)")
      let other = try command([verb, "nonsense", "-r", world.repository.root], status: 2)
      #expect(!other.errorText.contains("yesterday") && other.errorText.contains("daily.0"), "\(other.errorText)")
    }
    for reference: ByteString in ["lastest", "yseterday"] {
      let typo = try command(["ls", reference, "-r", world.repository.root], status: 2)
      #expect(typo.errorText.contains("did you mean"), "\(typo.errorText)")
    }
    for (words, advice) in [
      (["latest", "/etc"], "treering diff yesterday latest /etc, or one"),
      (["latest", "/etc"], "diff latest --live /etc"),
      (["/etc", "latest"], "treering diff yesterday latest /etc, or one"),
      (["/etc", "--live"], "diff latest /etc --live"),
    ] as [([ByteString], String)] {
      let diff = try command(["diff"] + words + ["-r", world.repository.root], status: 2)
      #expect(diff.errorText.contains("/etc is no snapshot") && diff.errorText.contains(advice), "\(diff.errorText)")
    }
  }

  @Test("a restore of the working directory takes its path, and not a dot from habit")
  func dots() throws {
    try world.snapshot()
    let home = world.source.root / "home"
    for (path, meant) in [(".", home), ("./", home), ("..", world.source.root)] as [(ByteString, ByteString)] {
      let result = try command(
        ["restore", "latest", path, "--to", world.directory.path / "to", "-r", world.repository.root], in: home,
        status: 2)
      #expect(result.errorText.contains("write its path, such as \(meant)\n"), "\(result.errorText)")
    }
    let named = try command(
      ["restore", "latest", "./letter", "--to", world.directory.path / "to", "-r", world.repository.root], in: home)
    #expect(named.errorText == "")
    #expect(try Tree(world.directory.path / "to" / home).text("letter") == "to ann")
  }

  // MARK: Damage

  @Test("after damage the remote that has the snapshot is named with the command, and its absence is told")
  func repairFrom() throws {
    let remote = world.directory.path / "far"
    #expect(try command(["init", remote]).status == 0)
    try configure("[remote.far]\nurl = \"\(remote)\"")
    _ = try command(["run"] + file)
    let name = try #require(try world.snapshotNames().first)
    let second = try world.snapshot(of: nil, ["--label", "web01"]).name
    func damage(_ name: ByteString) throws {
      try Tree(world.repository.root / name / "web01" / world.source.root).remove("fstab")
    }
    try damage(name)
    let found = try command(["verify"] + file, status: 6)
    let repair =
      "verify \(name) --repair-from far --config \(world.directory.path)/c.toml --repository \(world.repository.root)"
    #expect(found.errorText.contains("repair with: treering \(repair)\n"), "\(found.errorText)")
    #expect(try command(["status"] + file, status: 6).errorText.contains(repair))
    // The name of the configuration is what the history has.
    #expect(try world.treering(["status"]).errorText.contains("--repair-from far"))
    try damage(second)
    let other = try command(["verify", second] + file, status: 6)
    #expect(other.errorText.contains("no remote is known to have it"), "\(other.errorText)")
    #expect(try command(["status"] + file, status: 6).errorText.contains("\(second)"))
    _ = try runCommand("sh", ["-c", ByteString("'\(try treeringBinary())' \(repair)")])
    #expect(try command(["verify", name] + file).status == 0)
  }
}
