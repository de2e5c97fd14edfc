import Catalog
import Engine
import Model
import Repository
import Testing

@testable import Replication

@Suite struct HonestTests {
  @Test("a push over memory publishes the snapshot")
  func aPushOverMemoryPublishesTheSnapshot() throws {
    let world = try World()
    let result = try world.pushHonestly(world.newer)
    #expect(result.isNew)
    #expect(try world.names() == ["2020-01-01T00-00-00Z", "2021-01-01T00-00-00Z"])
    let roots = try world.far.snapshots().snapshots.map(\.summary.root.digest)
    #expect(roots == [world.older.summary.root.digest, world.newer.summary.root.digest])
    let differences = try world.run("diff -r --no-dereference near/2021* far/2021* || true")
    #expect(differences.split(separator: "\n").allSatisfy { $0.contains("is a fifo") })
    // Twice is the same.
    #expect(try !world.pushHonestly(world.newer).isNew)
  }

  /// The scripted client, whose lies are tested elsewhere, is understood where it tells the truth.
  @Test("a scripted push publishes the snapshot")
  func aScriptedPushPublishesTheSnapshot() throws {
    let world = try World()
    let client = ScriptedClient(world)
    defer { client.server.end() }
    try client.pushAll()
    #expect(try world.names().count == 2)
  }

  /// A client waits for a server that makes progress. To look at an inode may take long on a slow disk.
  @Test("each inode that is examined for a measurement of space is progress")
  func progressOfSpace() throws {
    let world = try World()
    let progress = Progress()
    let held = try world.near.heldSpace(
      of: [world.newer.name], in: try world.near.snapshots(), threads: 1, progress: progress)
    #expect(held.rows.map(\.name) == [world.newer.name])
    // Three files are new, and are examined for the snapshot alone and for all that are named.
    #expect(progress.entries.value >= 2 * 3 + 2)
  }
}
