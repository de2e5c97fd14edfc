internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

struct LsCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls",
    abstract: "List directories and files of a snapshot.",
    discussion: """
      A directory ends with /. With --long its size is that of all files below it. Only the catalog is read.

      A SNAPSHOT is a name or its beginning, a local day or time such as 2026-11-21, '2026-11-21 20:00', yesterday or \
      3d, a member of a set such as daily.0, or latest. The newest of them \
      that has the paths is taken.

      Example:
        treering ls -l latest /etc --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The snapshot to look into.", valueName: "snapshot"), completion: .snapshot)
  var snapshot: String

  @Argument(
    help: ArgumentHelp("What to list, named as at the source; the top, if left out.", valueName: "path"),
    completion: .path(inSnapshotAt: 0))
  var paths: [PathArgument] = []

  @Flag(
    name: [.customShort("l"), .long],
    help: "Show mode, owner, group, size and time. A + after the mode stands for an ACL.")
  var long = false

  @Flag(help: "Show owner, group, mode and ACLs in the form of getfacl(1), which setfacl --restore reads.")
  var acl = false

  @Flag(name: [.customShort("R"), .long], help: "List everything below, too, with whole paths.")
  var recursive = false

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func validate() throws { try requireSnapshot(snapshot, before: paths) }

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    var paths = self.paths.isEmpty ? [PathArgument(bytes: [slash])] : self.paths
    let chosen = try common.openSnapshot(snapshot, having: paths, connection: connection)
    let name = chosen.name
    var choice = chosen.choice
    if self.paths.isEmpty, chosen.snapshot.summary.databases.contains(where: { !$0.isLeftOut }) {
      // The dumps have no path at the source.
      if choice.snapshot.summary.sources.isEmpty { (paths, choice.places) = ([], []) }
      paths.append(PathArgument(bytes: DatabaseRecord.label))
      choice.places.append([DatabaseRecord.label])
    }
    let reader = try chosen.openCatalog()
    let writer = AnswerWriter()
    defer { writer.flush() }
    do {
      for (number, place) in choice.places.enumerated() {
        switch try reader.find(place) {
        case .file(let row, let record)?:
          let entry = EntryFacts(of: .file(row, of: record))
          try print([Entry(entry, at: place.atSource(label: choice.snapshot.summary.label))], to: writer)
        case .directory(let record, _)?:
          if paths.count > 1, !common.json, !recursive {
            try writer.line((number == 0 ? "" : "\n") + displayName(paths[number].bytes) + ":")
          }
          try show(record, at: place, of: reader, to: writer)
        case nil:
          let path = paths[number].bytes
          throw Failure(.usage, "\(displayName(path)) is not in the snapshot \(name)", path: path)
        }
      }
    } catch let error as CatalogError { throw Failure(.damaged, "the catalog of \(name) is damaged: \(error)") }
    if let note = chosen.note, !common.quiet { Console.note(note) }
    return .done
  }

  /// Lists a directory, and with `recursive` everything below it. A directory comes before its entries.
  private func show(
    _ record: DirectoryRecord, at place: TreePath, of reader: CatalogReader, to writer: AnswerWriter
  ) throws {
    let label = reader.summary.label
    // The stack is explicit because a tree may be too deep for a thread's stack.
    var waiting = [(place, { record })] as [(TreePath, () throws -> DirectoryRecord)]
    while let (place, open) = waiting.popLast() {
      try checkForSignal()
      let record = try open()
      var entries: [Entry] = []
      var cursor = try FileCursor(of: record)
      while let row = cursor.current {
        let path = (place + record.bytes[row.name]).atSource(label: label)
        entries.append(Entry(EntryFacts(of: .file(row, of: record)), at: path))
        try cursor.advance()
      }
      let first = waiting.count
      for row in try cursor.directories() {
        let path = place + record.bytes[row.name]
        let child = long || acl || common.json ? try reader.record(at: row.place, for: row.digest) : nil
        entries.append(Entry(row, record: child, at: path.atSource(label: label)))
        // A record keeps its frame, so it is read when its turn comes.
        if recursive { waiting.append((path, { try reader.record(at: row.place, for: row.digest) })) }
      }
      entries.sort { $0.path.lexicographicallyPrecedes($1.path) }
      try print(entries, to: writer)
      waiting[first...].reverse()
    }
  }

  private func print(_ entries: [Entry], to writer: AnswerWriter) throws {
    if common.json {
      for entry in entries { try writer.line(jsonText(entry, isLine: true)) }
    } else if acl {
      for entry in entries { for line in entry.accessControlText { try writer.line(line) } }
    } else {
      let lines =
        long
        ? table(entries.map { $0.longRow(wholePath: recursive) }, rightAligned: [3], width: nil)
        : entries.map { $0.nameText(wholePath: recursive) }
      for line in lines { try writer.line(line) }
    }
  }
}

extension Entry: Encodable {
  func encode(to encoder: any Encoder) throws {
    try JSONPath(bytes: path).encode(to: encoder)
    let metadata = facts?.metadata
    let octal = metadata.map { String($0.permissions, radix: 8) }
    let digest = facts?.digest.flatMap { $0.form == .plain ? $0.digest.description : nil }
    let target = kind == .symbolicLink ? facts.map { displayName($0.target) } : nil
    let bytes = kind == .regular || kind == .directory ? size : nil
    try encoder.encode([
      "kind": kind.word, "mode": octal.map { String(repeating: "0", count: 4 - $0.count) + $0 },
      "user": metadata?.user, "group": metadata?.group, "modified": metadata?.modified.rfc3339,
      "acl": facts?.attributes.hasAccessControlList, "bytes": bytes, "target": target, "sha256": digest,
    ])
  }
}

/// An entry of a snapshot, for people and as JSON.
struct Entry {
  let path: [UInt8]
  let facts: EntryFacts?
  let kind: EntryKind
  /// The size in bytes; of a directory that of all files below it, if it is known.
  let size: UInt64?

  init(_ facts: EntryFacts, at path: [UInt8]) {
    self.path = path
    self.facts = facts.isSynthetic ? nil : facts
    kind = facts.kind
    size = kind == .directory ? nil : facts.size
  }

  /// `record` is `nil` if it was not read.
  init(_ row: DirectoryRow, record: DirectoryRecord?, at path: [UInt8]) {
    self.path = path
    facts = record.flatMap { $0.isSynthetic ? nil : EntryFacts(of: .directory($0, Subtree(row))) }
    kind = .directory
    size = row.totals.bytes
  }

  /// Kind and permissions as `ls -l` shows them, with `+` for an ACL.
  private var modeText: String {
    let letter =
      switch kind {
      case .regular: "-"
      case .symbolicLink: "l"
      case .fifo: "p"
      case .socket: "s"
      case .characterDevice: "c"
      case .blockDevice: "b"
      case .directory: "d"
      }
    guard let permissions = facts?.metadata.permissions else { return letter + "?????????" }
    var text = letter
    for (shift, special, on, off) in [(6, 0o4000, "s", "S"), (3, 0o2000, "s", "S"), (0, 0o1000, "t", "T")] {
      let bits = Int(permissions) >> shift
      text += bits & 4 != 0 ? "r" : "-"
      text += bits & 2 != 0 ? "w" : "-"
      let executes = bits & 1 != 0
      text += Int(permissions) & special != 0 ? (executes ? on : off) : executes ? "x" : "-"
    }
    return text + (facts?.attributes.hasAccessControlList == true ? "+" : "")
  }

  /// The name, or with `wholePath` the path. A directory ends with `/`.
  func nameText(wholePath: Bool) -> String {
    let shown = wholePath ? path[...] : path[(path.lastIndex(of: slash).map { $0 + 1 } ?? 0)...]
    return displayName(shown) + (kind == .directory ? "/" : "")
  }

  /// Mode, owner, group, size, time and name.
  func longRow(wholePath: Bool) -> [String] {
    let name = nameText(wholePath: wholePath) + (kind == .symbolicLink ? " -> " + displayName(facts?.target ?? []) : "")
    guard let metadata = facts?.metadata else { return [modeText, "", "", sizeText, "", name] }
    let (user, group) = (accountName(ofUser: metadata.user), accountName(ofGroup: metadata.group))
    return [modeText, user, group, sizeText, metadata.modified.localText, name]
  }

  private var sizeText: String {
    switch kind {
    case .characterDevice, .blockDevice: size.map { "\($0 >> 32), \($0 & 0xFFFF_FFFF)" } ?? ""
    case .fifo, .socket: ""
    default: size.map { byteText($0) } ?? ""
    }
  }
}
