import Foundation
import TestSupport
import Testing

/// Databases of the configuration, by the program and real servers.
@Suite("config check: databases", .waits) struct DatabaseCheckTests {
  @Test("the databases are asked, and errors have their lines")
  func check() throws {
    let (postgresql, mariadb) = (try PostgreSQLServer.shared(), try MariaDBServer.shared())
    let world = try World()
    try world.source.write("file", "content")
    let database = world.directory.path / "x.db"
    try tool("sqlite3", [database, "CREATE TABLE t (a)"])
    func check(_ databases: String, status: Int32) throws -> CommandResult {
      try Tree(world.directory.path).write(
        "c.toml",
        """
        repository = "\(world.repository.root)"
        [[source]]
        path = "\(world.source.root)"
        \(databases)
        """)
      let result = try world.treering(
        ["config", "check", "-c", world.directory.path / "c.toml"], inRepository: false)
      #expect(result.status == status, "\(result.errorText)")
      return result
    }
    let good = try check(
      """
      [[database]]
      name = "main"
      kind = "postgresql"
      socket = "\(postgresql.directory)"
      port = \(postgresql.port)
      user = "postgres"
      required = true
      [[database]]
      name = "wiki"
      kind = "mysql"
      socket = "\(mariadb.socket)"
      user = "mysql"
      directory = "/var/tmp"
      [[database]]
      name = "photos"
      kind = "sqlite"
      path = "\(database)"
      [[database]]
      name = "ldap"
      kind = "command"
      command = "/bin/true"
      file = "ldap.ldif"
      """, status: 0)
    for line in [
      "  dump the postgresql database main; it must succeed", "  dump the mysql database wiki in /var/tmp",
      "  dump the sqlite database photos", "  dump the command database ldap",
    ] { #expect(good.outputLines.contains(line), "\(good.outputText)") }
    let bad = try check(
      """
      [[database]]
      name = "main"
      kind = "postgresql"
      socket = "/nonexistent"
      [[database]]
      name = "photos"
      kind = "sqlite"
      path = "/nonexistent.db"
      """, status: 2)
    #expect(bad.errorText.contains("c.toml:4: the database main: psql ended with status 2: "), "\(bad.errorText)")
    #expect(bad.errorText.contains("c.toml:8: the database photos: cannot find the database /nonexistent.db"))
  }

  @Test("an incomplete dump is shown after its run, until the owner accepts its reason")
  func incomplete() throws {
    let mariadb = try MariaDBServer.shared()
    try mariadb.make("mixed", "CREATE TABLE m (i INT) ENGINE=MyISAM; CREATE TABLE n (i INT)")
    let world = try World()
    func configure(_ more: String) throws {
      try Tree(world.directory.path).write(
        "c.toml",
        """
        repository = "\(world.repository.root)"
        [[database]]
        name = "mixed"
        kind = "mysql"
        socket = "\(mariadb.socket)"
        user = "mysql"
        databases = ["mixed"]
        \(more)
        """)
    }
    func treering(_ words: [ByteString], status: Int32 = 0) throws -> String {
      let words = words + ["-c", world.directory.path / "c.toml"]
      let result = try world.treering(words, inRepository: false)
      #expect(result.status == status, "\(result.errorText)")
      return result.outputText
    }
    try configure("")
    _ = try treering(["run"], status: 1)
    let finding = try treering(["status", "--json"], status: 1)
    #expect(finding.contains("is incomplete: tables whose engine has no transactions"), "\(finding)")
    #expect(try treering(["status"], status: 1).contains("INCOMPLETE"))
    #expect(try treering(["list"]).contains("1 incomplete dump"))
    #expect(try treering(["list", "--json"]).contains("mixed.m (MyISAM)"))
    #expect(try treering(["ls", "latest"]).split(separator: "\n").contains("mixed/"))
    try configure("mixed_moments = \"accept\"")
    _ = try treering(["run", "--now"])
    #expect(try treering(["status"]).contains("all is well"))
  }
}
