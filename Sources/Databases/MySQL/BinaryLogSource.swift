internal import Model
public import Posix
public import Settings

/// The binary logs of a MySQL or MariaDB server.
public struct BinaryLogSource {
  private let tools: Tools
  private let server: MySQLServer
  private let program: [UInt8]
  /// By name.
  private var sizes: [[UInt8]: UInt64] = [:]

  public init(of database: DatabaseConfiguration, programs: ProgramSearch) throws(DumpFailure) {
    try self.init(of: database, by: try Tools(of: database, programs: programs))
  }

  init(of database: DatabaseConfiguration, by tools: Tools) throws(DumpFailure) {
    self.tools = tools
    server = try MySQLServer(of: database, tools: tools)
    program = try Self.program(of: tools)
  }

  static func program(of tools: Tools) throws(DumpFailure) -> [UInt8] {
    try tools.find("mariadb-binlog", "mysqlbinlog", package: "mariadb-client")
  }

  /// Closes the current log, unless nothing was written to it. Returns the names of all closed logs.
  public mutating func close() throws(DumpFailure) -> [BinaryLogName] {
    var all = try list()
    if let current = all.last, try hasEvents(current) {
      try server.run(Array("FLUSH BINARY LOGS".utf8))
      all = try list()
    }
    return all.dropLast()
  }

  /// The sizes of closed logs, from the last list.
  public func sizes(of logs: [BinaryLogName]) -> [BinaryLogName: UInt64] {
    Dictionary(logs.compactMap { log in sizes[log.text].map { (log, $0) } }, uniquingKeysWith: { first, _ in first })
  }

  /// True if the server's log of this name begins in another way. A tool that says nothing of it proves nothing.
  public func differs(_ log: BinaryLogName, from start: BinaryLogStart) throws(DumpFailure) -> Bool {
    var setting = server.setting()
    setting.variables = [("TZ", Array("UTC0".utf8))]
    let command = server.command(program) + words("--read-from-remote-server", "--stop-position=5") + [log.text]
    let output: [UInt8]
    do { output = try tools.run(command, setting).output } catch { throw server.explained(error) }
    let line = String(decoding: output, as: UTF8.self).split(separator: "\n").first { $0.contains("Start: binlog") }
    return line.map { !$0.hasPrefix(start.line) } ?? false
  }

  mutating func list() throws(DumpFailure) -> [BinaryLogName] {
    let rows = try server.rows("SHOW BINARY LOGS")
    sizes = Dictionary(
      rows.map { ($0[0], $0.count < 2 ? 0 : UInt64(String(decoding: $0[1], as: UTF8.self)) ?? 0) },
      uniquingKeysWith: { first, _ in first })
    let names = rows.compactMap { BinaryLogName($0[0]) }
    guard !names.isEmpty, names.count == rows.count else {
      throw DumpFailure(
        name: tools.name, reason: names.isEmpty ? "the server has no binary log" : "a binary log has an odd name",
        hint: names.isEmpty ? "set log_bin in the server's configuration" : nil)
    }
    return names
  }

  /// The first events of each log belong to the log itself.
  private func hasEvents(_ log: BinaryLogName) throws(DumpFailure) -> Bool {
    let own = ["Format_desc", "Gtid_list", "Binlog_checkpoint", "Previous_gtids", "Start_encryption"]
    let query = "SHOW BINLOG EVENTS IN '\(String(decoding: log.text, as: UTF8.self))' LIMIT 20"
    return try server.rows(query).contains { row in
      row.count > 2 && !own.contains(String(decoding: row[2], as: UTF8.self))
    }
  }

  /// Puts copies of closed logs into a private directory of this user. Each is whole.
  ///
  /// A log in which the server crashed has no event that closes it.
  public func fetch(_ logs: [BinaryLogName], into directory: Directory, at path: [UInt8]) throws(DumpFailure) {
    guard !logs.isEmpty else { return }
    let target = DumpDirectory(directory, path: path, account: tools.account, name: tools.name)
    try target.give()
    var setting = server.setting()
    setting.directory = directory
    let options = words("--read-from-remote-server", "--raw", "--result-file=\(Tools.directoryPath)/")
    do { _ = try tools.run(server.command(program) + options + logs.map(\.text), setting) } catch {
      var failure = server.explained(error)
      if failure.lastLines.contains(where: { $0.contains("Access denied") }) {
        failure.hint = "let the role read the binary logs: GRANT RELOAD, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO it"
      }
      throw failure
    }
    for log in logs {
      let size = try target.attempt("read", at: path + [slash] + log.text) { () throws(Errno) -> UInt64? in
        let file = try directory.descriptor.openToRead(log.text.span)
        return try BinaryLog(reading: file) == nil ? nil : try file.status().size
      }
      guard let size, size == sizes[log.text] ?? size else {
        throw DumpFailure(name: tools.name, reason: "the copy of the binary log \(displayName(log.text)) is not whole")
      }
    }
  }
}

/// The closed logs since the dump before, for a directory of the next dump.
struct MySQLLogs {
  private let source: BinaryLogSource
  private let names: [BinaryLogName]

  init(
    of database: DatabaseConfiguration, by tools: Tools, after previous: PreviousDump?, warnings: inout [String]
  ) throws(DumpFailure) {
    var source = try BinaryLogSource(of: database, by: tools)
    let closed = try source.close()
    self.source = source
    guard let place = previous.flatMap({ BinaryLogPlace(point: $0.point) }) else {
      names = []
      return
    }
    names = closed.filter { $0.base == place.log.base && $0 >= place.log }
    if let first = closed.first(where: { $0.base == place.log.base }), place.log < first {
      warnings.append(
        "the server has removed the binary logs before \(displayName(first.text)), so some moments since the last dump "
          + "cannot be restored; let it keep them longer: binlog_expire_logs_seconds")
    }
  }

  func fetch(into target: DumpDirectory) throws(DumpFailure) {
    guard !names.isEmpty else { return }
    let directory = try target.makeDirectory(for: Array(Dumper.logDirectory.utf8))
    try source.fetch(names, into: directory.directory, at: directory.path)
  }
}
