internal import Settings

/// The tables `[[source]]` for the backup points of an `rsnapshot.conf`.
struct RsnapshotSources {
  /// A part of the output, in the order of the file.
  private enum Piece {
    case comment([String])
    case source(RsnapshotLocalSource)
  }

  private let statements: [RsnapshotConfiguration.Statement]
  private let files: RsnapshotFiles
  private let root: [String]
  private var pieces: [Piece] = []
  private var databases: RsnapshotDatabases
  /// The first directory of the first local point's destination.
  private(set) var label = "localhost"

  init(statements: [RsnapshotConfiguration.Statement], files: RsnapshotFiles) {
    self.statements = statements
    self.files = files
    databases = RsnapshotDatabases(files: files)
    root = statements.last { $0.name == "snapshot_root" }.map { cleanComponents(of: $0.value) } ?? []
    let first = statements.first { $0.name == "backup" && isAbsolute($0.value) }
    if let name = first.flatMap({ cleanComponents(of: $0.values[1]).first }) { label = name }
  }

  /// An array of lines for each table, or for the comment in its place.
  mutating func tables(notes: inout RsnapshotNotes) throws(RsnapshotError) -> [[String]] {
    for (index, statement) in statements.enumerated() {
      switch statement.name {
      case "backup" where isAbsolute(statement.value): try addLocal(statement, index: index, notes: &notes)
      case "backup": addRemote(statement, notes: &notes)
      case "backup_script":
        pieces.append(.comment(databases.lines(for: statement, notes: &notes)))
      default: break
      }
    }
    return pieces.map { piece in
      switch piece {
      case .comment(let lines): lines
      case .source(let source): source.comments + source.table(for: root)
      }
    }.filter { !$0.isEmpty }
  }

  private mutating func addRemote(_ statement: RsnapshotConfiguration.Statement, notes: inout RsnapshotNotes) {
    let why =
      RsnapshotSource.remote(of: statement.value) == .volume
      ? "let a hook before make and mount the LVM snapshot and one after remove it, and name where it is mounted"
      : "treering reads local directories: run it on that host, or let a hook before fetch the files into a source"
    pieces.append(.comment(notes.add(statement.origin, why: why)))
  }

  private mutating func addLocal(
    _ statement: RsnapshotConfiguration.Statement, index: Int, notes: inout RsnapshotNotes
  ) throws(RsnapshotError) {
    let path = cleanComponents(of: statement.value)
    if let name = path.last, files.isFile(Array(statement.value.utf8)) {
      let directory = "/" + path.dropLast().joined(separator: "/")
      let pattern = "!" + String(decoding: literalLine(for: [name], directoriesOnly: false), as: UTF8.self)
      let why =
        "a source is a directory: name \(TOMLText.string(directory)), with exclude = \(TOMLText.array(["/*", pattern]))"
      pieces.append(.comment(notes.add(statement.origin, why: why)))
      return
    }
    var source = RsnapshotLocalSource(
      statement: statement, arguments: try statements.arguments(ofPointAt: index, files: files))
    source.comments = TOMLText.comment(statement.origin.place + ": " + statement.origin.text)
    let here = [label] + path
    if !source.landing.elementsEqual(here, by: { $0.utf8.elementsEqual($1.utf8) }) {
      source.comments += TOMLText.comment(
        "rsnapshot has it in \(source.landing.joined(separator: "/")), treering in \(here.joined(separator: "/"))")
    }
    for unknown in source.arguments.unknown { source.comments += notes.add(unknown) }
    source.comments += source.takeRules(notes: &notes)
    for (index, piece) in pieces.enumerated() {
      guard case .source(var earlier) = piece, earlier.hasPath(of: source) else { continue }
      if earlier.landing == source.landing || earlier.table(for: root) == source.table(for: root) {
        earlier.comments += source.comments
        source.comments = earlier.comments
        pieces[index] = .source(source)
      } else {
        let why = "\(earlier.origin.place) has this source with other rules, and treering stores a source once"
        pieces.append(.comment(notes.add(statement.origin, why: why)))
      }
      return
    }
    pieces.append(.source(source))
  }
}

/// A gitignore(5) line for a path relative to the source.
func literalLine(for names: [String], directoriesOnly: Bool) -> [UInt8] {
  let escaped = names.map { name in
    Array(name.utf8.map { "*?[\\".utf8.contains($0) ? [UInt8(ascii: "\\"), $0] : [$0] }.joined())
  }
  return RsyncPattern.Glob(components: escaped, directoriesOnly: directoriesOnly).line
}
