internal import Model
internal import Posix
internal import Retention
internal import Settings

/// The base backup of a PostgreSQL server: a copy of its data directory by pg_basebackup(1).
///
/// A file that the server did not change is unchanged. Tablespaces become directories of the copy, where the server has
/// symbolic links to them.
struct PostgreSQLBase {
  private let database: DatabaseConfiguration
  private let tools: Tools
  private let target: DumpDirectory
  private let server: PostgreSQLServer

  init(of database: DatabaseConfiguration, by tools: Tools, into target: DumpDirectory) throws(DumpFailure) {
    (self.database, self.tools, self.target) = (database, tools, target)
    server = try PostgreSQLServer(of: database, tools: tools)
  }

  private var isArchived: Bool { database.archive != nil }

  func make() throws(DumpFailure) -> DumpResult {
    let (facts, programs) = try server.programs()
    try server.checkBaseBackups(isArchived: isArchived, facts: facts)
    try target.checkSpace(forBytes: try server.databases().reduce(0) { $0 + $1.byteCount })
    try target.give()
    let tablespaces = try tablespaces()
    var command =
      [programs.baseBackup]
      + words(
        "--pgdata=\(Tools.directoryPath)", "--format=plain", "--checkpoint=fast", "--label=treering", "--no-sync",
        "--no-password", "--wal-method=\(isArchived ? "none" : "stream")")
    command += tablespaces.map { Array("--tablespace-mapping=".utf8) + escaped($0.path) + place(of: $0.id) }
    let setting = server.setting(for: server.firstDatabase, directory: target.directory)
    do {
      var errors = try copy(by: command, setting: setting).errors
      for tablespace in tablespaces { try moveIn(tablespace.id) }
      // With a stream, the copy has the log that it needs, and pg_waldump(1) of the same version reads that, too.
      let readsLog = !isArchived && programs.version == facts.majorVersion
      let options = words("--quiet") + (readsLog ? [] : words("--no-parse-wal"))
      errors += try tools.run([programs.verifyBackup] + options + words(Tools.directoryPath), setting).errors
      let remarks = errors.filter { firstIndex(of: Array("warning:".utf8), in: $0.map(lowercased)) != nil }
      return DumpResult(point: try point().description, warnings: remarks.map { displayName($0) })
    } catch { throw server.explained(error) }
  }

  /// Runs pg_basebackup(1), which waits for the archive at its end, until the archive gets nothing any more.
  private func copy(by command: [[UInt8]], setting: Tools.Setting) throws(DumpFailure) -> Tools.Result {
    guard isArchived else { return try tools.run(command, setting) }
    let watch = ArchiveWatch(of: server)
    var setting = setting
    setting.stop = watch.stop
    let result = Result { () throws(DumpFailure) in try tools.run(command, setting) }
    let isStuck = watch.end()
    if case .failure = result, isStuck, CurrentProcess.rememberedSignal == nil {
      throw failure(
        "the server has archived nothing in \(ArchiveWait.limitSeconds / 60) minutes, and the backup waits for its log",
        hint:
          "is the program of archive_command in the server's own PATH? Give its full path; the server's log has more")
    }
    return try result.get()
  }

  private func failure(_ reason: String, hint: String? = nil) -> DumpFailure {
    DumpFailure(name: tools.name, reason: reason, hint: hint)
  }

  // MARK: Tablespaces

  private struct Tablespace {
    /// The number that names it.
    var id: [UInt8]
    /// The server's directory.
    var path: [UInt8]
  }

  /// The tablespaces outside the data directory.
  private func tablespaces() throws(DumpFailure) -> [Tablespace] {
    let query = "SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE '/%'"
    return try server.rows(query, fields: 2, in: server.firstDatabase).map { row throws(DumpFailure) in
      let (id, path) = (row[row.startIndex], row[row.startIndex + 1])
      guard id.allSatisfy(isDigit) else { throw failure("the server has a tablespace \(displayName(id))") }
      return Tablespace(id: id, path: path)
    }
  }

  /// The directory that pg_basebackup(1) makes for a tablespace. Its own link to it means nothing elsewhere.
  private func place(of id: [UInt8]) -> [UInt8] { Array("\(Tools.directoryPath)/tablespace-".utf8) + id }

  /// The option has the form `OLD=NEW`.
  private func escaped(_ path: [UInt8]) -> [UInt8] {
    let equal = UInt8(ascii: "=")
    return path.flatMap { $0 == equal ? [UInt8(ascii: "\\"), equal] : [$0] } + [equal]
  }

  /// Puts the directory of a tablespace in the place of the link.
  private func moveIn(_ id: [UInt8]) throws(DumpFailure) {
    try target.attempt("move a tablespace in") { () throws(Errno) in
      let links = try target.directory.directory(Array("pg_tblspc".utf8).span)
      try links.descriptor.unlink(id.span)
      let name = Array("tablespace-".utf8) + id
      try target.directory.descriptor.rename(name.span, to: links.descriptor, as: id.span)
    }
  }

  // MARK: The place in the log

  /// The label has the start, and the end of the manifest the end.
  private func point() throws(DumpFailure) -> BaseBackup {
    let label = try read("backup_label")
    let lines = label.split(separator: "\n")
    func value(_ name: String) -> Substring? {
      lines.first { $0.hasPrefix(name + ": ") }?.dropFirst(name.utf8.count + 2).prefix { $0 != " " }
    }
    let ends = try read("backup_manifest").split(separator: "\"End-LSN\": \"").dropFirst()
      .compactMap { LogPlace($0.prefix { $0 != "\"" }) }
    guard let start = value("START WAL LOCATION").flatMap({ LogPlace($0) }), let end = ends.max(),
      let timeline = value("START TIMELINE").flatMap({ UInt32($0) })
    else { throw failure("pg_basebackup did not say which part of the log the backup needs") }
    return BaseBackup(timeline: timeline, start: start, end: end)
  }

  /// The last part of a file of the backup.
  private func read(_ name: String) throws(DumpFailure) -> String {
    let text = try target.attempt("read", at: target.path + Array("/\(name)".utf8)) { () throws(Errno) in
      let file = try target.directory.descriptor.openToRead(Array(name.utf8).span)
      let size = try file.status().size
      return try file.read(at: size - min(size, 1 << 16), count: 1 << 16)
    }
    return String(decoding: text, as: UTF8.self)
  }
}

private func lowercased(_ byte: UInt8) -> UInt8 {
  (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
}

extension PostgreSQLServer {
  /// Throws if the server cannot make base backups, or does not archive its log.
  func checkBaseBackups(isArchived: Bool, facts: Facts) throws(DumpFailure) {
    guard facts.majorVersion >= 13 else {
      throw DumpFailure(
        name: tools.name, reason: "the server has version \(facts.majorVersion), whose base backups cannot be verified",
        hint: "mode = \"physical\" needs version 13 or newer")
    }
    guard isArchived else { return }
    let query = """
      SELECT current_setting('archive_mode'),
      CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity') THEN last_failed_wal ELSE '' END
      FROM pg_stat_archiver
      """
    let row = try rows(query, fields: 2, in: firstDatabase).first ?? []
    guard row.first != Array("off".utf8) else {
      throw DumpFailure(
        name: tools.name, reason: "the server does not archive its log, though \"archive\" names a directory",
        hint: "set archive_mode and archive_command, and start the server again; see: man treering-wal")
    }
    // A base backup would wait for the archive until its time is over.
    guard let failed = row.last, failed.isEmpty else {
      throw DumpFailure(
        name: tools.name, reason: "the server cannot archive \(displayName(row.last ?? []))",
        hint: "the reason is in the server's log, after: archive command failed")
    }
  }
}
