internal import Databases
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The way of the programs of a drill to a database: the socket of a server where the live system has it, or a copy of
/// an SQLite file.
struct DrillSocket {
  private let directory: [UInt8]
  /// The path of the socket in the drill.
  private let path: [UInt8]
  private let port: Int

  /// Makes its directory.
  private init(of settings: DatabaseConfiguration, number: Int, in place: PrivateDirectory) throws {
    let made = try place.make("socket-\(number)")
    do { try made.directory.descriptor.setPermissions(0o755) } catch {
      throw Failure.writing("open", at: made.path, because: error)
    }
    directory = made.path
    // The defaults of the programs.
    let path =
      switch settings.kind {
      case .postgresql: (settings.socket ?? "/run/postgresql") + "/socket"
      case .mysql: settings.socket ?? "/run/mysqld/mysqld.sock"
      case .sqlite, .command, .pgbackrest: "/run/treering-\(number)/file"
      }
    self.path = Array(path.utf8)
    port = settings.port ?? (settings.kind == .mysql ? 3306 : 5432)
  }

  /// Makes the directories for some databases. Two servers cannot have the same address.
  static func all(for databases: [DatabaseConfiguration], in place: PrivateDirectory) throws -> [DrillSocket] {
    let sockets = try databases.indices.map { try DrillSocket(of: databases[$0], number: $0, in: place) }
    for (index, socket) in sockets.enumerated() {
      guard let twice = sockets[..<index].firstIndex(where: { $0.path == socket.path && $0.port == socket.port })
      else { continue }
      throw Failure(
        .failed, "the databases \(databases[twice].name) and \(databases[index].name) are of the same server",
        hint: "one drill can restore only one of them")
    }
    return sockets
  }

  /// The directory, and its path in the drill.
  var binding: DrillNamespaces.Binding {
    DrillNamespaces.Binding(directory: directory, path: splitLast(of: path).parent)
  }

  func address(inNetworkOf process: Int32) -> ServerAddress {
    ServerAddress(inNetworkOf: process, directory: directory, socket: splitLast(of: path).name, port: port)
  }

  /// Copies the file of an SQLite database to its place. The paths are those of the drill, so no link leads out of it.
  func placeFile(_ name: [UInt8], of settings: DatabaseConfiguration, in namespaces: DrillNamespaces) throws {
    guard settings.kind == .sqlite, let target = settings.path else { return }
    let copy = binding.path + Array("/dump/".utf8) + name
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
