import Foundation
import TestSupport
import Testing

/// The plan's commands, as printed, from copies on servers and on disks to mount, and for copies of servers' files.
@Suite("recovery-plan: servers, disks and copies of a server's files", .serialized, .waits)
struct RecoveryWaysTests {
  private let push: PushWorld
  private var world: World { push.world }
  private var place: ByteString { push.place.root }

  init() throws {
    push = try PushWorld("ways")
    push.provesUnchanged = false
    push.world.provesOlderUnchanged = false
    try world.source.makeDirectory("notes", mode: 0o750)
    try world.source.write("notes/it's", "text", mode: 0o640)
    try push.place.write("password", "secret\n", mode: 0o600)
  }

  private func configure(_ tables: String) throws {
    try push.place.write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [retention]
      keep_last = 9
      \(tables)
      """)
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], environment: [String: String] = [:], at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(
      try treeringBinary(), words + ["-c", place / "c.toml"], in: place, environment: environment)
    #expect(result.status == 0, "\(result.outputText) \(result.errorText)", sourceLocation: location)
    return result
  }

  private func initialize(
    _ address: ByteString, _ options: [ByteString] = [], environment: [String: String] = [:]
  ) throws {
    let words = ["init", "-r", address, "--password-file", place / "password"] + options
    let made = try runCommand(try treeringBinary(), words, environment: environment)
    #expect(made.status == 0, "\(made.errorText)")
  }

  private func plan(environment: [String: String] = [:]) throws -> String {
    try treering(["run", "--now"], environment: environment)
    return try treering(["recovery-plan"], environment: environment).outputText
  }

  private func titles(_ way: String, _ copy: String) -> [String] { ["The way to \(copy)", "\(way), from \(copy)"] }

  /// The files that the plan names for a copy, and those that they name themselves.
  private func files(in plan: String, and others: [ByteString] = []) -> [ByteString] {
    let lines = plan.split(separator: "\n").drop { !$0.contains("bring each to its place") }.dropFirst()
    return lines.prefix { $0.hasPrefix("- ") }.map { ByteString(String($0.dropFirst(2))) } + others
  }

  private func expectRecovered(_ root: Tree, at location: SourceLocation = #_sourceLocation) throws {
    #expect(try differences(world.source.root, root.root + world.source.root) == [], sourceLocation: location)
  }

  @Test("a server behind ssh: the plan names the key, and with it everything comes back")
  func ssh() throws {
    let server = try SSHServer()
    try configure(
      """
      [remote.far]
      url = "ssh://root@127.0.0.1:\(server.port)\(push.far.root)"
      ssh = "\(server.sshCommand(server.key, hasPort: false))"
      """)
    let plan = try plan()
    let found = files(in: plan)
    #expect(found.contains(server.key.file), "\(found)")
    var fresh = FreshSystem(in: push.place)
    (fresh.hasNetwork, fresh.files) = (true, found + [server.files.root / "known_hosts"])
    try expectRecovered(try fresh.carryOut(planCommands(titles("With treering", "far"), of: plan), input: "password"))
  }

  @Test("storages of restic's format, with treering and with restic alone", arguments: [Storage.sftp, .rest, .s3])
  func storages(kind: Storage) throws {
    let login: (user: String, password: String)? = kind == .rest ? ("ann", "of ann: 1@%") : nil
    let storage = try StorageServer(kind, in: place, login: login)
    var environment = storage.environment
    var keys = kind == .s3 ? "region = \"us-east-1\"" : ""
    if kind == .sftp { keys = "ssh = \"\(storage.options[1])\"" }
    if let login {
      (environment["RESTIC_REST_USERNAME"], environment["RESTIC_REST_PASSWORD"]) = login
      try push.place.write("login", "[default]\nusername = \(login.user)\npassword = \(login.password)\n", mode: 0o600)
      keys = "credentials_file = \"\(place)/login\""
    }
    try initialize(storage.address, storage.options, environment: environment)
    try configure(
      """
      [remote.cloud]
      url = "\(storage.address)"
      password_file = "\(place)/password"
      \(keys)
      """)
    let plan = try plan(environment: environment)
    let answers = [environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]].compactMap(\.self)
    let words = login.map { [$0.user, $0.password] } ?? answers
    try push.place.write("answers", (["secret"] + words).map { $0 + "\n" }.joined())
    var fresh = FreshSystem(in: push.place)
    fresh.hasNetwork = true
    // The password and the login are typed.
    fresh.files = files(in: plan).filter { ![place / "password", place / "login"].contains($0) }
    if kind == .sftp { fresh.files.append(fresh.files[0].parent / "known_hosts") }
    for way in ["With treering", "With restic alone"] {
      try expectRecovered(try fresh.carryOut(planCommands(titles(way, "cloud"), of: plan), input: "answers"))
    }
  }

  @Test("a disk is mounted as printed")
  func disk() throws {
    let disk = try LoopFileSystem("ext4", mebibytes: 64, at: place / "usb")
    try tool(try treeringBinary(), ["init", disk.tree.root / "r"])
    try configure("[remote.usb]\nurl = \"\(disk.tree.root)/r\"")
    let plan = try plan()
    for way in ["With treering", "Without treering"] {
      let text = planCommands(titles(way, "usb"), of: plan, withMounts: true)
      #expect(text.contains("\nmount /dev/"), "\(text)")
      try expectRecovered(try FreshSystem(in: push.place).carryOut(text, input: "password"))
    }
  }

  @Test("copies of servers' files become servers, from a disk and from an encrypted copy, also with restic alone")
  func physical() throws {
    let (postgreSQL, mariaDB) = (try PostgreSQLServer(), try MariaDBServer())
    try postgreSQL.make("my shop", "CREATE TABLE t (i INT); INSERT INTO t VALUES (42);")
    try mariaDB.make("wiki", "CREATE TABLE t (i INT); INSERT INTO t VALUES (42);")
    // As on a new Debian.
    try mariaDB.query(
      "CREATE OR REPLACE USER root@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON *.* TO root@localhost")
    try initialize("restic:" + place / "vault")
    try configure(
      """
      [remote.disk]
      url = "\(push.far.root)"
      [remote.vault]
      url = "restic:\(place)/vault"
      password_file = "\(place)/password"
      [[database]]
      name = "pg"
      kind = "postgresql"
      mode = "physical"
      user = "postgres"
      socket = "\(postgreSQL.directory)"
      port = \(postgreSQL.port)
      [[database]]
      name = "maria"
      kind = "mysql"
      mode = "physical"
      user = "mysql"
      socket = "\(mariaDB.socket)"
      """)
    let plan = try plan()
    let check = """
      runuser -u postgres -- psql -h \(postgreSQL.directory) -p \(postgreSQL.port) -d 'my shop' -Atc 'SELECT i FROM t' \
        > /tmp/answers
      mariadb -S \(mariaDB.socket) -BNe 'SELECT i FROM wiki.t' >> /tmp/answers

      """
    var fresh = FreshSystem(in: push.place)
    fresh.service = """
      [ "$*" = "mariadb start" ] || exit 0
      install -d -o mysql \(mariaDB.socket.parent)
      mariadbd --no-defaults --user=mysql --datadir=/var/lib/mysql --socket=\(mariaDB.socket) --skip-networking \
        > /tmp/mariadb.log 2>&1 &
      for attempt in $(seq 200); do
        if mariadb-admin -S \(mariaDB.socket) ping > /dev/null 2>&1; then exit 0; fi
        sleep 0.2
      done
      cat /tmp/mariadb.log
      exit 1
      """
    for (way, copy, directory) in [
      ("With treering", "disk", "repository"), ("With treering", "vault", "vault"),
      ("With restic alone", "vault", "vault"),
    ] {
      fresh.copy = place / ByteString(directory)
      let root = try fresh.carryOut(planCommands(titles(way, copy), of: plan) + check, input: "password")
      #expect(try root.text("tmp/answers") == "42\n42\n", "\(way), \(copy)")
    }
  }
}
