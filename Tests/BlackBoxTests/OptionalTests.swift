import Foundation
import TestSupport
import Testing

/// Disks that are not always there, by real mounts: the source and the remote of one configuration.
@Suite("optional sources and remotes", .waits)
struct OptionalTests {
  private struct Status: Decodable {
    struct Source: Decodable {
      let source: String
      let state: String
    }
    struct Remote: Decodable {
      let remote: String
      let snapshot: String?
      let ageSeconds: Int?
      let arrived: String?
      let state: String
    }
    let isWell: Bool
    let findings: [String]
    let due: [String]
    let sources: [Source]
    let remotes: [Remote]
  }

  private let world: World
  private let disk: LoopFileSystem
  private let usb: LoopFileSystem
  private let told: ByteString

  init() throws {
    world = try World()
    world.provesOlderUnchanged = false
    disk = try LoopFileSystem("ext4", mebibytes: 16, at: world.directory.path / "disk")
    usb = try LoopFileSystem("ext4", mebibytes: 64, at: world.directory.path / "usb")
    told = world.directory.path / "told"
    try world.source.write("file", "content")
    try disk.tree.write("photo", "photo")
    let made = try world.treering(["init", usb.tree.root / "repository"], inRepository: false)
    #expect(made.status == 0, "\(made.errorText)")
    try configure(source: "optional = true", remote: "optional = true")
  }

  private func configure(source: String, remote: String) throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [[source]]
      path = "\(disk.tree.root)"
      \(source)
      [retention]
      hourly = 24
      [remote.usb]
      url = "\(usb.tree.root)/repository"
      \(remote)
      [notify.command]
      command = ["/bin/sh", "-c", "echo $TREERING_EXIT_STATUS >> \(told)"]
      on = "failure"
      """)
  }

  private func at(
    _ time: String, _ command: [ByteString], status: Int32 = 0, location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(
      "faketime",
      ["-f", ByteString("+\(time)"), try treeringBinary()] + command + ["-c", world.directory.path / "c.toml"],
      environment: fakedClock)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private func run(
    _ time: String, status: Int32 = 0, location: SourceLocation = #_sourceLocation
  ) throws -> RunAnswer {
    try at(time, ["run", "--json", "--now"], status: status, location: location).decoded()
  }

  private func state(_ time: String, status: Int32 = 0, location: SourceLocation = #_sourceLocation) throws -> Status {
    try at(time, ["status", "--json"], status: status, location: location).decoded()
  }

  private func messages() throws -> String {
    Tree(world.directory.path).exists("told") ? String(decoding: try tool("cat", [told]), as: UTF8.self) : ""
  }

  @Test("a remote whose disk is away is no failure and no mail before its rpo has passed, and is one then")
  func remote() throws {
    try configure(source: "optional = true", remote: "optional = true\nrpo = \"2d\"")
    _ = try run("0h")
    #expect(try state("1h").remotes.map(\.state) == ["well"])
    try usb.unmount()
    let away = try run("2h")
    let step = try #require(away.steps.last)
    #expect(away.exitStatus == 0 && step.step == "push usb" && step.outcome == "absent", "\(away)")
    #expect(step.message?.contains("has no repository") == true)
    let cron = try at("3h", ["run", "--now"])
    #expect(cron.outputText == "" && cron.errorText == "")
    let calm = try state("4h")
    #expect(calm.isWell && calm.remotes[0].state == "absent" && calm.remotes[0].arrived != nil)
    #expect(calm.due.contains("push usb"))
    #expect(try messages() == "")
    // Nothing but the absence: such runs leave no line in the history.
    let history = try tool("cat", [world.repository.root / ".treering/history.jsonl"]).count
    #expect(try at("3h", ["run", "--json"]).decoded(RunAnswer.self).result == "not_due")
    #expect(try tool("cat", [world.repository.root / ".treering/history.jsonl"]).count == history)
    let late = try run("50h", status: 7)
    #expect(late.result == "made" && late.error?.contains("usb") == true)
    #expect(try messages() == "7\n")
    let bad = try state("51h", status: 1)
    #expect(bad.findings.contains { $0.contains("the remote usb is absent") && $0.contains("2 d") }, "\(bad.findings)")
    try usb.mount()
    _ = try run("52h")
    #expect(try state("53h").remotes.map(\.state) == ["well"])
  }

  @Test("a remote that is not optional is a failure at once; an optional one that is there and broken, too")
  func failures() throws {
    try configure(source: "optional = true", remote: "")
    _ = try run("0h")
    try usb.unmount()
    _ = try run("1h", status: 7)
    #expect(try state("2h", status: 1).findings.contains { $0.contains("the remote usb is absent") })
    try configure(source: "optional = true", remote: "optional = true")
    // The run that failed stays one until the next.
    let calm = try state("3h", status: 1)
    #expect(calm.findings.count == 1 && calm.findings[0].hasPrefix("the last run"), "\(calm.findings)")
    _ = try run("3h")
    #expect(try state("3h").isWell)
    try usb.mount()
    try tool("sh", ["-c", "echo nonsense > repository/.treering/repository.toml"], in: usb.tree.root)
    _ = try run("4h", status: 6)
  }

  @Test("an optional remote over ssh that cannot be reached")
  func unreachable() throws {
    let text = String(decoding: try tool("cat", [world.directory.path / "c.toml"]), as: UTF8.self)
    let url = "ssh://nowhere@127.0.0.1:1/r"
    try Tree(world.directory.path).write("c.toml", text.replacing("\(usb.tree.root)/repository", with: url))
    let away = try run("0h")
    #expect(away.exitStatus == 0 && away.steps.last?.outcome == "absent", "\(away)")
    // A remote that never got anything is a problem all the same: the address may be wrong.
    #expect(try state("1h", status: 1).findings == ["nothing was pushed to usb yet"])
  }

  @Test("a source whose disk is away: optional, silent until its rpo; otherwise a warning, and the others are saved")
  func source() throws {
    try configure(source: "optional = true\nrpo = \"2d\"", remote: "")
    _ = try run("0h")
    try disk.unmount()
    let away = try run("1h")
    #expect(away.exitStatus == 0 && away.result == "made")
    let calm = try state("2h")
    #expect(calm.isWell && calm.sources.map(\.state) == ["well", "absent"])
    #expect(try messages() == "")
    let late = try run("60h", status: 1)
    #expect(late.result == "made" && late.error?.contains("is left out") == true)
    #expect(try messages() == "1\n")
    #expect(try state("61h", status: 1).sources.map(\.state) == ["well", "late"])
    // The directory itself is away.
    try tool("rmdir", [disk.tree.root])
    try configure(source: "", remote: "")
    let other = try run("62h", status: 1)
    #expect(other.result == "made" && other.steps.contains { $0.step == "push usb" && $0.outcome == "done" })
    #expect(world.repository.exists("latest/localhost" / world.source.root / "file"))
  }
}
