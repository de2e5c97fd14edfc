internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings
internal import Synchronization

struct FindCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "find",
    abstract: "Find files in all snapshots by their names.",
    discussion: """
      A PATTERN is a name, or has the wildcards of gitignore(5): '*invoice*' matches every name with invoice in it. \
      With a slash it is compared with the end of the path, and with a slash in front with the whole path, as in \
      '/home/ann/**'. Quote it, or the shell replaces it. Of several patterns one must match.

      Each version of a file is shown once, the newest first, with the first and the last snapshot that has it. Only \
      the catalogs are read.

      Examples:
        treering find '*invoice*' --repository /backup/treering
        treering find -i '*.docx' --deleted --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("Names, patterns or paths.", valueName: "pattern"), completion: .path(inSnapshotAt: nil))
  var patterns: [PathArgument]

  @Option(
    name: .customLong("in"), help: ArgumentHelp("Search only this snapshot.", valueName: "snapshot"),
    completion: .snapshot)
  var snapshot: String?

  @Flag(name: .shortAndLong, help: "Take capital and small letters as the same.")
  var ignoreCase = false

  @Flag(help: "Show only what the newest snapshot of its source no longer has.")
  var deleted = false

  @Option(
    help: ArgumentHelp("Show only files of more than this size, such as 10M.", valueName: "size"),
    transform: parsed(by: Quantity.bytes, or: "--larger takes a size such as 100M"))
  var larger: UInt64?

  @Option(
    help: ArgumentHelp("Show only files of less than this size.", valueName: "size"),
    transform: parsed(by: Quantity.bytes, or: "--smaller takes a size such as 100M"))
  var smaller: UInt64?

  @Option(
    help: ArgumentHelp("Show only what was modified after this time, such as 3d or 2026-11-21.", valueName: "time"),
    transform: moment(for: "--newer"))
  var newer: Int64?

  @Option(
    help: ArgumentHelp("Show only what was modified before this time.", valueName: "time"),
    transform: moment(for: "--older"))
  var older: Int64?

  @Option(
    help: ArgumentHelp(
      "Show only this kind: file, directory, symbolic-link or link, fifo, socket, character-device, block-device, or "
        + "device for both.", valueName: "type"),
    completion: .words(of: EntryType.self),
    transform: oneOf(for: "--type"))
  var type: EntryType?

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let (store, all) = try common.openList(connection: connection)
    var list = all
    if let snapshot {
      guard !deleted else { throw Failure(.usage, "--deleted needs all snapshots, and not --in") }
      list.snapshots = [try store.resolve(snapshot, in: list)]
      list.unusable = []
      common.noteDistance(of: list.snapshots[0], from: snapshot)
    }
    let nearMisses = common.quiet || common.json ? nil : try NearMisses(of: patterns, word: bareWord)
    let search = try FindSearch(for: self, in: store, noting: nearMisses)
    var found: UInt64 = 0
    let writer = AnswerWriter()
    defer { writer.flush() }
    if !common.json { try writer.line(FoundVersion.header) }
    try search.run(on: list) { version in
      found += 1
      try writer.line(common.json ? jsonText(version, isLine: true) : version.line)
    }
    writer.flush()
    if found == 0, nearMisses != nil {
      Console.complain(nothingFound(in: list, besides: try search.nearMisses(in: list)))
    }
    let unusable = search.history.unreadable + list.unusable
    for snapshot in unusable { Console.complain("\(snapshot.sentence); it was not searched") }
    return unusableStatus(for: unusable)
  }

  /// The only pattern, if it is a bare word: that is a whole name, and perhaps was not meant to be one.
  private var bareWord: String? {
    let text = displayName(patterns[0].bytes)
    return patterns.count == 1 && text.allSatisfy { $0.isLetter || $0.isNumber || "-_. ".contains($0) } ? text : nil
  }

  /// The sentence for a search without a hit. It names the smallest change of the command line that finds something.
  private func nothingFound(in list: SnapshotList, besides paths: [TreePath]) -> String {
    let nothing =
      snapshot == nil
      ? "nothing was found in \(counted(list.snapshots.count, "snapshot"))"
      : "nothing was found in \(list.snapshots[0].name), which has \(list.snapshots[0].sourcesText)"
    let word = bareWord
    func matching(_ isMatch: (String) -> Bool) -> Int {
      paths.count { isMatch(String(decoding: $0.last ?? [], as: UTF8.self)) }
    }
    func sentence(_ count: Int, _ words: String) -> String {
      "\(nothing); \(counted(count, "path matches", plural: "paths match")) \(words)"
    }
    let isCaseAlone = word.map { word in matching { $0.lowercased() == word.lowercased() } } ?? paths.count
    if isCaseAlone > 0 { return sentence(isCaseAlone, "without regard to capital and small letters: add -i") }
    guard let word else { return nothing }
    if paths.isEmpty { return "\(nothing), nor anything with \"\(word)\" in its name" }
    let count = ignoreCase ? 0 : matching { $0.contains(word) }
    return sentence(
      count == 0 ? paths.count : count, "with other letters around: find \(count == 0 ? "-i " : "")'*\(word)*'")
  }
}

/// The value of `--type`: the words of JSON, with a hyphen for each space, and two short ones.
enum EntryType: String, CaseIterable {
  case file, directory
  case symbolicLink = "symbolic-link"
  case fifo, socket
  case characterDevice = "character-device"
  case blockDevice = "block-device"
  case link, device

  func isKind(_ kind: EntryKind) -> Bool {
    switch self {
    case .link: kind == .symbolicLink
    case .device: kind == .characterDevice || kind == .blockDevice
    default: kind.word.lowercased().replacing(" ", with: "-") == rawValue
    }
  }
}

/// The limits of size, time and kind that an entry must be within.
private struct EntryFilter: Sendable {
  let type: EntryType?
  /// Sizes in bytes.
  let larger: UInt64?
  let smaller: UInt64?
  /// Seconds since 1970.
  let newer: Int64?
  let older: Int64?

  func admits(_ entry: Found) -> Bool {
    if let type, !type.isKind(entry.kind) { return false }
    if larger != nil || smaller != nil {
      guard let size = entry.byteCount, larger.map({ size > $0 }) ?? true, smaller.map({ size < $0 }) ?? true
      else { return false }
    }
    if let newer, entry.modified.seconds <= newer { return false }
    if let older, entry.modified.seconds >= older { return false }
    return true
  }
}

/// A version that was found, and the label of its snapshots.
struct FoundVersion {
  let version: EntryVersion
  let label: [UInt8]
  /// True if the newest snapshot that covers the path has no entry of this kind there.
  let isDeleted: Bool

  static let header = line(of: ["SIZE", "MODIFIED", "FIRST IN", "LAST IN", "PATH"])

  private static let width = CurrentProcess.terminalWidth(of: .output)

  /// Columns of fixed widths, because a line is printed before the next one is known. A path that does not fit has a
  /// line of its own.
  private static func line(of cells: [String]) -> String {
    let widths = [9, 16, 20, 20]
    let columns = zip(cells, widths).enumerated().map { column, cell in
      let space = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
      return column == 0 ? space + cell.0 : cell.0 + space
    }.joined(separator: "  ")
    let isWide = width.map { columns.count + 2 + cells[4].count > $0 } ?? false
    return columns + (isWide ? "\n  " : "  ") + cells[4]
  }
}

extension FoundVersion: Encodable {
  var line: String {
    let facts = version.facts
    let path = version.path.atSource(label: label)
    return Self.line(of: [
      facts.kind == .regular ? byteText(facts.size) : "", facts.isSynthetic ? "" : facts.metadata.modified.localText,
      version.first.description, version.last.description,
      displayName(path) + (facts.kind == .directory ? "/" : ""),
    ])
  }

  func encode(to encoder: any Encoder) throws {
    try Entry(version.facts, at: version.path.atSource(label: label)).encode(to: encoder)
    try encoder.encode([
      "first": version.first.description, "last": version.last.description, "snapshots": version.snapshots,
      "deleted": isDeleted,
    ])
  }
}

/// The paths that only capitals, or other letters around a bare word, keep from being hits.
///
/// The search notes them until it has a hit, so that no catalog is read twice.
private final class NearMisses: Sendable {
  let patterns: NamePatterns
  private let isWanted = Atomic<Bool>(true)
  private let found = Mutex<[TreePath: EntryKind]>([:])

  init(of patterns: [PathArgument], word: String?) throws(Failure) {
    self.patterns = try NamePatterns(word.map { [Array("*\($0)*".utf8)] } ?? patterns.map(\.bytes), ignoresCase: true)
  }

  var all: [TreePath: EntryKind] { found.withLock { $0 } }

  func noteHit() { isWanted.store(false, ordering: .relaxed) }

  func note(_ entry: Found, at place: EntryPlace, if matches: (EntryPlace, Found) -> Bool) {
    guard isWanted.load(ordering: .relaxed), matches(place, entry) else { return }
    found.withLock { $0[place.path] = entry.kind }
  }
}

/// The search of all snapshots, one source after the other.
///
/// A snapshot of some of the sources ends no version of the others.
private final class FindSearch {
  private let filter: EntryFilter
  private let wantsDeleted: Bool
  private let patterns: NamePatterns
  private let near: NearMisses?
  let history: StoreHistory

  init(for options: FindCommand, in store: any VerifiableStore, noting nearMisses: NearMisses?) throws(Failure) {
    near = nearMisses
    filter = EntryFilter(
      type: options.type, larger: options.larger, smaller: options.smaller, newer: options.newer, older: options.older)
    wantsDeleted = options.deleted
    history = StoreHistory(of: store)
    patterns = try NamePatterns(options.patterns.map(\.bytes), ignoresCase: options.ignoreCase)
  }

  /// Searches the sources of all snapshots, each from its newest snapshot on, and reports each version when its first
  /// snapshot is known.
  func run(on list: SnapshotList, report: (FoundVersion) throws -> Void) throws {
    let snapshots = Array(list.snapshots.reversed())
    for place in snapshots.flatMap(\.places).outermost {
      let having = snapshots.filter { snapshot in snapshot.places.contains { $0.starts(with: place) } }
      guard let label = having.first?.summary.label else { continue }
      let search = VersionSearch { [filter, patterns, near, wantsDeleted] in
        let matches = patterns.matcher(label: label)
        let nearlyMatches = near?.patterns.matcher(label: label)
        return { place, entry in
          try checkForSignal()
          guard filter.admits(entry) else { return false }
          let isHit = matches(place, entry)
          if let near, let nearlyMatches {
            if !isHit { near.note(entry, at: place, if: nearlyMatches) } else if !wantsDeleted { near.noteHit() }
          }
          return isHit
        }
      }
      try history.search(having, under: place, with: search) { version in
        // A source that is gone from the newest snapshot is not deleted from the source.
        let isDeleted = try !history.hasNewest(of: snapshots, path: version.path, kind: version.facts.kind)
        if isDeleted || !wantsDeleted {
          try report(FoundVersion(version: version, label: label, isDeleted: isDeleted))
        }
      }
    }
  }

  /// The paths that were nearly hits.
  func nearMisses(in list: SnapshotList) throws -> [TreePath] {
    let all = near?.all ?? [:]
    guard wantsDeleted else { return Array(all.keys) }
    let snapshots = Array(list.snapshots.reversed())
    return try all.filter { try !history.hasNewest(of: snapshots, path: $0.key, kind: $0.value) }.map(\.key)
  }
}
