import Foundation
import TestSupport
import Testing

/// What `--json` means: answers on standard output, messages on standard error, every document an object with a version.
@Suite("--json", .waits)
struct JSONTests {
  private struct Versioned: Decodable { let version: Int }

  private let world: World
  private let file: ByteString

  init() throws {
    world = try World()
    world.provesOlderUnchanged = false
    file = world.source.root / "file"
    try world.source.write("file", "content")
    try world.source.write("other", "content")
    try Tree(world.directory.path).write(
      "c.toml",
      "repository = \"\(world.repository.root)\"\n[[source]]\npath = \"\(world.source.root)\"\n")
  }

  @Test("every document has a version, and so has every line of those that are lines")
  func versions() throws {
    let out = world.directory.path / "out"
    let configured: [ByteString] = ["-c", world.directory.path / "c.toml"]
    try world.snapshot()
    try world.source.write("file", "changed")
    let commands: [[ByteString]] = [
      ["snapshot", world.source.root], ["list"], ["ls", "latest", world.source.root], ["find", "file"],
      ["versions", file], ["verify"], ["rotate", "-n"], ["hold", "latest"], ["release", "latest"],
      ["restore", "latest", "--to", out], ["status"], ["run", "--now"] + configured, ["config", "check"] + configured,
      ["schedule", "--cron"], ["init", world.directory.path / "new"],
    ]
    for command in commands {
      let isAtRepository = !["init", "schedule"].contains(command[0]) && !command.contains("-c")
      let result = try world.treering(command + ["--json"], inRepository: isAtRepository)
      #expect(result.status == 0, "\(command): \(result.errorText)")
      if ["ls", "find"].contains(command[0]) {
        for line in result.outputLines {
          #expect(try snakeCaseDecoder().decode(Versioned.self, from: Data("\(line)".utf8)).version == 1)
        }
        #expect(!result.outputLines.isEmpty, "\(command)")
      } else {
        #expect(try result.decoded(Versioned.self).version == 1, "\(command)")
      }
    }
    struct Document: Decodable {
      struct Version: Decodable { let aspects: [String] }
      let versions: [Version]
    }
    let of: Document = try world.treering(["versions", file, "--json"]).decoded()
    #expect(of.versions.map(\.aspects) == [["content", "mtime"], []])
    let names = try world.snapshotNames()
    let diff = try world.treering(["diff", names[0], "latest", "--json"])
    let changes = try diff.decoded(DiffAnswer.self).changes
    #expect(try diff.decoded(Versioned.self).version == 1)
    #expect(changes.map(\.path).contains(file.text), "\(diff.outputText)")
  }

  @Test("an error is one object with message, path, hint and exit status")
  func errors() throws {
    let absent = world.directory.path / "absent"
    let cases: [([ByteString], Int32, path: ByteString?, hasHint: Bool)] = [
      (["list", "-r", absent], 2, absent, true),
      (["snapshot", absent, "-r", world.repository.root], 2, absent, false),
      (["list", "-r", world.source.root], 2, world.source.root, true),
      (["restore", "latest", "--to", absent, "-r", world.repository.root], 2, world.repository.root, false),
      (["run", "-c", absent], 2, absent, true),
      (["rotate", "--nonsense"], 2, nil, true), (["lst"], 2, nil, true), (["push"], 2, nil, true),
    ]
    for (arguments, status, path, hasHint) in cases {
      let result = try world.treering(arguments + ["--json"], inRepository: false)
      #expect(result.status == status && result.outputText == "", "\(arguments) \(result.outputText)")
      let messages = try result.messages()
      #expect(messages.count == 1, "\(result.errorText)")
      let error = try #require(messages.first)
      #expect(error.version == 1 && error.level == "error" && error.exitStatus == status)
      #expect(error.path == path?.text && !error.message.isEmpty && (!hasHint || error.hint != nil), "\(error)")
      // The same words as without the option.
      let words = try world.treering(arguments, inRepository: false).errorText
      #expect(words.hasPrefix("treering: \(error.message)"), "\(words)")
    }
    // All keys are always there.
    let line = try world.treering(["lst", "--json"], inRepository: false).errorText
    for key in ["version", "level", "message", "path", "hint", "exit_status"] { #expect(line.contains("\"\(key)\":")) }
  }

  @Test("warnings are objects, one a line, and the answer is there; a path that is no text has its bytes")
  func warnings() throws {
    let name = ByteString([0x66, 0xFF])
    try world.source.write(name, "x")
    try world.snapshot()
    let away: ByteString = world.directory.path / "away"
    let result = try world.treering(["snapshot", world.source.root, away, "--json"])
    #expect(result.status == 1)
    let warning = try #require(try result.messages().first)
    #expect(warning.level == "warning" && warning.path == away.text && warning.exitStatus == nil)
    #expect(try result.decoded(Versioned.self).version == 1)
    // Python's parser agrees, and has the bytes.
    try Tree(world.directory.path).write("none", "")
    let excluded = try world.treering([
      "snapshot", world.source.root, "--exclude", "f?", "--verbose", "--json",
    ])
    try Tree(world.directory.path).write("stderr", excluded.errorText)
    let script = """
      import base64, json, sys
      rows = [json.loads(line) for line in open(sys.argv[1])]
      assert [row["level"] for row in rows] == ["excluded"], rows
      assert base64.b64decode(rows[0]["path_base64"]).endswith(b"/f\\xff"), rows
      """
    try tool("python3", ["-c", ByteString(script), world.directory.path / "stderr"])
  }
}
