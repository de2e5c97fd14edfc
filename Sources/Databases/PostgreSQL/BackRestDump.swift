internal import FoundationEssentials
internal import Model
internal import Posix
internal import Settings

/// A backup by pgBackRest, which keeps it in a repository of its own. The dump is what it says about this repository.
struct BackRestDump {
  private let database: DatabaseConfiguration
  private let tools: Tools
  private let program: [UInt8]
  private static let file = Array("info.json".utf8)

  init(of database: DatabaseConfiguration, by tools: Tools) throws(DumpFailure) {
    (self.database, self.tools) = (database, tools)
    program = try tools.find("pgbackrest", package: "pgbackrest")
  }

  /// A stanza, as `pgbackrest info --output=json` describes it.
  struct Stanza: Decodable {
    struct Backup: Decodable {
      struct Times: Decodable {
        let stop: Int64
      }
      let label: String
      /// True if PostgreSQL's checksums of pages were wrong.
      let error: Bool?
      let timestamp: Times
    }
    struct Status: Decodable {
      let code: Int
      let message: String
    }
    let name: String
    /// From the oldest on.
    let backup: [Backup]
    let status: Status
  }

  /// Throws if pgBackRest does not know the stanza.
  func check() throws(DumpFailure) {
    let stanza = try information().stanza
    guard [0, 2].contains(stanza.status.code) else { throw failure(of: stanza) }
  }

  func make(into target: DumpDirectory) throws(DumpFailure) -> DumpResult {
    let began = Clock.now().seconds
    try run("check")
    try run("backup", options: database.backupType.map { words("--type=\($0)") } ?? [])
    let (text, stanza) = try information()
    guard stanza.status.code == 0, let last = stanza.backup.last, let first = stanza.backup.first
    else { throw failure(of: stanza) }
    // Both clocks are those of this machine, or of one that pgBackRest compares with it.
    guard last.timestamp.stop >= began - 60 else {
      throw DumpFailure(name: tools.name, reason: "pgBackRest's newest backup, \(last.label), is an older one")
    }
    try checkRepository(has: last.label)
    let file = try target.makeFile(Self.file)
    try target.attempt("write") { () throws(Errno) in try file.descriptor.write(text) }
    var result = DumpResult()
    let since = CalendarTime(seconds: first.timestamp.stop).rfc3339
    let count = stanza.backup.count
    result.point = "any moment since \(since); \(count) backup\(count == 1 ? "" : "s"), the last \(last.label)"
    if last.error == true {
      result.warnings.append(
        "pgBackRest found wrong checksums of pages in the backup \(last.label); see: pgbackrest info --set=\(last.label)"
      )
    }
    return result
  }

  private func failure(of stanza: Stanza) -> DumpFailure {
    DumpFailure(
      name: tools.name, reason: "pgBackRest says of the stanza \(stanza.name): \(stanza.status.message)",
      hint: stanza.status.code == 1 ? "correct \"stanza\", or make it: pgbackrest stanza-create" : nil)
  }

  /// The source must be the repository that has the new backup.
  private func checkRepository(has label: String) throws(DumpFailure) {
    guard let path = database.path else { return }
    let place = Array("\(path)/backup/\(database.stanza)/\(label)".utf8)
    do { _ = try Descriptor.open(path: place, [.pathOnly, .directory]) } catch {
      throw DumpFailure(
        name: tools.name, reason: "the new backup is not in \(path): \(displayName(place)): \(error)",
        hint: "name pgBackRest's \"repo1-path\" as \"path\", or give elsewhere = true if it is not on this machine")
    }
  }

  private func information() throws(DumpFailure) -> (text: [UInt8], stanza: Stanza) {
    let text = try run("info", options: words("--output=json"))
    guard let stanza = try? JSONDecoder().decode([Stanza].self, from: Data(text)).first
    else { throw DumpFailure(name: tools.name, reason: "pgbackrest info printed something unknown") }
    return (text, stanza)
  }

  @discardableResult
  private func run(_ verb: String, options: [[UInt8]] = []) throws(DumpFailure) -> [UInt8] {
    var command = [program] + words("--stanza=\(database.stanza)", "--log-level-console=off", "--log-level-stderr=warn")
    if let config = database.config { command += words("--config=\(config)") }
    do { return try tools.run(command + options + words(verb)).output } catch {
      var failure = error
      failure.reason += " (\(verb))"
      let text = failure.lastLines.joined(separator: "\n")
      if failure.hint == nil, text.contains("unable to open") || text.contains("Permission denied") {
        failure.hint = "name the account that runs pgBackRest as \"user\", such as \"postgres\""
      }
      throw failure
    }
  }
}
