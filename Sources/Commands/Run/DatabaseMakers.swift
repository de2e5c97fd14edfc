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
    return DatabaseDumps(databases: databases) { expected, directory, path in
      let database = settings.databases.first { expected.name.elementsEqual($0.name.utf8) }!
      do throws(DumpFailure) {
        let dump = try Dumper(of: database, programs: .ofEnvironment).dump(into: directory, at: path)
        return FinishedDump(
          began: dump.began, ended: dump.ended, point: Array((dump.point ?? "").utf8), warnings: dump.warnings)
      } catch {
        if error.lastLines.count > 1 { for line in error.lastLines { Console.complain("\(database.name): \(line)") } }
        throw Failure(.failed, error.message, hint: error.hint)
      }
    }
  }
}

extension ProgramSearch {
  /// The programs in this process's `PATH`.
  static var ofEnvironment: Self { Self(path: CurrentProcess.environment("PATH") ?? []) }
}
