internal import Foundation

/// A PostgreSQL server of its own that can be stopped, destroyed and started again, with an archived log. Needs root.
///
/// The account `postgres` is its superuser, over the socket.
public final class PostgreSQLCluster {
  public let directory: ByteString
  public let port: Int
  public let data: ByteString
  private let home: TemporaryDirectory
  private static let programs: ByteString = "/usr/lib/postgresql/15/bin"

  /// `settings` are lines of `postgresql.conf`.
  public init(settings: [String], options: [ByteString] = []) throws {
    home = try ServerProcess.directory("cluster", account: "postgres")
    directory = home.path
    data = directory / "data"
    port = try ServerProcess.freePort()
    try asServer([Self.programs / "initdb", "--auth=peer", "--no-sync", "-D", data] + options)
    try append(settings)
  }

  deinit { stop() }

  private func append(_ settings: [String]) throws {
    let own = ["fsync=off", "listen_addresses=''", "port=\(port)", "unix_socket_directories='\(directory)'"]
    let lines = (own + settings).joined(separator: "\n") + "\n"
    try Tree(data).append("postgresql.conf", lines)
  }

  @discardableResult
  private func asServer(_ command: [ByteString]) throws -> [UInt8] {
    try tool("runuser", ["-u", "postgres", "--"] + command, in: "/")
  }

  /// Starts the server on its data directory, or on another one.
  public func start(_ other: ByteString? = nil) throws {
    try asServer([
      Self.programs / "pg_ctl", "-D", other ?? data, "-l", directory / "log", "-w", "-t", "60", "start",
    ])
  }

  /// Stops the server at once, as a crash does; nothing happens if it does not run.
  public func stop(_ other: ByteString? = nil) {
    _ = try? asServer([Self.programs / "pg_ctl", "-D", other ?? data, "-m", "immediate", "-w", "stop"])
  }

  /// The server's log.
  public func log() throws -> String { try Tree(directory).text("log") }

  /// Runs statements as the superuser, and returns the rows.
  @discardableResult
  public func query(_ sql: ByteString) throws -> String {
    let command: [ByteString] = [
      "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", directory, "-p", ByteString("\(port)"), "-d", "postgres", "-c",
      sql,
    ]
    return String(decoding: try asServer(command), as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  /// Archives everything that was written until now.
  public func archiveAll() throws {
    let segment = try query("SELECT pg_walfile_name(pg_switch_wal())")
    try ServerProcess.wait(for: "the archive") {
      try query(ByteString("SELECT coalesce(last_archived_wal >= '\(segment)', false) FROM pg_stat_archiver")) == "t"
    }
  }
}
