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
    #expect(try audit().copies == ["this machine", push.world.repository.root.text])
    // A directory of that name in the working directory is not meant.
    _ = try runCommand(try treeringBinary(), ["init", push.place.root / "nas"])
    _ = try run(["verify", "-r", "nas"], status: 0)
    let all = try audit()
    #expect(all.copies == ["this machine", push.world.repository.root.text, "nas"] && all.offSite == ["nas"])
    #expect(all.media == 2 && all.facts("media", "short").count == 1)
    #expect(
      all.facts("copies", "short") == [
        "mirror: a plain copy without history: an error or an attack overwrites it, so it is no backup"
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

  @Test("a file system in no source is a blind spot, unless it is ignored; a loop device is on its file's disk")
  func fileSystems() throws {
    let image = push.place.root / "image"
    let mounted = push.place.root / "mounted"
    _ = try run(["run"], status: 0)
    let script = """
      truncate -s 8M "$1"; mkfs.ext4 -q "$1"; mkdir "$2"; mount -o loop "$1" "$2"; shift 2
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
