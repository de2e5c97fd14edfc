import Foundation
import TestSupport
import Testing

/// The document of `drill --json`.
struct DrillDocument: Decodable {
  struct Copy: Decodable {
    struct Problem: Decodable {
      let path: String
      let isDamage: Bool
    }
    struct Database: Decodable {
      let name: String
      let result: String
      let tables: Int?
      let message: String?
    }
    let copy: String
    let result: String
    let files: Int
    let live: [String: Int]
    let databases: [Database]
    let problems: [Problem]
    let exitStatus: Int32
    let error: String?
  }
  let time: String
  let seed: UInt64
  let result: String
  let copies: [Copy]
}

@Suite("drill: samples are restored and compared, and dumps are loaded", .serialized, .waitsFirst)
struct DrillTests {
  private let push: PushWorld
  private var world: World { push.world }
  private let work: Tree

  init() throws {
    push = try PushWorld("rehearse")
    push.provesUnchanged = false
    work = try Tree(making: push.world.directory.path / "work")
    for number in 0..<5 { try world.source.makeDirectory("d\(number)") }
    for number in 0..<30 { try world.source.write("d\(number % 5)/f\(number)", "text \(number)") }
    try world.source.makeSymbolicLink("link", to: "d0/f0")
  }

  /// Configures the repository, a server behind ssh, one in restic's format, and tables.
  private func configure(_ tables: String = "") throws {
    try push.place.write("password", "secret\n", mode: 0o600)
    let vault: ByteString = "restic:" + push.place.root / "vault"
    let made = try world.treering(
      ["init", "-r", vault, "--password-file", push.place.root / "password"], inRepository: false)
    #expect(made.status == 0, "\(made.errorText)")
    try push.place.write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [retention]
      daily = 7
      [remote.nas]
      url = "\(push.address)"
      ssh = "\(push.ssh)"
      remote_command = "\(try treeringBinary()) serve"
      [remote.vault]
      url = "\(vault)"
      password_file = "\(push.place.root)/password"
      \(tables)
      """)
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(words + ["-c", push.place.root / "c.toml"], inRepository: false, at: location)
    #expect(result.status == status, "\(result.outputText) \(result.errorText)", sourceLocation: location)
    return result
  }

  private func runAndPush() throws {
    try treering(["run", "--now"])
    for remote: ByteString in ["nas", "vault"] { try treering(["push", remote]) }
  }

  private func drill(
    _ words: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> DrillDocument {
    let words = ["drill", "--json", "--work-dir", work.root] + words
    let document: DrillDocument = try treering(words, status: status, at: location).decoded()
    #expect(try work.names() == [], sourceLocation: location)
    return document
  }

  @Test("each copy is restored; changes are told apart from damage; the history, status and audit have the result")
  func files() throws {
    try configure()
    try runAndPush()
    try world.source.write("d1/f1", "other text")
    try world.source.remove("d2/f2")
    let drill = try drill(["--files", "100", "--seed", "3"])
    #expect(drill.copies.map(\.copy) == [world.repository.root.text, "nas", "vault"] && drill.seed == 3)
    for copy in drill.copies {
      #expect(copy.result == "passed" && copy.files == 31 && copy.problems.isEmpty, "\(copy)")
      #expect(copy.live["same"] == 28 && copy.live["changed"] == 1 && copy.live["gone"] == 1, "\(copy)")
    }
    // The same seed chooses the same files.
    let words: [ByteString] = ["--files", "9", "--seed", "5", "-r", world.repository.root]
    #expect(try self.drill(words).copies.map(\.files) == self.drill(words).copies.map(\.files))
    let page = try treering(["drill", "list"]).outputText
    #expect(page.split(separator: "\n").count == 4 && page.contains("passed"))
    let shown: DrillDocument = try treering(["drill", "show", ByteString(drill.time), "--json"]).decoded()
    #expect(shown.time == drill.time)
    #expect(try treering(["audit"], status: 1).outputText.contains("the last drill passed"))

    // Damage in one copy is found there alone.
    let stored = push.far.root + "/latest/localhost" + world.source.root / "d3/f3"
    try Data("TEXT 3".utf8).write(to: URL(fileURLWithPath: stored.text))
    let failed = try self.drill(["--files", "100"], status: 6)
    #expect(failed.copies.map(\.result) == ["passed", "failed", "passed"])
    #expect(failed.copies[1].problems.map(\.path) == ["\(world.source.root)/d3/f3"])
    #expect(failed.copies[1].problems.map(\.isDamage) == [true])
    #expect(try treering(["status"], status: 1).outputText.contains("the last drill, at \(failed.time), failed"))
    #expect(try treering(["status", "--prometheus"], status: 1).outputText.contains("treering_drill_failed{"))
    #expect(try treering(["audit"], status: 1).outputText.contains("! the last drill failed"))
  }

  @Test("an absent remote fails, and the other copies are still drilled")
  func absence() throws {
    try configure()
    try runAndPush()
    try push.place.rename("vault", to: "elsewhere")
    let drill = try drill([], status: 7)
    #expect(drill.copies.map(\.result) == ["passed", "passed", "failed"] && drill.copies[2].error != nil)
  }

  @Test("what a killed drill left is removed, unless it runs or belongs to another")
  func leftovers() throws {
    try configure()
    try treering(["run", "--now"])
    for name in ["treering-drill-old", "treering-drill-new", "other"] {
      try work.makeDirectory(ByteString(name))
      try work.write(ByteString(name) / "x", "x")
    }
    let words: [ByteString] = ["drill", "-r", world.repository.root, "--work-dir", work.root]
    let holder = try RunningCommand("flock", ["-o", work.root / "treering-drill-new", "sleep", "60"])
    usleep(500_000)
    try treering(words)
    #expect(try work.names() == ["other", "treering-drill-new"])
    holder.signal(SIGKILL)
    _ = try holder.wait()
    try treering(words)
    #expect(try work.names() == ["other"])
  }

  private func table(of server: PostgreSQLServer, database: String) -> String {
    """
    [[database]]
    name = "pg"
    kind = "postgresql"
    socket = "\(server.directory)"
    port = \(server.port)
    user = "postgres"
    databases = ["\(database)"]
    """
  }

  @Test("dumps are loaded into scratch servers from each copy; a damaged one fails")
  func databases() throws {
    let postgreSQL = try PostgreSQLServer.shared()
    try postgreSQL.make("drill", "CREATE TABLE a (i INT); CREATE TABLE b (i INT); INSERT INTO a VALUES (1)")
    try postgreSQL.query("ALTER DATABASE drill OWNER TO app")
    let mariaDB = try MariaDBServer.shared()
    try mariaDB.make("drill", "CREATE TABLE t (i INT PRIMARY KEY); INSERT INTO t VALUES (1);")
    try tool("sqlite3", [push.place.root / "notes.db", "CREATE TABLE t (i)"])
    try configure(
      """
      \(table(of: postgreSQL, database: "drill"))
      [[database]]
      name = "my"
      kind = "mysql"
      socket = "\(mariaDB.socket)"
      databases = ["drill"]
      [[database]]
      name = "notes"
      kind = "sqlite"
      path = "\(push.place.root)/notes.db"
      [[database]]
      name = "text"
      kind = "command"
      command = ["/bin/echo", "x"]
      file = "x"
      """)
    try runAndPush()
    // Accounts of the servers pass through the directory.
    for directory in [world.directory.path, work.root] { try tool("chmod", ["711", directory]) }
    let drill = try drill(["--files", "0"])
    #expect(drill.copies.count == 3)
    for copy in drill.copies {
      let results = Dictionary(uniqueKeysWithValues: copy.databases.map { ($0.name, $0.result) })
      #expect(results == ["pg": "loaded", "my": "loaded", "notes": "loaded", "text": "not_tested"], "\(copy)")
      #expect(copy.databases.first { $0.name == "pg" }?.tables == 2)
      #expect(copy.databases.first { $0.name == "notes" }?.tables == 1)
    }
    let dump = try #require(
      FileManager.default.enumerator(atPath: (world.repository.root / "latest/databases/pg").text)?.compactMap {
        $0 as? String
      }.first { $0.hasSuffix(".dat.gz") || $0.hasSuffix("toc.dat") })
    let path = world.repository.root / "latest/databases/pg" / ByteString(dump)
    try Data("no dump".utf8).write(to: URL(fileURLWithPath: path.text))
    let failed = try self.drill(["--files", "0", "-r", world.repository.root], status: 6)
    #expect(failed.copies[0].databases.first { $0.name == "pg" }?.result == "failed")
    #expect(failed.copies[0].databases.first { $0.name == "my" }?.result == "loaded")
  }

  @Test("a dump that starts programs, when it is loaded, reaches nothing of this machine")
  func hostileDump() throws {
    let server = try PostgreSQLServer.shared()
    let outside = try Tree(making: world.directory.path / "outside")
    try tool("chmod", ["711", world.directory.path, work.root])
    try server.makeHostile("hostile", reaching: outside)
    try configure(table(of: server, database: "hostile"))
    try treering(["run", "--now"])
    let drill = try drill(["--files", "0", "-r", world.repository.root])
    #expect(drill.copies[0].databases.map(\.result) == ["loaded"], "\(drill.copies[0].databases)")
    #expect(try outside.names() == [])
  }
}

extension PostgreSQLServer {
  /// Makes a database whose dump starts a program when it is loaded, which writes into a directory.
  func makeHostile(_ name: String, reaching outside: Tree) throws {
    try tool("chmod", ["777", outside.root])
    let script = "cat > \(outside.root)/reached || cat > /dev/null"
    try make(
      name,
      """
      CREATE FUNCTION reach(i INT) RETURNS BOOL LANGUAGE plpgsql AS
        $$ BEGIN COPY (SELECT 1) TO PROGRAM '\(script)'; RETURN TRUE; END $$;
      CREATE TABLE t (i INT CHECK (public.reach(i))); INSERT INTO t VALUES (1);
      """)
    #expect(try outside.names() == ["reached"], "the live server may do it")
    try outside.remove("reached")
  }
}
