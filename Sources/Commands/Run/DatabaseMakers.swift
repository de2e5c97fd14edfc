internal import Catalog
internal import Databases
internal import Posix
internal import Repository
internal import Settings

extension ConfigurationFile {
  /// The databases to dump.
  var databases: [ExpectedDatabase] {
    settings.databases.map { database in
      ExpectedDatabase(
        name: Array(database.name.utf8), kind: Array(database.kind.rawValue.utf8), isRequired: database.isRequired,
        directory: database.directory.map { Array($0.utf8) }, rpoSeconds: database.rpoSeconds)
    }
  }

  /// The dumps for a snapshot; `nil` if the configuration names no database.
  var dumps: DatabaseDumps? {
    if settings.databases.isEmpty { return nil }
    return DatabaseDumps(databases: databases) { expected, directory, path, previous in
      let database = settings.databases.first { expected.name.elementsEqual($0.name.utf8) }!
      do throws(DumpFailure) {
        let dump = try Dumper(of: database, programs: .ofEnvironment).dump(
          into: directory, at: path,
          after: previous.map { PreviousDump(point: $0.record.point, byteCount: $0.byteCount) })
        return FinishedDump(
          began: dump.began, ended: dump.ended, point: Array((dump.point ?? "").utf8),
          warnings: dump.warnings + database.archiveLogs(since: previous?.record))
      } catch {
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
