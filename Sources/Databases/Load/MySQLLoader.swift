internal import Model
internal import Posix
internal import Settings

/// Loads databases of a MySQL or MariaDB dump: the parts in their order, in one session of mysql(1).
struct MySQLLoader: DumpLoading {
  private let target: DatabaseConfiguration
  private let tools: Tools
  private let server: MySQLServer
  /// In bytes; the server counts characters.
  private static let longestName = 64

  init(into target: DatabaseConfiguration, by tools: Tools) throws(DumpFailure) {
    (self.target, self.tools) = (target, tools)
    server = try MySQLServer(of: target, tools: tools)
  }

  func command(toLookAt name: [UInt8]) -> [[UInt8]] {
    var command = tools.account?.runWords ?? []
    command += words("mariadb")
    if let socket = target.socket { command += words("-S", socket) }
    if let host = target.host { command += words("-h", host) }
    if let port = target.port { command += words("-P", "\(port)") }
    if let role = target.role { command += words("-u", role) + (target.passwordFile == nil ? [] : words("-p")) }
    return command + [name]
  }

  func plan(_ databases: [[UInt8]], _ options: LoadOptions) throws(DumpFailure) -> [LoadStep] {
    var present: [[UInt8]: LoadStep.State] = [:]
    for (name, tables) in try server.tableCounts() { present[name] = tables == 0 ? .empty : .occupied(connections: 0) }
    if options.replaces {
      for (name, count) in try server.connections() where present[name] == .occupied(connections: 0) {
        present[name] = .occupied(connections: count)
      }
    }
    return options.steps(for: databases, among: present, longest: Self.longestName)
  }

  func load(
    _ steps: [LoadStep], from directory: Directory, at path: [UInt8], _ options: LoadOptions
  ) throws(DumpFailure) -> LoadResult {
    let dump = DumpDirectory(directory, path: path, account: tools.account, name: tools.name)
    let replaced = steps.compactMap { step in step.replacedName.map { (target: step.target, kept: $0) } }
    for (target, kept) in replaced {
      try copy(target, as: kept, below: dump)
      try drop(target)
    }
    do throws(DumpFailure) { try load(steps.map { ($0.database, $0.target) }, from: dump) } catch {
      var failure = error
      for step in steps where step.state != .empty {
        do throws(DumpFailure) { try drop(step.target, cleansUp: true) } catch let other {
          failure.reason += "; and the new database \(displayName(step.target)) cannot be removed: \(other.message)"
        }
      }
      if steps.contains(where: { $0.state == .empty }) {
        failure.reason += "; a part may be in the database that was empty"
      }
      for (target, kept) in replaced { failure.reason += putBack(kept, as: target, below: dump) }
      throw failure
    }
    if !options.keepsReplaced { for (_, kept) in replaced { try drop(kept) } }
    return LoadResult(warnings: LoadOptions.warning(ofUnfinished: try server.unfinished()).map { [$0] } ?? [])
  }
}

extension MySQLLoader {
  /// Carries out the parts of some databases, in one session.
  private func load(_ databases: [(name: [UInt8], newName: [UInt8])], from dump: DumpDirectory) throws(DumpFailure) {
    var setting = server.setting()
    setting.input = try DumpJoiner(of: dump).join(databases, marksUnfinished: true)
    do {
      // In the binary mode, no text of a dump is a command of the client.
      let command = words("--binary-mode", "--default-character-set=utf8mb4", "--max-allowed-packet=1G")
      _ = try tools.run(server.command(server.client) + command, setting)
    } catch { throw server.explained(error) }
  }

  private func drop(_ name: [UInt8], cleansUp: Bool = false) throws(DumpFailure) {
    try server.run(Array("DROP DATABASE IF EXISTS ".utf8) + quoted(name, by: "`"), cleansUp: cleansUp)
  }

  /// Makes a copy of a database on the server, under a name that is free. A copy that would lack something is refused.
  ///
  /// A MySQL server cannot rename a database.
  private func copy(_ name: [UInt8], as newName: [UInt8], below dump: DumpDirectory) throws(DumpFailure) {
    var database = target
    database.databases = [String(decoding: name, as: UTF8.self)]
    (database.excludeTables, database.tablePrefix) = ([], nil)
    (database.acceptsMixedMoments, database.isWithoutLogPlace) = (true, true)
    let place = try dump.makeDirectory(for: Array("copy of ".utf8) + name + [slash] + newName)
    let lacks = try MySQLDump(of: database, by: tools, into: place).make().warnings
    guard lacks.isEmpty else {
      throw DumpFailure(
        name: tools.name,
        reason: "the copy of \(displayName(name)) that is kept would not be whole: \(lacks.joined(separator: "; "))",
        hint: "load under another name with --as")
    }
    do throws(DumpFailure) { try load([(name, newName)], from: place) } catch {
      var failure = error
      do throws(DumpFailure) { try drop(newName, cleansUp: true) } catch let other {
        failure.reason += "; and the copy \(displayName(newName)) cannot be removed: \(other.message)"
      }
      throw failure
    }
  }

  /// Gives a replaced database its name again. Returns words about the result.
  private func putBack(_ kept: [UInt8], as name: [UInt8], below dump: DumpDirectory) -> String {
    do throws(DumpFailure) {
      try copy(kept, as: name, below: dump)
      try drop(kept)
      return "; \(displayName(name)) has its old content again"
    } catch { return "; the old content of \(displayName(name)) is in \(displayName(kept)): \(error.message)" }
  }
}

/// Puts the parts of a dump together again, with other names of databases.
struct DumpJoiner {
  private let dump: DumpDirectory
  private static let name = Array(".joined".utf8)
  /// The table of a database whose load has not ended.
  static let unfinished = Array("treering_unfinished_load".utf8)

  init(of dump: DumpDirectory) { self.dump = dump }

  /// A file with the parts of some databases, in their order; it has no name. The parts are removed.
  ///
  /// A MySQL server cannot rename a database. So a load marks each with a table until the end of all.
  func join(
    _ databases: [(name: [UInt8], newName: [UInt8])], marksUnfinished: Bool = false
  ) throws(DumpFailure) -> SharedFile {
    let joined = try dump.makeFile(Self.name)
    let order = Array(DumpWriter.order.utf8)
    let lines = try dump.attempt("read", at: dump.path + [slash] + order) { () throws(Errno) in
      try dump.directory.descriptor.unlink(Self.name.span)
      return try dump.directory.descriptor.openToRead(order.span).readToEnd(limit: 256 << 20)
    }
    var renames: [[UInt8]: DatabaseRename] = [:]
    for (name, newName) in databases {
      let directory = fileName(for: name, reserved: DumpSplitter.Part.reserved)
      renames[directory] = DatabaseRename(of: name, to: newName)
    }
    for path in lines.split(separator: 10).map(Array.init) {
      let parts = TreePath(parsing: path)
      if parts.count == 1 {
        try append(path, of: dump.directory, to: joined, renaming: nil)
      } else if parts.count == 2, let rename = renames[parts[0]] {
        let directory = try dump.attempt("open", at: dump.path + [slash] + parts[0]) { () throws(Errno) in
          try dump.directory.directory(path: [parts[0]])
        }
        try append(parts[1], of: directory, to: joined, renaming: rename.changesNothing ? nil : rename)
        guard marksUnfinished, parts[1].elementsEqual("database.sql".utf8) else { continue }
        try append("CREATE TABLE ", ofMarkIn: rename.newName, " (i INT PRIMARY KEY);\n", to: joined)
      }
    }
    for (_, newName) in databases where marksUnfinished {
      try append("DROP TABLE ", ofMarkIn: newName, ";\n", to: joined)
    }
    try dump.attempt("read") { () throws(Errno) in try joined.descriptor.seek(to: 0) }
    return joined
  }

  /// A statement about the mark of a database.
  private func append(
    _ begin: String, ofMarkIn database: [UInt8], _ end: String, to joined: SharedFile
  ) throws(DumpFailure) {
    let table = quoted(database, by: "`") + [UInt8(ascii: ".")] + quoted(Self.unfinished, by: "`")
    try dump.attempt("write") { () throws(Errno) in
      try joined.descriptor.write(Array(begin.utf8) + table + Array(end.utf8))
    }
  }

  private func append(
    _ name: [UInt8], of directory: Directory, to joined: SharedFile, renaming rename: DatabaseRename?
  ) throws(DumpFailure) {
    try dump.attempt("copy", at: dump.path + [slash] + name) { () throws(Errno) in
      let part = try directory.descriptor.openToRead(name.span)
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
      defer { buffer.deallocate() }
      var rename = rename
      while true {
        let count = try part.read(into: buffer)
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        if rename == nil {
          try joined.descriptor.write(bytes)
        } else {
          try joined.descriptor.write(rename!.pass(bytes, isEnd: count == 0))
        }
        if count == 0 { break }
      }
      // The space of one part is needed twice, not that of all.
      try directory.descriptor.unlink(name.span)
    }
  }
}

/// Replaces the name of a database in the statements of mysqldump(1) that have it: `CREATE DATABASE`, `USE` and
/// `ALTER DATABASE`, each at the beginning of a line. Bodies of triggers and routines are left as they are.
struct DatabaseRename {
  private let beginnings: [(old: [UInt8], new: [UInt8])]
  let newName: [UInt8]
  let changesNothing: Bool
  private var isInBody = false
  private var isInLine = false
  /// The beginning of a line that may have the name.
  private var held: [UInt8] = []
  private static let longestLine = 1024

  init(of name: [UInt8], to newName: [UInt8]) {
    self.newName = newName
    changesNothing = name == newName
    let words = ["CREATE DATABASE /*!32312 IF NOT EXISTS*/ ", "USE ", "ALTER DATABASE "].map { Array($0.utf8) }
    beginnings = words.map { ($0 + quoted(name, by: "`"), $0 + quoted(newName, by: "`")) }
  }

  /// The next bytes of a part, as far as they are decided.
  mutating func pass(_ bytes: UnsafeRawBufferPointer, isEnd: Bool) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count + held.count)
    var start = 0
    while start < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
      let length = rest.firstIndex(of: 10).map { $0 + 1 } ?? rest.count
      let piece = rest[..<length]
      start += length
      let isWhole = piece.last == 10
      if !isInLine || !held.isEmpty {
        held += piece
        if isWhole || held.count > Self.longestLine { release(to: &result) }
      } else {
        result += piece
      }
      isInLine = !isWhole
    }
    if isEnd { release(to: &result) }
    return result
  }

  private mutating func release(to result: inout [UInt8]) {
    if held.elementsEqual("DELIMITER ;\n".utf8) {
      isInBody = false
    } else if held.elementsEqual("DELIMITER ;;\n".utf8) {
      isInBody = true
    } else if !isInBody, let found = beginnings.first(where: { held.starts(with: $0.old) }) {
      held.replaceSubrange(..<found.old.count, with: found.new)
    }
    result += held
    held.removeAll(keepingCapacity: true)
  }
}
