import Foundation
import TestSupport
import Testing

@Suite("treering key", .waits)
struct KeyTests {
  private struct ListAnswer: Decodable {
    struct Key: Decodable {
      let key: String
      let isCurrent: Bool
    }
    let keys: [Key]
  }

  private struct ExportAnswer: Decodable {
    let masterKey: String
  }

  private func keys(_ world: ResticWorld) throws -> [ListAnswer.Key] {
    (try world.there(["key", "list", "--json"]).decoded() as ListAnswer).keys
  }

  @Test("a password is added, changed and removed, and restic agrees", arguments: [Storage.directory, .s3])
  func passwords(storage: Storage) throws {
    let world = try ResticWorld(at: storage)
    let files = Tree(world.world.directory.path)
    for name in ["second", "third"] as [ByteString] { try files.write(name, "\(name) secret\n", mode: 0o600) }
    func opens(_ file: ByteString) throws -> Bool {
      let arguments: [ByteString] = ["-r", world.storage.resticAddress, "--no-cache", "--password-file", file]
      let result = try runCommand(
        "restic", arguments + ["snapshots"], in: files.root, environment: world.storage.environment)
      return result.status == 0
    }
    func key(_ arguments: [ByteString], with file: ByteString, status: Int32 = 0) throws -> CommandResult {
      let result = try world.world.treering(
        ["key"] + arguments + ["-r", world.address, "--password-file", file], inRepository: false,
        environment: world.storage.environment)
      #expect(result.status == status, "\(arguments): \(result.errorText)")
      return result
    }
    let first = try #require(try keys(world).first)
    try world.there(["key", "add", "--new-password-file", "second"])
    #expect(try keys(world).count == 2 && opens(world.password) && opens("second"))
    _ = try key(["change", "--new-password-file", "third"], with: "second")
    #expect(try keys(world).count == 2 && opens("third") && !opens("second"))
    // The key in use stays.
    #expect(try world.there(["key", "remove", ByteString(first.key)], status: 4).errorText.contains("key change"))
    _ = try key(["remove", "zz"], with: "third", status: 2)
    _ = try key(["remove", ByteString(String(first.key.prefix(6)))], with: "third")
    #expect(try !opens(world.password) && opens("third"))
    _ = try key(["list"], with: world.password, status: 2)
    let result = try runCommand(
      "restic", ["-r", world.storage.resticAddress, "--no-cache", "--password-file", "third", "check"], in: files.root,
      environment: world.storage.environment)
    #expect(result.status == 0 && result.outputText.contains("no errors"), "\(result.errorText)")
  }

  @Test("the exported key replaces a lost password")
  func export() throws {
    let world = try ResticWorld()
    let files = Tree(world.world.directory.path)
    try files.write("new", "new secret\n", mode: 0o600)
    let text = try world.there(["key", "export"]).outputText
    let exported: ExportAnswer = try world.there(["key", "export", "--json"]).decoded()
    #expect(text.contains(exported.masterKey) && text.contains(world.address.text))
    try files.write("paper", exported.masterKey + "\n", mode: 0o600)
    func add(_ status: Int32) throws {
      let result = try world.world.treering(
        ["key", "add", "-r", world.address, "--exported-key", "paper", "--new-password-file", "new"],
        inRepository: false)
      #expect(result.status == status, "\(result.errorText)")
    }
    try add(0)
    let result = try world.world.treering(
      ["list", "-r", world.address, "--password-file", "new"], inRepository: false)
    #expect(result.status == 0, "\(result.errorText)")
    // A key of another repository, or none, opens nothing.
    let other = try ResticWorld()
    let foreign: ExportAnswer = try other.there(["key", "export", "--json"]).decoded()
    try files.write("paper", foreign.masterKey, mode: 0o600)
    try add(2)
    try files.write("paper", "{}", mode: 0o600)
    try add(2)
    #expect(try keys(world).count == 2)
  }

  @Test("a test of the password that is kept elsewhere is recorded, and status reminds of the next")
  func test() throws {
    let world = try ResticWorld()
    let files = Tree(world.world.directory.path)
    try files.write(
      "config",
      """
      repository = "\(world.world.repository.root)"
      [[source]]
      path = "\(world.world.source.root)"
      [remote.vault]
      url = "\(world.address)"
      password_file = "\(world.password)"
      key_test_every = "1d"

      """)
    try world.world.source.write("file", "x")
    try world.world.snapshot()
    #expect(try world.world.treering(["push", "vault", "-c", "config"]).status == 0)
    func run(_ arguments: [ByteString], input: ByteString = "/dev/null", at time: ByteString = "+0d") throws
      -> CommandResult
    {
      try runCommand(
        "faketime", ["-f", time, try treeringBinary()] + arguments + ["-c", "config"], in: files.root, input: input)
    }
    let reminder = "treering key test -r vault"
    let never = try run(["status", "--json"])
    #expect(never.status == 1 && never.outputText.contains("never proved; prove it with: \(reminder)"))
    try files.write("wrong", "incorrect horse\n")
    #expect(try run(["key", "test", "-r", "vault"], input: files.root / "wrong").status == 2)
    #expect(try run(["key", "test", "-r", "vault"]).status == 2)
    #expect(try run(["status", "--json"]).outputText.contains(reminder))
    try files.write("right", "correct horse\n")
    // The password that is configured is not needed for it.
    try files.setMode("password", 0o644)
    let proved = try run(["key", "test", "-r", "vault"], input: files.root / "right")
    #expect(proved.status == 0 && proved.outputText.contains("the password opens"), "\(proved.errorText)")
    #expect(try !run(["status", "--json"]).outputText.contains(reminder))
    #expect(try run(["status", "--json"], at: "+2d").outputText.contains(reminder))
  }
}
