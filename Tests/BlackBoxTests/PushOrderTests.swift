import Foundation
import TestSupport
import Testing

/// The document of `push --all --json`.
private struct PushAllAnswer: Decodable {
  let dryRun: Bool
  let pushes: [PushAnswer]
  let lacking: [String]
  let expiredThere: [String]
  let there: Int
}

private struct PlanAnswer: Decodable {
  struct Snapshot: Decodable {
    let snapshot: String
    let expires: Bool
  }
  let snapshots: [Snapshot]
}

/// Snapshots are pushed in another order than that in which they were taken.
@Suite("push: the order of snapshots", .waits)
struct PushOrderTests {
  private static let formatter: DateFormatter = {
    let formatter = DateFormatter()
    formatter.timeZone = .gmt
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.dateFormat = "yyyy-MM-dd HH:mm:ss"
    return formatter
  }()

  /// Takes a snapshot as if some days had to pass until now.
  private func take(_ push: PushWorld, daysAgo: Double, in repository: ByteString? = nil) throws -> ByteString {
    let date = Date().addingTimeInterval(-daysAgo * 86_400)
    try push.world.source.write("file", "\(daysAgo)")
    try push.world.settle()
    let result = try runCommand(
      "faketime",
      [
        "-f", ByteString(Self.formatter.string(from: date)), try treeringBinary(), "snapshot", push.world.source.root,
        "--json", "-r", repository ?? push.world.repository.root,
      ], environment: fakedClock)
    return ByteString(try result.decoded(SnapshotAnswer.self).snapshot)
  }

  /// A world with a snapshot of each of six days, oldest first.
  private func history(isLocal: Bool) throws -> (push: PushWorld, names: [ByteString]) {
    let push = try PushWorld("push-order")
    if isLocal { (push.ssh, push.address) = ("", push.far.root) }
    return (push, try (1...6).reversed().map { try take(push, daysAgo: Double($0)) })
  }

  private func list(_ push: PushWorld) throws -> [ByteString] {
    try push.there(["list", "--json"]).decoded([ListAnswer].self).map { ByteString($0.name) }
  }

  private func latest(_ push: PushWorld) throws -> ByteString {
    try tool("readlink", ["-n", push.far.root / "latest"]).withUnsafeBytes { ByteString(Array($0)) }
  }

  @Test("an older snapshot takes no newer one's place, and sets go by the time taken", arguments: [true, false])
  func anyOrder(isLocal: Bool) throws {
    let (push, names) = try history(isLocal: isLocal)
    var arrived: [ByteString] = []
    for index in [3, 5, 0, 4, 1, 2] {
      let answer = try push.push([names[index]])
      arrived.append(names[index])
      let newest = arrived.max { $0.text < $1.text }!
      #expect(answer.newestThere == (newest == names[index] ? nil : newest.text), "\(answer)")
      #expect(try latest(push) == newest)
      #expect(try list(push) == arrived.sorted { $0.text < $1.text })
    }
    let said = try push.run([names[0], "-v"])
    #expect(said.outputText.contains("; the newest there stays \(names[5])"), "\(said.outputText)")
    // Restore and status mean the newest one.
    let to = push.place.root / "restored"
    #expect(try push.there(["restore", "latest", "--to", to]).status == 0)
    #expect(try Tree(to / push.world.source.root).text("file") == "1.0")
    let status = try push.there(["status"])
    #expect(status.outputText.contains(names[5].text) && status.outputText.contains("1 d 0 h"), "\(status.outputText)")
    // At the client, the newest one there stays known.
    #expect(try push.here(["status"]).outputText.contains(names[5].text))
    try push.expectSame()
    #expect(try push.there(["rotate", "--keep", "daily=3"]).status == 0)
    #expect(try push.names(push.far) == Array(names[3...]))
    #expect(try list(push) == Array(names[3...]))
    #expect(try push.there(["ls", "daily.2"]).status == 0)
  }

  @Test("an append-only server goes by arrival: no client dates what stays")
  func appendOnly() throws {
    let (push, names) = try history(isLocal: false)
    let serve = ByteString("\(try treeringBinary()) serve --append-only")
    for index in [5, 0, 1] { try push.push([names[index]], remoteCommand: serve.text) }
    #expect(try latest(push) == names[5])
    #expect(try list(push) == [names[0], names[1], names[5]])
    let plan = try push.there(["rotate", "-n", "--json", "--keep", "daily=3"]).decoded(PlanAnswer.self)
    // The first arrival is the day's member and the newest one; the last one is the newest that arrived.
    #expect(plan.snapshots.filter(\.expires).map(\.snapshot) == [names[0].text], "\(plan)")
  }

  @Test("a snapshot from the future is the newest until the next one comes, and takes the place of none")
  func future() throws {
    let push = try PushWorld("push-order")
    push.provesUnchanged = false
    let honest = try take(push, daysAgo: 2)
    try push.push()
    let thief = push.place.root / "thief"
    #expect(try runCommand(treeringBinary(), ["init", thief]).status == 0)
    let foreign = try take(push, daysAgo: -3000, in: thief)
    let sent = try runCommand(
      treeringBinary(),
      [
        "push", push.address, "-r", thief, "--ssh", ByteString(push.ssh), "--remote-command",
        try treeringBinary() + " serve",
      ])
    #expect(sent.status == 0, "\(sent.errorText)")
    #expect(try latest(push) == foreign)
    try tool("sleep", ["1.1"])
    let next = try take(push, daysAgo: 0)
    #expect(try push.push().newestThere == nil)
    #expect(try latest(push) == next)
    #expect(try list(push) == [honest, foreign, next])
    #expect(try push.there(["status", "--max-age", "1d"]).status == 0)
    #expect(try push.there(["rotate", "--keep", "daily=9"]).status == 0)
    #expect(try list(push).contains(honest) && list(push).contains(next))
  }

  @Test("the client's clock was set back: the remote keeps its order")
  func clockSetBack() throws {
    let push = try PushWorld("push-order")
    var names: [ByteString] = []
    for days in [4, 3, 9, 8, 2] as [Double] { names.append(try take(push, daysAgo: days)) }
    for index in [4, 2, 0, 3, 1] { try push.push([names[index]]) }
    #expect(try list(push) == names)
    #expect(try latest(push) == names[4])
  }

  @Test("--all sends what the remote never had, the oldest first", arguments: [true, false])
  func all(isLocal: Bool) throws {
    let (push, names) = try history(isLocal: isLocal)
    try push.push([names[2]])
    let dry = try push.run(["--all", "-n"])
    #expect(dry.status == 0 && dry.outputLines.count == 6, "\(dry.outputText)")
    #expect(dry.outputLines.first == "would send \(names[0]) to \(push.shownAddress)", "\(dry.outputText)")
    let plan = try push.run(["--all", "-n", "--json"]).decoded(PushAllAnswer.self)
    #expect(plan.dryRun && plan.lacking.count == 5 && plan.there == 1 && plan.pushes.isEmpty)
    #expect(try push.names(push.far) == [names[2]])

    let sent = try push.run(["--all", "--json"])
    #expect([0, 1].contains(sent.status), "\(sent.errorText)")
    let answer = try sent.decoded(PushAllAnswer.self)
    #expect(answer.pushes.map(\.snapshot) == [0, 1, 3, 4, 5].map { names[$0].text } && answer.lacking == [])
    #expect(answer.pushes.allSatisfy { $0.result == "sent" })
    try push.expectSame()
    #expect(try list(push) == names)

    // What expired there is not sent again, but by its name.
    _ = try push.there(["release"])
    #expect(try push.there(["rotate", "--keep", "daily=2"]).status == 0)
    #expect(try push.names(push.far) == Array(names[4...]))
    let again = try push.run(["--all", "--json"]).decoded(PushAllAnswer.self)
    #expect(again.pushes.isEmpty && again.expiredThere == names[..<4].map(\.text) && again.there == 2, "\(again)")
    #expect(try push.push([names[1]]).result == "sent")
    #expect(try push.run(["latest", "--all"]).status == 2)
    // A new repository there had none.
    try tool("rm", ["-rf", push.far.root])
    #expect(try runCommand(treeringBinary(), ["init", push.far.root]).status == 0)
    #expect(try push.run(["--all"]).status < 2)
    #expect(try list(push) == names)
  }

  @Test("--all that was cut off goes on, and one that is damaged here is named")
  func resumed() throws {
    let push = try PushWorld("push-order")
    try push.world.source.writeNoise("noise", 400_000)
    var names = [try take(push, daysAgo: 3)]
    try push.world.source.writeNoise("more", 400_000, seed: 2)
    names.append(try take(push, daysAgo: 2))
    names.append(try take(push, daysAgo: 1))
    let cut = try push.run(["--all", "--json"], ssh: push.cut(after: 300_000))
    #expect(cut.status == 7, "\(cut.errorText)")
    #expect(try cut.decoded(PushAllAnswer.self).lacking.count == 3)
    #expect(try push.names(push.far) == [])
    let rest = try push.run(["--all", "--json"])
    #expect(rest.status < 2, "\(rest.errorText)")
    let answer = try rest.decoded(PushAllAnswer.self)
    #expect(answer.pushes.count == 3 && answer.pushes[0].bytesSent < 300_000, "\(answer)")
    try push.expectSame()

    names.append(try take(push, daysAgo: 0.5))
    names.append(try take(push, daysAgo: 0))
    push.provesUnchanged = false
    let catalog: ByteString = ".treering/catalogs/" + names[3] + ".catalog"
    try push.world.repository.overwrite(catalog, at: 40, bytes: Array(repeating: 0x5A, count: 64))
    let damaged = try push.run(["--all", "--json"])
    #expect(damaged.status == 6 && damaged.errorText.contains(names[3].text), "\(damaged.errorText)")
    #expect(try list(push).last == names[4])
  }

  @Test("--all over ssh(1), to a forced command that only appends")
  func overSSH() throws {
    let server = try SSHServer()
    let (push, names) = try history(isLocal: false)
    let key = try server.makeKey("append")
    try server.authorize(
      key, for: "root", options: "restrict,command=\"treering serve -r \(push.far.root) --append-only\"")
    let url = ByteString("ssh://root@127.0.0.1:\(server.port)\(push.far.root)")
    let sent = try push.run(["--all", "--json"], ssh: server.sshCommand(key, hasPort: false), to: url)
    #expect(sent.status < 2, "\(sent.errorText)")
    #expect(try sent.decoded(PushAllAnswer.self).pushes.count == 6)
    #expect(try list(push) == names && latest(push) == names[5])
  }

  @Test("one remote has one name, however its path is written, and a disk in common is told")
  func oneName() throws {
    let (push, names) = try history(isLocal: true)
    try push.place.makeSymbolicLink("link", to: push.far.root)
    let first = try push.run(["-v", names[0]], to: push.far.root + "/")
    #expect(first.outputText.contains("on the same disk as the repository: not a second medium"))
    for (index, path) in [push.far.root, push.place.root + "//./repository", push.place.root / "link"].enumerated() {
      let next = try push.run(["-v", names[index + 1]], to: path)
      #expect(next.status < 2 && !next.outputText.contains("second medium"), "\(next.outputText)")
    }
    let script = """
      import json, sys
      state = json.load(open(sys.argv[1]))
      remote, = state["remotes"]
      assert remote["remote"] == sys.argv[2] and remote["on_same_disk"] is True, remote
      assert [n for n in state["notes"] if "not a second medium" in n], state["notes"]
      """
    try push.place.write("json", push.here(["status", "--json"]).outputText)
    try tool("python3", ["-c", ByteString(script), push.place.root / "json", ByteString(push.shownAddress)])
  }
}
