import Foundation
import TestSupport
import Testing

/// `database list` and `database restore`, with real servers.
@Suite("database: dumps are listed, and loaded", .serialized, .waitsFirst)
struct DatabaseRestoreTests {
  private let push: PushWorld
  private var world: World { push.world }

  init() throws { push = try PushWorld("loads") }

  private func configure(_ tables: String) throws {
    try Tree(world.directory.path).write(
      "c.toml", "repository = \"\(world.repository.root)\"\n[retention]\ndaily = 3\n" + tables)
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(words + ["-c", world.directory.path / "c.toml"], inRepository: false, at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private func document(_ result: CommandResult) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(result.output)) as? [String: Any])
  }

  private func targets(_ result: CommandResult) throws -> [String] {
    try (document(result)["databases"] as? [[String: Any]] ?? []).compactMap { $0["target"] as? String }
  }

  // MARK: PostgreSQL

  private func postgreSQL(_ server: PostgreSQLServer, _ databases: [String], more: String = "") -> String {
    let names = databases.map { "\"\($0.replacingOccurrences(of: "\"", with: "\\\""))\"" }.joined(separator: ", ")
    return """
      [[database]]
      name = "pg"
      kind = "postgresql"
      socket = "\(server.directory)"
      port = \(server.port)
      user = "postgres"
      databases = [\(names)]
      \(more)

      """
  }

  private func load(_ words: ByteString...) -> [ByteString] {
    ["database", "restore", "pg", "--into", "configured", "--yes"] + words
  }

  private func rows(_ server: PostgreSQLServer, _ database: String) throws -> String {
    try server.query("SELECT string_agg(v, ',' ORDER BY i) FROM t", in: ByteString(database))
  }

  private func names(_ server: PostgreSQLServer, like prefix: String) throws -> [String] {
    try server.query(ByteString("SELECT datname FROM pg_database WHERE starts_with(datname, '\(prefix)') ORDER BY 1"))
      .split(separator: "\n").map(String.init)
  }

  @Test("PostgreSQL: beside the present database, in its place, and where it was lost")
  func postgreSQLNames() throws {
    let server = try PostgreSQLServer.shared()
    let name = #"q "b" /c' é"#
    try server.make(name, "CREATE TABLE t (i INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one')")
    try server.query(ByteString(#"ALTER DATABASE "q ""b"" /c' é" OWNER TO app"#))
    try server.query(ByteString(#"ALTER DATABASE "q ""b"" /c' é" SET work_mem TO '5MB'"#))
    try server.query(ByteString(#"REVOKE CONNECT ON DATABASE "q ""b"" /c' é" FROM PUBLIC"#))
    try configure(postgreSQL(server, [name]))
    try treering(["run"])
    try server.query("INSERT INTO t VALUES (2, 'two')", in: ByteString(name))
    #expect(try treering(load("-n")).outputText.contains("would load"))
    #expect(try names(server, like: #"q "b""#) == [name])
    // Beside it.
    let result = try treering(load("--json"))
    let beside = try #require(try targets(result).first)
    #expect(beside.wholeMatch(of: /q "b" \/c' é_\d{8}_\d{6}/) != nil)
    #expect(try rows(server, beside) == "one" && rows(server, name) == "one,two")
    let properties = """
      SELECT pg_get_userbyid(datdba), array_to_string(setconfig, ','),
        has_database_privilege('public', d.oid, 'CONNECT')
      FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid WHERE datname LIKE 'q "b"%' ORDER BY datname
      """
    #expect(try server.query(ByteString(properties)) == "app|work_mem=5MB|f\napp|work_mem=5MB|f")
    // A name of one's own; then it is taken.
    try treering(load("--as", "x y"))
    #expect(try rows(server, "x y") == "one")
    #expect(try treering(load("--as", "x y"), status: 4).errorText.contains("x y has data already"))
    // In its place: not while it is used.
    let sleeper = try server.start("SELECT pg_sleep(60)", in: ByteString(name))
    usleep(500_000)
    #expect(try treering(load("--replace"), status: 4).errorText.contains("1 program uses the database"))
    server.endStatements(in: name.replacingOccurrences(of: "'", with: "''"))
    _ = try sleeper.wait()
    let replaced = try treering(load("--replace", "--json"))
    #expect(try targets(replaced) == [name] && rows(server, name) == "one")
    let entry = try #require((try document(replaced)["databases"] as? [[String: Any]])?.first)
    let kept = try #require(entry["replaced_name"] as? String)
    #expect(try rows(server, kept) == "one,two")
    // Where it was lost.
    for other in try names(server, like: #"q "b""#) + ["x y"] {
      try server.query(ByteString("DROP DATABASE \"\(other.replacingOccurrences(of: "\"", with: "\"\""))\""))
    }
    #expect(try targets(treering(load("--json"))) == [name])
    #expect(try rows(server, name) == "one")
  }

  @Test("PostgreSQL: a load that fails leaves everything as it was")
  func postgreSQLFailure() throws {
    let server = try PostgreSQLServer.shared()
    try server.query("DROP ROLE IF EXISTS gone")
    try server.query("CREATE ROLE gone LOGIN PASSWORD 'of gone'; GRANT app TO gone")
    try server.make(
      "fails", "CREATE TABLE t (i INT, v TEXT); INSERT INTO t VALUES (1, 'one'); ALTER TABLE t OWNER TO gone")
    try configure(postgreSQL(server, ["fails"]))
    try treering(["run"])
    try server.query("ALTER TABLE t OWNER TO postgres", in: "fails")
    try server.query("DROP ROLE gone")
    let failed = try treering(load("--replace"), status: 3).errorText
    #expect(failed.contains("role \"gone\" does not exist") && failed.contains("--globals"))
    #expect(try names(server, like: "fails") == ["fails"])
    #expect(try rows(server, "fails") == "one")
    try treering(load("--as", "fails_plain", "--no-owners"))
    try treering(load("--as", "fails_owned", "--globals"))
    #expect(try server.query("SELECT tableowner FROM pg_tables WHERE tablename = 't'", in: "fails_owned") == "gone")
    #expect(try server.query("SELECT pg_has_role('gone', 'app', 'MEMBER')") == "t")
    // An empty database is filled in one transaction.
    try server.make("empty", "")
    try treering(load("--as", "empty", "--no-owners"))
    #expect(try rows(server, "empty") == "one")
    for name in ["fails", "fails_plain", "fails_owned", "empty"] {
      try server.query(ByteString("DROP DATABASE IF EXISTS \(name)"))
    }
    try server.query("DROP ROLE gone")
  }

  @Test("an interrupted load leaves nothing behind")
  func interrupted() throws {
    let server = try PostgreSQLServer.shared()
    // Loading a row takes long, but not in the first database.
    try server.make(
      "slow",
      """
      CREATE FUNCTION f(i INT) RETURNS INT LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
      IF current_database() <> 'slow' THEN PERFORM pg_sleep(60); END IF; RETURN i; END $$;
      CREATE TABLE t (i INT, j INT GENERATED ALWAYS AS (public.f(i)) STORED); INSERT INTO t VALUES (1)
      """)
    try configure(postgreSQL(server, ["slow"]))
    try treering(["run"])
    let work = try Tree(making: world.directory.path / "work")
    let running = try RunningCommand(
      try treeringBinary(), load("--as", "slow_new", "--work-dir", work.root, "-c", world.directory.path / "c.toml"))
    let query: ByteString =
      "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'slow_new%' AND query LIKE 'COPY%'"
    try PostgreSQLServer.wait(for: "the load") { try server.query(query) != "0" }
    running.signal(SIGINT)
    let result = try running.wait(timeoutSeconds: 30)
    #expect(result.status == 130, "\(result.errorText)")
    #expect(try names(server, like: "slow") == ["slow"])
    #expect(try work.names() == [])
    try server.query("DROP DATABASE slow")
  }

  @Test("PostgreSQL: a foreign key to a table that the role could not dump is left out and named")
  func foreignKeys() throws {
    let server = try PostgreSQLServer.shared()
    try server.make(
      "keys",
      """
      CREATE TABLE closed (i INT PRIMARY KEY); INSERT INTO closed VALUES (1);
      CREATE TABLE other (i INT PRIMARY KEY); INSERT INTO other VALUES (1);
      CREATE TABLE t (i INT REFERENCES closed, j INT REFERENCES other, v TEXT); INSERT INTO t VALUES (1, 1, 'one');
      ALTER TABLE t OWNER TO app; ALTER TABLE other OWNER TO app
      """)
    try configure(
      """
      [[database]]
      name = "pg"
      kind = "postgresql"
      url = "postgresql://app@localhost:\(server.port)/keys"
      password_file = "\(server.passwordFile)"
      tls = "off"

      """)
    try treering(["run"], status: 1)
    try configure(postgreSQL(server, ["keys"]))
    let loaded = try treering(load("--as", "keys_back"), status: 1).errorText
    #expect(loaded.contains("keys_back: without the foreign key public t t_i_fkey app, whose other table is not"))
    #expect(try rows(server, "keys_back") == "one")
    #expect(try server.query("SELECT conname FROM pg_constraint WHERE contype = 'f'", in: "keys_back") == "t_j_fkey")
    for name in ["keys", "keys_back"] { try server.query(ByteString("DROP DATABASE \(name)")) }
  }

  @Test("PostgreSQL: comments on foreign keys and event triggers that refuse changes are loaded, in one transaction")
  func postgreSQLOrder() throws {
    let server = try PostgreSQLServer.shared()
    try server.make(
      "ordered",
      """
      CREATE TABLE other (i INT PRIMARY KEY); INSERT INTO other VALUES (1);
      CREATE TABLE t (i INT, v TEXT, CONSTRAINT c_p FOREIGN KEY (i) REFERENCES other); INSERT INTO t VALUES (1, 'one');
      COMMENT ON CONSTRAINT c_p ON t IS 'of a key';
      CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no DDL here'; END $$;
      CREATE EVENT TRIGGER refuses ON ddl_command_start EXECUTE FUNCTION refuse()
      """)
    try configure(postgreSQL(server, ["ordered"]))
    try treering(["run"])
    try treering(load("--as", "ordered_new"))
    try server.make("ordered_empty", "")
    try treering(load("--as", "ordered_empty"))
    for name in ["ordered_new", "ordered_empty"] {
      let query = "SELECT conname, obj_description(oid) FROM pg_constraint WHERE contype = 'f'"
      #expect(try server.query(ByteString(query), in: ByteString(name)) == "c_p|of a key")
      #expect(try server.query("SELECT evtname FROM pg_event_trigger", in: ByteString(name)) == "refuses")
    }
    // A key that cannot be made leaves an empty database empty.
    try server.make("ordered_empty", "")
    try server.query("ALTER EVENT TRIGGER refuses DISABLE; ALTER TABLE t DISABLE TRIGGER ALL", in: "ordered")
    try server.query("INSERT INTO t VALUES (2, 'two')", in: "ordered")
    try treering(["run", "--now"])
    #expect(try treering(load("--as", "ordered_empty"), status: 3).errorText.contains("c_p"))
    #expect(try server.query("SELECT count(*) FROM pg_class WHERE relname = 't'", in: "ordered_empty") == "0")
    for name in ["ordered", "ordered_new", "ordered_empty"] { try server.query(ByteString("DROP DATABASE \(name)")) }
  }

  @Test("PostgreSQL: a killed load leaves no database of the wanted name, and the next load warns of the rest")
  func postgreSQLKilled() throws {
    let server = try PostgreSQLServer.shared()
    try server.make(
      "killed",
      """
      CREATE FUNCTION f(i INT) RETURNS INT LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
      IF current_database() LIKE 'killed_new%' THEN PERFORM pg_sleep(60); END IF; RETURN i; END $$;
      CREATE TABLE t (i INT, v TEXT, j INT GENERATED ALWAYS AS (public.f(i)) STORED); INSERT INTO t VALUES (1, 'one')
      """)
    try configure(postgreSQL(server, ["killed"]))
    try treering(["run"])
    try server.query("INSERT INTO t VALUES (2, 'two')", in: "killed")
    let running = try RunningCommand(
      try treeringBinary(), load("--as", "killed_new", "-c", world.directory.path / "c.toml"))
    let query: ByteString = "pg_stat_activity WHERE datname LIKE 'killed_new%'"
    try PostgreSQLServer.wait(for: "the load") {
      try server.query("SELECT count(*) FROM " + query + " AND query LIKE 'COPY%'") != "0"
    }
    running.signal(SIGKILL)
    _ = try? running.wait()
    try server.query("SELECT pg_terminate_backend(pid) FROM " + query)
    let left = try #require(try names(server, like: "killed_new").first)
    #expect(left.wholeMatch(of: /killed_new_\d{8}_\d{6}_unfinished/) != nil)
    let next = try treering(load("--as", "killed_other"), status: 1).errorText
    #expect(next.contains("incomplete, because a load was killed or still runs: \(left)"), "\(next)")
    #expect(try rows(server, "killed_other") == "one" && rows(server, "killed") == "one,two")
    for name in ["killed", "killed_other", left] { try server.query(ByteString("DROP DATABASE \(name)")) }
  }

  @Test("a damaged part: nothing is loaded; another machine's copy is loaded instead")
  func damage() throws {
    let server = try PostgreSQLServer.shared()
    try server.make("parts", "CREATE TABLE t (i INT, v TEXT); INSERT INTO t VALUES (1, 'one')")
    try configure(postgreSQL(server, ["parts"]))
    try treering(["run"])
    try treering(["push", push.far.root])
    let name = try #require(try world.snapshotNames().first)
    let directory = world.repository.root / name / "databases/pg/parts"
    let part = String(decoding: try tool("sh", ["-c", "ls [0-9]*.dat"], in: directory), as: UTF8.self).dropLast()
    try tool("sh", ["-c", ByteString("printf X | dd of=\(part) conv=notrunc status=none")], in: directory)
    let failed = try treering(load(), status: 6).errorText
    #expect(failed.contains("is damaged; nothing was loaded"))
    #expect(try names(server, like: "parts") == ["parts"])
    try treering(load("--as", "parts_remote", "-r", push.far.root))
    #expect(try rows(server, "parts_remote") == "one")
    for name in ["parts", "parts_remote"] { try server.query(ByteString("DROP DATABASE \(name)")) }
  }

  // MARK: MariaDB

  private func configure(mariaDB server: MariaDBServer, _ databases: [String]) throws {
    let names = databases.map { "\"\($0)\"" }.joined(separator: ", ")
    try configure(
      """
      [[database]]
      name = "pg"
      kind = "mysql"
      socket = "\(server.socket)"
      user = "mysql"
      databases = [\(names)]

      """)
  }

  private func names(_ server: MariaDBServer, like prefix: String) throws -> [String] {
    try server.query(
      ByteString(
        "SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, \(prefix.count)) = '\(prefix)'")
    )
    .split(separator: "\n").map(String.init).sorted()
  }

  @Test("MariaDB: in the place of the present database, which is kept, or comes back if the load fails")
  func mariaDBReplaced() throws {
    let server = try MariaDBServer.shared()
    let name = "rep `l' é"
    try server.make("elsewhere", "CREATE TABLE t (i INT)")
    try server.make(
      name,
      """
      CREATE TABLE t (i INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one');
      CREATE TABLE m (i INT) ENGINE=MyISAM; CREATE VIEW w AS SELECT i FROM elsewhere.t;
      CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'by trigger'; CREATE PROCEDURE p() SELECT 7
      """)
    func rows(_ database: String) throws -> String {
      try server.query("SELECT GROUP_CONCAT(v ORDER BY i) FROM t; CALL p()", in: ByteString(database))
    }
    try configure(mariaDB: server, [name])
    try treering(["run"], status: 1)
    try server.query("INSERT INTO t VALUES (2, '')", in: ByteString(name))
    #expect(try rows(name) == "one,by trigger\n7")

    let sleeper = try server.start("SELECT SLEEP(60)", in: ByteString(name))
    usleep(500_000)
    #expect(try treering(load("--replace"), status: 4).errorText.contains("1 program uses the database"))
    try server.query(
      """
      SELECT CONCAT('KILL ', id) INTO @kill FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%';
      EXECUTE IMMEDIATE @kill
      """)
    _ = try sleeper.wait()

    let replaced = try treering(load("--replace", "--json"))
    let entry = try #require((try document(replaced)["databases"] as? [[String: Any]])?.first)
    let kept = try #require(entry["replaced_name"] as? String)
    #expect(try targets(replaced) == [name] && rows(name) == "one\n7" && rows(kept) == "one,by trigger\n7")
    try server.query("INSERT INTO t VALUES (3, '')", in: ByteString(name))
    #expect(try rows(name) == "one,by trigger\n7")
    try treering(load("--replace", "--no-keep"))
    #expect(try rows(name) == "one\n7" && names(server, like: "rep `l").count == 2)

    // The dump has a view of a database that is gone.
    try server.query("INSERT INTO t VALUES (4, ''); DROP VIEW w; DROP DATABASE elsewhere", in: ByteString(name))
    let failed = try treering(load("--replace"), status: 3)
    #expect(failed.errorText.contains("has its old content again"), "\(failed.errorText)")
    #expect(try rows(name) == "one,by trigger\n7" && names(server, like: "rep `l").count == 2)
    for other in try names(server, like: "rep `l") {
      try server.query(ByteString("DROP DATABASE `\(other.replacingOccurrences(of: "`", with: "``"))`"))
    }
  }

  @Test("MariaDB: a copy beside the present database has everything, and does not touch it")
  func mariaDB() throws {
    let server = try MariaDBServer.shared()
    let name = "q 'b' /c é"
    let query: ByteString = "SELECT HEX(b), MD5(v) FROM t; SELECT MD5(v) FROM w; CALL p()"
    try server.make(
      name,
      """
      CREATE TABLE t (i INT PRIMARY KEY, v TEXT, b BLOB);
      INSERT INTO t VALUES (1, 'USE `q \\'b\\' /c é`;\\nDELIMITER ;;\\n', x'00ff0a27');
      CREATE VIEW w AS SELECT v FROM t;
      CREATE TABLE other (i INT);
      DELIMITER //
      CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW BEGIN
      /*
      USE `q 'b' /c é`;
      */
      SET NEW.b = 'by trigger'; END//
      CREATE PROCEDURE p() BEGIN SELECT COUNT(*) FROM t; END//
      DELIMITER ;
      """)
    // The dump sets another character set for routines of the time before.
    try server.query(ByteString("ALTER DATABASE `\(name)` CHARACTER SET latin1"))
    try configure(mariaDB: server, [name])
    try treering(["run"])
    let rows = try server.query(query, in: ByteString(name))
    #expect(rows.hasPrefix("00FF0A27") && rows.hasSuffix("\n1"))
    try server.query("DELETE FROM t", in: ByteString(name))
    let result = try treering(load("--json"))
    let beside = try #require(try targets(result).first)
    #expect(beside.hasPrefix(name + "_2"))
    #expect(try names(server, like: "q ") == [name, beside])
    #expect(try server.query("SELECT COUNT(*) FROM t", in: ByteString(name)) == "0")
    #expect(
      try server.query(query, in: ByteString(beside)) == rows)
    let charset = "SELECT default_character_set_name FROM information_schema.schemata WHERE LEFT(schema_name, 2) = 'q '"
    #expect(try server.query(ByteString(charset)) == "latin1\nlatin1")
    try server.query(ByteString("DROP DATABASE `\(name)`; DROP DATABASE `\(beside)`"))
    #expect(try targets(treering(load("--json"))) == [name])
    #expect(try server.query("SELECT COUNT(*) FROM t", in: ByteString(name)) == "1")
    try server.query(ByteString("DROP DATABASE `\(name)`"))
  }

  @Test("MariaDB: a load that fails in the middle is removed, and a wrong password is named")
  func mariaDBFailure() throws {
    let server = try MariaDBServer.shared()
    try server.make("half", "CREATE TABLE a (i INT); INSERT INTO a VALUES (1); CREATE TABLE b (i INT)")
    try configure(mariaDB: server, ["half"])
    try treering(["run"])
    // The role may make databases and tables, and may not fill `b`.
    try server.query("CREATE USER part@'%' IDENTIFIED BY 'part'; GRANT CREATE, DROP ON *.* TO part@'%'")
    defer { _ = try? server.query("DROP USER part@'%'; DROP DATABASE IF EXISTS half") }
    try Tree(world.directory.path).write("part", "part\n", mode: 0o600)
    try Tree(world.directory.path).write("wrong", "wrong\n", mode: 0o600)
    let work = try Tree(making: world.directory.path / "work").root
    func into(_ password: String) -> [ByteString] {
      [
        "database", "restore", "pg", "--yes", "--tls", "off", "--work-dir", work, "--into",
        ByteString("mysql://part@127.0.0.1:\(server.port)"), "--server-password-file",
        world.directory.path / ByteString(password),
      ]
    }
    let failed = try treering(into("part"), status: 3).errorText
    #expect(failed.contains("denied") && failed.contains("ERROR"))
    #expect(try names(server, like: "half") == ["half"])
    #expect(try server.query("SELECT COUNT(*) FROM a", in: "half") == "1")
    #expect(try treering(into("wrong"), status: 3).errorText.contains("Access denied for user 'part'"))
    #expect(try Tree(work).names() == [])
  }

  @Test("MariaDB: a killed load leaves a marked database, which the next load warns of and does not touch")
  func mariaDBKilled() throws {
    let server = try MariaDBServer.shared()
    try server.make(
      "torn", "CREATE TABLE t (b LONGBLOB); INSERT INTO t SELECT REPEAT(x'ff', 1000000) FROM seq_1_to_100")
    try configure(mariaDB: server, ["torn"])
    try treering(["run"])
    try server.query("DROP DATABASE torn")
    let running = try RunningCommand(try treeringBinary(), load("-c", world.directory.path / "c.toml"))
    let mark: ByteString =
      "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'torn' AND table_name LIKE '%unfinished%'"
    try MariaDBServer.wait(for: "the load") { try server.query(mark) == "1" }
    running.signal(SIGKILL)
    _ = try? running.wait()
    try MariaDBServer.wait(for: "the end of the client") {
      try server.query("SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'torn'") == "0"
    }
    #expect(try server.query(mark) == "1")
    let next = try treering(load("--json"), status: 1)
    #expect(next.errorText.contains("incomplete, because a load was killed or still runs: torn"), "\(next.errorText)")
    let run = try treering(["run", "--now"], status: 3)
    #expect(run.errorText.contains("\"torn\" is incomplete, because a load was killed"), "\(run.errorText)")
    let beside = try #require(try targets(next).first)
    #expect(try beside != "torn" && server.query("SELECT COUNT(*) FROM t", in: ByteString(beside)) == "100")
    #expect(try server.query("SHOW TABLES", in: ByteString(beside)) == "t")
    try server.query(ByteString("DROP DATABASE torn; DROP DATABASE \(beside)"))
    #expect(try targets(treering(load("--json"))) == ["torn"])
    #expect(try server.query("SHOW TABLES", in: "torn") == "t")
    try server.query("DROP DATABASE torn")
  }

  @Test("MariaDB: a load works where each table needs a primary key, and a half-loaded database is not in the dump")
  func mariaDBPrimaryKeys() throws {
    let server = try MariaDBServer()
    for name in ["keyed", "half"] { try server.make(name, "CREATE TABLE t (i INT PRIMARY KEY)") }
    try server.query("CREATE TABLE treering_unfinished_load (i INT)", in: "half")
    try configure(
      "[[database]]\nname = \"pg\"\nkind = \"mysql\"\nsocket = \"\(server.socket)\"\nuser = \"mysql\"\n")
    let run = try treering(["run"], status: 1)
    #expect(run.errorText.contains("not in the dump: incomplete, because a load was killed or still runs: half;"))
    let snapshot = try #require(try world.snapshotNames().first)
    let names = try world.repository.names(snapshot / "databases/pg")
    #expect(names.contains("keyed") && !names.contains("half"), "\(names)")
    try server.query("DROP DATABASE keyed; DROP DATABASE half; SET GLOBAL innodb_force_primary_key = 1")
    try treering(["database", "restore", "pg", "--into", "configured", "--yes", "keyed"])
    #expect(try server.query("SHOW TABLES", in: "keyed") == "t")
  }

  // MARK: Others

  @Test("SQLite: beside the file, and in its place with its owner")
  func sqlite() throws {
    let directory = try Tree(making: world.directory.path / "sqlite")
    let file = directory.root / "no'tes.db"
    func query(_ file: ByteString, _ sql: ByteString) throws -> String {
      String(decoding: try tool("sqlite3", [file, sql]), as: UTF8.self).trimmingCharacters(in: .newlines)
    }
    _ = try query(file, "CREATE TABLE t (v); INSERT INTO t VALUES ('one')")
    try tool("chown", ["1234:1235", file])
    try tool("chmod", ["640", file])
    try configure("[[database]]\nname = \"pg\"\nkind = \"sqlite\"\npath = \"\(file)\"\n")
    try treering(["run"])
    _ = try query(file, "INSERT INTO t VALUES ('two')")
    let beside = try #require(try targets(treering(load("--json"))).first)
    #expect(try query(ByteString(beside), "SELECT * FROM t") == "one")
    #expect(try query(file, "SELECT * FROM t") == "one\ntwo")
    try treering(load("--replace"))
    #expect(try query(file, "SELECT * FROM t") == "one")
    #expect(String(decoding: try tool("stat", ["-c", "%u:%g %a", file]), as: UTF8.self) == "1234:1235 640\n")
    try tool("rm", [file])
    try treering(load())
    #expect(try query(file, "SELECT * FROM t") == "one")
  }

  @Test("the list, the files of a dump, and dumps of a time")
  func files() throws {
    let data = try Tree(making: world.directory.path / "data")
    try data.write("rows", "one\n")
    try configure(
      "[[database]]\nname = \"pg\"\nkind = \"command\"\nfile = \"rows\"\n"
        + "command = [\"/bin/cat\", \"\(data.root)/rows\"]\n"
    )
    try treering(["run"])
    usleep(2_100_000)
    try data.write("rows", "two\n")
    try treering(["run", "--now"])
    let snapshots = try world.snapshotNames()
    let dumps = try #require(try document(treering(["database", "list", "--json"]))["dumps"] as? [[String: Any]])
    #expect(dumps.map { $0["snapshot"] as? String } == snapshots.reversed().map(\.text))
    #expect(dumps.allSatisfy { $0["contents"] as? [String] == ["rows"] && $0["bytes"] as? Int == 4 })
    #expect(try treering(["database", "list", "other"], status: 2).errorText.contains("there are dumps of: pg"))
    let remote = try document(treering(["push", push.far.root, "--json"]))
    #expect(remote["result"] as? String == "sent")
    #expect(try treering(["database", "list", "-r", push.far.root]).outputText.contains("rows"))
    func text(_ words: ByteString..., status: Int32 = 0) throws -> String {
      let target = world.directory.path / "out"
      defer { _ = try? tool("rm", ["-rf", target]) }
      let result = try treering(["database", "restore", "pg", "--to", target] + words, status: status)
      if status != 0 { return result.errorText }
      return String(decoding: try tool("cat", [target / "rows"]), as: UTF8.self)
    }
    #expect(try text() == "two\n")
    #expect(try text("--in", snapshots[0]) == "one\n")
    let ended = try #require(dumps[1]["ended"] as? String)
    #expect(try text("--at", ByteString(String(ended.prefix(19)) + "Z")) == "one\n")
    #expect(try text("--at", "now") == "two\n")
    #expect(try text("--at", "9d", status: 2).contains("no dump of pg is so old"))
    try Tree(making: world.directory.path / "full").write("x", "x")
    #expect(
      try treering(["database", "restore", "pg", "--to", world.directory.path / "full"], status: 4).errorText
        .contains("is not empty"))
    #expect(try treering(load(), status: 3).errorText.contains("is not known"))
  }
}
