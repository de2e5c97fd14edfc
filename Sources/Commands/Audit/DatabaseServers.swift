internal import Model
internal import Posix
internal import Settings

/// The database servers of this machine.
enum DatabaseServers {
  /// A kind of server: the kind for the configuration, its usual ports, and the names of its sockets.
  private struct Kind: Sendable {
    let name: String
    let kind: String
    let ports: Set<UInt16>
    /// Words of a command that dumps it, for servers that have no kind of their own.
    var words: [String] = []
    let isSocket: @Sendable (String) -> Bool
  }

  private static let kinds = [
    Kind(name: "PostgreSQL", kind: "postgresql", ports: [5432]) { $0.hasPrefix(postgreSQLSocket) },
    Kind(name: "MySQL", kind: "mysql", ports: [3306]) {
      ["mysqld.sock", "mysql.sock", "mariadb.sock"].contains($0)
    },
    Kind(name: "Redis", kind: "command", ports: [6379], words: ["redis", "valkey"]) {
      $0.hasSuffix(".sock") && ($0.hasPrefix("redis") || $0.hasPrefix("valkey"))
    },
    Kind(name: "MongoDB", kind: "command", ports: [27017], words: ["mongo"]) { $0.hasPrefix("mongodb-") },
    Kind(name: "LDAP", kind: "command", ports: [389], words: ["ldap", "slap"]) { $0 == "ldapi" },
  ]

  private static let postgreSQLSocket = ".s.PGSQL."

  /// The listening servers that no `[[database]]` is for.
  ///
  /// A database names a socket, or a port of this machine. One that names neither is for the first server of its kind
  /// that is left, and so is one whose program does not tell.
  static func unsaved(in sockets: ListeningSockets, by databases: [DatabaseConfiguration]) -> [AuditFacts.BlindSpot] {
    kinds.flatMap { kind -> [AuditFacts.BlindSpot] in
      var places = places(of: kind, in: sockets)
      // Two databases may be of one server.
      var open: Set<String> = []
      for database in databases where isFor(kind, database) {
        guard let index = places.firstIndex(where: { names($0, database) }) else {
          if isOpen(database) { open.insert(database.kind == .mysql ? "" : database.name) }
          continue
        }
        places.remove(at: index)
      }
      return places.dropFirst(open.count).map { .init(.server(name: kind.name, kind: kind.kind), at: $0) }
    }
  }

  /// The sockets of a kind of server. Its ports count only without a socket: most servers listen on both.
  private static func places(of kind: Kind, in sockets: ListeningSockets) -> [String] {
    let paths = sockets.paths.map(withoutVar).filter { kind.isSocket(fileName(of: $0)) }
    let ports = sockets.ports.filter(kind.ports.contains)
    return paths.isEmpty ? ports.sorted().map { "port \($0)" } : Set(paths).sorted()
  }

  private static func isFor(_ kind: Kind, _ database: DatabaseConfiguration) -> Bool {
    switch database.kind {
    case .postgresql, .pgbackrest: kind.kind == "postgresql"
    case .mysql: kind.kind == "mysql"
    case .command:
      kind.words.contains { word in (database.command + [database.name]).contains { $0.lowercased().contains(word) } }
    case .sqlite: false
    }
  }

  /// True if a database names a server's socket or port.
  private static func names(_ place: String, _ database: DatabaseConfiguration) -> Bool {
    let isPostgreSQL = database.kind == .postgresql
    let port = database.port ?? (isPostgreSQL ? 5432 : 3306)
    let socket = database.socket.map(withoutVar)
    guard isPostgreSQL else { return place == socket || isHere(database) && place == "port \(port)" }
    let name = postgreSQLSocket + "\(port)"
    if let socket { return place == "\(socket)/\(name)" }
    return isHere(database) && (fileName(of: place) == name || place == "port \(port)")
  }

  /// True if a database may be any server of its kind on this machine.
  private static func isOpen(_ database: DatabaseConfiguration) -> Bool {
    switch database.kind {
    case .pgbackrest, .command: true
    case .mysql: isHere(database) && (database.port ?? 3306) == 3306
    case .postgresql, .sqlite: false
    }
  }

  private static func isHere(_ database: DatabaseConfiguration) -> Bool {
    database.socket == nil && [nil, "localhost", "127.0.0.1", "::1"].contains(database.host)
  }

  private static func fileName(of path: String) -> String { displayName(splitLast(of: Array(path.utf8)).name) }

  /// `/var/run` is a link to `/run`.
  private static func withoutVar(_ path: String) -> String {
    path.hasPrefix("/var/run/") ? String(path.dropFirst(4)) : path
  }

  // MARK: Data directories

  /// The file that each data directory of a kind has.
  static let marks = [(kind: "postgresql", mark: "PG_VERSION"), (kind: "mysql", mark: "ibdata1")]

  /// The data directories of running servers, and the places where Debian and Red Hat keep them.
  static func dataDirectories() -> [(path: String, kind: String, mark: String)] {
    let paths =
      workingDirectories(of: ["postgres", "mysqld", "mariadbd"]) + ["/var/lib/mysql", "/var/lib/pgsql/data"]
      + names(in: "/var/lib/postgresql").flatMap(names)
    return paths.flatMap { path in marks.map { (path, $0.kind, $0.mark) } }
  }

  /// These servers work in their data directories; `/proc/PID/cwd`, see proc(5).
  private static func workingDirectories(of programs: Set<String>) -> [String] {
    names(in: "/proc").filter { process in
      let name = try? Descriptor.open(path: Array("\(process)/comm".utf8), .read).readWhole(limit: 64)
      return programs.contains(displayName((name ?? []).filter { $0 != newline }))
    }.compactMap { try? displayName(CurrentProcess.realPath(Array("\($0)/cwd".utf8))) }
  }

  private static func names(in path: String) -> [String] {
    let names = (try? Directory(Descriptor.open(path: Array(path.utf8), [.read, .directory])).names()) ?? []
    return names.map { "\(path)/\(displayName($0))" }.sorted()
  }
}

/// The sockets on which servers of this machine listen; `/proc/net/unix` and `/proc/net/tcp`, see proc(5).
struct ListeningSockets {
  var paths: Set<String> = []
  var ports: Set<UInt16> = []

  static func current() -> ListeningSockets {
    func text(_ name: String) -> [UInt8] {
      (try? Descriptor.open(path: Array("/proc/net/\(name)".utf8), .read).readWhole(limit: 64 << 20)) ?? []
    }
    return ListeningSockets(unix: text("unix"), tcp: text("tcp") + text("tcp6"))
  }

  init(unix: [UInt8], tcp: [UInt8]) {
    for line in unix.split(separator: newline) {
      // Number, count, protocol, flags, type, state, inode, path. 0x10000 is __SO_ACCEPTCON.
      let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 7)
      guard fields.count == 8, let flags = UInt32(String(decoding: fields[3], as: UTF8.self), radix: 16),
        flags & 0x10000 != 0, fields[7].first == slash
      else { continue }
      paths.insert(displayName(fields[7]))
    }
    for line in tcp.split(separator: newline) {
      // Number, local address and port, remote address and port, state; 0A is TCP_LISTEN.
      let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 4)
      guard fields.count > 3, fields[3].elementsEqual("0A".utf8),
        let digits = fields[1].split(separator: UInt8(ascii: ":")).last,
        let port = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
      else { continue }
      ports.insert(port)
    }
  }
}
