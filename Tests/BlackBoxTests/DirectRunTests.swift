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

  // MARK: restic

  private func direct(_ restic: ResticWorld, status: Int32 = 0) throws -> SnapshotAnswer {
    try restic.world.settle()
    let result = try runCommand(
      try treeringBinary(),
      ["snapshot", restic.world.source.root, "-r", restic.address, "--json", "--password-file", restic.password]
        + restic.storage.options, in: restic.world.directory.path,
      environment: restic.storage.environment.merging(
        ["XDG_CACHE_HOME": (restic.world.directory.path / "cache").text]
      ) { $1 })
    #expect(result.status == status, "\(result.errorText)")
    return try result.decoded()
  }

  @Test("a repository of restic's format gets the source, and what it has is neither read nor sent again")
  func restic() throws {
    let restic = try ResticWorld()
    let source = restic.world.source
    try source.makeDirectory("d")
    try source.writeNoise("d/noise", 3_000_000)
    for index in 0..<20 { try source.write(ByteString("d/\(index)"), "content \(index)") }
    let first = try direct(restic)
    #expect(try #require(first.bytesSent) > 3_000_000)
    let second = try direct(restic)
    #expect(second.bytesRead == 0 && second.filesLinked == 21)
    #expect(try #require(second.bytesSent) < 2_000)
    try source.overwrite("d/noise", at: 1_500_000, bytes: [1, 2, 3])
    try source.rename("d/3", to: "three")
    let third = try direct(restic)
    #expect(third.filesCopied == 1)
    #expect(try #require(third.bytesSent) < 2_900_000)
    // Without the cache everything is read, and nothing sent.
    try tool("rm", ["-rf", restic.world.directory.path / "cache"])
    let fourth = try direct(restic)
    #expect(fourth.bytesRead > 3_000_000)
    #expect(try #require(fourth.bytesSent) < 2_000)
    try restic.check()
    for name in [third, fourth].map(\.name) {
      let out = restic.destination()
      try restic.there(["restore", name, "--to", out])
      #expect(try differences(source.root, out / source.root) == [])
    }
  }
}
