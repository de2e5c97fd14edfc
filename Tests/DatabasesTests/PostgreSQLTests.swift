import Databases
import Foundation
import Posix
import Settings
import TestSupport
import Testing

@Suite("PostgreSQL", .serialized) struct PostgreSQLTests {
  let server: PostgreSQLServer

  init() throws { server = try PostgreSQLServer.shared() }

  /// The connection to `server`, or to the one that the tests share: there, the databases of others come and go.
  private func bySocket(_ more: String = "", of server: PostgreSQLServer? = nil) -> String {
    let server = server ?? self.server
    return "kind = \"postgresql\"\nsocket = \"\(server.directory)\"\nport = \(server.port)\n"
      + "user = \"postgres\"\n" + more
  }

  private func byURL(_ database: String, _ more: String = "") -> String {
    "kind = \"postgresql\"\nurl = \"postgresql://app@localhost:\(server.port)/\(database)\"\n"
      + "password_file = \"\(server.passwordFile)\"\n" + more
  }

  @Test("a dump has every row, and another server gets it back")
  func wholeDump() throws {
    let server = try PostgreSQLServer()
    let name = "a \"b\" /c'%é"
    try server.make(
      name,
      """
      CREATE TABLE "Odd ""name""/x" (id int PRIMARY KEY, t text); INSERT INTO "Odd ""name""/x" VALUES (1, E'a\\nb');
      CREATE SCHEMA "DATA"; CREATE TABLE "DATA".t (b bytea); INSERT INTO "DATA".t VALUES ('\\x00ff');
      SELECT lo_from_bytea(0, 'large');
      """)
    let trial = try Trial(bySocket(of: server))
    let dump = try trial.dump
    #expect(dump.warnings == [] && dump.point?.hasPrefix("LSN ") == true && dump.ended > dump.began)
    let directory = "a \"b\" %2Fc'%25é"
    #expect(try trial.files().contains("\(directory)/toc.dat"))
    #expect(try trial.files().contains("globals.sql") && trial.files().contains("postgres/toc.dat"))
    try trial.expectPrivate()
    try server.restore(trial.directory.path / ByteString(directory), into: "again")
    #expect(try server.query("TABLE \"Odd \"\"name\"\"/x\"; TABLE \"DATA\".t", in: "again") == "1|a\nb\n\\x00ff")
    #expect(
      try server.query("SELECT convert_from(lo_get(oid), 'UTF8') FROM pg_largeobject_metadata", in: "again") == "large")
    #expect(try trial.text("globals.sql").contains("SCRAM-SHA-256"))
  }

  @Test("a scratch server names the major version of another server that a dump is from")
  func migration() throws {
    try server.make("migrated", "CREATE TABLE t (a int)")
    let trial = try Trial(bySocket("databases = [\"migrated\"]"))
    _ = try trial.dump
    // The first version in the list of contents is that of the server.
    let list = trial.directory.path / "migrated/toc.dat"
    let version = "\(try server.query("SHOW server_version_num").prefix(2))."
    try tool(
      "python3",
      [
        "-c",
        "import sys; b = open(sys.argv[1], 'rb').read(); "
          + "open(sys.argv[1], 'wb').write(b.replace(sys.argv[2].encode(), b'12.', 1))", list, ByteString(version),
      ])
    let work = try TemporaryDirectory("scratch")
    try tool("chmod", ["711", work.path])
    try tool("chmod", ["-R", "a+rX", trial.directory.path])
    func open(_ path: ByteString) throws -> Directory {
      Directory(try Descriptor.open(path: path.bytes, [.read, .directory]))
    }
    let scratch = try ScratchServer(
      for: .postgresql, named: "migrated", programs: ProgramSearch(path: Array(pinnedEnvironment["PATH"]!.utf8)),
      in: open(work.path), at: work.path.bytes)
    let result = try scratch.load(
      [Array("migrated".utf8)], of: open(trial.directory.path), at: trial.directory.path.bytes)
    #expect(result.tables == 1)
    #expect(result.warnings == ["it was dumped from PostgreSQL 12, so this was a migration"], "\(result)")
  }

  @Test("unchanged tables give unchanged files")
  func unchanged() throws {
    // Other tests make roles, which would be in the dump.
    let server = try PostgreSQLServer()
    try server.make(
      "many",
      """
      DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE t%s (a int); INSERT INTO t%s VALUES (%s)', i, i, i);
      END LOOP; END $$
      """)
    let first = try Trial(bySocket("databases = [\"many\"]\njobs = 3", of: server))
    try server.query("INSERT INTO t7 VALUES (0); UPDATE t9 SET a = 0; CREATE TABLE a (x int)", in: "many")
    let second = try Trial(bySocket("databases = [\"many\"]", of: server))
    #expect(try first.files().count == 202)
    #expect(try first.text("globals.sql") == second.text("globals.sql"))
    // The two tables and the new one, which is empty.
    #expect(try second.digests().subtracting(first.digests()).count == 3)
  }

  @Test("an ordinary role with a URL and a password gets what it may read")
  func ordinaryRole() throws {
    try server.make(
      "managed",
      """
      CREATE TABLE own (a int); INSERT INTO own VALUES (1); ALTER TABLE own OWNER TO app;
      CREATE TABLE secret (a int); CREATE SCHEMA closed; CREATE TABLE closed."in it" (a int);
      CREATE TABLE rows (a int); GRANT SELECT ON rows TO app; ALTER TABLE rows ENABLE ROW LEVEL SECURITY;
      SELECT lo_create(0);
      """)
    let trial = try Trial(byURL("managed"))
    let dump = try trial.dump
    #expect(
      dump.warnings == [
        "managed: the dump does not have tables that the role may not read: closed.in it, public.rows, public.secret",
        "managed: the dump has no large objects, because the role may not read 1 of them",
      ])
    try server.restore(trial.directory.path / "managed", into: "again2")
    #expect(try server.query("TABLE own", in: "again2") == "1")
    #expect(try trial.text("globals.sql").contains("CREATE ROLE app") && !trial.text("globals.sql").contains("SCRAM"))
  }

  @Test("views and sequences that need unreadable parts are left out and named, and the rest can be loaded")
  func unreadableParts() throws {
    try server.make(
      "lacking",
      """
      CREATE TABLE own (a int); INSERT INTO own VALUES (1); ALTER TABLE own OWNER TO app;
      CREATE TABLE closed (a int); CREATE TABLE serials (i serial);
      CREATE VIEW seen AS SELECT a FROM closed; CREATE MATERIALIZED VIEW stored AS SELECT a FROM seen;
      CREATE VIEW fine AS SELECT a FROM own;
      CREATE SEQUENCE free; SELECT nextval('free');
      CREATE TABLE numbered (i int DEFAULT nextval('free')); GRANT SELECT ON numbered, seen, stored, fine TO app
      """)
    let trial = try Trial(byURL("lacking"))
    #expect(
      try trial.dump.warnings == [
        "lacking: the dump does not have tables that the role may not read: public.closed, public.serials",
        "lacking: the dump does not have views that need these tables: public.seen, public.stored",
        "lacking: the dump does not have the values of sequences that the role may not read: public.free",
      ])
    try server.restore(trial.directory.path / "lacking", into: "again3")
    #expect(
      try server.query("INSERT INTO numbered DEFAULT VALUES; TABLE fine; TABLE numbered", in: "again3") == "1\n1")
  }

  @Test("functions, policies and tables that need unreadable tables are named, because the dump cannot be loaded")
  func dependentsOfUnreadableParts() throws {
    try server.make(
      "needing",
      """
      CREATE TABLE closed (a int); CREATE TABLE own (a int); CREATE TABLE heir (b int) INHERITS (closed);
      CREATE TABLE typed (c closed);
      CREATE FUNCTION f() RETURNS SETOF closed LANGUAGE sql AS 'SELECT * FROM closed';
      CREATE POLICY p ON own USING (EXISTS (SELECT FROM closed)); CREATE POLICY q ON closed USING (true);
      GRANT SELECT ON own, heir, typed TO app
      """)
    #expect(
      try Trial(byURL("needing")).dump.warnings == [
        "needing: the dump does not have tables that the role may not read: public.closed",
        "needing: the dump cannot be loaded, because these need such tables: "
          + "function public.f(), policy p on table public.own, table public.heir, table public.typed",
      ])
  }

  @Test("a database whose load has not ended is left out with a warning")
  func unfinished() throws {
    let server = try PostgreSQLServer()
    let half = "shop_20261130_140330_unfinished"
    for name in ["shop", half] { try server.make(name, "CREATE TABLE t (i int)") }
    let trial = try Trial(bySocket(of: server))
    let warnings = try trial.dump.warnings
    #expect(
      warnings == [
        "not in the dump: incomplete, because a load was killed or still runs: \(half); if none runs, drop it"
      ])
    #expect(try trial.tree.names().contains("shop") && !trial.tree.exists(ByteString(half)))
  }

  @Test("databases that the role may not use are left out with a warning, unless they are named")
  func closedDatabases() throws {
    let server = try PostgreSQLServer()
    try server.make("closed", "")
    try server.make("private", "")
    try server.query("REVOKE CONNECT ON DATABASE private FROM PUBLIC")
    let all =
      "kind = \"postgresql\"\nhost = \"127.0.0.1\"\nport = \(server.port)\nrole = \"app\"\n"
      + "password_file = \"\(server.passwordFile)\"\n"
    let warnings = try Trial(all).dump.warnings
    for name in ["closed", "private"] {
      #expect(
        warnings.contains("the database \(name) is not in the dump, because the role may not connect to it"))
      let failure = try Trial(all + "databases = [\"\(name)\"]").failure
      #expect(failure.description.contains("psql ended with status 2"), "\(failure)")
    }
  }

  @Test("the error names the reason and the remedy")
  func errors() throws {
    let server = self.server
    try Tree(server.directory).write("wrong", "wrong\n", mode: 0o600)
    try Tree(server.directory).write("open", "x\n", mode: 0o640)
    let url = "kind = \"postgresql\"\nurl = \"postgresql://app@localhost:\(server.port)/postgres\"\n"
    let cases = [
      (url + "password_file = \"\(server.directory)/wrong\"", "password authentication failed for user \"app\""),
      (url + "password_file = \"\(server.directory)/open\"", "can be read or changed by others; chown it"),
      (url + "password_file = \"\(server.directory)/none\"", "cannot be read: No such file or directory"),
      (url, "put the password into a file with mode 0600"),
      (bySocket("databases = [\"nosuch\"]"), "database \"nosuch\" does not exist"),
      ("kind = \"postgresql\"\nsocket = \"/nonexistent\"\nuser = \"postgres\"", "see whether the server runs"),
      (
        bySocket().replacingOccurrences(of: "user = \"postgres\"", with: "user = \"nobody\"") + "role = \"postgres\"",
        "Peer authentication failed"
      ),
      (
        bySocket().replacingOccurrences(of: "user = \"postgres\"", with: "user = \"nosuchuser\""),
        "there is no account \"nosuchuser\""
      ),
    ]
    for (table, expected) in cases {
      let failure = try Trial(table).failure
      #expect(failure.description.contains(expected), "\(failure)")
      #expect(!failure.description.contains("wrong\n") && !failure.isInterrupted)
    }
  }

  @Test("a missing or an older pg_dump is refused, and the version to install is named")
  func oldProgram() throws {
    let place = try TemporaryDirectory("programs")
    let tree = Tree(place.path)
    try tool("ln", ["-s", "/usr/lib/postgresql/15/bin/psql", place.path / "psql"])
    let none = try Trial(bySocket(), path: place.path.text, postgreSQL: "/nonexistent").failure
    #expect(none.reason == "the server has version 15, and the program pg_dump is missing")
    try tree.write("pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.9 (Debian 14.9-1)'\n", mode: 0o755)
    let old = try Trial(bySocket(), path: place.path.text, postgreSQL: "/nonexistent").failure
    #expect(old.reason == "the server has version 15, and the newest pg_dump here has version 14")
    #expect(old.hint == "install pg_dump 15: the package is postgresql-client-15")
    let nothing = try Trial(bySocket(), path: "/nonexistent", postgreSQL: "/nonexistent").failure
    #expect(nothing.description.contains("the program psql is missing; install it"))
  }

  @Test("roles that are not whole are no dump", arguments: ["exit", "pg_dumpall \"$@\" | head -n 5"])
  func cutRoles(_ script: String) throws {
    let place = try TemporaryDirectory("programs")
    for name: ByteString in ["psql", "pg_dump", "pg_restore"] {
      try tool("ln", ["-s", "/usr/lib/postgresql/15/bin" / name, place.path / name])
    }
    try Tree(place.path).write(
      "pg_dumpall", "#!/bin/sh\nPATH=/usr/lib/postgresql/15/bin:$PATH\n\(script)\n", mode: 0o755)
    let failure = try Trial(bySocket(), path: place.path.text + ":/usr/bin:/bin", postgreSQL: "/nonexistent").failure
    #expect(failure.reason.contains("lacks its end marker"), "\(failure)")
  }

  @Test("certificates are verified")
  func certificates() throws {
    defer { try? server.choose(.right) }
    // An address of this machine that does not look like one.
    let other = byURL("postgres").replacingOccurrences(of: "localhost", with: "[::ffff:127.0.0.1]")
    let authority = "ca_file = \"\(server.certificates.authority)\"\n"
    let full = "tls = \"verify-full\"\n"
    #expect(throws: Never.self) { try Trial(byURL("postgres", full + authority)).dump }
    func failure(_ table: String) throws -> String { try Trial(table).failure.description }
    #expect(try failure(byURL("postgres", full)).contains("certificate verify failed"))
    #expect(try failure(other).contains("certificate verify failed"))
    #expect(try failure(other + authority).contains("does not match host name"))
    #expect(throws: Never.self) { try Trial(other + authority + "tls = \"verify-ca\"").dump }
    #expect(throws: Never.self) { try Trial(other + "tls = \"off\"").dump }
    try server.choose(.otherName)
    #expect(try failure(byURL("postgres", full + authority)).contains("does not match host name"))
    try server.choose(.expired)
    #expect(try failure(byURL("postgres", full + authority)).contains("certificate"))
    try server.choose(.otherAuthority)
    #expect(try failure(byURL("postgres", full + authority)).contains("certificate"))
  }

  @Test("a dump that does not fit fails before it starts")
  func space() throws {
    try server.make("large", "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    let place = try TemporaryDirectory("small")
    let disk = try LoopFileSystem("tmpfs", mebibytes: 8, at: place.path / "disk")
    defer { withExtendedLifetime(disk) {} }
    let trial = try Trial(bySocket("databases = [\"large\"]"), below: disk.tree.root.text)
    #expect(try trial.failure.description.contains("the dump needs about") && trial.files() == [])
  }

  @Test("a full disk during the dump is a failure")
  func fullDisk() throws {
    // Its text is much larger than the table, which is compressed.
    try server.make("dense", "CREATE TABLE t AS SELECT repeat('x', 1000000) FROM generate_series(1, 40)")
    let place = try TemporaryDirectory("small")
    let disk = try LoopFileSystem("tmpfs", mebibytes: 16, at: place.path / "disk")
    defer { withExtendedLifetime(disk) {} }
    let trial = try Trial(bySocket("databases = [\"dense\"]"), below: disk.tree.root.text)
    #expect(try trial.failure.description.contains("No space left on device"))
  }

  @Test("a table that is altered during the dump waits, and the dump is whole")
  func altered() throws {
    try server.make("busy", "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
    let writer = try server.start(
      "DO $$ BEGIN FOR i IN 1..50 LOOP EXECUTE format('ALTER TABLE t ADD COLUMN c%s int', i); PERFORM pg_sleep(0.02);"
        + " COMMIT; END LOOP; END $$", in: "busy")
    let trial = try Trial(bySocket("databases = [\"busy\"]"))
    #expect(try writer.wait().status == 0)
    #expect(try trial.dump.warnings == [])
  }

  @Test("a server that crashes during the dump is a failure")
  func crash() throws {
    let server = try PostgreSQLServer()
    try server.make("shop", "CREATE TABLE t (a int)")
    let holder = try server.start("BEGIN; LOCK TABLE t; SELECT pg_sleep(100)", in: "shop")
    try ServerTools.waitForLock(on: server, in: "shop")
    let table =
      "kind = \"postgresql\"\nsocket = \"\(server.directory)\"\nport = \(server.port)\nuser = \"postgres\"\n"
      + "databases = [\"shop\"]"
    let waiting: ByteString =
      "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
    let crash = Thread {
      try? PostgreSQLServer.wait(for: "pg_dump") { try server.query(waiting) != "0" }
      try? server.crash()
    }
    crash.start()
    let failure = try Trial(table).failure
    _ = try holder.wait()
    #expect(failure.reason.contains("pg_dump ended with status 1") && !failure.lastLines.isEmpty, "\(failure)")
  }

  @Test("no secret is on a command line, in an environment or on the disk")
  func secrets() throws {
    try server.make("slow", "CREATE TABLE t (a int); ALTER TABLE t OWNER TO app")
    // The lock keeps pg_dump waiting, so that it can be looked at.
    let holder = try server.start("BEGIN; LOCK TABLE t; SELECT pg_sleep(100)", in: "slow")
    let script = """
      found() { for p in $(pgrep -P \(getpid()) -x pg_dump); do
        grep -qz '^PGDATABASE=slow$' /proc/$p/environ && return; done; return 1; }
      for i in $(seq 200); do found && break; sleep 0.1; done
      sleep 0.3; cat /proc/$p/cmdline /proc/$p/environ; ls -ln /proc/$p/fd/3; grep -rl 'right: ' /proc/$p/fd/4/
      """
    let look = try RunningCommand("sh", ["-c", ByteString(script)])
    let (identifier, server) = (look.identifier, server)
    let release = Thread {
      // A process that has ended stays as a zombie until it is waited for.
      while Processes.name(of: identifier) == "sh",
        (try? runCommand("test", ["-e", "/proc/\(identifier)/exe"]))?.status == 0
      {
        usleep(100_000)
      }
      server.endStatements(in: "slow")
    }
    release.start()
    let trial = try Trial(byURL("slow"))
    _ = try holder.wait()
    let seen = try look.wait().outputText
    #expect(try trial.dump.warnings == [])
    #expect(seen.contains("PGPASSFILE=/dev/fd/3") && seen.contains("memfd:") && !seen.contains("right: "), "\(seen)")
    #expect(!seen.contains("TREERING") && seen.contains("LANG=C.UTF-8"))
  }

  @Test("a dump that takes too long is stopped")
  func timeout() throws {
    try server.make("stuck", "CREATE TABLE t (a int)")
    let holder = try server.start("BEGIN; LOCK TABLE t; SELECT pg_sleep(100)", in: "stuck")
    try ServerTools.waitForLock(on: server, in: "stuck")
    let trial = try Trial(bySocket("databases = [\"stuck\"]\ntimeout = \"5s\""))
    #expect(try trial.failure.reason.hasSuffix(" did not end within the 5 seconds of \"timeout\" and was stopped"))
    server.endStatements(in: "stuck")
    _ = try holder.wait()
  }

  @Test("10,000 tables", .enabled(if: isExhaustive))
  func manyTables() throws {
    try server.make("wide", "")
    for start in stride(from: 1, to: 10_000, by: 1000) {
      try server.query(
        ByteString(
          "DO $$ BEGIN FOR i IN \(start)..\(start + 999) LOOP EXECUTE format('CREATE TABLE t%s (a int)', i); END LOOP; END $$"
        ),
        in: "wide")
    }
    #expect(try Trial(bySocket("databases = [\"wide\"]")).files().count == 10_002)
  }
}

enum ServerTools {
  static func waitForLock(on server: PostgreSQLServer, in database: ByteString) throws {
    let query: ByteString =
      "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 't'::regclass"
    try PostgreSQLServer.wait(for: "the lock") { try server.query(query, in: database) != "0" }
  }
}
