internal import Model
internal import Posix
internal import Settings

/// The physical copy of a MySQL or MariaDB server: its files, by mariadb-backup or xtrabackup, made consistent.
struct MySQLPhysicalDump {
  private let tools: Tools
  private let target: DumpDirectory
  private let server: MySQLServer
  private let program: [UInt8]

  init(of database: DatabaseConfiguration, by tools: Tools, into target: DumpDirectory) throws(DumpFailure) {
    (self.tools, self.target) = (tools, target)
    server = try MySQLServer(of: database, tools: tools)
    program = try Self.program(of: tools)
  }

  static func program(of tools: Tools) throws(DumpFailure) -> [UInt8] {
    try tools.find("mariadb-backup", "mariabackup", "xtrabackup", package: "mariadb-backup")
  }

  func make() throws(DumpFailure) -> DumpResult {
    try target.checkSpace(forBytes: try server.fileBytes())
    try target.give()
    var setting = server.setting()
    setting.directory = target.directory
    let place = words("--target-dir=\(Tools.directoryPath)")
    do {
      try check(try tools.run(server.command(program) + words("--backup") + place, setting), part: "the copy")
      // Before this, the files are of different moments.
      setting.secret = nil
      try check(
        try tools.run([program] + words("--no-defaults", "--prepare") + place, setting), part: "the preparation")
    } catch {
      var failure = server.explained(error)
      if failure.hint == nil, failure.lastLines.contains(where: { $0.contains("Permission denied") }) {
        failure.hint = "name the account that can read the server's files as \"user\", such as \"mysql\""
      }
      throw failure
    }
    return DumpResult(point: try point())
  }

  /// Both programs end with status 0 and this line, or the copy is not whole.
  private func check(_ result: Tools.Result, part: String) throws(DumpFailure) {
    guard let last = result.errors.last, last.suffix(13).elementsEqual("completed OK!".utf8) else {
      throw DumpFailure(
        name: tools.name, reason: "\(part) lacks its end marker, \"completed OK!\"",
        lastLines: result.errors.suffix(20).map { displayName($0) })
    }
  }

  /// The place in the binary log; `nil` if the server has none.
  private func point() throws(DumpFailure) -> String? {
    let names = try target.attempt("read") { () throws(Errno) in try target.directory.names() }
    let known = ["mariadb_backup_binlog_info", "xtrabackup_binlog_info"].map { Array($0.utf8) }
    guard let name = known.first(where: names.contains) else { return nil }
    let text = try target.attempt("read", at: target.path + [slash] + name) { () throws(Errno) in
      try target.directory.descriptor.openToRead(name.span).readToEnd(limit: 64 << 10)
    }
    let fields = text.split(whereSeparator: { $0 == 9 || $0 == 10 })
    guard fields.count >= 2 else { return nil }
    return "binary log \(displayName(fields[0])), position \(displayName(fields[1]))"
  }
}
