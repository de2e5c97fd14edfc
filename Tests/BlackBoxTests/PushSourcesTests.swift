import Foundation
import TestSupport
import Testing

/// A repository has snapshots of several sets of sources: each is compared with its own.
@Suite("push: several sets of sources", .waits)
struct PushSourcesTests {
  private func snapshot(_ push: PushWorld, _ source: Tree, _ more: [ByteString] = []) throws -> ByteString {
    Thread.sleep(forTimeInterval: 1.05)
    let result = try runCommand(
      try treeringBinary(), ["snapshot", source.root] + more + ["--json", "-r", push.world.repository.root])
    #expect(result.status == 0, "\(result.errorText)")
    return try result.decoded(SnapshotAnswer.self).name
  }

  private func world() throws -> (PushWorld, one: Tree, other: Tree) {
    let push = try PushWorld("push-sources")
    push.provesUnchanged = false
    let one = push.world.source
    for index in 0..<20 { try one.writeNoise(ByteString("f\(index)"), 100_000, seed: index) }
    let other = try Tree(making: push.world.directory.path / "other")
    for index in 0..<20 { try other.write(ByteString("x\(index)"), "\(index)") }
    return (push, one, other)
  }

  @Test("in turn: each push sends the changes alone, also when nothing but catalogs is left here")
  func inTurn() throws {
    let (push, one, other) = try world()
    var names: [ByteString: ByteString] = [:]
    for round in 0..<3 {
      for source in [one, other] {
        try source.write("new", "\(round)")
        let name = try snapshot(push, source)
        let answer = try push.push()
        if round > 0 {
          #expect(answer.base.map { ByteString($0) } == names[source.root])
          #expect(answer.bytesSent < 20_000, "\(answer)")
          #expect(answer.filesCopied == 1, "\(answer)")
        }
        names[source.root] = name
      }
      if round == 1 {
        // One of each source stays here, and neither is a base of the other's push.
        let kept = try push.world.repository.names(".treering/remotes")
        #expect(try push.world.repository.names(".treering/remotes/" + kept[0]).count == 4)
      }
    }
    try push.expectSame()
  }

  @Test("the base of a snapshot with a new source is the one that shares most of its sources")
  func sharesMost() throws {
    let (push, one, other) = try world()
    let third = try Tree(making: push.world.directory.path / "third")
    try third.write("t", "t")
    let both = try snapshot(push, one, [other.root])
    try push.push()
    _ = try snapshot(push, third)
    try push.push()
    _ = try snapshot(push, one, [other.root, third.root])
    let answer = try push.push()
    #expect(answer.base == both.text)
    #expect(answer.bytesSent < 20_000, "\(answer)")
    try push.expectSame()
  }

  @Test("the catalogs that are kept of a remote are few")
  func bounded() throws {
    let (push, one, _) = try world()
    for index in 0..<18 {
      let source = try Tree(making: one.root / ByteString("d\(index)"))
      try source.write("file", "\(index)")
      let result = try push.here(["snapshot", source.root])
      #expect(result.status == 0 || result.status == 1, "\(result.errorText)")
      try push.world.settle()
      Thread.sleep(forTimeInterval: 1.0)
      try push.push()
    }
    let kept = try push.world.repository.names(".treering/remotes")
    #expect(try push.world.repository.names(".treering/remotes/" + kept[0]).count == 18)
  }

  @Test(
    "a remote gets snapshots of the configuration's sources, and not what was taken by hand of some",
    arguments: [
      "", "set = \"daily\"",
    ])
  func configured(set: String) throws {
    let (push, one, other) = try world()
    let configuration = push.place.root / "c.toml"
    try push.place.write(
      "c.toml",
      "repository = \"\(push.world.repository.root)\"\n[[source]]\npath = \"\(one.root)\"\n"
        + "[[source]]\npath = \"\(other.root)\"\n[retention]\nhourly = 24\ndaily = 7\n"
        + "[remote.nas]\nurl = \"\(push.far.root)\"\n\(set)\n")
    // Of the day it is the first, and then the newest.
    _ = try snapshot(push, other)
    func command(_ words: [ByteString]) throws {
      Thread.sleep(forTimeInterval: 1.05)
      let result = try runCommand(try treeringBinary(), words + ["-c", configuration])
      #expect(result.status == 0, "\(result.errorText)")
    }
    try command(["run"])
    let whole = try #require(try push.names(push.world.repository).last)
    _ = try snapshot(push, other)
    try command(["run"])
    try command(["push", "nas"])
    #expect(try push.names(push.far) == [whole])
    try push.expectSame([whole])
  }
}
