internal import Model
internal import Posix
internal import Settings

/// The copy of an SQLite database by the backup interface of sqlite3(1), which writers do not disturb.
struct SQLiteDump {
  private let database: DatabaseConfiguration
  private let tools: Tools
  private let program: [UInt8]

  init(of database: DatabaseConfiguration, by tools: Tools) throws(DumpFailure) {
    self.database = database
    self.tools = tools
    program = try tools.find("sqlite3", package: "sqlite3")
  }

  private static let copy = Tools.directoryPath + "/copy"
  private var path: [UInt8] { Array((database.path ?? "").utf8) }

  /// Throws if the file is missing: sqlite3(1) would make it. Returns its bytes.
  @discardableResult
  func check() throws(DumpFailure) -> UInt64 {
    do {
      let status = try Descriptor.open(path: path, .pathOnly).status()
      if status.kind == .regular { return status.size }
    } catch {
      throw DumpFailure(name: tools.name, reason: "cannot find the database \(displayName(path)): \(error)")
    }
    throw DumpFailure(name: tools.name, reason: "\(displayName(path)) is no file")
  }

  func make(into target: DumpDirectory) throws(DumpFailure) -> DumpResult {
    try target.checkSpace(forBytes: try check())
    // In WAL mode, one reading transaction lets writers go on. Without it, each write would start the copy anew. In
    // the other modes a transaction would stop the writers.
    let mode = try run([Self.uri(of: path, "mode=ro")] + words(".timeout 60000", "PRAGMA journal_mode"), in: target)
    let holdsStill = mode.elementsEqual("wal\n".utf8) ? words("BEGIN", "SELECT 1 FROM sqlite_schema LIMIT 1") : []
    // The copy has a fixed name, because the command has its own rules for quotes.
    _ = try run(
      [Self.uri(of: path, "mode=ro")] + words(".timeout 60000") + holdsStill + words(".backup main \(Self.copy)"),
      in: target)
    try checkCopy(at: Array(Self.copy.utf8), in: target)
    let name = splitLast(of: path).name
    guard !name.elementsEqual("copy".utf8) else { return DumpResult() }
    try target.attempt("name the copy in") { () throws(Errno) in
      let directory = target.directory
      try directory.descriptor.rename(Array("copy".utf8).span, to: directory.descriptor, as: name.span)
    }
    return DumpResult()
  }

  /// Throws if a copy has errors.
  private func checkCopy(at path: [UInt8], in target: DumpDirectory) throws(DumpFailure) {
    // Without locks: in WAL mode they would be files beside the copy.
    let errors = try run([Self.uri(of: path, "immutable=1")] + words("PRAGMA integrity_check"), in: target)
    guard errors.elementsEqual("ok\n".utf8) else {
      let lines = errors.split(separator: 10).prefix(20).map { displayName($0) }
      throw DumpFailure(name: tools.name, reason: "the copy has errors", lastLines: lines)
    }
  }

  /// The number of tables of a copy. Throws if it has errors.
  func tables(of name: [UInt8], in directory: Directory) throws(DumpFailure) -> Int {
    let path = Array("\(Tools.directoryPath)/".utf8) + name
    let dump = DumpDirectory(directory, path: path, account: tools.account, name: tools.name)
    try checkCopy(at: path, in: dump)
    let query = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
    let text = try run([Self.uri(of: path, "immutable=1")] + words(query), in: dump)
    return Int(String(decoding: text.filter(isDigit), as: UTF8.self)) ?? 0
  }

  /// The answer of a copy to a statement.
  func answer(to statement: String, of name: [UInt8], in directory: Directory) throws(DumpFailure) -> [UInt8] {
    let path = Array("\(Tools.directoryPath)/".utf8) + name
    let dump = DumpDirectory(directory, path: path, account: tools.account, name: tools.name)
    return try run([Self.uri(of: path, "immutable=1")] + words(statement), in: dump)
  }

  private func run(_ arguments: [[UInt8]], in target: DumpDirectory) throws(DumpFailure) -> [UInt8] {
    let options = words("-bail", "-batch", "-init", "/dev/null")
    return try tools.run([program] + options + arguments, Tools.Setting(directory: target.directory)).output
  }

  /// A file as a URI, which keeps its name from being an option and carries a parameter.
  private static func uri(of path: [UInt8], _ parameter: String) -> [UInt8] {
    Array("file:".utf8) + percentEncoded(path) { "%?#".utf8.contains($0) } + Array("?\(parameter)".utf8)
  }
}
