import Foundation
import TestSupport
import Testing

/// Runs and repositories of restic's format without a local repository.
@Suite("direct snapshots: run, restic", .waits)
struct DirectRunTests {
  private struct Answer: Decodable {
    let result: String
    let exitStatus: Int32
    let snapshot: SnapshotAnswer?
    let error: String?
  }

  private func configured(_ more: String = "") throws -> PushWorld {
    let push = try PushWorld("direct-run")
    try push.world.source.write("file", "text")
    try push.place.write(
      "treering.toml",
      """
      repository = "nas"
      label = "web01"
      [[source]]
      path = "\(push.world.source.root)"
      [retention]
      hourly = 24
      [remote.nas]
      url = "\(push.address)"
      ssh = "\(push.ssh)"
      remote_command = "\(try treeringBinary()) serve"
      \(more)
      """)
    return push
  }

  private func run(_ push: PushWorld, _ arguments: [ByteString]) throws -> CommandResult {
    try push.world.settle()
    return try runCommand(
      try treeringBinary(), arguments + ["-c", push.place.root / "treering.toml"], in: push.world.directory.path,
      environment: ["XDG_CACHE_HOME": push.cache.text])
  }

  @Test("a run takes what is due, and a due snapshot is judged by the remote's list")
  func scheduled() throws {
    let push = try configured()
    let due = try run(push, ["run", "--dry-run"])
    #expect(due.status == 0 && due.outputText.contains("would take a snapshot"), "\(due.outputText)\(due.errorText)")
    let made = try run(push, ["run", "--json"])
    #expect(made.status == 0, "\(made.errorText)")
    let answer: Answer = try made.decoded()
    #expect(answer.result == "made" && answer.snapshot?.remote == "nas")
    #expect(try push.names(push.far).count == 1)
    #expect(push.far.exists("latest/web01" + push.world.source.root + "/file"))
    // Another machine's cache knows nothing, and yet nothing is due.
    try tool("rm", ["-rf", push.cache])
    #expect(try run(push, ["run", "--json"]).decoded(Answer.self).result == "not_due")
    let again = try run(push, ["run", "--now", "--json"]).decoded(Answer.self)
    #expect(again.snapshot?.bytesRead == 0 && again.snapshot?.filesLinked == 1)
    let own = try run(push, ["snapshot", "--json"])
    #expect(own.status == 0, "\(own.errorText)")
    #expect(try push.names(push.far).count == 3)
    try push.expectSound()
  }

  @Test("config check reaches the remote, and the timer's unit may write to the cache")
  func checkAndSchedule() throws {
    let push = try configured()
    let right = try run(push, ["config", "check"])
    #expect(right.status == 0, "\(right.errorText)")
    let unit = try run(push, ["schedule", "--systemd"])
    #expect(unit.status == 0 && unit.outputText.contains("ReadWritePaths=\(push.cache)"), "\(unit.outputText)")
    try tool("rm", ["-rf", push.far.root])
    #expect(try run(push, ["config", "check"]).status == 7)
  }

  @Test("a run without its remote fails as a push does")
  func offline() throws {
    let push = try configured()
    try tool("rm", ["-rf", push.far.root])
    let result = try run(push, ["run", "--json"])
    #expect(result.status == 7, "\(result.errorText)")
  }

  @Test("beside a repository elsewhere there are no other remotes")
  func otherRemotes() throws {
    let push = try configured("[remote.usb]\nurl = \"/media/usb\"")
    let result = try run(push, ["run"])
    #expect(result.status == 2 && result.errorText.contains("\"usb\" would get nothing"), "\(result.errorText)")
  }

  @Test("a run whose cache cannot be made tells its receivers")
  func noCache() throws {
    let told = try TemporaryDirectory("told")
    let push = try configured(
      """
      [notify.command]
      command = ["/bin/sh", "-c", "echo $TREERING_EXIT_STATUS >> \(told.path)/told"]
      on = "failure"
      """)
    try tool("touch", [push.cache])
    let result = try run(push, ["run", "--json"])
    #expect(result.status == 3 && result.errorText.contains("cache"), "\(result.errorText)")
    #expect(try result.decoded(Answer.self).result == "failed")
    #expect(try Tree(told.path).text("told") == "3\n")
  }

  // MARK: restic

  private func runDirect(_ restic: ResticWorld, _ options: [ByteString] = []) throws -> CommandResult {
    try restic.world.settle()
    return try runCommand(
      try treeringBinary(),
      ["snapshot", restic.world.source.root, "-r", restic.address, "--json", "--password-file", restic.password]
        + restic.storage.options + options, in: restic.world.directory.path,
      environment: restic.storage.environment.merging(
        ["XDG_CACHE_HOME": (restic.world.directory.path / "cache").text]
      ) { $1 })
  }

  private func direct(
    _ restic: ResticWorld, _ options: [ByteString] = [], status: Int32 = 0
  ) throws -> SnapshotAnswer {
    let result = try runDirect(restic, options)
    #expect(result.status == status, "\(result.errorText)")
    return try result.decoded()
  }

  @Test("a repository of restic's format gets the source, and what it has is neither read nor sent again")
  func restic() throws {
    let restic = try ResticWorld()
    let source = restic.world.source
    try source.makeDirectory("d")
    // A chunk has at most 8 MiB, and a change touches at most two.
    try source.writeNoise("d/noise", 20 << 20)
    for index in 0..<20 { try source.write(ByteString("d/\(index)"), "content \(index)") }
    let first = try direct(restic)
    #expect(try #require(first.bytesSent) > 20 << 20)
    let second = try direct(restic)
    #expect(second.bytesRead == 0 && second.filesLinked == 21)
    #expect(try #require(second.bytesSent) < 2_000)
    try source.overwrite("d/noise", at: 1 << 20, bytes: [1, 2, 3])
    try source.rename("d/3", to: "three")
    let third = try direct(restic)
    #expect(third.filesCopied == 1)
    #expect(try #require(third.bytesSent) < 17 << 20)
    // Without the cache everything is read, and nothing sent.
    try tool("rm", ["-rf", restic.world.directory.path / "cache"])
    let fourth = try direct(restic)
    #expect(fourth.bytesRead > 20 << 20)
    #expect(try #require(fourth.bytesSent) < 2_000)
    try restic.check()
    for name in [third, fourth].map(\.name) {
      let out = restic.destination()
      try restic.there(["restore", name, "--to", out])
      #expect(try differences(source.root, out / source.root) == [])
    }
  }

  private func guarded() throws -> ResticWorld {
    let restic = try ResticWorld()
    for index in 0..<20 { try restic.world.source.write(ByteString("\(index)"), "content \(index)") }
    try restic.world.source.writeNoise("large", 3_000_000)
    _ = try direct(restic)
    return restic
  }

  @Test("in restic's format, too, a snapshot warns if most files changed at once", arguments: [false, true])
  func massChange(isCacheLost: Bool) throws {
    let restic = try guarded()
    for index in 0..<20 { try restic.world.source.write(ByteString("\(index)"), "encrypted \(index)") }
    if isCacheLost { try tool("rm", ["-rf", restic.world.directory.path / "cache"]) }
    let answer = try direct(restic, status: 1)
    #expect(answer.warningsNamed.map(\.message).contains { $0.contains("20 of 21 files have another content") })
    for index in 0..<20 { try restic.world.source.write(ByteString("\(index)"), "once more \(index)") }
    _ = try direct(restic, ["--changed-limit", "99%"])
  }

  @Test(
    "a source that became empty is refused, also if the cache or restic's snapshots are lost",
    arguments: ["true", "rm -r cache", "rm -f $1/snapshots/*"])
  func emptied(loss: ByteString) throws {
    let restic = try guarded()
    for name in try restic.world.source.names() { try restic.world.source.remove(name) }
    let directory = restic.place.root
    let before = try Tree(directory).names("snapshots").count
    try tool("sh", ["-c", "cd " + restic.world.directory.path + " && " + loss, "sh", directory])
    let result = try runDirect(restic)
    #expect(result.status == 4 && result.errorText.contains("is empty"), "\(result.errorText)")
    #expect(try Tree(directory).names("snapshots").count == (loss.text.contains("snapshots") ? 0 : before))
    _ = try direct(restic, ["--accept-changes"])
  }

  @Test("without its cache a snapshot in restic's format is compared with restic's trees")
  func lostCache() throws {
    let restic = try guarded()
    try tool("rm", ["-rf", restic.world.directory.path / "cache"])
    for detection in ["ctime", "mtime"] as [ByteString] {
      let answer = try direct(restic, ["--change-detection", detection])
      let out = restic.destination()
      try restic.there(["restore", answer.name, "--to", out])
      #expect(try differences(restic.world.source.root, out / restic.world.source.root) == [])
      try tool("rm", ["-rf", restic.world.directory.path / "cache"])
    }
    try restic.check()
  }
}
