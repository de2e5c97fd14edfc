internal import Catalog
internal import Databases
internal import Posix
internal import Repository
internal import Retention
internal import Settings

extension ConfigurationFile {
  /// The databases to dump.
  var databases: [ExpectedDatabase] {
    settings.databases.map { database in
      ExpectedDatabase(
        name: Array(database.name.utf8), kind: Array(database.recordedKind.utf8), isRequired: database.isRequired,
        directory: database.directory.map { Array($0.utf8) }, rpoSeconds: database.rpoSeconds,
        writeAheadLog: database.kind == .postgresql ? database.archive.map { Array($0.utf8) } : nil,
        isPhysical: database.mode == .physical)
    }
  }

  /// The dumps for a snapshot; `nil` if the configuration names no database.
  var dumps: DatabaseDumps? {
    if settings.databases.isEmpty { return nil }
    return DatabaseDumps(databases: databases) { expected, directory, path, previous in
      let database = settings.databases.first { expected.name.elementsEqual($0.name.utf8) }!
      do {
        let dump = try Dumper(of: database, programs: .ofEnvironment).dump(
          into: directory, at: path,
          after: previous.map { PreviousDump(point: $0.record.point, byteCount: $0.byteCount) })
        let point = Array((dump.point ?? "").utf8)
        if let archive = expected.writeAheadLog, let base = BaseBackup(point) {
          try DatabaseLogs(in: archive).checkLogs(of: base)
        }
        return FinishedDump(
          began: dump.began, ended: dump.ended, point: point,
          warnings: dump.warnings + database.archiveLogs(since: previous?.record))
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

extension DumpFailure {
  /// The failure for the run, after the tool's own lines were printed.
  var reported: Failure {
    if lastLines.count > 1 { for line in lastLines { Console.complain("\(name): \(line)") } }
    return Failure(.failed, message, hint: hint)
  }
}
