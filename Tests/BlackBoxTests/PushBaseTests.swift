import Foundation
import TestSupport
import Testing

/// What the remote has of the base may be damaged, and either repository may have let it expire.
@Suite("push: the base", .waits)
struct PushBaseTests {
  private static let damages: [ByteString] = [
    // Other bytes, the same size and time.
    "cp -p \"$f\" /tmp/ref.$$; printf XXXX | dd of=\"$f\" bs=1 seek=50000 conv=notrunc status=none; "
      + "touch -r /tmp/ref.$$ \"$f\"; rm /tmp/ref.$$",
    "truncate -s 60000 \"$f\"", "rm \"$f\"", "rm \"$f\"; mkdir \"$f\"", "rm \"$f\"; ln -s /etc/passwd \"$f\"",
    "rm -r \"$d\"", "rm -r \"$d\"; ln -s /etc \"$d\"", "rm -r \"$d\"; echo x > \"$d\"",
  ]

  private static let edits: [ByteString] = [
    "printf changed | dd of=d/file bs=1 seek=90000 conv=notrunc status=none", "chmod 640 d/file; chown 3:4 d/file",
    "mv d/file d/renamed", "mv d e", "mv d/file moved; printf more >> moved", "ln d/file link", "cp -p d/file copy",
    "cat d/file d/file > x; mv x d/file",
  ]

  @Test("a base's file that cannot be read here any more is done without", arguments: [1, 2, 30])
  func unreadable(nth: Int) throws {
    let push = try PushWorld("push-unreadable")
    let source = push.world.source
    try source.writeNoise("large", 8 << 20)
    let first = try push.snapshot()
    try push.push()
    try tool("sh", ["-c", "printf changed | dd of=large bs=1 seek=5000000 conv=notrunc status=none"], in: source.root)
    try push.snapshot()
    let stored = push.world.repository.root / first.name / "localhost" / source.root / "large"
    let result = try runCommand(
      "strace",
      [
        "-qq", "-o", "/dev/null", "-P", stored, "-e", "trace=pread64",
        "-e", ByteString("inject=pread64:error=EIO:when=\(nth)+"), try treeringBinary(),
      ] + push.words(["--json"]))
    #expect(result.status == 1, "\(result.errorText)")
    #expect(result.errorText.contains("it is damaged in the snapshot \(first.name) here"), "\(result.errorText)")
    #expect(result.errorText.contains("/large\""), "\(result.errorText)")
    // What was compared before it is not sent.
    let sent = try result.decoded(PushAnswer.self).bytesSent
    #expect(nth < 30 ? sent > 7 << 20 : sent < 7 << 20, "\(sent)")
    _ = try push.there(["release"])
    try push.expectSame()
  }

  @Test(
    "a file of the snapshot itself that cannot be read here is named, whole or as a delta", arguments: [false, true])
  func unreadableItself(hasBase: Bool) throws {
    let push = try PushWorld("push-unreadable-itself")
    let source = push.world.source
    try source.writeNoise("large", 8 << 20)
    var taken = try push.snapshot()
    if hasBase {
      try push.push()
      try tool(
        "sh", ["-c", "printf changed | dd of=large bs=1 seek=5000000 conv=notrunc status=none"], in: source.root)
      taken = try push.snapshot()
    }
    let before = try push.names(push.far)
    let stored = push.world.repository.root / taken.name / "localhost" / source.root / "large"
    let result = try runCommand(
      "strace",
      [
        "-qq", "-o", "/dev/null", "-P", stored, "-e", "trace=pread64", "-e", "inject=pread64:error=EIO:when=3+",
        try treeringBinary(),
      ] + push.words([]))
    #expect(result.status == 6, "\(result.errorText)")
    #expect(
      result.errorText.contains("the snapshot \(taken.name) is damaged here: \(source.root.text)/large: ")
        && result.errorText.contains("treering verify"), "\(result.errorText)")
    #expect(try push.names(push.far) == before)
    try push.push()
    try push.expectSame()
  }

  @Test("damage of a stored file is made good by a push that needs it", arguments: 0..<damages.count)
  func damaged(number: Int) throws {
    let edits = isExhaustive ? Self.edits : [Self.edits[number % Self.edits.count]]
    for edit in edits {
      let push = try PushWorld("push-damage")
      // What is damaged is not what it was.
      push.provesUnchanged = false
      let source = push.world.source
      try source.makeDirectory("d")
      try source.writeNoise("d/file", 200_000)
      try source.write("d/other", "other")
      try source.write("away", "away")
      let first = try push.snapshot()
      try push.push()
      let stored = push.far.root / first.name / "localhost" / source.root
      let script = "set -e; d='" + stored + "/d'; f=\"$d/file\"; " + Self.damages[number]
      try tool("sh", ["-c", script])
      try tool("sh", ["-c", edit], in: source.root)
      let second = try push.snapshot()
      let result = try push.run(["--json"])
      #expect(result.status == (result.errorText.isEmpty ? 0 : 1), "\(edit): \(result.errorText)")
      let different = try push.different(second.name)
      // What keeps its path is linked without a look, and what was renamed without a look at its bytes.
      let isKept = edit.bytes.starts(with: "ln".utf8) || edit.bytes.starts(with: "cp".utf8)
      let isRenamed = edit.bytes.starts(with: "mv d".utf8) && !edit.bytes.contains(UInt8(ascii: ";"))
      if number >= 5 || !isKept && (number > 0 || !isRenamed) {
        #expect(different == [], "\(edit)")
        #expect(!result.errorText.isEmpty, "\(edit): nobody is told")
      }
      #expect(try push.there(["verify"]).status == 6)
    }
  }

  private func world(_ byteCount: Int = 8 << 20) throws -> PushWorld {
    let push = try PushWorld("push-base")
    push.provesUnchanged = false
    try push.world.source.writeNoise("big", byteCount)
    try push.world.source.write("small", "small")
    try push.snapshot()
    try push.push()
    try push.world.source.overwrite("big", at: 3_000_001, bytes: Array("x".utf8))
    try push.snapshot()
    return push
  }

  @Test("only the catalog of the base is left here: signatures come from the server, and little is sent")
  func expiredHere() throws {
    let push = try world()
    #expect(try push.here(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try push.names(push.world.repository).count == 1)
    let answer = try push.push()
    #expect(answer.base != nil)
    // The block that changed, and the signature.
    #expect(answer.bytesSent < 40_000, "\(answer)")
    #expect(answer.bytesReceived < 200_000, "\(answer)")
    let newest = try #require(try push.names(push.far).last)
    #expect(try push.different(newest) == [])
    // And again, by the catalog that this push left.
    try push.world.source.rename("big", to: "renamed")
    try push.world.source.append("renamed", "end")
    try push.snapshot()
    #expect(try push.here(["rotate", "--keep-last", "1"]).status == 0)
    let again = try push.push()
    #expect(again.base == newest.text && again.bytesSent < 40_000, "\(again)")
    #expect(try push.there(["verify"]).status == 0)
    #expect(try push.names(push.far).count == 3)
  }

  @Test("the base is gone here, and the remote's file of it is damaged, or gone")
  func expiredHereDamagedThere() throws {
    let damages: [ByteString] = [
      "rm big", "truncate -s 100 big", "dd if=/dev/zero of=big bs=1M seek=2 count=1 conv=notrunc status=none",
    ]
    for damage in damages {
      let push = try world(4 << 20)
      #expect(try push.here(["rotate", "--keep-last", "1"]).status == 0)
      let first = try push.names(push.far)[0]
      try tool("sh", ["-c", damage], in: push.far.root / first / "localhost" / push.world.source.root)
      let result = try push.run()
      #expect(result.status == (result.errorText.contains("warning: ") ? 1 : 0), "\(result.errorText)")
      let newest = try #require(try push.names(push.far).last)
      #expect(newest != first)
      #expect(try push.different(newest) == [], "\(damage)")
      // Other bytes of the same size make another signature, and nothing else.
      #expect(result.errorText.contains("big") != damage.hasPrefix("dd"), "\(damage): \(result.errorText)")
    }
  }

  @Test("the remote let the base expire: an older one serves, or all is sent")
  func expiredThere() throws {
    let push = try world(2 << 20)
    try push.push()
    try push.world.source.write("small", "other")
    try push.snapshot()
    let names = try push.names(push.far)
    // The newer one is removed there.
    try tool("rm", ["-r", push.far.root / names[1], push.far.root / ".treering/catalogs" / (names[1] + ".catalog")])
    let older = try push.push()
    #expect(older.base == names[0].text && older.bytesSent < 10_000, "\(older)")
    try push.world.source.write("small", "another")
    try push.snapshot()
    for name in try push.names(push.far) {
      try tool("rm", ["-r", push.far.root / name, push.far.root / ".treering/catalogs" / (name + ".catalog")])
    }
    let all = try push.push()
    #expect(all.base == nil && all.bytesSent > 2 << 20)
    try push.expectSame()
  }

  @Test("both let it expire; then nothing is in common, and all is sent")
  func expiredBoth() throws {
    let push = try world(2 << 20)
    #expect(try push.here(["rotate", "--keep-last", "1"]).status == 0)
    let own = try Tree(making: push.place.root / "own")
    try own.write("file", "text")
    #expect(try push.there(["snapshot", own.root]).status == 0)
    #expect(try push.there(["rotate", "--keep-last", "1", "--no-spare"]).status == 0)
    for name in try push.names(push.far) where !name.hasPrefix("2026") && !name.hasPrefix("2027") {
      // A source's last good snapshot is kept.
      try tool("rm", ["-r", push.far.root / name, push.far.root / ".treering/catalogs" / (name + ".catalog")])
    }
    let all = try push.push()
    #expect(all.base == nil && all.bytesSent > 2 << 20, "\(all)")
    let newest = try #require(try push.names(push.far).last)
    #expect(try push.different(newest) == [])
  }

  @Test("the base's tree, or its catalog, is damaged here: the push is right all the same, or says so")
  func damagedHere() throws {
    let push = try world(1 << 20)
    let names = try push.names(push.world.repository)
    let old = push.world.repository.root / names[0] / "localhost" / push.world.source.root
    try tool("sh", ["-c", "printf YYYY | dd of=big bs=1 seek=200000 conv=notrunc status=none"], in: old)
    try push.push([], warns: false)
    let newest = try #require(try push.names(push.far).last)
    #expect(try push.different(newest) == [])
    // The snapshot that is pushed is damaged itself: that is said, and nothing is published.
    try push.world.source.writeNoise("more", 100_000, seed: 5)
    let third = try push.snapshot()
    let stored = push.world.repository.root / third.name / "localhost" / push.world.source.root
    try tool("sh", ["-c", "printf YYYY | dd of=more bs=1 seek=20000 conv=notrunc status=none"], in: stored)
    let before = try push.names(push.far)
    let result = try push.run()
    #expect(result.status == 6 && result.errorText.contains("more"), "\(result.errorText)")
    #expect(try push.names(push.far) == before)
    try tool("rm", [stored / "more"])
    #expect(try push.run().status == 6)
    #expect(try push.names(push.far) == before)
    #expect(try push.there(["verify"]).status == 0)
  }
}
