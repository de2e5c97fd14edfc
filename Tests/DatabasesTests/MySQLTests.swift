import Foundation
import TestSupport
import Testing

@testable import Databases

@Suite("MariaDB", .serialized) struct MySQLTests {
  let server: MariaDBServer

  init() throws { server = try MariaDBServer.shared() }

  private func bySocket(_ more: String = "", of other: MariaDBServer? = nil) -> String {
    "kind = \"mysql\"\nsocket = \"\((other ?? server).socket)\"\nuser = \"mysql\"\n" + more
  }

  private func byURL(_ database: String, _ more: String = "") -> String {
    "kind = \"mysql\"\nurl = \"mysql://app@localhost:\(server.port)/\(database)\"\n"
      + "password_file = \"\(server.passwordFile)\"\n" + more
  }

  /// The files in their order, one after the other.
  private func whole(_ trial: Trial) throws -> String {
    try trial.text("order").split(separator: "\n").map { try trial.text(ByteString(String($0))) }.joined()
  }

  @Test("a dump has everything, and a server gets it back")
  func wholeDump() throws {
    let name = "a b /c%é"
    try server.make(
      name,
      """
      CREATE TABLE a (i INT PRIMARY KEY, t TEXT, b BLOB);
      INSERT INTO a VALUES (1, 'x\\n--\\n-- Table structure for table `zz`\\n--\\n', x'00ff0a27');
      CREATE TABLE `o'dd "/ ``n` (i INT) COMMENT 'a\\nb';
      CREATE SEQUENCE s; CREATE VIEW v AS SELECT i FROM a;
      DELIMITER //
      CREATE TRIGGER tr BEFORE INSERT ON a FOR EACH ROW BEGIN
      --
      -- Table structure for table `yy`
      --
      SET NEW.t = 'by trigger'; END//
      CREATE PROCEDURE p() BEGIN SELECT 1; END//
      CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO SELECT 2//
      DELIMITER ;
      """)
    let trial = try Trial(bySocket("databases = [\"\(name)\"]"))
    let dump = try trial.dump
    #expect(dump.warnings == [])
    #expect(dump.point?.wholeMatch(of: /binary log bin\.\d+, position \d+/) != nil, "\(dump.point ?? "")")
    let directory = "a b %2Fc%25é"
    let names = [
      "database", "events", "routines", "sequence-s", "table-a", "table-o'dd \"%2F `n", "view-v", "views",
    ]
    #expect(try trial.files() == names.map { "\(directory)/\($0).sql" } + ["begin.sql", "end.sql", "order"])
    try trial.expectPrivate()
    let text = try whole(trial)
    try server.query(ByteString("DROP DATABASE `\(name)`"))
    try server.load(text)
    let database = ByteString(name)
    #expect(
      try server.query("SELECT i, HEX(t), HEX(b) FROM a; SELECT * FROM v", in: database)
        == "1\t780A2D2D0A2D2D205461626C652073747275637475726520666F72207461626C6520607A7A600A2D2D0A\t00FF0A27\n1")
    try server.query("INSERT INTO a VALUES (2, '', NULL); CALL p()", in: database)
    #expect(try server.query("SELECT t FROM a WHERE i = 2; SHOW EVENTS", in: database).contains("by trigger"))
    // The program itself, asked for the whole.
    let other = try Trial(bySocket("databases = [\"\(name)\"]"))
    let plain = try tool(
      "runuser",
      [
        "-u", "mysql", "--", "mariadb-dump", "--no-defaults", "--socket=" + server.socket, "--user=mysql",
        "--single-transaction", "--skip-lock-tables", "--triggers", "--hex-blob", "--skip-dump-date", "--routines",
        "--default-character-set=utf8mb4", "--events", "--master-data=2", "--max-allowed-packet=1G", "--databases",
        database,
      ])
    #expect(try whole(other) == String(decoding: plain, as: UTF8.self))
  }

  @Test("unchanged tables give unchanged files, of one moment for all databases")
  func unchanged() throws {
    let tables = (1...200).map { "CREATE TABLE t\($0) (a INT PRIMARY KEY); INSERT INTO t\($0) VALUES (\($0));" }
    try server.make("many", tables.joined(separator: "\n"))
    let first = try Trial(bySocket("databases = [\"many\"]"))
    try server.query("INSERT INTO t7 VALUES (0); UPDATE t9 SET a = 0", in: "many")
    let second = try Trial(bySocket("databases = [\"many\"]"))
    #expect(try first.files().count == 206)
    // The two tables, and the place in the binary log at both ends.
    #expect(try second.digests().subtracting(first.digests()).count == 4)
  }

  @Test("all databases, and tables without transactions are named")
  func engines() throws {
    try server.make("odd", "CREATE TABLE m (i INT) ENGINE=MyISAM; CREATE TABLE n (i INT) ENGINE=Aria")
    let named =
      "tables whose engine has no transactions may be of another moment than the rest: odd.m (MyISAM), odd.n (Aria); "
      + "convert them to InnoDB, or accept that with mixed_moments = \"accept\""
    // Other tests drop databases of the shared server while this one dumps all.
    let own = try MariaDBServer()
    try own.make("odd", "CREATE TABLE m (i INT) ENGINE=MyISAM")
    let trial = try Trial(bySocket(of: own))
    #expect(try trial.dump.warnings.contains { $0.contains("odd.m (MyISAM)") })
    #expect(try trial.files().contains("mysql/database.sql") && trial.files().contains("odd/table-m.sql"))
    withExtendedLifetime(own) {}
    #expect(try Trial(bySocket("databases = [\"odd\"]")).dump.warnings == [named])
    #expect(try Trial(bySocket("databases = [\"odd\"]\nmixed_moments = \"accept\"")).dump.warnings == [])
    #expect(try Trial(bySocket("databases = [\"odd\"]\nexclude_tables = [\"odd.m\", \"odd.n\"]")).dump.warnings == [])
  }

  @Test("an ordinary role with a URL and a password gets what it may read")
  func ordinaryRole() throws {
    try server.make("managed", "CREATE TABLE t (i INT); INSERT INTO t VALUES (1); CREATE PROCEDURE p() SELECT 1")
    try server.query("GRANT SELECT ON managed.* TO app@'%'")
    let trial = try Trial(byURL("managed"))
    let warnings = try trial.dump.warnings
    #expect(
      warnings.contains { $0.hasPrefix("the dump has no events: ") && $0.contains("Access denied") }, "\(warnings)")
    #expect(try trial.text("managed/table-t.sql").contains("INSERT INTO `t` VALUES\n(1);"))
  }

  @Test("tables and views that an ordinary role may not dump are named, and the rest is dumped and can be loaded")
  func deniedObjects() throws {
    try server.make(
      "denies", "CREATE TABLE t (i INT); INSERT INTO t VALUES (1); CREATE VIEW `v ``w` AS SELECT i FROM t")
    try server.make("parts", "CREATE TABLE a (i INT); INSERT INTO a VALUES (2); CREATE TABLE b (i INT)")
    defer { _ = try? server.query("REVOKE ALL, GRANT OPTION FROM app@'%'") }
    try server.query(
      "REVOKE ALL, GRANT OPTION FROM app@'%'; GRANT SELECT ON denies.* TO app@'%'; GRANT SELECT ON parts.a TO app@'%'; GRANT INSERT ON parts.b TO app@'%'"
    )
    func warnings(_ trial: Trial) throws -> [String] {
      try trial.dump.warnings.filter { $0.contains("tables and views that the role may not read") }
    }
    let both = try Trial(byURL("denies", "databases = [\"denies\", \"parts\"]"))
    let named = try #require(try warnings(both).first)
    #expect(named.contains("denies.v `w") && named.contains("parts.b") && !named.contains("parts.a"), "\(named)")
    #expect(named.hasSuffix("; GRANT SELECT, SHOW VIEW on them to the role"))
    #expect(try both.text("parts/table-a.sql").contains("INSERT INTO `a` VALUES\n(2);"))
    let text = try whole(both)
    try server.query("DROP DATABASE denies; DROP DATABASE parts")
    try server.load(text)
    #expect(try server.query("SELECT * FROM denies.t, parts.a; SHOW TABLES IN denies") == "1\t2\nt")
    try server.query("CREATE VIEW denies.v AS SELECT i FROM denies.t; GRANT SHOW VIEW ON denies.v TO app@'%'")
    let allowed = try Trial(byURL("denies"))
    #expect(try warnings(allowed) == [])
    #expect(try allowed.files().contains("denies/view-v.sql"))
  }

  @Test("the recipe for a managed server: the role has all rights that a whole dump needs")
  func managedServer() throws {
    try server.make(
      "recipe",
      """
      CREATE TABLE t (i INT); CREATE VIEW v AS SELECT i FROM t; CREATE PROCEDURE p() SELECT 1;
      CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.i = 1; CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO SELECT 2
      """)
    defer { _ = try? server.query("REVOKE ALL, GRANT OPTION FROM app@'%'") }
    try server.query(
      "REVOKE ALL, GRANT OPTION FROM app@'%'; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON recipe.* TO app@'%'; GRANT SELECT ON mysql.proc TO app@'%'"
    )
    let trial = try Trial(byURL("recipe"))
    // The place in the binary log is a matter of the whole server.
    #expect(try trial.dump.warnings.filter { !$0.hasPrefix("the dump has no place in the binary log") } == [])
    let names = ["database", "events", "routines", "table-t", "view-v", "views"]
    #expect(try trial.files().filter { $0.hasPrefix("recipe/") } == names.map { "recipe/\($0).sql" })
  }

  @Test("databases whose triggers and routines the role may not see are named")
  func hiddenObjects() throws {
    try server.make(
      "hid_den",
      "CREATE TABLE t (i INT); CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.i = 1; CREATE PROCEDURE p() SELECT 1"
    )
    defer { _ = try? server.query("REVOKE ALL, GRANT OPTION FROM app@'%'") }
    func warnings() throws -> [String] { try Trial(byURL("hid_den")).dump.warnings.filter { $0.contains("may lack") } }
    try server.query("REVOKE ALL, GRANT OPTION FROM app@'%'; GRANT SELECT, EVENT ON `hid\\_den`.* TO app@'%'")
    let found = try warnings()
    #expect(
      found.count == 2 && found[0].hasPrefix("the dump may lack triggers that the role may not see, of: hid_den;"))
    #expect(found.last?.hasPrefix("the dump may lack routines that the role may not see, of: hid_den;") == true)
    try server.query("GRANT TRIGGER ON `hid\\_den`.* TO app@'%'; GRANT SELECT ON mysql.proc TO app@'%'")
    #expect(try warnings() == [])
  }

  @Test("xtrabackup, where it is the installed program, makes the copy")
  func xtrabackup() throws {
    let place = try FakePrograms()
    try place.write("xtrabackup", "exec /usr/bin/mariadb-backup \"$@\"")
    let trial = try Trial(bySocket("mode = \"physical\""), path: place.path)
    #expect(try trial.dump.warnings == [] && trial.files().contains("ibdata1"))
    let calls = try place.calls()
    #expect(
      calls == [
        "xtrabackup --defaults-file=/dev/fd/3 --backup --target-dir=/dev/fd/4",
        "xtrabackup --no-defaults --prepare --target-dir=/dev/fd/4",
      ])
  }

  @Test("MySQL 8: its programs get its own options")
  func mysql8() throws {
    try server.make("eight", "CREATE TABLE t (i INT); INSERT INTO t VALUES (1)")
    try server.query("GRANT ALL ON *.* TO app@'%'")
    defer { _ = try? server.query("REVOKE ALL, GRANT OPTION FROM app@'%'") }
    let place = try FakePrograms()
    // MariaDB's programs do the work, with the options that they have.
    let translation = """
      for word; do
        shift
        case $word in
        --defaults-file=*) sed 's/^ssl-mode=.*/skip-ssl/' /dev/fd/3 >"$0.options.$$"
          grep ssl-mode /dev/fd/3 >>"$0.tls" || :
          set -- "$@" "--defaults-file=$0.options.$$" ;;
        --source-data=*) set -- "$@" "--master-data=${word#*=}" ;;
        --set-gtid-purged=* | --*column-statistics) ;;
        *) set -- "$@" "$word" ;;
        esac
      done
      """
    try place.write(
      "mysqldump",
      """
      case "$*" in *--help) echo '--column-statistics --set-gtid-purged=COMMENTED --source-data --ssl-mode'; exit ;; esac
      \(translation)
      set -o pipefail
      /usr/bin/mariadb-dump "$@" | sed 's/^-- CHANGE MASTER TO MASTER_LOG_FILE=\\(.*\\), MASTER_LOG_POS/-- CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE=\\1, SOURCE_LOG_POS/'
      """)
    try place.write(
      "mysql",
      """
      case "$*" in *'SELECT VERSION()') echo 8.0.40; exit ;; esac
      \(translation)
      exec /usr/bin/mariadb "$@"
      """)
    let table = byURL("eight", "tls = \"require\"")
    let trial = try Trial(table, path: place.path)
    #expect(try trial.dump.point?.hasPrefix("binary log bin.") == true && trial.dump.warnings == [])
    #expect(try trial.text("eight/table-t.sql").contains("INSERT INTO `t` VALUES\n(1);"))
    let call = try #require(try place.calls().last { $0.hasPrefix("mysqldump") })
    for option in ["--set-gtid-purged=COMMENTED", "--source-data=2", "--routines", "--events", "--triggers"] {
      #expect(call.contains(option), "\(call)")
    }
    #expect(!call.contains("column-statistics") && !call.contains("master-data"))
    #expect(
      try place.tree.text("mysqldump.tls").hasPrefix("ssl-mode=\"REQUIRED\"")
        || place.tree.text("mysqldump.tls").hasPrefix("ssl-mode=REQUIRED"))
  }

  @Test("the error names the reason and the remedy")
  func errors() throws {
    try Tree(server.directory).write("wrong", "wrong\n", mode: 0o600)
    let url = "kind = \"mysql\"\nurl = \"mysql://app@localhost:\(server.port)/managed\"\n"
    let cases = [
      (url + "password_file = \"\(server.directory)/wrong\"", "Access denied for user 'app'"),
      (url, "check \"role\", and the password"),
      (bySocket("databases = [\"nosuch\"]"), "the server has no database \"nosuch\""),
      ("kind = \"mysql\"\nsocket = \"/nonexistent\"", "see whether the server runs"),
    ]
    for (table, expected) in cases {
      let failure = try Trial(table).failure
      #expect(failure.description.contains(expected), "\(failure)")
    }
    #expect(
      try Trial(bySocket(), path: "/nonexistent").failure.description.contains(
        "the program mariadb is missing; install it: Debian's package is mariadb-client"))
  }

  @Test("certificates are verified")
  func certificates() throws {
    try server.make("tls", "CREATE TABLE t (i INT)")
    try server.query("GRANT ALL ON *.* TO app@'%'")
    defer {
      try? server.choose(.right)
      _ = try? server.query("REVOKE ALL ON *.* FROM app@'%'")
    }
    let other = byURL("tls").replacingOccurrences(of: "localhost", with: "[::ffff:127.0.0.1]")
    let authority = "ca_file = \"\(server.certificates.authority)\"\n"
    let full = "tls = \"verify-full\"\n"
    #expect(throws: Never.self) { try Trial(byURL("tls", full + authority)).dump }
    func failure(_ table: String) throws -> String { try Trial(table).failure.description }
    #expect(try failure(byURL("tls", full)).contains("certificate"))
    #expect(try failure(other).contains("certificate"))
    #expect(try failure(other + authority).contains("SSL"))
    #expect(throws: Never.self) { try Trial(other + "tls = \"off\"").dump }
    #expect(throws: Never.self) { try Trial(other + "tls = \"require\"").dump }
    #expect(try failure(other + "tls = \"verify-ca\"").contains("use tls = \"verify-full\""))
    for certificate in [ServerCertificates.Kind.otherName, .expired, .otherAuthority] {
      try server.choose(certificate)
      #expect(try failure(byURL("tls", full + authority)).contains("SSL"), "\(certificate)")
    }
  }

  @Test("a full disk during the dump is a failure")
  func fullDisk() throws {
    // As digits, its bytes are twice as many.
    try server.make(
      "dense",
      "CREATE TABLE t (b LONGBLOB); INSERT INTO t SELECT REPEAT(x'ff', 1000000) FROM seq_1_to_9; ANALYZE TABLE t")
    let place = try TemporaryDirectory("small")
    let disk = try LoopFileSystem("tmpfs", mebibytes: 14, at: place.path / "disk")
    defer { withExtendedLifetime(disk) {} }
    let failure = try Trial(bySocket("databases = [\"dense\"]"), below: disk.tree.root.text).failure
    #expect(failure.description.contains("No space left on device"), "\(failure)")
    let small = try LoopFileSystem("tmpfs", mebibytes: 4, at: place.path / "disk2")
    defer { withExtendedLifetime(small) {} }
    let early = try Trial(bySocket("databases = [\"dense\"]"), below: small.tree.root.text)
    #expect(try early.failure.description.contains("the dump needs about") && early.files() == [])
  }

  @Test("a server that crashes during the dump is a failure")
  func crash() throws {
    let server = try MariaDBServer()
    try server.make(
      "shop", "CREATE TABLE t (b LONGBLOB); INSERT INTO t SELECT REPEAT(x'ff', 1000000) FROM seq_1_to_300")
    let crash = Thread {
      usleep(700_000)
      try? server.crash()
    }
    crash.start()
    let table = "kind = \"mysql\"\nsocket = \"\(server.socket)\"\nuser = \"mysql\"\ndatabases = [\"shop\"]"
    let failure = try Trial(table).failure
    #expect(failure.reason.contains("ended with status") && !failure.lastLines.isEmpty, "\(failure)")
  }

  @Test("a table that is altered during the dump is a failure with a reason, or the dump is whole")
  func altered() throws {
    try server.make(
      "busy",
      "CREATE TABLE a (b LONGBLOB); INSERT INTO a SELECT REPEAT(x'ff', 1000000) FROM seq_1_to_50; CREATE TABLE z (i INT)"
    )
    let writer = try server.start("SELECT SLEEP(0.3); ALTER TABLE z ADD COLUMN c INT", in: "busy")
    let trial = try Trial(bySocket("databases = [\"busy\"]"))
    _ = try writer.wait()
    switch trial.result {
    case .success(let dump): #expect(dump.warnings == [])
    case .failure(let failure): #expect(failure.description.contains("altered during the dump"), "\(failure)")
    }
  }

  @Test("10,000 tables", .enabled(if: isExhaustive))
  func manyTables() throws {
    // One file for all tables, which is in memory.
    try server.query("SET GLOBAL innodb_file_per_table = 0")
    defer { _ = try? server.query("SET GLOBAL innodb_file_per_table = 1") }
    try server.make(
      "wide",
      """
      DELIMITER //
      FOR i IN 1..10000 DO EXECUTE IMMEDIATE CONCAT('CREATE TABLE t', i, ' (a INT)'); END FOR//
      """)
    #expect(try Trial(bySocket("databases = [\"wide\"]")).files().count == 10_006)
  }
}

/// Programs that record their calls.
private struct FakePrograms {
  private let directory: TemporaryDirectory
  var tree: Tree { Tree(directory.path) }
  var path: String { directory.path.text }

  init() throws {
    directory = try TemporaryDirectory("fakes")
    try tool("chmod", ["1777", directory.path])
    for name in ["mariadb", "mariadb-dump"] {
      try tool("ln", ["-s", ByteString("/usr/bin/\(name)"), directory.path / ByteString(name)])
    }
  }

  /// Makes a program of a script for bash(1). One for MySQL takes the place of MariaDB's.
  func write(_ name: String, _ script: String) throws {
    let others = ["mysql": "mariadb", "mysqldump": "mariadb-dump"]
    if let other = others[name] { try tool("rm", [directory.path / ByteString(other)]) }
    try tree.write(
      ByteString(name),
      "#!/bin/bash\nPATH=/usr/bin:/bin\nset -eu\necho \"${0##*/} $*\" >>'\(path)/calls'\n\(script)\n", mode: 0o755)
  }

  func calls() throws -> [String] { try tree.text("calls").split(separator: "\n").map(String.init) }
}

@Suite("privileges of a role") struct MySQLGrantsTests {
  private let databases = ["shop", "web_1", "webx1"].map { Array($0.utf8) }

  private func hidden(_ lines: String...) -> [[String]] {
    let grants = MySQLGrants(lines: lines.map { Array($0.utf8) })
    return [grants.withoutTriggers(databases), grants.withoutRoutines(databases)].map { names in
      names.map { String(decoding: $0, as: UTF8.self) }
    }
  }

  @Test("of all, of one database, by a pattern, and by privileges of the dictionary")
  func table() {
    let all = ["shop", "web_1", "webx1"]
    #expect(hidden() == [all, all])
    #expect(hidden("GRANT ALL PRIVILEGES ON *.* TO `root`@`%` IDENTIFIED VIA unix_socket") == [[], []])
    #expect(hidden("GRANT SELECT, TRIGGER ON *.* TO `b`@`%`") == [[], []])
    #expect(hidden("GRANT TRIGGER, EXECUTE ON `shop`.* TO `b`@`%`") == [["web_1", "webx1"], ["web_1", "webx1"]])
    #expect(hidden(#"GRANT TRIGGER ON `web\_1`.* TO `b`@`%`"#) == [["shop", "webx1"], all])
    #expect(hidden("GRANT TRIGGER ON `web_%`.* TO `b`@`%`") == [["shop"], all])
    #expect(hidden("GRANT SELECT ON `mysql`.`proc` TO `b`@`%`") == [all, []])
    #expect(hidden("GRANT SELECT ON `mysql`.* TO `b`@`%`", "GRANT SHOW_ROUTINE ON *.* TO `b`@`%`") == [all, []])
    #expect(hidden("GRANT TRIGGER ON `shop`.`t` TO `b`@`%`", "GRANT `role` TO `b`@`%`") == [all, all])
    #expect(hidden("GRANT SELECT ON `shop`.* TO ` ON *.* `@`%`") == [all, all])
  }
}

/// The parts of made-up outputs.
@Suite("the parts of a dump") struct DumpSplitterTests {
  private func parts(_ text: String, pieces: Int) -> [(DumpSplitter.Part, String)] {
    var splitter = DumpSplitter()
    var found: [(DumpSplitter.Part, [UInt8])] = [(.begin, [])]
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: pieces) {
      bytes[start..<min(start + pieces, bytes.count)].withUnsafeBytes {
        splitter.pass($0) {
          found.append(($0, []))
        } onBytes: {
          found[found.count - 1].1 += $0
        }
      }
    }
    splitter.finish { found[found.count - 1].1 += $0 }
    return found.map { ($0.0, String(decoding: $0.1, as: UTF8.self)) }
  }

  @Test(
    "the boundaries are the comments of the program, in whatever pieces the output comes", arguments: [1, 2, 7, 1000])
  func boundaries(_ pieces: Int) {
    let expected: [(DumpSplitter.Part, String)] = [
      (.begin, "-- MariaDB dump\n--\n-- Host: x\n--\n--\n"),
      (.database(Array("a`b".utf8)), "--\n-- Current Database: `a``b`\n--\nUSE x;\n\n"),
      (
        .table(Array("t".utf8), of: Array("a`b".utf8)),
        "--\n-- Table structure for table `t`\n--\nCREATE;\n"
          + "-- Table structure for table `u`\nDELIMITER ;;\n--\n-- Table structure for table `v`\n--\nDELIMITER ;\n"
      ),
      (.routines(of: Array("a`b".utf8)), "--\n-- Dumping routines for database 'a`b'\n--\n"),
      (
        .views(of: Array("a`b".utf8)),
        "--\n-- Final view structure for view `v`\n--\n--\n-- Final view structure for view `w`\n--\n"
      ),
      (.end, "/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n\n-- Dump completed"),
    ]
    let found = parts(expected.map(\.1).joined(), pieces: pieces)
    #expect(found.map(\.0) == expected.map(\.0))
    #expect(found.map(\.1) == expected.map(\.1))
  }
}
