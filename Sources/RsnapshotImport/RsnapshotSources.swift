internal import Settings

/// The tables `[[source]]` for the backup points of an `rsnapshot.conf`.
struct RsnapshotSources {
  /// A part of the output, in the order of the file.
  private enum Piece {
    case comment([String])
    case source(RsnapshotTable)
  }

  private let statements: [RsnapshotConfiguration.Statement]
  private let files: RsnapshotFiles
  private let root: [String]
  private var pieces: [Piece] = []
  private var databases: RsnapshotDatabases
  /// The host to which each label of another host belongs.
  private var hosts: [String: String] = [:]
  /// The directory that the output of each `backup_script` goes to, by the number of its statement.
  private(set) var scripts: [Int: String] = [:]
  /// The first directory of the first local point's destination.
  private(set) var label = "localhost"

  init(statements: [RsnapshotConfiguration.Statement], files: RsnapshotFiles) {
    (self.statements, self.files) = (statements, files)
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
      case "backup": try addRemote(statement, index: index, notes: &notes)
      case "backup_script":
        if let lines = databases.lines(for: statement, notes: &notes) {
          pieces.append(.comment(lines))
        } else {
          pieces.append(.comment(addScript(statement, index: index)))
        }
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

  /// The table for the directory that a script fills. A hook runs the script.
  private mutating func addScript(_ statement: RsnapshotConfiguration.Statement, index: Int) -> [String] {
    let above = "/" + (root + ["treering-scripts"]).joined(separator: "/")
    // Each script has a directory of its own, and none is inside that of another one.
    let name = cleanComponents(of: statement.values[1]).joined(separator: "-")
    let taken = Set(scripts.values).union([above + "/" + rsnapshotWorkDirectory])
    let directory = (1...).lazy.map { "\(above)/\(name)\($0 == 1 ? "" : "-\($0)")" }.first { !taken.contains($0) }!
    scripts[index] = directory
    return TOMLText.comment("\(statement.origin.place): \(statement.origin.text)\nA hook before runs it.")
      + ["[[source]]", "path = " + TOMLText.string(directory), "optional = true"]
  }

  private mutating func addRemote(
    _ statement: RsnapshotConfiguration.Statement, index: Int, notes: inout RsnapshotNotes
  ) throws(RsnapshotError) {
    let why: String
    switch RsnapshotSource.remote(of: statement.value) {
    case .volume: return try addVolume(statement, index: index, notes: &notes)
    case .shell: return try addHost(statement, index: index, notes: &notes)
    default: why = "treering fetches over ssh: name the host and the path, such as root@web01:/etc/"
    }
    pieces.append(.comment(notes.add(statement.origin, why: why)))
  }

  private mutating func addHost(
    _ statement: RsnapshotConfiguration.Statement, index: Int, notes: inout RsnapshotNotes
  ) throws(RsnapshotError) {
    let arguments = try statements.arguments(ofPointAt: index, files: files)
    let connection = try statements.connection(ofPointAt: index)
    do throws(RsnapshotHost.NoHost) {
      let host = try RsnapshotHost(of: statement.value, connection: connection, arguments: arguments)
      let wanted = cleanComponents(of: statement.values[1]).first ?? host.name
      // A label is of one host, and that of this machine is of its own sources.
      func isFree(_ name: String) -> Bool {
        name != label && name != "databases" && hosts[name, default: host.address] == host.address
      }
      guard let label = [wanted, host.name].first(where: isFree) else {
        throw RsnapshotHost.NoHost(why: "its label belongs to other sources: give it a [[source]] with another label")
      }
      hosts[label] = host.address
      try add(
        RsnapshotTable(
          statement: statement, source: host.path, place: .host(host, label: label), arguments: arguments),
        at: [label] + cleanComponents(of: host.path), statement: statement, notes: &notes)
    } catch { pieces.append(.comment(notes.add(statement.origin, why: error.why))) }
  }

  private mutating func addVolume(
    _ statement: RsnapshotConfiguration.Statement, index: Int, notes: inout RsnapshotNotes
  ) throws(RsnapshotError) {
    guard let volume = RsnapshotVolume(of: statement.value),
      let mount = files.mountPoint(volume.group, volume.volume)
    else {
      let why = "it is mounted nowhere here: give the directory as a [[source]] with freeze = \"lvm\""
      pieces.append(.comment(notes.add(statement.origin, why: why)))
      return
    }
    let options = try statement.pointOptions()
    let size =
      options.last { $0.name == "linux_lvm_snapshotsize" }?.value
      ?? statements.last { $0.name == "linux_lvm_snapshotsize" }?.value
    let above = cleanComponents(of: mount)
    let source = "/" + (above + cleanComponents(of: volume.path)).joined(separator: "/")
    try add(
      RsnapshotTable(
        statement: statement, source: source, hidden: above.count,
        place: .frozen(size: size.flatMap { Quantity.bytes(of: $0) == nil ? nil : $0 }),
        arguments: statements.arguments(ofPointAt: index, files: files)),
      at: [label] + cleanComponents(of: source), statement: statement, notes: &notes)
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
    try add(
      RsnapshotTable(
        statement: statement, source: statement.value,
        arguments: statements.arguments(ofPointAt: index, files: files)),
      at: [label] + path, statement: statement, notes: &notes)
  }

  /// Adds a table, with comments. `here` is its place in treering's snapshots.
  private mutating func add(
    _ table: RsnapshotTable, at here: [String], statement: RsnapshotConfiguration.Statement, notes: inout RsnapshotNotes
  ) {
    var source = table
    source.comments = TOMLText.comment(statement.origin.place + ": " + statement.origin.text)
    if !source.landing.elementsEqual(here, by: { $0.utf8.elementsEqual($1.utf8) }) {
      source.comments += TOMLText.comment(
        "rsnapshot has it in \(source.landing.joined(separator: "/")), treering in \(here.joined(separator: "/"))")
    }
    for unknown in source.arguments.unknown { source.comments += notes.add(unknown) }
    source.comments += source.takeRules(notes: &notes)
    for (index, piece) in pieces.enumerated() {
      guard case .source(var earlier) = piece else { continue }
      if source.isInside(earlier) || earlier.isInside(source) {
        let why = "\(earlier.origin.place) has the same files, and treering fetches a file of a host once"
        pieces.append(.comment(notes.add(statement.origin, why: why)))
        return
      }
      guard earlier.hasPath(of: source) else { continue }
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
