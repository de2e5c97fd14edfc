import Foundation
import TestSupport
import Testing

/// `snapshot` without a source, and what a snapshot of some of the sources must not stand for.
@Suite("snapshot: the configuration's sources, --hold", .waits)
struct ConfiguredSnapshotTests {
  private struct Listed: Decodable {
    let name: String
    let label: String
    let sources: [String]
    let sets: [String]
    let held: Bool
  }

  private let world: World
  private let home: Tree
  private let etc: Tree
  private var file: [ByteString] { ["-c", world.directory.path / "c.toml"] }

  init() throws {
    world = try World()
    world.provesOlderUnchanged = false
    home = try Tree(making: world.source.root / "home")
    etc = try Tree(making: world.source.root / "etc")
    try home.write("letter", "to ann")
    try home.write("scratch.tmp", "x")
    try etc.write("fstab", "disks")
    try configure()
  }

  private func configure(_ more: String = "") throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      label = "web01"
      [[source]]
      path = "\(home.root)"
      exclude = ["*.tmp"]
      [[source]]
      path = "\(etc.root)"
      [retention]
      hourly = 24
      daily = 7
      \(more)
      """)
  }

  private func list() throws -> [Listed] { try world.treering(["list", "--json"]).decoded() }

  @Test("without a source: the sources, the label and the rules of the configuration")
  func configured() throws {
    let result = try world.treering(["snapshot"] + file, inRepository: false)
    #expect(result.status == 0 && result.outputText == "", "\(result.errorText)")
    let row = try #require(try list().first)
    #expect(row.label == "web01" && Set(row.sources) == [home.root.text, etc.root.text] && !row.held)
    #expect(world.repository.exists("latest/web01" / home.root / "letter"))
    #expect(!world.repository.exists("latest/web01" / home.root / "scratch.tmp"))
    // It is what the run would have taken.
    #expect(
      try world.treering(["run", "--json"] + file, inRepository: false).decoded(RunAnswer.self).result == "not_due")
    // A source of its own has no rules of the configuration.
    #expect(try world.treering(["snapshot", home.root] + file, inRepository: false).status == 0)
    #expect(world.repository.exists("latest/web01" / home.root / "scratch.tmp"))
    #expect(try world.treering(["snapshot", "--label", "other"] + file, inRepository: false).status == 0)
    #expect(world.repository.exists("latest/other" / etc.root / "fstab"))
  }

  @Test("no configuration, no source in it, and rules that have no source are clear errors")
  func errors() throws {
    let none = try world.treering(
      ["snapshot"], environment: ["TREERING_CONFIG": (world.directory.path / "none.toml").text])
    #expect(none.status == 2 && none.errorText.contains("no source is named, and there is no configuration"))
    try Tree(world.directory.path).write("empty.toml", "repository = \"\(world.repository.root)\"\n")
    let empty = try world.treering(["snapshot", "-c", world.directory.path / "empty.toml"], inRepository: false)
    #expect(empty.status == 2 && empty.errorText.contains("names no source"), "\(empty.errorText)")
    let rule = try world.treering(["snapshot", "--exclude", "x"] + file, inRepository: false)
    #expect(rule.status == 2 && rule.errorText.contains("need a source"), "\(rule.errorText)")
    #expect(try world.snapshotNames() == [])
  }

  @Test("--hold holds the new snapshot with its reason, as hold does")
  func hold() throws {
    let result = try world.treering(["snapshot", "--hold", "before the upgrade"] + file, inRepository: false)
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try list().map(\.held) == [true])
    #expect(try world.treering(["list"]).outputText.contains("before the upgrade"))
    let name = try #require(try world.snapshotNames().first)
    #expect(try world.treering(["snapshot", home.root]).status == 0)
    #expect(try world.treering(["delete", "--yes", name]).status == 4)
    #expect(try world.treering(["release", name]).outputText == "released \(name)\n")
    #expect(try world.treering(["snapshot", "--hold"] + file, inRepository: false).status == 0)
    #expect(try world.treering(["snapshot", "--hold", home.root]).status == 0)
    #expect(try list().map(\.held).suffix(2) == [true, true])
  }

  @Test("a snapshot of some of the sources stands for the others neither in a run, nor in a set, nor in a push")
  func partial() throws {
    let far = world.directory.path / "far"
    #expect(try world.treering(["init", far], inRepository: false).status == 0)
    try configure("[remote.far]\nurl = \"\(far)\"")
    #expect(try world.treering(["snapshot", home.root] + file, inRepository: false).status == 0)
    let first = try world.treering(["run", "--json"] + file, inRepository: false).decoded(RunAnswer.self)
    #expect(first.result == "made")
    let whole = try #require(try list().last)
    // A part after the whole: the push and the sets keep to the whole.
    try home.write("letter", "to bob")
    #expect(try world.treering(["snapshot", home.root] + file, inRepository: false).status == 0)
    let second = try world.treering(["run", "--json"] + file, inRepository: false).decoded(RunAnswer.self)
    #expect(second.result == "not_due" && second.steps.isEmpty, "\(second.steps)")
    let pushed = try world.treering(["push", "far", "--json"] + file, inRepository: false)
    #expect(pushed.outputText.contains("\"there\"") && pushed.outputText.contains(whole.name), "\(pushed.outputText)")
    let rows = try list()
    #expect(rows.count == 3)
    #expect(rows[1].sets.contains("hourly.0") && rows[1].sets.contains("daily.0"), "\(rows)")
    #expect(try world.treering(["status"] + file, inRepository: false).status == 0)
  }
}
