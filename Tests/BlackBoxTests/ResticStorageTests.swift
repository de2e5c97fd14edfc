import Foundation
import TestSupport
import Testing

@Suite("Storages of restic's format", .waits)
struct ResticStorageTests {
  @Test("a history goes to every storage, and both programs read it", arguments: Storage.allCases)
  func history(storage: Storage) throws {
    let world = try ResticWorld(at: storage)
    let source = world.world.source
    try source.makeEverything()
    try source.write("large", bytes: (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 9) })
    let first = try world.world.snapshot()
    let copy = try world.copyOfSource()
    #expect(try world.push().result == "sent")
    try source.write("later", "of the second snapshot")
    try world.world.snapshot()
    let second = try world.push()
    #expect(second.base == first.snapshot && second.bytesSent < 100_000)
    #expect(try world.push().result == "there")
    try world.check()
    try world.expectRestored(first.name, is: copy, resticID: try resticID(of: first, in: world))
    #expect(try world.there(["verify"]).status == 0)
    #expect(try world.there(["list"]).outputLines.count == 3)
    let later = source.root / "later"
    #expect(try world.there(["cat", "latest", later]).outputText == "of the second snapshot")
    try world.there(["ls", "latest", source.root])
    try world.there(["find", "later"])
    try world.there(["versions", later])
    try world.there(["diff", first.name, "latest"])
    #expect(try !world.there(["diff", "latest", "--live"]).outputText.contains("content"))
    #expect(try world.treering(["init", "-r", world.address]).status == 2)
    // restic removes a snapshot, and the next push goes on.
    try world.restic(["forget", "--prune", try resticID(of: first, in: world)])
    try source.write("latest", "of the third")
    #expect(try world.there(["diff", "latest", "--live"]).outputText.contains("\(source.root)/latest\n"))
    try world.world.snapshot()
    #expect(try world.push().result == "sent")
    try world.check()
    #expect(try world.restic(["list", "locks"]).outputText == "")
  }

  private func resticID(of snapshot: SnapshotAnswer, in world: ResticWorld) throws -> ByteString {
    struct Row: Decodable {
      let id: String
      let time: String
    }
    let rows = try JSONDecoder().decode([Row].self, from: Data(world.restic(["snapshots", "--json"]).output))
    let time = snapshot.snapshot.prefix(11) + snapshot.snapshot.dropFirst(11).prefix(8).map { $0 == "-" ? ":" : $0 }
    return ByteString(try #require(rows.first { $0.time.hasPrefix(time) }).id)
  }

  @Test("a repository takes the chunker of another one, and restic copies between them without new chunks")
  func chunker() throws {
    let world = try ResticWorld()
    try world.world.source.write("file", bytes: (0..<6_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 9) })
    try world.world.snapshot()
    try world.push()
    let other = Tree(world.world.directory.path / "other")
    let made = try world.treering([
      "init", "-r", "restic:" + other.root, "--copy-parameters-from", world.address, "--from-password-file",
      world.password,
    ])
    #expect(made.status == 0, "\(made.errorText)")
    let pushed = try world.treering(["push", "restic:" + other.root], inRepository: true)
    #expect(pushed.status == 0, "\(pushed.errorText)")
    func size() throws -> String {
      String(decoding: try tool("sh", ["-c", "find \"$1/data\" -type f | wc -l", "sh", other.root]), as: UTF8.self)
    }
    let before = try size()
    try tool(
      "restic",
      [
        "-r", other.root, "--password-file", world.password, "--no-cache", "copy", "latest", "--from-repo",
        world.storage.resticAddress, "--from-password-file", world.password,
      ])
    #expect(try size() == before)
    let plain = try world.treering(["init", other.root / "plain", "--copy-parameters-from", world.address])
    #expect(plain.status == 2)
  }

  @Test("no secret is in a message or in the repository")
  func secrets() throws {
    let world = try ResticWorld(at: .s3)
    try world.world.source.write("file", "x")
    try world.world.snapshot()
    let result = try world.treering(["push", world.address, "-v"], inRepository: true)
    #expect(result.status == 0, "\(result.errorText)")
    #expect(!(result.outputText + result.errorText).contains(StorageServer.secret))
    let found = try runCommand("grep", ["-rFl", ByteString(StorageServer.secret), world.world.repository.root])
    #expect(found.status == 1)
    let none = try world.world.treering(
      ["list", "-r", world.address, "--password-file", world.password], inRepository: false)
    #expect(none.status == 2 && none.errorText.contains("needs credentials"), "\(none.errorText)")
  }

  @Test("credentials come from a section of a file that only its owner can read")
  func credentials() throws {
    let world = try ResticWorld(at: .s3)
    let files = Tree(world.world.directory.path)
    try files.write(
      "keys", "[other]\nx=1\n[backup]\naws_access_key_id = testing\naws_secret_access_key = abc\n", mode: 0o600)
    let text = """
      [remote.cloud]
      url = "\(world.address)"
      password_file = "\(world.password)"
      credentials_file = "\(files.root)/keys"
      profile = "backup"
      region = "us-east-1"
      path_style = true
      storage_class = "STANDARD_IA"

      """
    try files.write("config", text)
    func list(_ status: Int32, naming text: String = "") throws {
      let result = try world.world.treering(
        ["list", "-r", "cloud", "-c", files.root / "config"], inRepository: false)
      #expect(result.status == status && (text.isEmpty || result.errorText.contains(text)), "\(result.errorText)")
    }
    try list(0)
    try world.world.source.write("file", "x")
    try world.world.snapshot()
    let pushed = try world.world.treering(["push", "cloud", "-c", files.root / "config"])
    #expect(pushed.status == 0, "\(pushed.errorText)")
    try world.check()
    try files.setMode("keys", 0o644)
    try list(2, naming: "chmod 600")
    try files.setMode("keys", 0o600)
    try files.write("config", text.replacing("\"backup\"", with: "\"none\""))
    try list(2, naming: "no section [none]")
  }

  @Test("certificates are verified, and a login is needed where the server wants one")
  func certificates() throws {
    let directory = try TemporaryDirectory("certificates")
    let certificate = try Certificate(directory.path, for: "IP:127.0.0.1")
    let storage = try StorageServer(
      .rest, in: directory.path, certificate: certificate, login: ("ann", "pass:word"))
    let password = directory.path / "password"
    try Tree(directory.path).write("password", "correct horse\n", mode: 0o600)
    let login = ["RESTIC_REST_USERNAME": "ann", "RESTIC_REST_PASSWORD": "pass:word"]
    func make(_ environment: [String: String]) throws -> CommandResult {
      try runCommand(
        try treeringBinary(), ["init", "-r", storage.address, "--password-file", password], environment: environment)
    }
    let distrusted = try make(login)
    #expect(distrusted.status == 7 && distrusted.errorText.contains("certificate"), "\(distrusted.errorText)")
    let trust = ["SSL_CERT_FILE": certificate.file.text]
    let anonymous = try make(trust)
    #expect(anonymous.status == 7 && anonymous.errorText.contains("401"), "\(anonymous.errorText)")
    let made = try make(trust.merging(login) { $1 })
    #expect(made.status == 0, "\(made.errorText)")
    // Of another name, the right authority is not enough.
    let other = ByteString(storage.address.text.replacing("127.0.0.1", with: "localhost"))
    let misnamed = try runCommand(
      try treeringBinary(), ["list", "-r", other, "--password-file", password],
      environment: trust.merging(login) { $1 })
    #expect(misnamed.status == 7 && misnamed.errorText.contains("localhost"), "\(misnamed.errorText)")
    try tool(
      "restic",
      ["-r", storage.resticAddress, "--password-file", password, "--no-cache", "check"] + storage.resticOptions)
  }

  @Test("a server that only appends takes every push, and keeps what it has")
  func appendOnly() throws {
    let world = try ResticWorld(at: .rest, isAppendOnly: true)
    for content in ["one", "two"] {
      try world.world.source.write("file", content)
      try world.world.snapshot()
      #expect(try world.push().result == "sent")
    }
    try world.check()
  }

  @Test("a server or a bucket that is not there is named, with what to do", arguments: [Storage.rest, .s3, .sftp])
  func absent(kind: Storage) throws {
    let world = try World("absent")
    let password = world.directory.path / "password"
    try Tree(world.directory.path).write("password", "x", mode: 0o600)
    let port = try SSHServer.freePort()
    let address: ByteString =
      switch kind {
      case .rest: "rest:http://127.0.0.1:\(port)/"
      case .s3: "s3:http://127.0.0.1:\(port)/bucket"
      default: "sftp://root@127.0.0.1:\(port)//r"
      }
    let result = try world.treering(
      ["list", "-r", address, "--password-file", password, "--ssh", "ssh -o BatchMode=yes"], inRepository: false,
      environment: ["AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"])
    #expect(result.status == 7 && result.errorText.contains("127.0.0.1"), "\(result.errorText)")
    #expect(result.errorText.contains(kind == .sftp ? "refused" : "connect to server"), "\(result.errorText)")
    let storage = try StorageServer(kind, in: world.directory.path)
    let empty = try world.treering(
      ["list", "-r", storage.address, "--password-file", password] + storage.options, inRepository: false,
      environment: storage.environment)
    #expect([2, 7].contains(empty.status) && empty.errorText.contains("treering init -r"), "\(empty.errorText)")
  }

  @Test("passing troubles of a server are waited out, and lasting ones are named")
  func troubles() throws {
    let world = try ResticWorld(at: .rest)
    try world.world.source.write("file", bytes: (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
    let snapshot = try world.world.snapshot()
    let copy = try world.copyOfSource()
    let proxy = try UnreliableProxy(to: world.address, in: world.world.directory.path)
    for trouble in ["503", "429", "500", "close", "half", "twice", "late"] {
      let address = ByteString("rest:http://127.0.0.1:\(proxy.port)/\(trouble)-every-3/a")
      try world.world.repository.remove(".treering/remotes")
      let result = try world.world.treering(["push", address, "--password-file", world.password])
      #expect(result.status == 0, "\(trouble): \(result.errorText)")
      let restored = world.destination()
      let back = try world.world.treering(
        ["restore", snapshot.name, "--to", restored, "-r", address, "--password-file", world.password],
        inRepository: false)
      #expect(back.status == 0, "\(trouble): \(back.errorText)")
      #expect(try differences(copy, restored / world.world.source.root) == [])
      try world.check()
      try world.restic(["forget", "latest"])
    }
    for (trouble, words) in [
      ("403", "403"), ("412", "412"), ("moved", "another one"), ("503", "503"), ("longer", "too long"),
      ("close", "Empty reply"),
    ] {
      let address = ByteString("rest:http://127.0.0.1:\(proxy.port)/\(trouble)-every-1/a")
      let result = try world.world.treering(
        ["push", address, "--password-file", world.password, "--timeout", "2s"])
      #expect(result.status == 7 && result.errorText.contains(words), "\(trouble): \(result.errorText)")
    }
    try world.check()
  }
}

/// A server between treering and a REST server, which makes troubles; see `unreliable.py`.
private final class UnreliableProxy {
  let port: Int
  private let process: RunningCommand

  init(to address: ByteString, in directory: ByteString) throws {
    port = try SSHServer.freePort()
    let target = address.text.replacing("rest:http://", with: "").prefix { $0 != "/" }
    let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "unreliable.py").path
    process = try RunningCommand("python3", [ByteString(script), "\(port)", ByteString(String(target))], in: directory)
    try StorageServer.wait(forPort: port)
  }
}
