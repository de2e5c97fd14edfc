import Foundation
import TestSupport
import Testing

@Suite("Contents in an archive class of S3", .waits)
struct ArchiveClassTests {
  private func make() throws -> BucketWorld {
    let bucket = try BucketWorld("archive_class = \"DEEP_ARCHIVE\"")
    try bucket.treering(["init", "-r", "cloud"])
    try bucket.world.source.makeDirectory("dir")
    try bucket.world.source.write("dir/file", bytes: (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 9) })
    try bucket.world.source.write("small", "x")
    try bucket.world.snapshot()
    try bucket.treering(["push", "cloud"])
    return bucket
  }

  @Test("only packs of contents go there, and all but contents is read at once")
  func classes() throws {
    let bucket = try make()
    let objects = try bucket.objects()
    let archived = objects.filter { $0.storage == "DEEP_ARCHIVE" }
    #expect(!archived.isEmpty && archived.allSatisfy { $0.key.contains("/data/") }, "\(objects)")
    // The pack of trees is not there.
    #expect(objects.contains { $0.key.contains("/data/") && $0.storage == nil })
    #expect(try bucket.restic(["ls", "latest"]).outputText.contains("dir/file"))
    let source = bucket.world.source
    try bucket.treering(["ls", "latest", source.root, "-r", "cloud"])
    try bucket.treering(["find", "small", "-r", "cloud"])
    try source.write("later", "y")
    try bucket.world.snapshot()
    try bucket.treering(["push", "cloud"])
    let verified = try bucket.treering(["verify", "-r", "cloud"])
    #expect(verified.errorText.contains("in an archive, and not verified"), "\(verified.errorText)")
    let frozen = try bucket.treering(["cat", "latest", source.root / "small", "-r", "cloud"], status: 7)
    #expect(frozen.errorText.contains("in an archive"), "\(frozen.errorText)")
  }

  @Test("a restore requests the thaw, says so, and works later")
  func thaw() throws {
    let bucket = try make()
    try bucket.bucket(["slow", "4"])
    let out = bucket.world.directory.path / "out"
    let restore: [ByteString] = ["restore", "latest", "--to", out, "-r", "cloud"]
    let first = try bucket.treering(restore, status: 7)
    let words = first.errorText
    #expect(words.contains("thaw requested") && words.contains("same command"), "\(words)")
    #expect(!Tree(bucket.world.directory.path).exists("out"))
    try bucket.expectRestored(["--wait-for-archive"])
  }

  @Test("of one file, only its own packs are thawed")
  func oneFile() throws {
    let bucket = try make()
    try bucket.world.source.write("later", "y")
    try bucket.world.snapshot()
    try bucket.treering(["push", "cloud"])
    try bucket.bucket(["slow", "100"])
    let source = bucket.world.source.root
    let result = try bucket.treering(
      ["restore", "latest", source / "later", "--to", bucket.world.directory.path / "out", "-r", "cloud"], status: 7)
    #expect(result.errorText.contains("1 object ("), "\(result.errorText)")
  }

  @Test("a removal takes archived packs as a whole, and packs none anew")
  func removal() throws {
    let bucket = try make()
    let first = try bucket.world.snapshotNames()[0]
    try bucket.world.source.remove("dir")
    try bucket.world.source.write("later", "y")
    try bucket.world.snapshot()
    try bucket.treering(["push", "cloud"])
    // `small` is in the first pack, which stays for it.
    let before = try bucket.objects().count { $0.storage == "DEEP_ARCHIVE" }
    try bucket.treering(["delete", first, "--yes", "-r", "cloud"])
    #expect(try bucket.objects().count { $0.storage == "DEEP_ARCHIVE" } == before)
    try bucket.restic(["check"])
    try bucket.expectRestored(["--wait-for-archive"])
  }
}
