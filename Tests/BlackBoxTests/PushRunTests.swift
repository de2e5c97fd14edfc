import Foundation
import TestSupport
import Testing

@Suite("run: remotes", .waits)
struct PushRunTests {
  private struct Line: Decodable {
    struct Result: Decodable {
      let remote: String
      let snapshot: String
      let result: String
    }
    let command: String?
    let exitStatus: Int32
    let error: String?
    let result: Result?
  }

  private struct Status: Decodable {
    struct Push: Decodable { let exitStatus: Int32 }
    struct Remote: Decodable {
      let remote: String
      let snapshot: String?
      let arrived: String?
      let state: String
      let lastPush: Push?
    }
    let isWell: Bool
    let findings: [String]
    let due: [String]
    let remotes: [Remote]
  }

  private func world(_ rest: String, retention: String = "hourly = 24\nweekly = 4") throws -> PushWorld {
    let push = try PushWorld("push-run")
    push.provesUnchanged = false
    try push.world.source.write("file", "text")
    try configure(push, rest, retention)
    return push
  }

  private func configure(_ push: PushWorld, _ rest: String, _ retention: String = "hourly = 24\nweekly = 4") throws {
    try push.place.write(
      "c.toml",
      """
      repository = "\(push.world.repository.root)"
      [[source]]
      path = "\(push.world.source.root)"
      [retention]
      \(retention)
      \(rest.replacing("FAR", with: push.far.root.text).replacing("PLACE", with: push.place.root.text))

      """)
  }

  private func run(
    _ push: PushWorld, _ options: [ByteString] = [], status: Int32 = 0, location: SourceLocation = #_sourceLocation
  ) throws -> RunAnswer {
    let result = try runCommand(
      try treeringBinary(), ["run", "--json", "-c", push.place.root / "c.toml"] + options, in: push.place.root)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return try result.decoded()
  }

  private func pushed(_ answer: RunAnswer) -> [String] {
    answer.steps.filter { $0.step.hasPrefix("push") }.map { "\($0.step): \($0.outcome)" }
  }

  private func pushLines(_ push: PushWorld) throws -> [Line] {
    try push.world.repository.read(".treering/history.jsonl").split(separator: 10)
      .filter { ByteString($0).text.contains("\"command\":\"push\"") }
      .map { try snakeCaseDecoder().decode(Line.self, from: Data($0)) }
  }

  private func status(_ push: PushWorld, _ code: Int32) throws -> Status {
    let result = try runCommand(try treeringBinary(), ["status", "--json", "-c", push.place.root / "c.toml"])
    #expect(result.status == code, "\(result.errorText)")
    return try result.decoded()
  }

  @Test("what is due is pushed, once; the history and status tell of it")
  func due() throws {
    let push = try world("[remote.nas]\nurl = \"FAR\"")
    #expect(try pushed(run(push)) == ["push nas: done"])
    try push.expectSame()
    let idle = try run(push)
    #expect(idle.result == "not_due" && pushed(idle) == [])
    #expect(try pushed(run(push, ["--now"])) == ["push nas: done"])
    #expect(try push.names(push.far).count == 2)
    let lines = try pushLines(push)
    #expect(lines.map(\.exitStatus) == [0, 0] && lines.map(\.result?.result) == ["sent", "sent"])
    let state = try status(push, 0)
    #expect(state.isWell && state.remotes.map(\.remote) == ["nas"] && state.remotes[0].lastPush?.exitStatus == 0)
    let page = try runCommand(try treeringBinary(), ["status", "-c", push.place.root / "c.toml"])
    #expect(page.outputText.contains("nas"), "\(page.outputText)")
    let received = try push.far.text(".treering/history.jsonl")
    #expect(received.contains("\"receive\"") && received.contains(lines[1].result!.snapshot))
  }

  @Test("a good run is silent, also when it pushes")
  func silent() throws {
    let push = try world("[remote.nas]\nurl = \"FAR\"")
    let result = try runCommand(try treeringBinary(), ["run", "-c", push.place.root / "c.toml"])
    #expect(result.status == 0 && result.output == [] && result.errors == [], "\(result.outputText)\(result.errorText)")
  }

  @Test("the newest of a set, where the remote has a set")
  func set() throws {
    let push = try world("[remote.nas]\nurl = \"FAR\"\nset = \"weekly\"")
    #expect(try pushed(run(push)) == ["push nas: done"])
    // The first of the week stays the weekly one.
    for _ in 0..<2 { #expect(try pushed(run(push, ["--now"])) == []) }
    #expect(try push.names(push.far).count == 1)
    #expect(try push.names(push.far)[0] == push.names(push.world.repository)[0])
    try configure(push, "[remote.nas]\nurl = \"FAR\"\nset = \"latest\"")
    #expect(try pushed(run(push)) == ["push nas: done"])
    #expect(try push.names(push.far).last == push.names(push.world.repository).last)
  }

  @Test("one that is down is retried by the next run, even where nothing else is due; the others get theirs")
  func down() throws {
    let remotes = "[remote.down]\nurl = \"PLACE/later\"\n[remote.up]\nurl = \"FAR\""
    let push = try world(remotes)
    let first = try run(push, status: 7)
    #expect(first.result == "made" && first.error?.contains("later") == true)
    #expect(pushed(first) == ["push down: failed", "push up: done"])
    let state = try status(push, 1)
    #expect(state.findings.contains { $0.contains("down") }, "\(state.findings)")
    #expect(state.remotes.map(\.lastPush?.exitStatus) == [7, 0])
    let second = try run(push, status: 7)
    #expect(second.result == "not_due" && pushed(second) == ["push down: failed"])
    #expect(try pushLines(push).map(\.exitStatus) == [7, 0, 7])
    let later = push.place.root / "later"
    try tool(try treeringBinary(), ["init", later])
    let third = try run(push)
    #expect(third.result == "not_due" && pushed(third) == ["push down: done"])
    #expect(try push.names(Tree(later)) == push.names(push.far))
    #expect(try status(push, 0).isWell)
  }

  @Test("a repository in use at the remote is tried again by the next run, and is no failure of this one's snapshot")
  func locked() throws {
    let push = try world("[remote.nas]\nurl = \"FAR\"")
    let unlock = try push.lock()
    let first = try run(push)
    #expect(first.result == "made")
    try unlock()
    #expect(try pushed(run(push)) == ["push nas: done"])
    #expect(try status(push, 0).isWell)
  }

  @Test("a snapshot does not expire while it is pushed; a rotation meanwhile is not held up")
  func inUse() throws {
    let push = try PushWorld("push-run")
    push.provesUnchanged = false
    try push.world.source.writeNoise("file", 2_000_000)
    let first = try push.snapshot()
    try push.world.source.write("other", "x")
    let second = try push.snapshot()
    let running = try push.start(["--limit-rate", "1MB/s", first.name])
    try push.waitUntil("it has begun") { try !push.far.names(".treering/pending").isEmpty }
    let rotated = try push.here(["rotate", "--keep-last", "1"])
    #expect(rotated.status == 0, "\(rotated.errorText)")
    #expect(try push.names(push.world.repository) == [first.name, second.name])
    let done = try running.wait()
    #expect(done.status == 0, "\(done.errorText)")
    try push.expectSame()
    #expect(try push.here(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try push.names(push.world.repository) == [second.name])
    // A push that is killed gives it up.
    try push.world.source.writeNoise("third", 2_000_000, seed: 3)
    try push.snapshot()
    let killed = try push.start(["--limit-rate", "500KB/s"])
    Thread.sleep(forTimeInterval: 1)
    killed.signal(SIGKILL)
    _ = try killed.wait()
    try push.snapshot()
    #expect(try push.here(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try push.names(push.world.repository).count == 1)
  }

  @Test("two runs at once: the second neither waits for the first one's push nor fails")
  func twoRuns() throws {
    let push = try world("[remote.nas]\nurl = \"FAR\"\nlimit_rate = \"1MB/s\"", retention: "keep_last = 5")
    try push.world.source.writeNoise("big", 2_000_000)
    let first = try RunningCommand(try treeringBinary(), ["run", "-c", push.place.root / "c.toml"])
    try push.waitUntil("it pushes") { try !push.far.names(".treering/pending").isEmpty }
    let second = try run(push)
    #expect(second.result == "made")
    #expect(try first.wait().status == 0)
    #expect(try !pushed(run(push)).isEmpty)
    #expect(try push.names(push.far).last == push.names(push.world.repository).last)
    #expect(try push.there(["verify"]).status == 0)
  }
}
