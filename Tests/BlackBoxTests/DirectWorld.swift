import Foundation
import TestSupport
import Testing

extension PushWorld {
  /// The cache of this machine.
  var cache: ByteString { place.root / "cache" }

  /// The command line of a snapshot without a local repository.
  func directWords(
    _ options: [ByteString] = [], of sources: [ByteString]? = nil, ssh other: String? = nil,
    to address: ByteString? = nil
  ) throws -> [ByteString] {
    ["snapshot"] + (sources ?? [world.source.root]) + [
      "-r", address ?? self.address, "--ssh", ByteString(other ?? ssh),
    ]
      + ["--remote-command", ByteString("\(try treeringBinary()) serve"), "--json"] + options
  }

  /// Takes a snapshot without a local repository, to its end.
  func runDirect(
    _ options: [ByteString] = [], of sources: [ByteString]? = nil, ssh: String? = nil, to address: ByteString? = nil,
    at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let before = try fingerprints()
    let result = try runCommand(
      try treeringBinary(), try directWords(options, of: sources, ssh: ssh, to: address), in: world.directory.path,
      environment: ["XDG_CACHE_HOME": cache.text])
    try expectUnchanged(before, at: location)
    return result
  }

  /// Takes a snapshot without a local repository, which must end with `status`.
  @discardableResult
  func direct(
    _ options: [ByteString] = [], of sources: [ByteString]? = nil, ssh: String? = nil, to address: ByteString? = nil,
    status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> SnapshotAnswer {
    try world.settle()
    let result = try runDirect(options, of: sources, ssh: ssh, to: address, at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return try result.decoded()
  }

  /// The source's place in a snapshot of the remote.
  func farTree(_ answer: SnapshotAnswer, label: ByteString = "localhost") -> Tree {
    Tree(far.root / answer.name / label / world.source.root)
  }

  /// Requires that the remote's snapshot is the source, by every oracle, and that the remote is sound.
  func expectFaithful(_ answer: SnapshotAnswer, at location: SourceLocation = #_sourceLocation) throws {
    #expect(try differences(world.source.root, farTree(answer).root) == [], sourceLocation: location)
    try expectSound(at: location)
  }
}
