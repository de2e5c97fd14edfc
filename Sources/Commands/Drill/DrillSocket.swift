internal import Databases
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The way of the programs of a drill to a database: the socket of a server where the live system has it, or a copy of
/// an SQLite file.
struct DrillSocket {
  /// The directory outside of the drill.
  let directory: [UInt8]
  /// The directory in the drill.
  private let place: [UInt8]
  /// The path at which programs look for the socket; `nil` if the database has no server.
  private let path: [UInt8]?
  private let port: Int

  /// Makes its directory.
  init(of settings: DatabaseConfiguration, number: Int, in parent: PrivateDirectory) throws {
    let made = try parent.make("\(number)")
    try made.openToAll()
    (directory, place) = (made.path, DrillNamespaces.sockets + Array("/\(number)".utf8))
    port = settings.port ?? (settings.kind == .mysql ? 3306 : 5432)
    // The defaults of the programs.
    let path: String? =
      switch settings.kind {
      case .postgresql: (settings.socket ?? "/run/postgresql") + "/.s.PGSQL.\(port)"
      case .mysql: settings.socket ?? "/run/mysqld/mysqld.sock"
      case .sqlite, .command, .pgbackrest: nil
      }
    self.path = path.map { Array($0.utf8) }
  }

  /// True if another database is on the same server.
  func hasServer(of other: DrillSocket) -> Bool { path != nil && path == other.path }

  private var name: [UInt8] { path.map { splitLast(of: $0).name } ?? [] }

  var link: DrillNamespaces.Link? { path.map { DrillNamespaces.Link(path: $0, target: place + [slash] + name) } }

  func address(inNetworkOf process: Int32) -> ServerAddress {
    ServerAddress(inNetworkOf: process, directory: directory, socket: name, port: port)
  }

  /// Copies the file of an SQLite database to its place. The paths are those of the drill, so no link leads out of it.
  func placeFile(named name: [UInt8], of settings: DatabaseConfiguration, in namespaces: DrillNamespaces) throws {
    guard settings.kind == .sqlite, let target = settings.path else { return }
    let copy = place + Array("/dump/".utf8) + name
    let script = "mkdir -p \"${2%/*}\" && cp \"$1\" \"$2\""
    var lines: [[UInt8]] = []
    let end = ProgramEnd(
      of: namespaces.program(
        ["/bin/sh", "-c", script, "copy", String(decoding: copy, as: UTF8.self), target], seconds: 600)
    ) { lines.append($0) }
    guard end.isSuccess else {
      throw Failure(
        .failed,
        "the copy of the database \(settings.name) cannot be put to \(target): "
          + (lines.last.map { displayName($0) } ?? "\(end)"))
    }
  }
}
