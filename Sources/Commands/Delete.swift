internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

struct DeleteCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Delete certain snapshots, and no others.",
    discussion: """
      First it shows the space that comes free, and the files that no other snapshot has; then it asks. Nothing \
      is deleted if one of the snapshots is held, or is the newest, or the newest good one of a source.

      A SNAPSHOT is a name or its beginning, a member of a set such as daily.0, or latest. An expired snapshot that \
      is kept to be made into the next one is given up, too.

      Example:
        treering delete 2026-11-22T23 --dry-run --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The snapshots to delete.", valueName: "snapshot"), completion: .snapshot)
  var snapshots: [String]

  @Flag(name: .shortAndLong, help: "Delete without asking.")
  var yes = false

  @OptionGroup var storage: StorageOptions
  @OptionGroup var expiry: ExpiryOptions
  private var common: CommonOptions { expiry.common }

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let asks = !yes && !expiry.dryRun
    if let target = try common.resticTarget(storage) {
      if asks { try Console.requireQuestions(asJSON: common.json) }
      return try ResticRemoval(at: target, options: common, isDryRun: expiry.dryRun).delete(snapshots, asks: asks)
    }
    let repository = try common.openRepository()
    let list = try repository.snapshots()
    let configured = try common.configuration(of: repository)
    var options = RotationOptions(
      policy: try configured?.settings.retention ?? repository.retention.lastPolicy(), keepsSpare: false,
      unwanted: Set(try snapshots.map { try repository.resolve($0, in: list, allowsTimes: false).name }),
      isDry: true, threads: expiry.threads.count)
    options.wanted = configured?.sourceSet
    if asks { try Console.requireQuestions(asJSON: common.json) }
    let plan = try rotate(repository, with: options)
    try refuseProtected(in: plan, of: repository, named: options.unwanted)
    if expiry.dryRun {
      show(plan, isWanted: true)
      return plan.complain(of: repository)
    }
    if asks {
      show(plan, isWanted: true)
      let question = "delete \(plan.expired.count == 1 ? "this snapshot" : "these snapshots")?"
      guard Console.asks(question) else { throw Failure(.refused, "nothing was deleted") }
    }
    options.isDry = false
    return try rotateLocked(repository, with: options, command: "delete", configuration: configured) { result in
      show(result, isWanted: !common.quiet && !asks)
      if asks, !common.quiet { for snapshot in result.expired { Console.print("deleted \(snapshot.name)") } }
      return staying(in: result, named: options.unwanted, of: repository) ? .refused : result.complain(of: repository)
    }
  }

  /// Throws if a rule protects one of the snapshots, before anything is deleted.
  private func refuseProtected(
    in result: RotationResult, of repository: Repository, named: Set<SnapshotName>
  ) throws(Failure) {
    if let obstacle = result.plan.obstacle { throw Failure(.refused, "nothing is deleted: \(obstacle)") }
    for (snapshot, decision) in zip(result.snapshots, result.plan.decisions) where named.contains(snapshot.name) {
      let why = decision.protections
      guard !decision.expires, !why.isEmpty else { continue }
      throw Failure(
        .refused,
        "nothing is deleted, because \(snapshot.name) must stay: \(why.map(\.words).joined(separator: ", "))",
        hint: Self.advice(against: why, for: snapshot.name, in: repository))
    }
  }

  private static func advice(
    against reasons: [RetentionDecision.Reason], for name: SnapshotName, in repository: Repository
  ) -> String? {
    if reasons.contains(.held) { return "let it go first, with: \(repository.advice("release \(name)"))" }
    return reasons.contains(.inUse) ? "try again when that has ended" : "take a newer one of the same sources first"
  }

  /// Names the snapshots that stayed all the same. Returns false if there are none.
  private func staying(in result: RotationResult, named: Set<SnapshotName>, of repository: Repository) -> Bool {
    if let obstacle = result.plan.obstacle { Console.complain("nothing is deleted: \(obstacle)") }
    let staying = zip(result.snapshots, result.plan.decisions).filter { named.contains($0.name) && !$1.expires }
    for (snapshot, decision) in staying where result.plan.obstacle == nil {
      let why = decision.reasons.map(\.words).joined(separator: ", ")
      Console.complain("\(snapshot.name) stays: \(why)")
    }
    return !staying.isEmpty
  }

  // MARK: The answer

  private func show(_ result: RotationResult, isWanted: Bool) {
    common.answer(
      DeletionAnswer(for: result, isDry: expiry.dryRun, namesAll: common.verbose), isWanted: isWanted,
      lines: lines(of: result)
    )
    if isWanted, !common.json, let doubt = result.freed?.doubts.sentence { Console.complain("note: \(doubt)") }
  }

  private func lines(of result: RotationResult) -> [String] {
    guard let freed = result.freed else { return [] }
    let lost = LostFiles(of: result)
    var lines = table(result.expired.map { [$0.name.description, $0.summary.started.localText, $0.sourcesText] })
    let own = freed.bytes(ofOnly: Set(result.expired.map(\.name)))
    let spare = freed.bytes &- own
    lines.append(
      (expiry.dryRun ? "would free " : "frees ") + freed.text
        + (spare == 0 ? "" : ", \(byteText(spare)) of it with an expired snapshot that was kept to be recycled"))
    return lines + lost.lines(all: common.verbose)
  }
}

extension RetentionDecision {
  /// The reasons that even `delete` does not override.
  fileprivate var protections: [Reason] { reasons.filter { $0.isProtection || $0 == .inUse } }
}

extension LostFiles {
  init(of result: RotationResult) {
    let names = Set(result.expired.map(\.name))
    let inodes = (result.freed?.inodes ?? []).filter { !$0.holders.isDisjoint(with: names) }
    self.init(
      inodes.map {
        File(path: $0.place.path.atSource(label: $0.label), byteCount: $0.place.byteCount, snapshot: $0.snapshot)
      })
  }
}

/// The document of `delete --json`.
private struct DeletionAnswer: Encodable {
  let dryRun: Bool
  let deleted: [String]
  let freedBytes: UInt64
  /// The part of `freedBytes` that the spare held.
  let spareBytes: UInt64
  let doubts: [String]
  let lostFiles: Int
  let lostBytes: UInt64
  /// The largest ones, or all with `--verbose`.
  let lost: [LostFiles.File]
}

extension DeletionAnswer {
  init(for result: RotationResult, isDry: Bool, namesAll: Bool) {
    let lost = LostFiles(of: result)
    let freed = result.freed ?? FreedSpace()
    self.init(
      dryRun: isDry, deleted: result.expired.map(\.name.description), freedBytes: freed.bytes,
      spareBytes: freed.bytes &- freed.bytes(ofOnly: Set(result.expired.map(\.name))), doubts: freed.doubts.keys,
      lostFiles: lost.files.count, lostBytes: lost.byteCount,
      lost: lost.shown(all: namesAll))
  }
}
