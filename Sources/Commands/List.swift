internal import ArgumentParser
internal import Catalog
internal import Model
internal import Repository

struct ListCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the snapshots, oldest first.",
    discussion: """
      COPIED is what the snapshot added to the repository; times are local. Only the catalogs are read.

      Examples:
        treering list --repository /backup/treering
        treering list /home/ann/thesis --repository /backup/treering
      """)

  @Argument(
    help: ArgumentHelp("List only the snapshots that have this file or directory.", valueName: "path"),
    completion: .path(inSnapshotAt: nil))
  var path: PathArgument?

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let (repository, all) = try common.openList(connection: connection)
    var list = all
    let held = try repository.heldSnapshots()
    var sets: [SnapshotName: [String]] = [:]
    let members = try repository.members(of: list)
    for set in SnapshotSet.allCases {
      for (rank, name) in (members[set] ?? []).enumerated() {
        sets[name, default: []].append("\(set.rawValue).\(rank)")
      }
    }
    let path = try path.map { try all.path($0.bytes) }
    if let path { try keepSnapshots(having: path, in: &list, of: repository) }
    if common.json {
      Console.print(
        jsonText([
          "snapshots": list.snapshots.map {
            Self.answer(for: $0, sets: sets[$0.name] ?? [], isHeld: held[$0.name] != nil)
          }
        ]))
    } else if !list.snapshots.isEmpty {
      let hasLabels = Set(list.snapshots.map(\.summary.label)).count > 1
      let header = ["SNAPSHOT", "TAKEN", "ENTRIES", "SIZE", "COPIED", "TOOK", "OUTCOME", "SETS"]
      var rows = [header + (hasLabels ? ["LABEL"] : []) + ["SOURCES"]]
      for snapshot in list.snapshots {
        let summary = snapshot.summary
        rows.append(
          [
            snapshot.name.description, summary.started.localText,
            grouped(summary.root.totals.entries), byteText(summary.root.totals.bytes),
            byteText(summary.bytesCopied), durationText(summary.tookSeconds),
            Self.outcome(of: summary),
            ((sets[snapshot.name] ?? []) + (held[snapshot.name].map { ["held \($0)"] } ?? [])).joined(separator: " "),
          ] + (hasLabels ? [displayName(summary.label)] : []) + [snapshot.sourcesText])
      }
      let (taken, entries, copied, took) = (1, 2, 4, 5)
      let lines = table(rows, rightAligned: [2, 3, 4, 5], expendable: [took, copied, entries, taken])
      for line in lines { Console.print(line) }
    } else if !common.quiet && list.unusable.isEmpty {
      Console.complain(path.map { "no snapshot has \(displayName($0))" } ?? "the repository has no snapshot yet")
    }
    if let reason = try repository.heldRotation() {
      Console.complain("rotation is held since \(reason); when all is well, \(repository.remedy("release"))")
    }
    for unusable in list.unusable { Console.complain(unusable.sentence) }
    return unusableStatus(for: list.unusable)
  }

  /// The outcome, and the numbers of requested sources that the snapshot lacks and of dumps that lack something.
  private static func outcome(of summary: CatalogSummary) -> String {
    let lacking = summary.allAbsentSources.count
    let incomplete = summary.databases.count { !$0.isLeftOut && !$0.shortcomings.isEmpty }
    return (summary.warnings == 0 ? summary.outcome.word : counted(summary.warnings, "warning"))
      + (lacking == 0 ? "" : ", without \(counted(lacking, "source"))")
      + (incomplete == 0 ? "" : ", \(counted(incomplete, "incomplete dump"))")
  }

  /// Leaves only the snapshots of a list that have a path inside a source. A catalog that cannot be searched is unusable.
  private func keepSnapshots(having path: [UInt8], in list: inout SnapshotList, of store: any SnapshotStore) throws {
    let all = list
    list.snapshots = []
    for snapshot in all.snapshots {
      let place = try TreePath(named: path, below: snapshot.summary.label)
      do {
        let reader = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
        guard try reader.find(place) != nil, !all.isOnlyParentOfSources(place, in: snapshot) else { continue }
        list.snapshots.append(snapshot)
      } catch let error as CatalogError {
        list.unusable.append(UnusableSnapshot(name: snapshot.name, reason: "\(error)", isDamage: true))
      }
    }
  }

  private struct Answer: Encodable {
    let name, time, finished: String
    let sequence, entries, bytes, filesLinked, filesCopied, bytesCopied, warnings: UInt64
    let outcome, label: String
    let sources, absent: [String]
    let databases: [DatabaseAnswer]
    let sets: [String]
    let held: Bool
    let rootDigest: String
    let elapsedSeconds: Double
  }

  private static func answer(for snapshot: Snapshot, sets: [String], isHeld: Bool) -> Answer {
    let summary = snapshot.summary
    return Answer(
      name: snapshot.name.description, time: summary.started.rfc3339, finished: summary.finished.rfc3339,
      sequence: summary.sequence, entries: summary.root.totals.entries, bytes: summary.root.totals.bytes,
      filesLinked: summary.filesLinked, filesCopied: summary.filesCopied, bytesCopied: summary.bytesCopied,
      warnings: summary.warnings, outcome: summary.outcome.word, label: displayName(summary.label),
      sources: summary.sources.map { displayName($0) } + summary.hostTitles,
      absent: summary.allAbsentSources.map { displayName($0) },
      databases: summary.databases.map(DatabaseAnswer.init), sets: sets, held: isHeld,
      rootDigest: summary.root.digest.description, elapsedSeconds: summary.tookSeconds)
  }
}

extension CatalogSummary {
  /// The duration of the walk. 0 if the clock was set back in the meantime.
  var tookSeconds: Double {
    let fraction = (Double(finished.nanoseconds) - Double(started.nanoseconds)) / 1e9
    return max(0, Double(finished.seconds &- started.seconds) + fraction)
  }
}
