internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

struct DiffCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "Show what changed between two snapshots.",
    discussion: """
      A line begins with + for what only the second snapshot has, - for what only the first has, and M \
      for what differs, with the aspects that do. A directory whose time alone changed is shown with \
      --verbose. Only the catalogs are read, and of them only what differs.

      A SNAPSHOT is a name or its beginning, a local day or time such as 2026-11-21, '2026-11-21 20:00', yesterday or \
      3d, a member of a set such as daily.0, or latest.

      Example:
        treering diff 2026-11-21 latest /etc --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The earlier snapshot.", valueName: "snapshot"), completion: .snapshot)
  var left: String

  @Argument(help: ArgumentHelp("The later snapshot.", valueName: "snapshot"), completion: .snapshot)
  var right: String

  @Argument(
    help: ArgumentHelp("Compare only what is at and below this path.", valueName: "path"),
    completion: .path(inSnapshotAt: 1))
  var path: PathArgument?

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let repository = try common.openStore(connection: connection)
    let list = try repository.snapshots()
    let a = try repository.resolve(left, of: path?.bytes, in: list)
    let b = try repository.resolve(right, of: path?.bytes, in: list)
    let readerA = CatalogReader(reading: try repository.openCatalog(of: a.name))
    let readerB = CatalogReader(reading: try repository.openCatalog(of: b.name))
    let path = try path.map { try SnapshotPath(path: $0.bytes, in: [readerA, readerB]) }
    let printer = Printer(from: a, to: b, options: common)
    do {
      try compareCatalogs(readerA, right: readerB, under: path?.components ?? []) {
        try Console.checkOutput()
        printer.add($0)
      }
    } catch let error as CatalogError {
      throw Failure(.damaged, "cannot compare \(a.name) and \(b.name): \(error)")
    }
    printer.finish()
    for (reference, snapshot) in [(left, a), (right, b)] {
      let meant = try repository.resolve(reference, in: list)
      if meant.name != snapshot.name {
        Console.complain(
          "\(reference) is \(snapshot.name) here: the newest, \(meant.name), has only \(meant.sourcesText)")
      } else if let path, list.isOnlyParentOfSources(path.components, in: snapshot) {
        Console.complain("\(snapshot.name) has only \(snapshot.sourcesText); what else is there counts as gone")
      }
    }
    return .done
  }

  /// Prints changes immediately, because there may be millions.
  private final class Printer {
    private let common: CommonOptions
    private var pending = ""
    private var isFirst = true
    private var counts: [Change.Verb: UInt64] = [:]

    /// The labels of both snapshots.
    private let labels: [[UInt8]]

    init(from a: Snapshot, to b: Snapshot, options common: CommonOptions) {
      self.common = common
      labels = [a.summary.label, b.summary.label]
      if common.json { pending = "{\n  \"from\" : \"\(a.name)\",\n  \"to\" : \"\(b.name)\",\n  \"changes\" : [" }
    }

    private func path(of change: Change) -> [UInt8] {
      sourcePath(change.path, label: labels.first { $0 == change.path.first } ?? labels[1])
    }

    func add(_ change: Change) {
      if !common.json && !common.verbose && change.kind == .directory && change.aspects == .modified { return }
      counts[change.verb, default: 0] += 1
      if common.json {
        pending += isFirst ? "\n    " : ",\n    "
        pending += jsonText(JSONChange(change: change, path: path(of: change)), isLine: true, isPart: true)
        isFirst = false
      } else {
        pending += line(for: change) + "\n"
      }
      if pending.utf8.count > 1 << 15 { flush() }
    }

    func finish() {
      if common.json {
        pending += "\n  ],\n  \"added\" : \(counts[.added] ?? 0),\n"
        pending += "  \"removed\" : \(counts[.removed] ?? 0),\n"
        pending += "  \"changed\" : \(counts[.changed] ?? 0),\n  \"version\" : \(jsonVersion)\n}\n"
      }
      flush()
    }

    private func flush() {
      Console.write(pending, to: .output)
      pending = ""
    }

    private func line(for change: Change) -> String {
      let isDirectory = change.kind == .directory
      var line =
        switch change.verb {
        case .added: "+ "
        case .removed: "- "
        case .changed: "M "
        }
      line += displayName(path(of: change))
      if isDirectory { line += "/" }
      if change.verb == .changed { line += "  (\(change.aspects.words.joined(separator: ", ")))" }
      return line
    }
  }

  private struct JSONChange: Encodable {
    let change: Change
    let path: [UInt8]

    enum Key: CodingKey { case change, kind, aspects, sizeBefore, sizeAfter }

    func encode(to encoder: any Encoder) throws {
      try JSONPath(bytes: path).encode(to: encoder)
      var container = encoder.container(keyedBy: Key.self)
      try container.encode(change.verb.rawValue, forKey: .change)
      try container.encode(change.kind.word, forKey: .kind)
      if change.verb == .changed { try container.encode(change.aspects.words, forKey: .aspects) }
      try container.encodeIfPresent(change.sizeBefore, forKey: .sizeBefore)
      try container.encodeIfPresent(change.sizeAfter, forKey: .sizeAfter)
    }
  }
}
