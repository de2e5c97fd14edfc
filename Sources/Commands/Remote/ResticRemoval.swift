internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Restic
internal import Retention
internal import Settings

/// The removal of snapshots from a repository of restic's format, by `rotate` or `delete`.
struct ResticRemoval {
  let target: RemoteTarget
  let common: CommonOptions
  let isDryRun: Bool
  private let store: ResticStore
  /// The configuration's policy.
  let policy: RetentionPolicy

  /// Refuses a remote where nothing may be removed.
  init(at target: RemoteTarget, options common: CommonOptions, isDryRun: Bool) throws {
    (self.target, self.common, self.isDryRun) = (target, common, isDryRun)
    guard !target.isAppendOnly else {
      throw Failure(
        .refused, "nothing is removed from \(target.name), because its append_only is true, or it has a lock",
        hint: "let its administrator run: restic forget --prune")
    }
    guard let access = target.restic else { throw Failure(.usage, "\(target.name) is not of restic's format") }
    policy = try common.configuration()?.settings.retention ?? .standard
    store = ResticStore(try access.open(), policy: policy)
  }

  /// Applies retention, by the same rules as at home.
  func rotate(by policy: RetentionPolicy) throws -> ExitStatus {
    let plan = try store.retentionPlan(by: policy, unwanted: [], now: Clock.now())
    if let obstacle = plan.obstacle { Console.complain("nothing expires: \(obstacle)") }
    let expired = plan.judged.filter(\.decision.expires)
    var result = RemovalResult()
    if !expired.isEmpty {
      result = try SnapshotRemoval.remove(Set(expired.map(\.id)), from: store.restic, isDry: isDryRun)
    }
    let rows = plan.judged.map { item in
      [
        item.snapshot.name.description, item.snapshot.summary.started.localText,
        item.decision.expires ? "expires" : "stays", item.decision.reasons.map(\.words).joined(separator: ", "),
      ]
    }
    common.answer(
      RemoteRemovalAnswer(dryRun: isDryRun, all: plan.judged, result: result), isWanted: isDryRun || common.speaks,
      lines: table([["SNAPSHOT", "TAKEN", "", "WHY"]] + rows) + (expired.isEmpty ? [] : [sentence(for: result)]))
    return plan.obstacle == nil ? .done : .refused
  }

  /// Removes certain snapshots. `asks` is true if the person decides, after the space and the lost files are shown.
  func delete(_ references: [String], asks: Bool) throws -> ExitStatus {
    let list = try store.snapshots()
    let names = Set(try references.map { try store.resolve($0, in: list, allowsTimes: false).name })
    let plan = try store.retentionPlan(by: .standard, unwanted: names, now: Clock.now())
    let named = plan.judged.filter { names.contains($0.snapshot.name) }
    for item in named where !item.decision.expires {
      throw Failure(
        .refused,
        "nothing is deleted, because \(item.snapshot.name) must stay: "
          + item.decision.reasons.map(\.words).joined(separator: ", "),
        hint: "push a newer one of the same sources first")
    }
    if asks {
      let (result, lost) = try remove(named, isDry: true)
      for line in lines(of: named, result: result, lost: lost) { Console.print(line) }
      guard Console.asks("delete \(counted(named.count, "snapshot")) from \(target.name)?") else {
        throw Failure(.refused, "nothing was deleted")
      }
    }
    let (result, lost) = try remove(named, isDry: isDryRun)
    var answer = RemoteRemovalAnswer(dryRun: isDryRun, all: plan.judged, result: result)
    answer.lostFiles = lost.files.count
    answer.lostBytes = lost.byteCount
    answer.lost = lost.shown(all: common.verbose)
    common.answer(
      answer, isWanted: isDryRun || common.speaks,
      lines: isDryRun
        ? lines(of: named, result: result, lost: lost)
        : (asks ? [] : lost.lines(all: common.verbose)) + [sentence(for: result)])
    return .done
  }

  private func remove(_ named: [JudgedSnapshot], isDry: Bool) throws -> (RemovalResult, LostFiles) {
    let names = Dictionary(named.map { ($0.id, $0.snapshot.name) }, uniquingKeysWith: { first, _ in first })
    let result = try SnapshotRemoval.remove(Set(names.keys), from: store.restic, isDry: isDry, wantsLost: true)
    let lost = result.lost.compactMap { file in
      names[file.snapshot].map { LostFiles.File(path: file.path, byteCount: file.byteCount, snapshot: $0) }
    }
    return (result, LostFiles(lost))
  }

  /// The lines that come before a deletion.
  private func lines(of named: [JudgedSnapshot], result: RemovalResult, lost: LostFiles) -> [String] {
    let freed = "about \(byteText(result.bytesFreed)) at \(target.name)"
    return table(
      named.map { [$0.snapshot.name.description, $0.snapshot.summary.started.localText, $0.snapshot.sourcesText] })
      + [(isDryRun ? "would free " : "frees ") + freed] + lost.lines(all: common.verbose)
  }

  private func sentence(for result: RemovalResult) -> String {
    let packs = counted(result.packsRemoved, "pack")
    let moved =
      result.packsRepacked == 0 ? "" : ", after what is needed of \(result.packsRepacked) of them was packed anew"
    return isDryRun
      ? "would remove \(packs) of \(byteText(result.bytesRemoved))\(moved)"
      : "removed \(packs) of \(byteText(result.bytesRemoved)), and wrote \(byteText(result.bytesWritten))\(moved)"
  }
}

/// The document of `rotate --json` and `delete --json` for a repository of restic's format.
struct RemoteRemovalAnswer: Encodable {
  struct Item: Encodable {
    let snapshot, time: String
    let expires: Bool
    let reasons: [String]
  }
  let dryRun: Bool
  let snapshots: [Item]
  let expired, packsRemoved, packsRepacked: Int
  let bytesRemoved, bytesWritten, freedBytes: UInt64
  // Of a deletion alone.
  var lostFiles: Int?
  var lostBytes: UInt64?
  var lost: [LostFiles.File]?

  init(dryRun: Bool, all: [JudgedSnapshot], result: RemovalResult) {
    self.dryRun = dryRun
    snapshots = all.map {
      Item(
        snapshot: $0.snapshot.name.description, time: $0.snapshot.summary.started.rfc3339, expires: $0.decision.expires,
        reasons: $0.decision.reasons.map(\.key))
    }
    expired = all.count { $0.decision.expires }
    (packsRemoved, packsRepacked) = (result.packsRemoved, result.packsRepacked)
    (bytesRemoved, bytesWritten) = (result.bytesRemoved, result.bytesWritten)
    freedBytes = result.bytesFreed
  }
}
