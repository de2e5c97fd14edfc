internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Restic
internal import Retention

/// The removal of snapshots from a repository of restic's format, by `rotate` or `delete`.
struct ResticRemoval {
  let target: RemoteTarget
  let common: CommonOptions
  let isDryRun: Bool
  private let store: ResticStore

  /// Refuses a remote where nothing may be removed.
  init(at target: RemoteTarget, options common: CommonOptions, isDryRun: Bool) throws {
    (self.target, self.common, self.isDryRun) = (target, common, isDryRun)
    guard !target.isAppendOnly else {
      throw Failure(
        .refused, "nothing is removed from \(target.name), because its append_only is true, or it has a lock",
        hint: "let its administrator run: restic forget --prune")
    }
    guard let access = target.restic else { throw Failure(.usage, "\(target.name) is not of restic's format") }
    store = ResticStore(try access.open())
  }

  /// Applies retention, by the same rules as at home.
  func rotate(by policy: RetentionPolicy) throws -> ExitStatus {
    let plan = try store.retentionPlan(by: policy, unwanted: [], now: Clock.now())
    if let obstacle = plan.obstacle { Console.complain("nothing expires: \(obstacle)") }
    let status = try remove(plan.judged.filter(\.decision.expires), of: plan.judged)
    return plan.obstacle == nil ? status : .refused
  }

  /// Removes certain snapshots. `isSure` asks, if that is needed.
  func delete(_ references: [String], isSure: () -> Bool) throws -> ExitStatus {
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
    if !isDryRun, !isSure() { throw Failure(.refused, "nothing was deleted") }
    return try remove(named, of: plan.judged)
  }

  private func remove(_ expired: [JudgedSnapshot], of all: [JudgedSnapshot]) throws -> ExitStatus {
    var result = RemovalResult()
    if !expired.isEmpty {
      result = try SnapshotRemoval.remove(Set(expired.map(\.id)), from: store.restic, isDry: isDryRun)
    }
    let rows = all.map { item in
      [
        item.snapshot.name.description, item.snapshot.summary.started.localText,
        item.decision.expires ? "expires" : "stays", item.decision.reasons.map(\.words).joined(separator: ", "),
      ]
    }
    common.answer(
      RemoteRemovalAnswer(dryRun: isDryRun, all: all, result: result), isWanted: isDryRun || common.speaks,
      lines: table([["SNAPSHOT", "TAKEN", "", "WHY"]] + rows) + (expired.isEmpty ? [] : [sentence(for: result)]))
    return .done
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
  let bytesRemoved, bytesWritten: UInt64

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
  }
}
