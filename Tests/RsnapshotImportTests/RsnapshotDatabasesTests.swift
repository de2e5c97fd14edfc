import Foundation
import RsnapshotImport
import Settings
import Testing

/// The dumps of a `backup_script` become tables `[[database]]`.
@Suite("rsnapshot.conf: backup_script")
struct RsnapshotDatabasesTests {
  private struct NotThere: Error {}

  private func translated(_ script: String, statement: String = "/x/dump.sh") throws -> RsnapshotTranslation {
    let text = """
      config_version\t1.2
      snapshot_root\t/backup/
      cmd_rsync\t/usr/bin/rsync
      retain\tdaily\t7
      backup\t/home\tl/
      backup_script\t\(statement)\tl/shop/
      """
    let files = RsnapshotFiles(
      name: { String(decoding: $0, as: UTF8.self) },
      read: { path in
        if path == Array("/x/dump.sh".utf8) { return Array(script.utf8) }
        guard path == Array("x.conf".utf8) else { throw NotThere() }
        return Array(text.utf8)
      }, isFile: { _ in false })
    return try RsnapshotTranslation(
      of: RsnapshotConfiguration(path: Array("x.conf".utf8), files: files), name: "x.conf", files: files)
  }

  private func database(_ command: String) throws -> DatabaseConfiguration? {
    let translation = try translated("#!/bin/sh\n" + command)
    var found = try Configuration(text: translation.text).databases.first
    found?.line = 0
    return found
  }

  private func expected(_ change: (inout DatabaseConfiguration) -> Void) -> DatabaseConfiguration {
    var database = DatabaseConfiguration()
    database.name = "shop"
    change(&database)
    return database
  }

  @Test("mysqldump")
  func mysql() throws {
    let all = expected { ($0.kind, $0.role) = (.mysql, "root") }
    for command in [
      "/usr/bin/mysqldump -u root --all-databases > all.sql", "mysqldump -uroot -A | gzip -9 > all.sql.gz",
      "nice -n 19 mysqldump --user=root --all-databases >all.sql 2>/dev/null || exit 1",
      "mysqldump --user root --opt --single-transaction \\\n  -A > all.sql",
    ] { #expect(try database(command) == all, "\(command)") }
    let some = expected {
      ($0.kind, $0.databases, $0.host, $0.port) = (.mysql, ["shop", "wiki"], "db.example.org", 3307)
      ($0.excludeTables, $0.passwordFile, $0.role) = (["shop.log"], "/etc/treering/shop.password", "a b")
    }
    let words = "-h db.example.org -P3307 -u 'a b' -pSECRET --ignore-table=shop.log --databases shop wiki"
    #expect(try database("mysqldump \(words) > x") == some)
    let translation = try translated("#!/bin/sh\nmysqldump \(words) > x")
    #expect(!translation.text.contains("SECRET") && translation.notCarriedOver.count == 1)
    #expect(translation.notCarriedOver[0].line == 2 && translation.notCarriedOver[0].text == "mysqldump")
  }

  @Test("pg_dump and pg_dumpall")
  func postgresql() throws {
    let all = expected { $0.user = "postgres" }
    for command in [
      "su - postgres -c 'pg_dumpall' > all.sql", "sudo -u postgres pg_dumpall --clean > all.sql",
      "runuser -u postgres -- /usr/bin/pg_dumpall > all.sql", "su postgres -c \"pg_dumpall > /tmp/x\"",
    ] { #expect(try database(command) == all, "\(command)") }
    let one = expected {
      ($0.databases, $0.role, $0.socket, $0.port) = (["shop"], "app", "/run/postgresql", 5433)
      ($0.schemas, $0.excludeTables, $0.jobs) = (["public"], ["public.log"], 4)
    }
    #expect(
      try database("pg_dump -Fc -f x -U app -h /run/postgresql -p 5433 -n public -T public.log --jobs=4 shop") == one)
  }

  @Test("several dumps of a script, and the statement itself as the script")
  func several() throws {
    let script = "#!/bin/bash\nset -e\nsudo -u postgres pg_dumpall > a\nmysqldump -A > b # pg_dump x\nchmod 600 a b\n"
    let translation = try translated(script)
    #expect(translation.notCarriedOver == [])
    #expect(try Configuration(text: translation.text).databases.map(\.name) == ["shop", "shop-2"])
    #expect(translation.text.contains("# x.conf:6: backup_script; /x/dump.sh:3: pg_dumpall"))
    let own = try translated("", statement: "/usr/bin/mysqldump -A")
    #expect(try Configuration(text: own.text).databases.map(\.kind) == [.mysql] && own.notCarriedOver == [])
    let shell = try translated("", statement: "/bin/sh -c \"mysqldump -A > x.sql\"")
    #expect(try Configuration(text: shell.text).databases.map(\.kind) == [.mysql])
  }

  @Test(
    "what cannot be translated surely is named",
    arguments: [
      ("for d in $(cat list); do mysqldump $d > $d.sql; done", "only the shell knows"),
      ("mysqldump shop orders > x", "only some tables of shop"), ("pg_dump > x", "its database is not one name"),
      ("pg_dump 'host=a dbname=b' > x", "its database is not one name"),
      ("pg_dump -t orders shop > x", "treering has nothing for -t of pg_dump"),
      ("mysqldump --defaults-file=/root/.my.cnf -A > x", "treering has nothing for --defaults-file of mysqldump"),
      ("/usr/local/bin/stop-shop\nmysqldump -A > x", "if it is needed, let it run as a hook"),
      ("PGPASSWORD=SECRET pg_dump shop > x", "put the password into the file that password_file names"),
      ("PGHOST=a pg_dump shop > x", "it sets PGHOST"),
      ("if ! mysqldump $X > x; then exit 1; fi", "only the shell knows"),
      ("export PGPASSWORD=SECRET; pg_dump shop > x", "put the password into a file"),
    ])
  func unsure(_ script: String, why: String) throws {
    let translation = try translated("#!/bin/sh\n\(script)\n")
    #expect(translation.notCarriedOver.contains { $0.why.contains(why) }, "\(translation.text)")
    #expect(!translation.text.contains("SECRET"))
  }

  @Test("a script of another language, or one that cannot be read, runs as a hook")
  func other() throws {
    for script in ["#!/usr/bin/perl\nsystem('mysqldump -A');", "", "\u{7F}ELF", "#!/bin/sh\ntar cf x /etc\n"] {
      let translation = try translated(script)
      #expect(
        translation.notCarriedOver.isEmpty && translation.text.contains("/bin/sh -c '/x/dump.sh'"),
        "\(translation.text)")
    }
    #expect(try translated("", statement: "/y/none.sh").notCarriedOver.isEmpty)
  }
}
