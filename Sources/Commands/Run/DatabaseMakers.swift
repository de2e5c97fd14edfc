internal import Catalog
internal import Databases
internal import Engine
internal import Posix
internal import Repository
internal import Retention
internal import Settings

extension ConfigurationFile {
  var databases: [ExpectedDatabase] {
    databaseSettings.map { database in
      ExpectedDatabase(
        name: Array(database.name.utf8), kind: Array(database.recordedKind.utf8), isRequired: database.isRequired,
        directory: database.directory.map { Array($0.utf8) }, rpoSeconds: database.rpoSeconds,
        writeAheadLog: database.kind == .postgresql ? database.archive.map { Array($0.utf8) } : nil,
        binaryLogs: database.kind == .mysql ? database.archive.map { Array($0.utf8) } : nil,
        isPhysical: database.mode == .physical)
    }
  }

  /// The databases of the tables `[[database]]` and of the sites.
  var databaseSettings: [DatabaseConfiguration] { settings.databases + sites.map(\.database) }

  /// The dumps for a snapshot; `nil` if the configuration names no database.
  var dumps: DatabaseDumps? {
    let all = databaseSettings
    if all.isEmpty { return nil }
    return DatabaseDumps(databases: databases, sites: maintainedSites) { expected, directory, path, previous in
      let database = all.first { expected.name.elementsEqual($0.name.utf8) }!
      do {
        let site = try sites.first { $0.settings.database.name == database.name }?.site.get()
        let dump = try Dumper(of: database, programs: .ofEnvironment).dump(
          into: directory, at: path,
          after: previous.map { PreviousDump(point: $0.record.point, byteCount: $0.byteCount) })
        let point = Array((dump.point ?? "").utf8)
        if let archive = expected.writeAheadLog, let base = BaseBackup(point) {
          try DatabaseLogs(in: archive).checkLogs(of: base, in: directory)
        }
        try site?.writePaths(into: directory)
        return FinishedDump(
          began: dump.began, ended: dump.ended, point: point,
          warnings: dump.warnings + database.archiveLogs(since: previous?.record)
            + (site.map(warnings(ofLinksIn:)) ?? []))
      } catch let error as DumpFailure {
        throw error.reported
      }
    }
  }
}

extension ProgramSearch {
  /// The programs in this process's `PATH`.
  static var ofEnvironment: Self { Self(path: CurrentProcess.environment("PATH") ?? []) }
}

/// Does something with the programs of a database. Their failure is reported, unless a signal has ended them.
func reporting<Value>(body: () throws -> Value) throws -> Value {
  do { return try body() } catch let failure as DumpFailure {
    try checkForSignal()
    throw failure.reported
  }
}

extension DumpFailure {
  /// The failure for the run, after the tool's own lines were printed.
  var reported: Failure {
    if lastLines.count > 1 { for line in lastLines { Console.complain("\(name): \(line)") } }
    return Failure(.failed, message, hint: hint)
  }
}
