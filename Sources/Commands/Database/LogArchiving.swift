internal import Catalog
internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// `database archive`: closes the binary log of a server, and stores the closed logs that its archive lacks.
struct LogArchiving {
  private let database: DatabaseConfiguration
  private let archive: LogArchive

  /// `nil` if the server's logs are not archived, or if the server does that itself.
  init?(of database: DatabaseConfiguration) throws(Failure) {
    guard database.kind == .mysql, let path = database.archive else { return nil }
    self.database = database
    archive = try LogArchive(at: Array(path.utf8))
  }

  /// Stores the logs; returns their names. An empty archive begins with the log of `dump`.
  func run(since dump: DatabaseRecord?) throws -> [BinaryLogName] {
    try reporting {
      var source = try BinaryLogSource(of: database, programs: .ofEnvironment)
      let closed = try source.close()
      try checkServer(of: source, having: closed)
      let present = Set(try archive.names().compactMap { BinaryLogName($0) }.filter { $0.base == closed.last?.base })
      let begin = dump.flatMap { BinaryLogPlace(point: $0.point)?.log }
      let first = present.min() ?? closed.first { $0 == begin } ?? closed.last
      let lacking = closed.filter { log in !present.contains(log) && first.map { log >= $0 } ?? false }
      guard !lacking.isEmpty else {
        if let newest = closed.last, present.contains(newest) { try archive.confirm(newest.text) }
        return []
      }
      let place = try PrivateDirectory(below: Array((database.directory ?? "/var/tmp").utf8), forBytes: 0)
      defer { place.remove() }
      // One at a time, so that the space of one is enough.
      for (number, log) in lacking.enumerated() {
        try checkForSignal()
        let directory = try place.make("\(number)")
        try source.fetch([log], into: directory.directory, at: directory.path)
        _ = try archive.store(SharedFile(try directory.directory.descriptor.openToRead(log.text.span)), as: log.text)
        try directory.directory.descriptor.unlink(log.text.span)
      }
      return lacking
    }
  }

  /// Refuses the logs of another server than those before. A new server counts its logs from 1 again.
  private func checkServer(of source: BinaryLogSource, having closed: [BinaryLogName]) throws {
    let found = try BinaryLogComparison(
      archived: try archive.names().compactMap { BinaryLogName($0) }, server: source.sizes(of: closed)
    ) { try archive.facts(of: $0.text)?.byteCount }
    var conflict = found.conflict
    if conflict == nil, let common = found.common,
      let head = try archive.head(of: common.text, byteCount: BinaryLogStart.byteCount),
      let start = BinaryLogStart(head: head), try source.differs(common, from: start)
    {
      conflict = common
    }
    guard let conflict else { return }
    throw BinaryLogArchive.another(
      at: archive.path, because: "its \(displayName(conflict.text)) is not that of the server")
  }
}

extension DatabaseConfiguration {
  /// Archives the logs as a part of a run; returns the warnings.
  func archiveLogs(since dump: DatabaseRecord?) -> [String] {
    do {
      _ = try LogArchiving(of: self)?.run(since: dump)
      return []
    } catch {
      return ["the binary logs are not archived: \(error)"]
    }
  }
}

/// The document of `database archive --json`.
struct LogArchivingAnswer: Encodable {
  let name, archive: String
  let stored: [String]
  let elapsedSeconds: Double
}

extension DatabaseCommand {
  /// Archives the logs of one database of the configuration.
  func archiveLogs() throws -> ExitStatus {
    let start = Clock.monotonic()
    let file = try common.requiredConfiguration()
    let shown = displayName(name!.bytes)
    guard let database = file.settings.databases.first(where: { name!.bytes.elementsEqual($0.name.utf8) })
    else { throw Failure(.usage, "\(displayName(file.path)) has no [[database]] of the name \(shown)") }
    CurrentProcess.rememberSignals()
    guard let archiving = try LogArchiving(of: database) else {
      throw Failure(
        .usage,
        "\(file.at(line: database.line)): "
          + (database.kind == .mysql
            ? "the database \(shown) has no \"archive\"" : "only a MySQL server's binary logs are archived so"),
        hint: database.kind == .postgresql ? "a PostgreSQL server archives by itself: see treering-wal(1)" : nil)
    }
    // The archive can be filled while the repository is away.
    let list = try? common.openRepository().snapshots()
    let newest = list?.dumpRecords(of: name!.bytes).first?.record
    let stored = try archiving.run(since: newest).map { displayName($0.text) }
    common.answer(
      LogArchivingAnswer(
        name: shown, archive: database.archive!, stored: stored, elapsedSeconds: Clock.monotonic() - start),
      isWanted: common.speaks,
      lines: [
        stored.isEmpty
          ? "nothing was written since the last log that \(database.archive!) has"
          : "stored \(counted(stored.count, "binary log")) of \(shown), up to \(stored.last!)"
      ])
    return .done
  }
}
