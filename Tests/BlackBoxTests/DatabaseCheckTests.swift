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
}
