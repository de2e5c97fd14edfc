import Foundation
import TestSupport
import Testing

/// The parts of a verification: every stored inode is in one of them, and nothing is in none.
@Suite("verify --part, --since, --limit-rate", .waits)
struct VerifyPartTests {
  private static let count = 5
  private let world: World

  init() throws {
    world = try World()
    world.provesOlderUnchanged = false
  }

  private func verify(
    _ options: [ByteString], status: Int32? = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> VerifyAnswer {
    let result = try world.treering(["verify", "--json"] + options, at: location)
    if let status { #expect(result.status == status, "\(result.errorText)", sourceLocation: location) }
    return try result.decoded()
  }

  private func parts(status: Int32? = 0) throws -> [VerifyAnswer] {
    try (1...Self.count).map { try verify(["--part", ByteString("\($0)/\(Self.count)")], status: status) }
  }

  private func words(_ answers: [VerifyAnswer]) -> Set<String> {
    Set(answers.flatMap(\.problems).map { "\($0.snapshot) \($0.path) \($0.problem)" })
  }

  /// Snapshots with renamed, linked, changed and equal files.
  private func makeSnapshots() throws {
    for index in 0..<40 { try world.source.write(ByteString("dir\(index % 7)/file\(index)"), "content \(index)") }
    for index in 0..<7 { try tool("ln", ["dir\(index)/file\(index)", "link\(index)"], in: world.source.root) }
    try tool("ln", ["-s", "nowhere", "dir0/symlink"], in: world.source.root)
    try world.settle()
    try world.snapshot()
    try tool("mv", ["dir1/file1", "dir2/renamed"], in: world.source.root)
    for index in 20..<25 { try world.source.write(ByteString("dir\(index % 7)/file\(index)"), "changed \(index)") }
    try world.source.write("dir3/sparse", "x")
    try tool("truncate", ["-s", "3M", "dir3/sparse"], in: world.source.root)
    try world.settle()
    try world.snapshot()
    try tool("rm", ["-r", "dir4"], in: world.source.root)
    try world.settle()
    try world.snapshot()
  }

  @Test("all parts together read each stored inode once, by find's count of inodes")
  func readOnce() throws {
    for index in 0..<7 { try world.source.makeDirectory(ByteString("dir\(index)")) }
    try makeSnapshots()
    let script = "find 20* -type f -size +0 -printf '%i %s\\n' | sort -u | awk '{ n++; s += $2 } END { print n, s }'"
    let found = String(decoding: try tool("sh", ["-c", ByteString(script)], in: world.repository.root), as: UTF8.self)
      .split(separator: " ").compactMap { Int($0.filter(\.isNumber)) }
    let whole = try verify([])
    let all = try parts()
    #expect(all.map(\.filesRead).reduce(0, +) == found[0] && whole.filesRead == found[0])
    // The hole of the sparse file is not read.
    #expect(all.map(\.bytesRead).reduce(0, +) == whole.bytesRead && whole.bytesRead < found[1])
    #expect(all.map(\.entries).reduce(0, +) == whole.entries)
    #expect(all.allSatisfy { $0.filesRead < found[0] / 2 && $0.problems.isEmpty })
    // One snapshot alone reads the same inodes in the same part.
    for name in try world.snapshotNames() {
      let own = try (1...Self.count).map { try verify([name, "--part", ByteString("\($0)/\(Self.count)")]) }
      #expect(try own.map(\.filesRead).reduce(0, +) == verify([name]).filesRead)
    }
  }

  @Test("damage of every kind is in a part, and the same damage is found by all of them and by the whole")
  func damage() throws {
    for index in 0..<7 { try world.source.makeDirectory(ByteString("dir\(index)")) }
    try makeSnapshots()
    let names = try world.snapshotNames()
    let first = Tree(world.repository.root / names[0] / "localhost" / world.source.root)
    // The inode of the renamed file is in three snapshots, under three paths.
    let script = """
      set -e
      printf X | dd of=dir1/file1 conv=notrunc bs=1 status=none
      rm dir5/file5; echo more > dir6/unknown; chmod 700 dir0; ln -sfn elsewhere dir0/symlink
      touch -d 2001-01-01 dir3/file3; mv dir4 away
      """
    try tool("sh", ["-c", ByteString(script)], in: first.root)
    let whole = try verify([], status: 6)
    let all = try parts(status: nil)
    #expect(words(all) == words([whole]), "\(words(all).symmetricDifference(words([whole])))")
    let renamed = all.filter { $0.problems.contains { $0.path.hasSuffix("dir2/renamed") } }
    #expect(
      renamed.count == 1 && renamed[0].problems.filter { $0.problem.hasPrefix("its bytes have changed") }.count == 6)
    // The one inode was read once.
    #expect(all.map(\.filesRead).reduce(0, +) == whole.filesRead)
  }

  @Test("a good part does not clear the damage of another; a whole verification does")
  func marks() throws {
    try world.source.write("file", "content")
    let snapshot = try world.snapshot()
    let file = world.tree(of: snapshot).root / "file"
    try tool("cp", ["-p", file, world.directory.path / "copy"])
    try tool("sh", ["-c", "printf X | dd of=\"$0\" conv=notrunc bs=1 status=none", file])
    let statuses = try (1...Self.count).map {
      try world.treering(["verify", "--part", ByteString("\($0)/\(Self.count)")]).status
    }
    #expect(statuses.filter { $0 == 6 }.count == 1)
    try tool("sh", ["-c", "cat \"$0\" > \"$1\"; touch -r \"$0\" \"$1\"", world.directory.path / "copy", file])
    for answer in try parts() { #expect(answer.problems.isEmpty) }
    #expect(try world.treering(["status"]).status == 6)
    _ = try verify([])
    #expect(try world.treering(["status"]).status == 0)
  }

  @Test("the parts are recorded with their times, until everything is verified")
  func record() throws {
    try world.source.write("file", "content")
    try world.snapshot()
    let snapshot = try world.snapshot()
    let file = world.repository.root / ".treering/verified"
    func lines() throws -> [String] {
      let text = String(decoding: try tool("cat", [file]), as: UTF8.self)
      return text.split(separator: "\n").map { String($0.dropFirst(21).prefix(3)) }
    }
    _ = try verify(["--part", "2/3"])
    _ = try verify(["--part", "1/3"])
    #expect(Set(try lines()) == ["1/3", "2/3"])
    // Some snapshots are not everything.
    _ = try verify([snapshot.name])
    _ = try verify(["--since", "2100-01-01", "--part", "3/3"])
    #expect(Set(try lines()) == ["1/3", "2/3"])
    _ = try verify(["--since", "2001-01-01"])
    #expect(try lines() == ["1/1"])
    let text = String(decoding: try tool("cat", [file]), as: UTF8.self)
    #expect(text.hasSuffix(" 1/1 2 \(snapshot.name) treering verify as root\n"), "\(text)")
    let page = try world.treering(["status"]).outputText
    #expect(page.replacing("\n              ", with: " ").contains("; everything since "), "\(page)")
    // Lines that nobody wrote are no records, and hurt nothing.
    try tool("sh", ["-c", "printf '\\377\\nx 1/3\\n2026-01-01T00:00:00Z 9/3\\n' >> \"$0\"", file])
    #expect(try world.treering(["status"]).status == 0)
  }

  @Test("--since checks the snapshots of this time and later")
  func since() throws {
    try world.source.write("file", "content")
    let old = try runCommand(
      "faketime", ["-f", "-3d", treeringBinary(), "snapshot", world.source.root, "-r", world.repository.root],
      environment: fakedClock)
    #expect(old.status == 0)
    let new = try world.snapshot()
    #expect(try verify(["--since", "1d"]).snapshots == [new.snapshot])
    #expect(try verify(["--since", "5d"]).snapshots.count == 2)
    #expect(try verify(["--since", "yesterday", "latest"]).snapshots == [new.snapshot])
    #expect(try verify(["--since", "2100-01-01"]).snapshots == [])
    #expect(try world.treering(["verify", "--since", "soon"]).status == 2)
  }

  @Test("--limit-rate reads slowly, here and there")
  func rate() throws {
    try world.source.write("file", bytes: [UInt8](repeating: 7, count: 1_200_000))
    try world.snapshot()
    #expect(try verify([]).elapsedSeconds < 1)
    let slow = try verify(["--limit-rate", "500K"])
    #expect((1.5...6).contains(slow.elapsedSeconds) && slow.bytesRead == 1_200_000, "\(slow.elapsedSeconds)")
    let server = try SSHServer()
    let far: [ByteString] = [
      "-r", ByteString("ssh://\(NSUserName())@\(server.address.text)") + world.repository.root, "--ssh",
      ByteString(server.sshCommand), "--remote-command", ByteString(server.remoteCommand),
    ]
    let there = try world.treering(["verify", "--json", "--limit-rate", "500K"] + far, inRepository: false)
    #expect(try (1.5...8).contains(there.decoded(VerifyAnswer.self).elapsedSeconds), "\(there.errorText)")
    let read = try (1...3).map {
      try world.treering(["verify", "--json", "--part", ByteString("\($0)/3")] + far, inRepository: false)
        .decoded(VerifyAnswer.self).filesRead
    }
    #expect(read.reduce(0, +) == 1)
  }

  @Test("a wrong part is refused", arguments: ["0/3", "4/3", "3", "1/2000", "x"])
  func wrong(part: ByteString) throws {
    let result = try world.treering(["verify", "--part", part])
    #expect(result.status == 2 && result.errorText.contains("such as 3/30"), "\(result.errorText)")
  }
}

/// The part that `run` verifies, by a clock that moves a day at a time.
@Suite("run: verification", .waits)
struct RunVerificationTests {
  private struct Status: Decodable {
    struct Part: Decodable {
      let part: String
      let time: String
    }
    let isWell: Bool
    let findings: [String]
    let due: [String]
    let verifiedParts: [Part]
    let verifiedSince: String?
    let damagedSnapshots: [String]
  }

  private let world: World
  private var file: ByteString { world.directory.path / "c.toml" }

  init() throws {
    world = try World()
    world.provesOlderUnchanged = false
    for index in 0..<30 { try world.source.write(ByteString("file\(index)"), "content \(index)") }
    try configure("every = \"1d\"\npart = \"1/3\"")
    try world.settle()
  }

  private func configure(_ verify: String, _ rest: String = "") throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [retention]
      daily = 90
      [verify]
      \(verify)
      \(rest)
      """)
  }

  @discardableResult
  private func at(
    _ day: String, _ command: [ByteString], status: Int32 = 0, location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(
      "faketime", ["-f", ByteString("@2027-01-\(day):00"), try treeringBinary()] + command + ["-c", file],
      environment: fakedClock)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private func state(_ day: String, status: Int32 = 0) throws -> Status {
    try at(day, ["status", "--json"], status: status).decoded(Status.self)
  }

  @Test("one part a day, in turn, also where nothing else is due, and all of them after as many days")
  func parts() throws {
    let first = try at("01 23:00", ["run", "--json"]).decoded(RunAnswer.self)
    #expect(first.steps.map(\.step) == ["snapshot", "rotate", "verify 1/3"])
    #expect(try at("01 23:30", ["run", "--json"]).decoded(RunAnswer.self).steps.isEmpty)
    #expect(try state("01 23:40").due == [])
    #expect(try state("02 00:10").due == ["snapshot", "verify 2/3"])
    // A little early, and silent.
    let quiet = try at("02 22:58", ["run"])
    #expect(quiet.outputText == "" && quiet.errorText == "")
    try at("03 00:05", ["snapshot", world.source.root])
    let third = try at("03 10:00", ["run", "--json"]).decoded(RunAnswer.self)
    #expect(third.result == "not_due" && third.steps.map(\.step) == ["verify 3/3"])
    let state = try state("03 11:00")
    #expect(state.isWell && state.verifiedParts.map(\.part) == ["1/3", "2/3", "3/3"])
    #expect(
      state.verifiedParts.map(\.time) == [
        "2027-01-01T23:00:00Z", "2027-01-02T22:58:00Z", "2027-01-03T10:00:00Z",
      ])
    #expect(state.verifiedSince == "2027-01-01T23:00:00Z")
    #expect(try at("04 10:00", ["run", "--json"]).decoded(RunAnswer.self).steps.last?.step == "verify 1/3")
    // What every day read, by the history, is every file once.
    let history = String(decoding: try tool("cat", [world.repository.root / ".treering/history.jsonl"]), as: UTF8.self)
    #expect(history.split(separator: "\n").filter { $0.contains("\"command\":\"verify\"") }.count == 4)
  }

  @Test("damage in the part is exit status 6, is told, and stays in status; nothing clears it but a whole verification")
  func damage() throws {
    try configure(
      "every = \"1d\"\npart = \"1/3\"",
      "[notify.command]\ncommand = [\"/bin/sh\", \"-c\", \"echo $TREERING_EXIT_STATUS >> told\"]".replacing(
        "told", with: "\(world.directory.path)/told"))
    try at("01 12:00", ["run"])
    let name = try #require(try world.snapshotNames().first)
    let tree = world.repository.root / name / "localhost" / world.source.root
    try tool("sh", ["-c", "for i in file*; do printf X | dd of=$i conv=notrunc bs=1 status=none; done"], in: tree)
    let result = try at("02 12:00", ["run", "--json"], status: 6)
    let answer = try result.decoded(RunAnswer.self)
    #expect(answer.result == "made" && answer.exitStatus == 6 && answer.error?.contains("in part 2/3") == true)
    #expect(answer.steps.contains { $0.step == "verify 2/3" && $0.outcome == "failed" })
    let error = try #require(try result.messages().last)
    #expect(error.level == "error" && error.exitStatus == 6 && error.hint?.contains("verify --part 2/3") == true)
    #expect(String(decoding: try tool("cat", [world.directory.path / "told"]), as: UTF8.self) == "0\n6\n")
    let state = try state("02 13:00", status: 6)
    #expect(state.damagedSnapshots.contains(name.text) && !state.isWell)
    // Where only the verification is due, damage is told as well.
    try at("03 00:05", ["snapshot", world.source.root])
    #expect(try at("03 12:00", ["run", "--json"], status: 6).decoded(RunAnswer.self).result == "not_due")
    #expect(String(decoding: try tool("cat", [world.directory.path / "told"]), as: UTF8.self) == "0\n6\n6\n")
  }

  @Test("status asks for verifications that the configuration wants and that do not come")
  func late() throws {
    try at("01 12:00", ["run"])
    #expect(try state("03 11:00", status: 0).findings == [])
    let late = try state("04 12:01", status: 1)
    #expect(late.findings.contains { $0.contains("the last verification was 3 d 0 h ago") }, "\(late.findings)")
  }

  @Test("without the table nothing is verified, and status says so without alarm")
  func never() throws {
    try configure("every = \"1d\"")
    let text = String(decoding: try tool("cat", [file]), as: UTF8.self)
    try Tree(world.directory.path).write("c.toml", text.replacing("[verify]\nevery = \"1d\"", with: ""))
    let run = try at("01 12:00", ["run", "--json"]).decoded(RunAnswer.self)
    #expect(run.steps.map(\.step) == ["snapshot", "rotate"])
    let page = try at("01 12:30", ["status"])
    #expect(page.outputText.contains("  - nothing was verified yet"), "\(page.outputText)")
    for wrong in ["part = \"2/3\"", "part = \"1/0\"", "part = 3", "every = \"daily\"", "limit_rate = \"fast\""] {
      try configure(wrong)
      #expect(try at("01 12:00", ["config", "check"], status: 2).errorText.contains("c.toml:7:"))
    }
  }
}
