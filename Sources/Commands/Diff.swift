internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

struct DiffCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "Show what changed between two snapshots, or since one of them.",
    discussion: """
      A line begins with + for what only the second snapshot has, - for what only the first has, M for what \
      differs, with the aspects that do, and R for what was renamed. The changes in a renamed directory follow it. A \
      directory whose time alone changed is shown with --verbose. Only the catalogs are read, and of them only what \
      differs.

      With --live, the second side is the source as it is now: what the next snapshot would find.

      A SNAPSHOT is a name or its beginning, a local day or time such as 2026-11-21, '2026-11-21 20:00', yesterday or \
      3d, a member of a set such as daily.0, or latest.

      Examples:
        treering diff 2026-11-21 latest /etc --repository /backup/treering
        treering diff latest --live /etc --patch --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The earlier snapshot.", valueName: "snapshot"), completion: .snapshot)
  var left: String

  @Argument(
    help: ArgumentHelp("The later snapshot; left out with --live.", valueName: "snapshot"), completion: .snapshot)
  var right: PathArgument?

  @Argument(
    help: ArgumentHelp("Compare only what is at and below this path.", valueName: "path"),
    completion: .path(inSnapshotAt: 1))
  var path: PathArgument?

  @Flag(help: "Compare with the source as it is now, by the status of its files.")
  var live = false

  @Flag(help: "Show only the numbers of changes, for each top directory.")
  var stat = false

  @Flag(help: "Show only the paths.")
  var nameOnly = false

  @Flag(name: .shortAndLong, help: "Show the changes in text files of up to 1 MiB, by diff(1).")
  var patch = false

  @OptionGroup var excluded: ExcludeOptions
  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if [stat, nameOnly, patch].count(where: { $0 }) > 1 {
      throw ValidationError("--stat, --name-only and --patch exclude each other")
    }
    if common.json, nameOnly || patch { throw ValidationError("--json has no --name-only and no --patch") }
    if live, path != nil { throw ValidationError("with --live, name one snapshot and at most one path") }
    try requireSnapshots()
    if !live, !excluded.areEmpty { throw ValidationError("rules of exclusion belong to --live") }
  }

  /// Throws if a snapshot was forgotten, and says what to write.
  private func requireSnapshots() throws {
    if live { return try requireSnapshot(left, before: [], then: "--live") }
    guard let right else { throw ValidationError("name two snapshots, or one and --live") }
    let shown = displayName(left.contains("/") ? argumentBytes(left) : right.bytes)
    guard left.contains("/") || right.bytes.contains(slash) else { return }
    let first = left.contains("/") || left == "latest" ? "yesterday" : displayName(argumentBytes(left))
    throw ValidationError(
      "\(shown) is no snapshot; compare two with: treering diff \(first) latest \(shown), or one with the source as it "
        + "is now: treering diff \(left.contains("/") ? "latest" : displayName(argumentBytes(left))) --live \(shown)")
  }

  var form: DiffForm { stat ? .counts : nameOnly ? .names : patch ? .patches : .lines }

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    return live ? try compareWithSource() : try compareSnapshots()
  }

  private func compareSnapshots() throws -> ExitStatus {
    let (store, list) = try common.openList(connection: connection)
    let (from, to) = (left, escapedArgument(right!.bytes))
    let wanted = try path.map { try list.path($0.bytes) }
    let a = try store.resolve(from, of: wanted, in: list)
    let b = try store.resolve(to, of: wanted, in: list)
    let sides = [try StoredSide(of: a, in: store), try StoredSide(of: b, in: store)]
    let path = try wanted.map { try TreePath(named: $0, in: sides.map(\.reader)) }
    let report = DiffReport(from: sides[0], to: sides[1], under: path, form: form, options: common)
    if path == nil { noteSources(from: a, to: b) }
    for (reference, snapshot) in [(from, a), (to, b)] {
      let meant = try store.resolve(reference, in: list)
      if meant.name == snapshot.name { common.noteDistance(of: snapshot, from: reference) }
      if meant.name != snapshot.name {
        Console.complain(
          "\(reference) is \(snapshot.name) here: the newest, \(meant.name), has only \(meant.sourcesText)")
      } else if let path, list.isOnlyParentOfSources(path, in: snapshot) {
        Console.complain("\(snapshot.name) has only \(snapshot.sourcesText); what else is there counts as gone")
      }
    }
    do { try report.run() } catch let error as CatalogError {
      throw Failure(.damaged, "cannot compare \(a.name) and \(b.name): \(error)")
    }
    return report.status
  }

  /// Says that sources which only one of the snapshots has are no changes of these sources.
  private func noteSources(from left: Snapshot, to right: Snapshot) {
    guard !common.quiet else { return }
    for (snapshot, other, word) in [(left, right, "new"), (right, left, "gone")]
    where !other.places.allSatisfy({ snapshot.has($0) }) {
      Console.note("\(snapshot.name) has only \(snapshot.sourcesText); what else the other has counts as \(word)")
    }
  }
}
