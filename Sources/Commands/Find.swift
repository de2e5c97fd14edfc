internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

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
    help: ArgumentHelp("Show only this kind: file, directory, link, fifo, socket or device.", valueName: "type"),
    completion: .words(of: EntryType.self),
    transform: oneOf(for: "--type"))
  var type: EntryType?

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let store = try common.openStore(connection: connection)
    var list = try store.snapshots()
    if let snapshot {
      guard !deleted else { throw Failure(.usage, "--deleted needs all snapshots, and not --in") }
      list.snapshots = [try store.resolve(snapshot, in: list)]
      list.unusable = []
    }
    let search = try FindSearch(for: self, in: store)
    var found: UInt64 = 0
    if !common.json { Console.print(FoundVersion.header) }
    try search.run(on: list) { version in
      found += 1
      Console.print(common.json ? jsonText(version, isLine: true) : version.line)
      try Console.checkOutput()
    }
    if found == 0, !common.quiet, !common.json { Console.complain(nothingFound(in: list, of: store)) }
    for unusable in search.unreadable + list.unusable { Console.complain("\(unusable.sentence); it was not searched") }
    return unusableStatus(for: search.unreadable + list.unusable)
  }

  private func nothingFound(in list: SnapshotList, of store: any SnapshotStore) -> String {
    if snapshot != nil, let only = list.snapshots.first {
      return "nothing was found in \(only.name), which has \(only.sourcesText)"
    }
    // A bare word is a whole name, and perhaps was not meant to be one.
    let isBare = displayName(patterns[0].bytes).allSatisfy { $0.isLetter || $0.isNumber || "-_. ".contains($0) }
    let isFiltered = deleted || larger != nil || smaller != nil || newer != nil || older != nil || type != nil
    let word = patterns.count == 1 && isBare && !isFiltered ? displayName(patterns[0].bytes) : nil
    return "nothing was found in \(counted(list.snapshots.count, "snapshot"))"
      + (word.map { "; to find every name with it, run: \(store.advice("find \(ignoreCase ? "-i " : "")'*\($0)*'"))" }
        ?? "")
  }
}

/// The value of `--type`.
enum EntryType: String, CaseIterable {
  case file, directory, link, fifo, socket, device

  func isKind(_ kind: EntryKind) -> Bool {
    switch self {
    case .file: kind == .regular
    case .directory: kind == .directory
    case .link: kind == .symbolicLink
    case .fifo: kind == .fifo
    case .socket: kind == .socket
    case .device: kind == .characterDevice || kind == .blockDevice
    }
  }
}

/// A version that was found, and the label of its snapshots.
struct FoundVersion {
  let version: EntryVersion
  let label: [UInt8]
  /// True if the newest snapshot that covers the path has no entry of this kind there.
  let isDeleted: Bool

  static let header = line(of: ["SIZE", "MODIFIED", "FIRST IN", "LAST IN", "PATH"])

  /// Columns of fixed widths, because a line is printed before the next one is known.
  private static func line(of cells: [String]) -> String {
    let widths = [9, 16, 20, 20, 0]
    return zip(cells, widths).enumerated().map { column, cell in
      let space = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
      return column == 0 ? space + cell.0 : cell.0 + space
    }.joined(separator: "  ")
  }
}

extension FoundVersion: Encodable {
  var line: String {
    let facts = version.facts
    let path = sourcePath(version.path, label: label)
    return Self.line(of: [
      facts.kind == .regular ? byteText(facts.size) : "", facts.isSynthetic ? "" : facts.metadata.modified.localText,
      version.first.description, version.last.description,
      displayName(path) + (facts.kind == .directory ? "/" : ""),
    ])
  }

  private enum Key: CodingKey { case first, last, snapshots, deleted }

  func encode(to encoder: any Encoder) throws {
    try Entry(version.facts, at: sourcePath(version.path, label: label)).encode(to: encoder)
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(version.first.description, forKey: .first)
    try container.encode(version.last.description, forKey: .last)
    try container.encode(version.snapshots, forKey: .snapshots)
    try container.encode(isDeleted, forKey: .deleted)
  }
}

/// The search of all snapshots, one source after the other.
///
/// A snapshot of some of the sources ends no version of the others.
private final class FindSearch {
  private let options: FindCommand
  private let store: any VerifiableStore
  private let patterns: NamePatterns
  private var readers: [SnapshotName: CatalogReader] = [:]
  private(set) var unreadable: [UnusableSnapshot] = []

  init(for options: FindCommand, in store: any VerifiableStore) throws(Failure) {
    self.options = options
    self.store = store
    patterns = try NamePatterns(options.patterns.map(\.bytes), ignoresCase: options.ignoreCase)
  }

  /// Searches the sources of all snapshots, each from its newest snapshot on, and reports each version when its first
  /// snapshot is known.
  func run(on list: SnapshotList, report: (FoundVersion) throws -> Void) throws {
    let snapshots = Array(list.snapshots.reversed())
    for place in outermost(of: snapshots.flatMap { $0.places }) {
      let having = snapshots.filter { snapshot in snapshot.places.contains { $0.starts(with: place) } }
      try search(having, under: place) { version, label in
        // A source that is gone from the newest snapshot is not deleted from the source.
        let isDeleted = try !hasNewest(of: snapshots, path: version.path, kind: version.facts.kind)
        if isDeleted || !options.deleted {
          try report(FoundVersion(version: version, label: label, isDeleted: isDeleted))
        }
      }
    }
  }

  private func search(
    _ snapshots: [Snapshot], under place: [[UInt8]], report: (EntryVersion, _ label: [UInt8]) throws -> Void
  ) throws {
    guard let label = snapshots.first?.summary.label else { return }
    var search = VersionSearch(where: matcher(label: label))
    var newer: Snapshot?
    for snapshot in snapshots {
      guard let reader = try reader(of: snapshot) else { continue }
      func add() throws -> [EntryVersion] {
        try search.add(reader, named: snapshot.name, under: place, covers: { snapshot.has($0) })
      }
      var complete: [EntryVersion] = []
      do {
        do { complete = try add() } catch let failure as LeftCatalogError {
          // The newer catalog is damaged where the older one differs: the search begins again with the older one.
          try note(failure.error, of: newer!)
          complete = search.finish()
          complete += try add()
        }
        newer = snapshot
      } catch { try note(error, of: snapshot) }
      for version in complete { try report(version, label) }
    }
    for version in search.finish() { try report(version, label) }
  }

  /// True if the newest readable snapshot that covers the path has an entry of this kind there.
  private func hasNewest(of snapshots: [Snapshot], path: [[UInt8]], kind: EntryKind) throws -> Bool {
    for snapshot in snapshots where snapshot.has(path) {
      guard let reader = try reader(of: snapshot) else { continue }
      // A file that gave way to a directory is gone, too.
      do { return try reader.find(path)?.kind == kind } catch { try note(error, of: snapshot) }
    }
    return false
  }

  /// The catalog of a snapshot; `nil` if it was noted as unreadable, or has expired meanwhile.
  private func reader(of snapshot: Snapshot) throws -> CatalogReader? {
    if let reader = readers[snapshot.name] { return reader }
    if unreadable.contains(where: { $0.name == snapshot.name }) { return nil }
    do {
      let reader = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
      // The newest catalogs are asked again and again.
      if readers.count > 8 { readers = readers.filter { $0.key.description > snapshot.name.description } }
      if readers.count > 8 { readers = [:] }
      readers[snapshot.name] = reader
      return reader
    } catch {
      if (try? store.local?.hasExpired(snapshot.name)) != true { try note(error, of: snapshot) }
      return nil
    }
  }

  /// Notes a catalog that cannot be read. Other errors end the search.
  private func note(_ error: any Error, of snapshot: Snapshot) throws {
    let isDamage: Bool
    switch error {
    case is CatalogError: isDamage = true
    case let failure as Failure where failure.kind == .damaged: isDamage = true
    case let errno as Errno where errno != .interrupted: isDamage = false
    default: throw error
    }
    if unreadable.contains(where: { $0.name == snapshot.name }) { return }
    unreadable.append(UnusableSnapshot(name: snapshot.name, reason: "\(error)", isDamage: isDamage))
  }

  private func matcher(label: [UInt8]) -> (EntryPlace, Found) throws -> Bool {
    let options = options
    let matches = patterns.matcher(label: label)
    return { place, entry in
      try checkForSignal()
      if let type = options.type, !type.isKind(entry.kind) { return false }
      if options.larger != nil || options.smaller != nil {
        guard let size = entry.byteCount, size > options.larger ?? 0 || options.larger == nil,
          size < options.smaller ?? .max
        else { return false }
      }
      if let newer = options.newer, entry.modified.seconds <= newer { return false }
      if let older = options.older, entry.modified.seconds >= older { return false }
      return matches(place, entry)
    }
  }
}

extension Snapshot {
  /// The sources, from the snapshot's root on. A snapshot that names none is one of everything.
  fileprivate var places: [[[UInt8]]] {
    let places = summary.placesOfSources
    return places.isEmpty ? [[]] : places
  }

  fileprivate func has(_ path: [[UInt8]]) -> Bool { places == [[]] || summary.covers(path) }
}
