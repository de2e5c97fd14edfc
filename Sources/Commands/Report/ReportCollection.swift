internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Settings

// The facts of a report: the history, the catalogs' summaries, and the facts of the audit.

extension AuditCollection {
  func reportFacts(since begin: Int64) throws -> ReportFacts {
    var facts = ReportFacts(
      of: displayName(repository.path), on: displayName(CurrentProcess.hostName()), since: begin, at: now.seconds,
      audit: Audit(of: try self.facts()))
    facts.runs = ReportLine.all(in: history)
    facts.snapshots = list.snapshots.map { reportSnapshot($0, since: begin) }
    let members = try repository.members(of: list)
    facts.sets = SnapshotSet.allCases.compactMap { set in members[set].map { (set.rawValue, $0.map(\.seconds)) } }
    if state.bytesTotal > 0 { (facts.bytesFree, facts.bytesTotal) = (state.bytesFree, state.bytesTotal) }
    facts.bytesCopiedPerDay = bytesCopiedPerDay
    facts.copies = copies.filter { $0.kind == .repository || $0.kind == .remote }.map {
      ReportFacts.Copy(name: $0.name, newest: $0.newest, verified: $0.verified, partVerified: $0.partVerified)
    }
    facts.verifyWithin = file.settings.audit.verifyWithinSeconds
    if let last = state.verifiedParts.last {
      let times = state.verifiedParts.times(ofParts: last.part.count)
      let limit = now.seconds - facts.verifyWithin
      facts.parts = (times.count { $0.map { $0 >= limit } ?? false }, times.count)
    }
    facts.drills = drills.compactMap(Self.reportDrill)
    return facts
  }

  /// The sizes of sources are looked up in the snapshots of the period alone. A damaged catalog has none; it is named
  /// elsewhere.
  private func reportSnapshot(_ snapshot: Snapshot, since begin: Int64) -> ReportFacts.Snapshot {
    let summary = snapshot.summary
    var found = ReportFacts.Snapshot(
      name: snapshot.name.description, time: snapshot.name.seconds, filesCopied: summary.filesCopied,
      bytesCopied: summary.bytesCopied)
    guard found.time >= begin, let catalog = try? repository.openCatalog(of: snapshot.name) else { return found }
    let reader = CatalogReader(reading: catalog)
    let own = summary.sources.filter { $0 != file.planDirectory }.map { source in
      (displayName(source), summary.label + TreePath(parsing: source))
    }
    let others = zip(summary.hostTitles, summary.hostSources.map { TreePath(parsing: $0) })
    let dumps = summary.databases.filter { !$0.isLeftOut }.map { database in
      ("database:\(displayName(database.name))", TreePath(parsing: database.source))
    }
    for (name, place) in own + others + dumps {
      switch try? reader.find(place) {
      case .directory(_, let subtree)?: found.sizes[name] = subtree.totals.bytes
      case .file(let row, _)?: found.sizes[name] = row.size
      case nil: break
      }
    }
    return found
  }

  private static func reportDrill(_ drill: DrillAnswer) -> ReportFacts.Drill? {
    Moment.seconds(of: drill.time).map { time in
      ReportFacts.Drill(
        time: time, name: drill.name, result: drill.result.rawValue, elapsedSeconds: drill.elapsedSeconds,
        copies: drill.copies.map { copy in
          let sample = copy.filesSeconds.map { copy.databases.reduce($0) { $0 + $1.elapsedSeconds } }
          return (copy.copy, copy.recovery == nil ? sample : copy.recovery?.totalSeconds)
        })
    }
  }
}

/// A line of the history, as a report needs it.
private struct ReportLine: Decodable {
  struct Taken: Decodable {
    let snapshot: String
    let filesCopied, bytesCopied: UInt64
  }
  /// `run` has its snapshot below this key, and `snapshot` below the other one.
  private struct OfRun: Decodable { let snapshot: Taken }
  private struct OfSnapshot: Decodable { let result: Taken }

  let time, command: String
  let exitStatus: Int32
  let error: String?
  let elapsedSeconds: Double?

  /// These lines are no work on the data.
  private static let others = ["audit", "drill", PlanRecord.commandName]

  /// Skips lines of another form.
  static func all(in text: [UInt8]) -> [ReportFacts.Run] {
    text.split(separator: newline).compactMap { text in
      guard let line = ReportLine(json: text), !others.contains(line.command),
        let time = Moment.seconds(of: line.time)
      else { return nil }
      let taken = OfRun(json: text)?.snapshot ?? OfSnapshot(json: text)?.result
      return ReportFacts.Run(
        time: time, command: line.command, exitStatus: line.exitStatus, error: line.error,
        elapsedSeconds: line.elapsedSeconds, snapshot: taken?.snapshot, filesCopied: taken?.filesCopied ?? 0,
        bytesCopied: taken?.bytesCopied ?? 0)
    }
  }
}
