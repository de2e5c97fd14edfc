import Foundation
import TestSupport
import Testing

/// Facts about copies, media, places and blind spots, from a real repository and its remotes.
@Suite("audit", .waits)
struct AuditTests {
  private struct Answer: Decodable {
    struct Finding: Decodable {
      let topic: String
      let state: String
      let fact: String
      let source: String
      let remedy: String?
    }
    let isWell: Bool
    let copies: [String]
    let media: Int
    let offSite: [String]
    let findings: [Finding]

    func facts(_ topic: String, _ state: String) -> [String] {
      findings.filter { $0.topic == topic && $0.state == state }.map(\.fact)
    }
  }

  private let push: PushWorld

  init() throws {
    push = try PushWorld("audit")
    push.provesUnchanged = false
    push.world.provesOlderUnchanged = false
    try push.world.source.write("file", "text")
    try push.place.write(
      "c.toml",
      """
      repository = "\(push.world.repository.root)"
      [[source]]
      path = "\(push.world.source.root)"
      [objectives]
      rpo = "2h"
      [retention]
      daily = 7
      [audit]
      location = "office"
      [remote.nas]
      url = "\(push.address)"
      ssh = "\(push.ssh)"
      remote_command = "\(try treeringBinary()) serve"
      location = "Berlin"
      [[sync]]
      name = "mirror"
      """)
  }

  /// Runs a command in a network of its own, where no other server listens.
  private func run(_ command: [ByteString], status: Int32, at location: SourceLocation = #_sourceLocation) throws
    -> CommandResult
  {
    let result = try runCommand(
      "unshare", ["-n", try treeringBinary()] + command + ["-c", push.place.root / "c.toml"], in: push.place.root)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private func audit() throws -> Answer { try run(["audit", "--json"], status: 1).decoded() }

  @Test("a copy counts after it was verified, here and at a remote; damage there forgets it")
  func counting() throws {
    _ = try run(["run"], status: 0)
    #expect(try audit().copies == ["this machine"])
    _ = try run(["verify", "-r", push.world.repository.root], status: 0)
    // Both are on one disk.
    #expect(try audit().copies == ["this machine"])
    #expect(try audit().facts("copies", "well").contains { $0.contains("1 snapshot verified since ") })
    // A directory of that name in the working directory is not meant.
    _ = try runCommand(try treeringBinary(), ["init", push.place.root / "nas"])
    _ = try run(["verify", "-r", "nas"], status: 0)
    let all = try audit()
    #expect(all.copies == ["this machine", "nas"] && all.offSite == ["nas"])
    #expect(all.media == 2 && all.facts("media", "short").count == 1)
    #expect(
      all.facts("copies", "short") == [
        "mirror: a plain copy without history: an error or an attack overwrites it, so it is no backup",
        "2 copies count, 3 wanted",
      ])
    #expect(all.facts("objectives", "well").count == 1)

    let stored = push.far.root + "/latest/localhost" + push.world.source.root / "file"
    try Data("TEXT".utf8).write(to: URL(fileURLWithPath: stored.text))
    _ = try run(["verify", "-r", "nas"], status: 6)
    #expect(try audit().facts("copies", "short").contains { $0.hasPrefix("nas: it was never verified as a whole") })
  }

  @Test("a source that was never saved, a failed push and the starter are named")
  func gaps() throws {
    _ = try run(["run"], status: 0)
    let edited = try String(contentsOfFile: (push.place.root / "c.toml").text, encoding: .utf8)
      .replacing("[objectives]", with: "[[source]]\npath = \"\(push.place.root)\"\n[objectives]")
    try push.place.write("c.toml", edited)
    let found = try audit()
    #expect(found.facts("objectives", "short") == ["\(push.place.root): no good copy"])
    #expect(found.facts("copies", "short").contains { $0.contains("its newest snapshot lacks \(push.place.root)") })
    for finding in found.findings where finding.state == "short" { #expect(finding.remedy != nil, "\(finding)") }
  }

  @Test("the page fits 80 columns, and the history and the metrics have the result")
  func page() throws {
    _ = try run(["run"], status: 0)
    let page = try run(["audit"], status: 1)
    for line in page.outputText.split(separator: "\n") where !line.contains("/") { #expect(line.count <= 80) }
    for title in ["COPIES", "MEDIA", "ELSEWHERE", "OBJECTIVES", "AUTOMATION", "BLIND SPOTS", "NOT MEASURED"] {
      #expect(page.outputText.contains("\n\(title)\n"))
    }
    let metrics = try run(["status", "--prometheus"], status: 0).outputText
    #expect(metrics.contains("treering_audit_short{") && metrics.contains("treering_last_audit_timestamp_seconds{"))
    // The audit is no run: status does not report its exit status.
    #expect(try run(["status"], status: 0).errorText == "")
  }

  private func edit(_ text: String, into new: String) throws {
    let path = (push.place.root / "c.toml").text
    let edited = try String(contentsOfFile: path, encoding: .utf8).replacing(text, with: new)
    try push.place.write("c.toml", edited)
  }

  @Test("nothing falls short: three copies, one elsewhere, a job, a notice; without the job, something does")
  func allWell() throws {
    let second = push.place.root / "second"
    _ = try runCommand(try treeringBinary(), ["init", second])
    try edit(
      "[[sync]]\nname = \"mirror\"",
      into: """
        [remote.second]
        url = "ssh://other\(second)"
        ssh = "\(push.ssh)"
        remote_command = "\(try treeringBinary()) serve"
        location = "Paris"
        [notify.command]
        command = "/bin/true"
        """)
    try edit("location = \"office\"", into: "location = \"office\"\nignore = [\"/\"]")
    let configuration = push.place.root / "c.toml"
    func script(_ text: String) throws -> CommandResult {
      try runCommand(
        "unshare", ["-mn", "sh", "-ec", ByteString(text), try treeringBinary(), configuration], in: push.place.root)
    }
    let run = try script("export SYSTEMD_EXEC_PID=$$; exec \"$0\" run -c \"$1\"")
    #expect(run.status == 0, "\(run.errorText)")
    for remote in ["nas", "second"] as [ByteString] { _ = try self.run(["verify", "-r", remote], status: 0) }
    _ = try self.run(["verify", "-r", push.world.repository.root], status: 0)
    let audit = """
      mount -t tmpfs tmpfs /etc/cron.d
      printf '7 * * * * root treering run -c %s\\n' "$JOB" > /etc/cron.d/treering
      exec "$0" audit --json -c "$1"
      """
    let well = try script("JOB=$1; " + audit)
    let answer: Answer = try well.decoded()
    #expect(well.status == 0 && answer.isWell, "\(answer.findings.filter { $0.state == "short" })")
    #expect(
      answer.copies == ["this machine", "nas", "second"] && answer.media == 3 && answer.offSite == ["nas", "second"])
    #expect(answer.facts("automation", "well").contains("started by /etc/cron.d/treering"))
    #expect(answer.facts("automation", "well").contains("the last notice was accepted"))
    let other = try script("JOB=/etc/other.toml; " + audit)
    #expect(other.status == 1)
    #expect(try other.decoded(Answer.self).facts("automation", "short") == ["no job starts treering run"])
  }

  @Test("newer data are not verified; a remote on this machine lacks them, and does not count when it is away")
  func newerData() throws {
    let disk = push.place.root / "disk"
    _ = try runCommand(try treeringBinary(), ["init", disk])
    try edit("[[sync]]\nname = \"mirror\"", into: "[remote.disk]\nurl = \"\(disk)\"")
    _ = try run(["run"], status: 0)
    _ = try run(["verify", "-r", push.world.repository.root], status: 0)
    _ = try run(["verify", "-r", "disk"], status: 0)
    try push.world.source.writeNoise("new", 5_000_000, seed: 1)
    _ = try run(["snapshot"], status: 0)
    let found = try audit().facts("copies", "well")
    #expect(found.contains { $0.hasSuffix(" by treering verify as root, and 1 newer one is not verified") }, "\(found)")
    #expect(found.contains { $0.hasPrefix("disk: ") && $0.contains("it lacks 1 new or changed file (") }, "\(found)")
    let page = try run(["audit", "--json"], status: 1).outputText
    #expect(page.contains("\"bytes_behind\" : 5000000") && page.contains("\"unverified_snapshots\" : 1"), "\(page)")
    try tool("mv", [disk, disk + "-away"])
    let away = try audit().facts("copies", "short")
    #expect(away.contains { $0.hasPrefix("disk: it is absent: ") }, "\(away)")
  }

  @Test("a server that only appends because it is asked to does not keep a thief from removing")
  func removal() throws {
    try edit(" serve\"", into: " serve --append-only\"")
    let answer: Answer = try run(["audit", "--probe", "--json"], status: 1).decoded()
    #expect(
      answer.facts("off_site", "short").contains { $0.hasPrefix("nas: this machine's key can remove data there") })
  }

  @Test("a server of SFTP is tried: an object of its own can be removed, or is kept by the file system")
  func sftp() throws {
    try push.place.write("sftp", "#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n", mode: 0o755)
    try push.place.write("password", "correct horse\n", mode: 0o600)
    let vault = try Tree(making: push.place.root / "vault")
    try edit(
      "[[sync]]\nname = \"mirror\"",
      into: """
        [remote.vault]
        url = "sftp://far/\(vault.root)"
        ssh = "\(push.place.root)/sftp"
        password_file = "\(push.place.root)/password"
        """)
    func answer() throws -> [String] {
      let answer: Answer = try run(["audit", "--probe", "--json"], status: 1).decoded()
      return answer.findings.filter { $0.fact.hasPrefix("vault: ") && $0.fact.contains("key can") }.map(\.fact)
    }
    #expect(try answer() == ["vault: this machine's key can remove data there, and so can a thief of it"])
    #expect(!vault.exists("treering-probe"))
    try vault.write("treering-probe", "")
    try tool("chattr", ["+i", vault.root / "treering-probe"])
    defer { _ = try? tool("chattr", ["-i", vault.root / "treering-probe"]) }
    #expect(try answer() == ["vault: this machine's key cannot remove data there"])
  }

  @Test("a rotation that never ran, a notice that never went, and data directories of databases are named")
  func unproved() throws {
    try edit("daily = 7", into: "keep_last = 1")
    try edit("[[sync]]", into: "[notify.webhook]\nurl = \"http://127.0.0.1:9/\"\non = \"failure\"\n[[sync]]")
    try tool("mkdir", ["-p", push.world.source.root / "pgdata/base/1", push.world.source.root / "mydata"])
    for name in ["pgdata/PG_VERSION", "pgdata/base/1/PG_VERSION", "mydata/ibdata1"] as [ByteString] {
      try push.world.source.write(name, "15")
    }
    _ = try run(["run"], status: 0)
    _ = try run(["snapshot"], status: 0)
    let found = try audit()
    #expect(
      found.facts("automation", "short").contains(
        "1 snapshot is kept longer than [retention] says; none ever expired"))
    #expect(found.facts("automation", "unknown").contains("the last run has no record of a notice"))
    let spots = found.facts("blind_spots", "short").filter { $0.hasPrefix(push.world.source.root.text) }
    #expect(spots.count == 2 && spots.allSatisfy { !$0.contains("/base/") }, "\(spots)")
  }

  @Test(
    "a file system in no source is a blind spot, unless it is ignored; a loop device is on its file's disk",
    arguments: ["ext4", "xfs", "btrfs"])
  func fileSystems(type: String) throws {
    let image = push.place.root / "image"
    let mounted = push.place.root / "mounted"
    _ = try run(["run"], status: 0)
    let script = """
      truncate -s 320M "$1"; mkfs.\(type) -q "$1" > /dev/null; mkdir "$2"; mount -o loop "$1" "$2"; shift 2
      "$@" audit --json -c c.toml; umount mounted
      """
    let result = try runCommand(
      "unshare", ["-mn", "sh", "-c", ByteString(script), "sh", image, mounted, try treeringBinary()],
      in: push.place.root)
    let found: Answer = try result.decoded()
    #expect(found.facts("blind_spots", "short").contains("the file system \(mounted) is in no source"))
  }

  @Test("the configuration must be that of the repository")
  func otherRepository() throws {
    let result = try run(["audit", "-r", push.far.root], status: 2)
    #expect(result.errorText.contains("is not of the repository"))
  }
}
