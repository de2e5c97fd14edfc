import Foundation
import TestSupport
import Testing

/// Random histories against a naive model: a copy of every moment by `cp -a`.
@Suite("Random histories", .waits)
struct RandomHistoryTests {
  /// Seeds that are tried every time; one that has failed stays here for ever.
  static let keptSeeds: [UInt64] = [1, 2, 3, 5, 8, 1_954_457_455]

  @Test(
    "every snapshot is the tree of its moment, and what was not touched is linked",
    arguments: sample(2, of: keptSeeds) + [UInt64.random(in: 100...UInt64(UInt32.max))])
  func history(seed: UInt64) throws {
    print("random history: seed \(seed)")
    let world = try World("history")
    // The copies prove it at the end, for all snapshots at once.
    world.provesOlderUnchanged = false
    let far = world.directory.path / "far"
    #expect(try world.treering(["init", far], inRepository: false).status == 0)
    let copies = try Tree(making: world.directory.path / "copies")
    var editor = RandomEditor(world.source, seed: seed)
    for _ in 0..<25 { try editor.edit() }
    var moments: [(copy: ByteString, snapshot: SnapshotAnswer)] = []
    var before: (source: TreeListing, stored: TreeListing)?

    for step in 0..<5 {
      if seed % 2 == 0 { try world.settle() }
      let threads: ByteString = seed % 3 == 0 ? "1" : "4"
      // Random edits may remove most of a small tree.
      let snapshot = try world.snapshot(of: nil, ["--threads", threads, "--accept-changes"])
      let copy = copies.root / ByteString("\(step)")
      try tool("cp", ["-a", world.source.root, copy])
      moments.append((copy, snapshot))
      #expect(try world.treering(["push", far]).status <= 1, "seed \(seed), step \(step)")

      let source = try TreeListing(world.source.root)
      let stored = try TreeListing(world.tree(of: snapshot).root)
      if let before {
        for path in source.paths where source.entries[path]!.kind != "d" {
          guard before.source.inodes[path] == source.inodes[path],
            before.source.changed[path] == source.changed[path]
          else { continue }
          #expect(
            before.stored.inodes[path] == stored.inodes[path],
            "\(path) was not touched, and is not linked (seed \(seed), step \(step))")
        }
      }
      before = (source, stored)
      for _ in 0..<8 { try editor.edit() }
    }

    for (step, moment) in moments.enumerated() {
      let different = try differences(moment.copy, world.tree(of: moment.snapshot).root)
      #expect(different == [], "seed \(seed), step \(step)")
    }
    for (old, new) in zip(moments, moments.dropFirst()) {
      try expectRightDiff(old, new, world, "seed \(seed)")
    }
    for moment in moments {
      let sent = Tree(far / moment.snapshot.name / "localhost" / world.source.root)
      #expect(try differences(moment.copy, sent.root) == [], "seed \(seed)")
    }
    if let path = try TreeListing(moments[0].copy).paths.last {
      #expect(try world.treering(["versions", world.source.root / path]).status == 0, "seed \(seed)")
    }
    #expect(try world.treering(["verify"]).status == 0, "seed \(seed)")
    #expect(try world.treering(["verify", "-r", far], inRepository: false).status == 0, "seed \(seed)")
    let to = world.directory.path / "restored"
    let last = try #require(moments.last)
    #expect(try world.treering(["restore", "latest", "--to", to]).status == 0, "seed \(seed)")
    #expect(try differences(last.copy, to / world.source.root) == [], "seed \(seed)")
  }

  /// The changes that `diff` names must lead from the paths of one copy to those of the other, and it must name every
  /// file with other bytes.
  private func expectRightDiff(
    _ old: (copy: ByteString, snapshot: SnapshotAnswer), _ new: (copy: ByteString, snapshot: SnapshotAnswer),
    _ world: World, _ comment: Comment
  ) throws {
    let answer: DiffAnswer = try world.treering(["diff", old.snapshot.name, new.snapshot.name, "--json"]).decoded()
    let (before, after) = (try TreeListing(old.copy), try TreeListing(new.copy))
    func paths(_ listing: TreeListing) -> Set<ByteString> {
      Set(listing.paths.map { $0.bytes.isEmpty ? world.source.root : world.source.root / $0 })
    }
    let applied = AppliedChanges(answer)
    #expect(applied.paths(after: paths(before)) == paths(after), comment)
    // A renamed entry is what it was, or changed in a way that is named; an added one is new.
    for (path, entry) in after.entries where !path.bytes.isEmpty {
      guard let source = applied.origin(of: world.source.root / path) else { continue }
      let relative = ByteString(source.bytes.dropFirst(world.source.root.bytes.count + 1))
      #expect(before.entries[relative]?.kind == entry.kind, "\(path): \(comment)")
    }
    let (hashesBefore, hashesAfter) = (try contentHashes(old.copy), try contentHashes(new.copy))
    for (path, hash) in hashesAfter {
      let full = world.source.root / path
      guard let source = applied.origin(of: full) else { continue }
      let relative = ByteString(source.bytes.dropFirst(world.source.root.bytes.count + 1))
      if hashesBefore[relative] != hash { #expect(applied.rewritten.contains(full), "\(path): \(comment)") }
    }
  }
}
