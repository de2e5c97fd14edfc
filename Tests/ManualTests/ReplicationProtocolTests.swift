import Foundation
import TestSupport
import Testing

/// treering-replication.7 against a client that was written from the page alone.
@Suite struct ReplicationProtocolTests {
  @Test("an independent client pushes and reads", arguments: [1, 2])
  func anIndependentClientPushesAndReads(
    version: Int
  ) throws {
    _ = "zstd"
    let scratch = try Scratch()
    let treering = try Tools.treering()
    let repository = scratch.path("repository")
    _ = try Tools.succeed(treering, ["init", repository])
    let client = Tools.package.appending(path: "Tests/ManualTests/push_snapshot.py").path
    let ended = try Tools.run(
      "python3",
      [client, "--version", "\(version)", repository, treering, "serve", "--append-only", "--timeout", "1m"])
    try #require(ended.status == 0, "\(ended.errorText)")
    let lines = ended.text.split(separator: "\n").map(String.init)
    // New, its number, what was linked and what was made; then the same again; then five numbers of verify.
    #expect(
      lines.dropFirst() == [
        "published 1 1 0 \(version >= 2 ? 4 : 3)", "published 1 2 \(version >= 2 ? 3 : 2) 1", "published 0 2 0 0",
        version >= 2 ? "verified 0 0 5 14 140033" : "verified 0 0 4 12 140029",
      ] + (version >= 2 ? ["refused"] : []))
    let verified = try Tools.run(treering, ["verify", "-r", repository])
    #expect(verified.status == 0, "\(verified.text)")
  }
}
