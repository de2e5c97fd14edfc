import Foundation
import TestSupport
import Testing

@Suite("Buckets from which a stolen key cannot remove data", .waits)
struct LockedBucketTests {
  private struct Audit: Decodable {
    struct Finding: Decodable {
      let topic: String
      let state: String
      let fact: String
    }
    let findings: [Finding]
  }

  /// The finding of the audit's probe.
  private func probe(_ bucket: BucketWorld) throws -> Audit.Finding? {
    let audit: Audit = try bucket.treering(["audit", "--probe", "--json"], status: 1).decoded()
    return audit.findings.first { $0.fact.hasPrefix("cloud:") && $0.fact.contains("remove data") }
  }

  @Test("every object is locked, no key removes it, and nothing removes it by mistake", arguments: ["", "governance"])
  func locks(mode: String) throws {
    let bucket = try BucketWorld("lock = \"30d\"" + (mode.isEmpty ? "" : "\nlock_mode = \"\(mode)\""))
    try bucket.treering(["init", "-r", "cloud"])
    try bucket.world.source.write("file", "x")
    let snapshot = try bucket.world.snapshot()
    try bucket.treering(["push", "cloud"])
    let objects = try bucket.objects()
    let expected = mode.isEmpty ? "COMPLIANCE" : "GOVERNANCE"
    #expect(objects.count >= 5 && objects.allSatisfy { $0.mode == expected && ($0.days ?? 0) > 29 }, "\(objects)")
    #expect(!objects.contains { $0.key.contains("/locks/") })
    for command in [["rotate"], ["delete", snapshot.name, "--yes"]] as [[ByteString]] {
      let refused = try bucket.treering(command + ["-r", "cloud"], status: 4)
      #expect(refused.errorText.contains("lock"))
    }
    let keys = try bucket.treering(["key", "list", "-r", "cloud"]).outputLines
    #expect(keys.count == 2)
    try bucket.restic(["check", "--read-data"])
    try bucket.expectRestored()
    guard mode.isEmpty else { return }
    // The thief removes what can be removed, and hides the rest. An administrator brings it back.
    #expect(try bucket.bucket(["steal", "markers"]) == "0\n")
    try bucket.bucket(["hide"])
    try bucket.treering(["list", "-r", "cloud"], status: 2)
    try bucket.bucket(["unhide"])
    try bucket.expectRestored()
    #expect(try probe(bucket)?.state == "well")
    #expect(try probe(bucket)?.state == "well")
    #expect(try bucket.objects().count { $0.key.hasSuffix("treering-probe") } == 1)
  }

  @Test("locks are extended when half of their time has passed, and not before")
  func extends() throws {
    let bucket = try BucketWorld("lock = \"30d\"")
    try bucket.treering(["init", "-r", "cloud"])
    try bucket.world.source.write("file", "x")
    try bucket.world.snapshot()
    try bucket.treering(["push", "cloud"])
    try bucket.bucket(["age", "20"])
    try bucket.treering(["push", "cloud"])
    #expect(try bucket.objects().allSatisfy { ($0.days ?? 0) < 21 })
    try bucket.bucket(["age", "10"])
    try bucket.treering(["push", "cloud"])
    let objects = try bucket.objects()
    #expect(objects.allSatisfy { ($0.days ?? 0) > 29 }, "\(objects)")
  }

  @Test("a bucket without object lock is refused before anything is written")
  func noLock() throws {
    let bucket = try BucketWorld("lock = \"30d\"")
    try bucket.bucket(["make"])
    let refused = try bucket.treering(["init", "-r", "cloud"], status: 2)
    #expect(refused.errorText.contains("has no object lock"), "\(refused.errorText)")
    #expect(try bucket.objects().isEmpty)
  }

  @Test("a key that may remove data is found by the audit, and the probe leaves nothing behind")
  func removable() throws {
    let bucket = try BucketWorld("")
    try bucket.treering(["init", "-r", "cloud"])
    let before = try bucket.objects().map(\.key)
    #expect(try probe(bucket)?.state == "short")
    #expect(try bucket.objects().map(\.key) == before)
  }

  @Test("a REST server is asked whether it only appends", arguments: [true, false])
  func rest(isAppendOnly: Bool) throws {
    let world = try ResticWorld(at: .rest, isAppendOnly: isAppendOnly)
    let files = Tree(world.world.directory.path)
    try files.write(
      "c.toml",
      """
      repository = "\(world.world.repository.root)"
      [[source]]
      path = "\(world.world.source.root)"
      [remote.cloud]
      url = "\(world.address)"
      password_file = "\(world.password)"
      """)
    let result = try runCommand(
      try treeringBinary(), ["audit", "--probe", "--json", "-c", files.root / "c.toml"], in: files.root)
    let audit: Audit = try result.decoded()
    let finding = audit.findings.first { $0.fact.hasPrefix("cloud:") && $0.fact.contains("remove data") }
    #expect(finding?.state == (isAppendOnly ? "well" : "short"), "\(result.outputText) \(result.errorText)")
    try world.check()
  }

  @Test("the policy of the manual page is enough for pushes and restores, and for no removal")
  func policy() throws {
    let bucket = try BucketWorld("lock = \"30d\"", openActions: 3)
    let all = #"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#
    bucket.environment = try bucket.user("admin", policy: all)
    let admin = bucket.environment
    try bucket.treering(["init", "-r", "cloud"])
    let policy = try Self.policyOfManual().replacing("BUCKET", with: "bucket").replacing("PREFIX", with: "web01")
    bucket.environment = try bucket.user("machine", policy: policy)
    try bucket.world.source.write("file", "x")
    try bucket.world.snapshot()
    try bucket.treering(["push", "cloud"])
    try bucket.bucket(["age", "10"], as: admin)
    try bucket.treering(["push", "cloud"])
    #expect(try bucket.objects(as: admin).allSatisfy { ($0.days ?? 0) > 29 })
    try bucket.treering(["list", "-r", "cloud"])
    try bucket.treering(["verify", "-r", "cloud"])
    try bucket.expectRestored()
    #expect(try probe(bucket)?.state == "well")
    #expect(try bucket.bucket(["steal"]) == "0\n")
    // The server does check rights.
    bucket.environment["AWS_ACCESS_KEY_ID"] = "AKIA000000000EXAMPLE"
    try bucket.treering(["push", "cloud"], status: 7)
  }

  private static func policyOfManual() throws -> String {
    let page = try StorageServer.packageDirectory() / "man/treering-restic.7"
    let lines = String(decoding: try tool("cat", [page]), as: UTF8.self).split(separator: "\n")
    let start = try #require(lines.firstIndex(of: "{")), end = try #require(lines.firstIndex(of: "}"))
    return lines[start...end].joined(separator: "\n")
  }
}
