internal import Catalog
internal import Engine
internal import Model
internal import Repository
internal import Settings

extension UsageCommand {
  /// Shows the snapshots to delete so that some bytes come free.
  func showFreeing(byteCount: UInt64) throws -> ExitStatus {
    let repository = try common.openRepository()
    let configured = try common.configuration(of: repository)
    let plan = try planFreeing(
      byteCount: byteCount, in: repository,
      policy: try configured?.settings.retention ?? repository.retention.lastPolicy(),
      wanted: configured?.sourceSet)
    common.answer(FreeingAnswer(for: plan, wanted: byteCount), lines: plan.lines(for: repository))
    if !common.json, !common.quiet, let doubt = plan.freed.doubts.sentence { Console.complain("note: \(doubt)") }
    if !plan.isEnough {
      Console.complain(
        "\(byteText(byteCount)) cannot come free: each other snapshot is held, or is the newest of a source")
    }
    for snapshot in plan.freed.unreadable { Console.complain("\(snapshot.sentence); it is left out") }
    let status = unusableStatus(for: plan.freed.unreadable)
    return plan.isEnough || status != .done ? status : .noSpace
  }
}

extension FreeingPlan {
  fileprivate func lines(for repository: Repository) -> [String] {
    let names = snapshots.map(\.name.description)
    let spare = "an expired snapshot that is kept to be recycled"
    guard !names.isEmpty else {
      guard spareBytes > 0 else { return ["no snapshot may be deleted"] }
      return ["\(spare) holds \(byteText(spareBytes)); give it up with: \(repository.advice("rotate --no-spare"))"]
    }
    let those = names.count == 1 ? "this snapshot" : "these \(names.count) snapshots"
    return table(snapshots.map { [$0.name.description, $0.summary.started.localText, $0.sourcesText] }) + [
      "deleting \(those) frees \(freed.text)"
        + (spareBytes == 0 ? "" : ", \(byteText(spareBytes)) of it with \(spare)"),
      "delete with: \(repository.advice("delete \(names.joined(separator: " "))"))",
    ]
  }
}

/// The document of `usage --free --json`.
private struct FreeingAnswer: Encodable {
  let delete: [String]
  let wantedBytes, freedBytes: UInt64
  /// The part of `freedBytes` that the spare holds.
  let spareBytes: UInt64
  let enough: Bool
  let doubts: [String]

  init(for plan: FreeingPlan, wanted: UInt64) {
    delete = plan.snapshots.map(\.name.description)
    wantedBytes = wanted
    (freedBytes, spareBytes, enough) = (plan.freed.bytes, plan.spareBytes, plan.isEnough)
    doubts = plan.freed.doubts.keys
  }
}
