internal import Model
internal import Posix

/// The programs of one PostgreSQL version, which lie in one directory.
struct PostgreSQLPrograms {
  private let directory: [UInt8]
  let version: Int

  var dump: [UInt8] { directory + Array("/pg_dump".utf8) }
  var dumpAll: [UInt8] { directory + Array("/pg_dumpall".utf8) }
  var query: [UInt8] { directory + Array("/psql".utf8) }
  var baseBackup: [UInt8] { directory + Array("/pg_basebackup".utf8) }
  var verifyBackup: [UInt8] { directory + Array("/pg_verifybackup".utf8) }
  var restore: [UInt8] { directory + Array("/pg_restore".utf8) }

  /// A psql of any version can ask the server.
  static func anyQueryProgram(of tools: Tools) throws(DumpFailure) -> [UInt8] {
    if let newest = tools.programs.postgreSQLVersions().last { return newest.directory + Array("/psql".utf8) }
    return try tools.find("psql", package: "postgresql-client")
  }

  /// Chooses the programs for a server of this major version: the oldest that are not older.
  ///
  /// Debian's pg_dump in `PATH` chooses a version by the clusters of this machine, so it comes last.
  init(forServer version: Int, tools: Tools) throws(DumpFailure) {
    let versions = tools.programs.postgreSQLVersions()
    if let found = versions.first(where: { $0.version >= version }) {
      (directory, self.version) = (found.directory, found.version)
      return
    }
    var newest = versions.last?.version
    if let path = tools.programs.find("pg_dump") {
      let text = String(decoding: try tools.run([path] + words("--version")).output, as: UTF8.self)
      let found = Self.majorVersion(in: text)
      if let found, found >= version {
        (directory, self.version) = (Array(path.dropLast("/pg_dump".utf8.count)), found)
        return
      }
      newest = max(newest ?? 0, found ?? 0)
    }
    let lack = newest.map { "the newest pg_dump here has version \($0)" } ?? "the program pg_dump is missing"
    throw DumpFailure(
      name: tools.name, reason: "the server has version \(version), and \(lack)",
      hint: "install pg_dump \(version): the package is postgresql-client-\(version)")
  }

  /// The major version in a text such as `pg_dump (PostgreSQL) 15.18 (Debian …)`.
  private static func majorVersion(in text: String) -> Int? {
    text.split(separator: ")").dropFirst().first.flatMap { Int($0.drop { $0 == " " }.prefix { $0.isNumber }) }
  }
}
