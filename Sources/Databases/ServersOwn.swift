internal import Model
public import Posix

/// The databases that a server has from its beginning.
public enum ServersOwn {
  /// The database of a MySQL or MariaDB server with its users and privileges.
  public static let mysql = Array("mysql".utf8)
  /// The databases of a PostgreSQL server.
  public static let postgreSQL = words("postgres", "template1")
}

extension Account {
  /// The words before a command line that runs as this account.
  public var runWords: [[UInt8]] { words("runuser", "-u", name, "--") }
}
