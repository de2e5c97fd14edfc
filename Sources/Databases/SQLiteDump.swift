internal import Model
internal import Posix
internal import Settings

/// The copy of an SQLite database by the backup interface of sqlite3(1), which writers do not disturb.
struct SQLiteDump {
  private let database: DatabaseConfiguration
  private let tools: Tools
  private let account: Account?
  private let program: [UInt8]

  init(of database: DatabaseConfiguration, by tools: Tools) throws(DumpFailure) {
    self.database = database
    account = tools.account
    // The script before the program becomes another user.
    var own = database
    own.user = nil
    self.tools = try Tools(of: own, programs: tools.programs)
    program = try tools.find("sqlite3", package: "sqlite3")
  }

  private static let copy = Array("copy".utf8)
  private var path: [UInt8] { Array((database.path ?? "").utf8) }

  /// Throws if the file is missing: sqlite3(1) would make it. Returns its bytes.
  @discardableResult
  func check() throws(DumpFailure) -> UInt64 { try find().byteCount }

  private func find() throws(DumpFailure) -> (file: SQLiteFile, byteCount: UInt64) {
    let file = try SQLiteFile(of: database, at: path, for: account)
    guard let status = file.status else {
      throw DumpFailure(
        name: tools.name, reason: "cannot find the database \(displayName(path)): \(Errno.noSuchEntry)")
    }
    guard status.kind == .regular
    else { throw DumpFailure(name: tools.name, reason: "\(displayName(path)) is no file") }
    return (file, status.size)
  }

  func make(into target: DumpDirectory) throws(DumpFailure) -> DumpResult {
    let (file, byteCount) = try find()
    try target.checkSpace(forBytes: byteCount)
    let place = Place(file, at: path, copyIn: target, name: tools.name)
    try place.target.give()
    var result = DumpResult()
    result.warnings = try copy(place, byteCount: byteCount).map { [$0] } ?? []
    try checkCopy(Self.copy, in: place)
    guard file.name != Self.copy else { return result }
    try target.attempt("name the copy in") { () throws(Errno) in
      let directory = target.directory
      try directory.descriptor.rename(Self.copy.span, to: directory.descriptor, as: file.name.span)
    }
    return result
  }

  /// Copies the database. In WAL mode, one reading transaction lets writers go on.
  ///
  /// In the other modes it would stop them. Without it, each write starts the copy anew, so after some time they have
  /// to wait all the same. Then a warning is returned.
  private func copy(_ place: Place, byteCount: UInt64) throws(DumpFailure) -> String? {
    let source = [Self.uri(of: place.source, parameter: "mode=ro")] + words(".timeout 60000")
    // The copy has a fixed name, because the command has its own rules for quotes.
    let backup = [Array(".backup main ".utf8) + place.copy(Self.copy)]
    let isWAL = try run(source + words("PRAGMA journal_mode"), in: place).elementsEqual("wal\n".utf8)
    if !isWAL {
      var impatient = database
      impatient.user = nil
      impatient.timeoutSeconds = min(30 + Int64(clamping: byteCount / 10_000_000), database.timeoutSeconds / 4)
      let start = Clock.monotonic()
      do {
        _ = try run(source + backup, in: place, by: try Tools(of: impatient, programs: tools.programs))
        return nil
      } catch { guard Clock.monotonic() - start >= Double(impatient.timeoutSeconds) else { throw error } }
      for name in [Self.copy, Self.copy + Array("-journal".utf8)] {
        try? place.target.directory.descriptor.unlink(name.span)
      }
    }
    let start = Clock.monotonic()
    _ = try run(source + words("BEGIN", "SELECT 1 FROM sqlite_schema LIMIT 1") + backup, in: place)
    guard !isWAL else { return nil }
    return "its programs could not write, and perhaps not read, for \(Int(Clock.monotonic() - start) + 1) seconds, "
      + "because their writes did not let the copy end; in WAL mode they can: PRAGMA journal_mode = WAL"
  }

  /// Throws if a copy has errors.
  private func checkCopy(_ name: [UInt8], in place: Place) throws(DumpFailure) {
    // Without locks: in WAL mode they would be files beside the copy.
    let errors = try run(
      [Self.uri(of: place.copy(name), parameter: "immutable=1")] + words("PRAGMA integrity_check"), in: place)
    guard errors.elementsEqual("ok\n".utf8) else {
      let lines = errors.split(separator: 10).prefix(20).map { displayName($0) }
      throw DumpFailure(name: tools.name, reason: "the copy has errors", lastLines: lines)
    }
  }

  /// The number of tables of a copy. Throws if it has errors.
  func tables(of name: [UInt8], in directory: Directory) throws(DumpFailure) -> Int {
    try checkCopy(name, in: copyPlace(in: directory))
    let text = try answer(to: "SELECT count(*) FROM sqlite_schema WHERE type = 'table'", of: name, in: directory)
    return Int(String(decoding: text.filter(isDigit), as: UTF8.self)) ?? 0
  }

  func answer(to statement: String, of name: [UInt8], in directory: Directory) throws(DumpFailure) -> [UInt8] {
    let place = copyPlace(in: directory)
    return try run([Self.uri(of: place.copy(name), parameter: "immutable=1")] + words(statement), in: place)
  }

  private func copyPlace(in directory: Directory) -> Place {
    let path = Array(Tools.directoryPath.utf8)
    return Place(DumpDirectory(directory, path: path, account: tools.account, name: tools.name))
  }

  private func run(_ arguments: [[UInt8]], in place: Place, by other: Tools? = nil) throws(DumpFailure) -> [UInt8] {
    var setting = Tools.Setting(directory: place.target.directory)
    setting.input = try place.input()
    let options = words("-bail", "-batch", "-init", "/dev/null")
    return try (other ?? tools).run(place.words + [program] + options + arguments, setting).output
  }

  /// A file as a URI, which keeps its name from being an option and carries a parameter.
  private static func uri(of path: [UInt8], parameter: String) -> [UInt8] {
    Array("file:".utf8) + percentEncoded(path) { "%?#".utf8.contains($0) } + Array("?\(parameter)".utf8)
  }
}

/// The places of a database and of its copy, as sqlite3(1) sees them.
private struct Place {
  let target: DumpDirectory
  /// Empty if there is only a copy.
  private(set) var source: [UInt8] = []
  /// The words before the program.
  private(set) var words: [[UInt8]] = []
  private var copies = Array(Tools.directoryPath.utf8)
  private var file: SQLiteFile?

  init(_ target: DumpDirectory) { self.target = target }

  init(_ file: SQLiteFile, at path: [UInt8], copyIn target: DumpDirectory, name: String) {
    guard let controller = file.controller else {
      self.init(target)
      source = path
      return
    }
    self.init(DumpDirectory(target.directory, path: target.path, account: controller, name: name))
    self.file = file
    (source, copies) = (Array("/sys/from/".utf8) + file.name, Array("/sys/to".utf8))
    let groups = controller.groups.map(String.init).joined(separator: ",")
    let identity = ["--reuid", "\(controller.user)", "--regid", "\(controller.group)", "--groups", groups]
    let limits = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    words =
      (["/usr/bin/unshare", "--mount", "--", "/bin/sh", "-euc", Self.script, "sqlite"] + identity + limits + ["--"])
      .map { Array($0.utf8) }
  }

  /// Shows the directory of the database and that of the copy where any account may enter, and runs a program.
  ///
  /// SQLite goes to each file by its whole path, and the controller may not enter each directory of that. In a mount
  /// namespace of its own, both are below `/sys`, where no database is. Another directory, which was exchanged for the
  /// opened one, is not shown.
  private static let script = """
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /sys
    mkdir /sys/from /sys/to
    show() {
      cd -P "$(readlink "/proc/self/fd/$1")"
      [ . -ef "/dev/fd/$1" ]
      mount -c --bind . "/sys/$2"
    }
    show 0 from
    show 4 to
    cd /
    exec setpriv "$@" </dev/null 4<&-
    """

  func copy(_ name: [UInt8]) -> [UInt8] { copies + [slash] + name }

  /// The directory of the database, as the input of the script.
  func input() throws(DumpFailure) -> SharedFile? {
    guard let file else { return nil }
    return try target.attempt("open the directory of the database beside") { () throws(Errno) in
      SharedFile(try file.directory.descriptor.duplicate())
    }
  }
}
