internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

struct VersionsCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "versions", abstract: "Show every distinct version of a file, newest first.",
    discussion: """
      A version is what a path was from one snapshot to another without a change of its content or its \
      metadata. A version of a directory ends with any change below it. The file may be deleted since. With --follow, \
      the versions under its other names, before and after a rename, are shown, too. Only the catalogs are read.

      Example:
        treering versions /etc/fstab --repository /backup/treering
      """)

  @Argument(
    help: ArgumentHelp("The file or directory, named as at the source.", valueName: "path"),
    completion: .path(inSnapshotAt: nil))
  var path: PathArgument

  @Flag(help: "Continue with the other names of a renamed or moved file.")
  var follow = false

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let (store, list) = try common.openList(connection: connection)
    let history = StoreHistory(of: store)
    let path = try list.path(path.bytes)
    let versions = try PathHistory(in: list, of: history, follows: follow).versions(of: path)
    let unreadable = list.unusable + history.unreadable
    guard !versions.isEmpty || !unreadable.isEmpty else {
      throw Failure(
        .usage, "\(displayName(path)) is in no snapshot of \(displayName(store.path))", path: path,
        hint: "name it as it was at the source, or search for its name: \(store.advice("find NAME"))")
    }
    if common.json {
      Console.print(jsonText(["versions": versions]))
    } else if !versions.isEmpty {
      let header = ["MODIFIED", "SIZE", "FIRST IN", "LAST IN", "", "CHANGE"] + (follow ? ["PATH"] : [])
      let writer = AnswerWriter()
      defer { writer.flush() }
      for line in table([header] + versions.map { $0.row(withPath: follow) }, rightAligned: [1], expendable: [4]) {
        try writer.line(line)
      }
    }
    for unusable in unreadable { Console.complain("\(unusable.sentence); it was not searched") }
    return unusableStatus(for: unreadable)
  }
}

/// A version of a path, and the label of its snapshots.
private struct PathVersion: Encodable {
  let version: EntryVersion
  let label: [UInt8]
  /// The version before this one; `nil` for the oldest.
  var older: EntryVersion?

  private var path: [UInt8] { version.path.atSource(label: label) }
  private var byteCount: UInt64 {
    version.facts.kind == .regular || version.facts.kind == .symbolicLink ? version.facts.size : 0
  }

  func row(withPath: Bool) -> [String] {
    let facts = version.facts
    return [
      facts.metadata.modified.localText, facts.kind == .regular ? byteText(byteCount) : facts.kind.word,
      version.first.description, version.last.description, counted(version.snapshots, "snapshot"),
      changes.joined(separator: ", "),
    ] + (withPath ? [displayName(path)] : [])
  }

  /// The aspects in which it differs from the version before, such as "content" and "mode".
  private var changes: [String] {
    guard let older else { return [] }
    guard older.facts.kind == version.facts.kind else { return ["kind"] }
    var aspects = version.facts.aspects(since: older.facts)
    if version.facts.subtree != older.facts.subtree { aspects.insert(.content) }
    return aspects.words
  }

  func encode(to encoder: any Encoder) throws {
    try Entry(version.facts, at: path).encode(to: encoder)
    try encoder.encode([
      "bytes": byteCount, "aspects": changes, "first": version.first.description, "last": version.last.description,
      "snapshots": version.snapshots,
    ])
  }
}

/// The search of one path's versions, and of its older names.
private struct PathHistory {
  private let list: SnapshotList
  private let history: StoreHistory
  private let follows: Bool

  init(in list: SnapshotList, of history: StoreHistory, follows: Bool) {
    (self.list, self.history, self.follows) = (list, history, follows)
  }

  /// The versions of an operator's path, newest first. Its place may differ from label to label.
  func versions(of path: [UInt8]) throws -> [PathVersion] {
    var versions: [PathVersion] = []
    var labels: [[UInt8]] = []
    for snapshot in list.snapshots.reversed() where !labels.contains(snapshot.summary.label) {
      labels.append(snapshot.summary.label)
    }
    for label in path.first == slash ? labels : Array(labels.prefix(1)) {
      let place = try TreePath(named: path, below: label)
      let snapshots = list.snapshots.reversed().filter { path.first != slash || $0.summary.label == label }
      versions += try self.versions(at: place, in: snapshots).map { PathVersion(version: $0, label: label) }
    }
    let order = Dictionary(uniqueKeysWithValues: list.snapshots.enumerated().map { ($1.name, $0) })
    var sorted = versions.enumerated().sorted {
      (order[$0.element.version.last]!, $1.offset) > (order[$1.element.version.last]!, $0.offset)
    }.map(\.element)
    for index in sorted.indices {
      sorted[index].older = sorted[(index + 1)...].first { $0.label == sorted[index].label }?.version
    }
    return sorted
  }

  private func versions(at place: TreePath, in snapshots: [Snapshot]) throws -> [EntryVersion] {
    // A directory that only leads to sources is part of no source, but may be all that is asked for.
    let isCovered = list.snapshots.contains { $0.has(place) }
    let start = (place: place, snapshots: snapshots)
    var (place, snapshots, all) = (place, snapshots, [EntryVersion]())
    while true {
      var versions: [EntryVersion] = []
      try history.search(
        snapshots, under: place, with: VersionSearch(), covers: { !isCovered || $0.has($1) },
        report: { versions.append($0) })
      if follows, all.isEmpty, let newer = try newerName(of: versions, at: place, in: snapshots) {
        let renamed = try self.versions(at: newer, in: start.snapshots)
        if renamed.contains(where: { $0.path == start.place }) { return renamed }
      }
      guard follows, let step = try olderName(of: versions, at: place, in: snapshots) else { return all + versions }
      all += versions.prefix(step.count)
      (place, snapshots) = (step.place, step.snapshots)
    }
  }

  /// The name that the newest version got by a rename. Its own older names lead back to the path.
  private func newerName(
    of versions: [EntryVersion], at place: TreePath, in snapshots: [Snapshot]
  ) throws -> TreePath? {
    guard let last = snapshots.firstIndex(where: { $0.name == versions.first?.last }),
      let after = snapshots[..<last].last(where: { $0.has(place) }),
      let old = try history.reader(of: snapshots[last]), let new = try history.reader(of: after)
    else { return nil }
    do {
      return try new.find(place) == nil ? otherName(of: place, from: old, to: new, isOlder: true) : nil
    } catch {
      try history.note(error, of: after)
      return nil
    }
  }

  /// The older name of the first version that began with a rename, and the number of versions up to that one.
  private func olderName(
    of versions: [EntryVersion], at place: TreePath, in snapshots: [Snapshot]
  ) throws -> (place: TreePath, count: Int, snapshots: [Snapshot])? {
    for (index, version) in versions.enumerated() {
      guard let first = snapshots.firstIndex(where: { $0.name == version.first }) else { continue }
      let older = snapshots[(first + 1)...]
      guard let before = older.first(where: { $0.has(place) }),
        let old = try history.reader(of: before), let new = try history.reader(of: snapshots[first])
      else { continue }
      do {
        if try old.find(place) != nil { continue }
        if let origin = try otherName(of: place, from: old, to: new, isOlder: false) {
          return (origin, index + 1, Array(older.drop { $0.name != before.name }))
        }
      } catch { try history.note(error, of: before) }
    }
    return nil
  }

  /// The other path of an entry that was renamed between two catalogs, itself or with a directory above it.
  ///
  /// The place is a path of the older catalog if `isOlder`, and otherwise of the newer one.
  private func otherName(
    of place: TreePath, from old: CatalogReader, to new: CatalogReader, isOlder: Bool
  ) throws -> TreePath? {
    var (found, depth) = (TreePath?.none, 0)
    try RenameSearch(from: old, to: new) { change in
      try checkForSignal()
      guard let before = change.pathBefore else { return }
      let (path, other) = isOlder ? (before, change.path) : (change.path, before)
      if path.count > depth, place.starts(with: path) {
        (found, depth) = (other + place.dropFirst(path.count), path.count)
      }
    }.run()
    return try found.flatMap { try (isOlder ? new : old).find($0) == nil ? nil : $0 }
  }
}
