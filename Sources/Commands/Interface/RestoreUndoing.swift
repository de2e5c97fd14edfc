internal import Engine
internal import Model
internal import Posix
internal import Repository

extension RestoreCommand {
  /// Undoes a restore in place, after a plan and a question.
  func undoRestore(keptIn path: [UInt8]) throws -> ExitStatus {
    let asks = !dryRun && !yes
    if asks { try Console.requireQuestions(asJSON: common.json) }
    var plan: ChangePrinter?
    if asks {
      let printer = ChangePrinter(reporting: ConsoleMonitor(), to: .output, keeps: false)
      _ = try Engine.undoRestore(keptIn: path, isDryRun: true, approves: { _ in true }, monitor: printer)
      if !printer.isEmpty, !Console.asks("\(printer.text): undo the restore?") {
        throw Failure(.refused, "nothing was changed")
      }
      plan = printer
    }
    CurrentProcess.rememberSignals()
    let changes = ChangePrinter(
      reporting: ConsoleMonitor(), to: common.json || common.quiet && !dryRun ? nil : .output, keeps: common.json,
      after: plan)
    let result = try Engine.undoRestore(
      keptIn: path, isDryRun: dryRun, approves: { plan?.hasShown($0) ?? true }, monitor: changes)
    let shown = displayName(path)
    let end =
      dryRun
      ? "" : result.isDirectoryRemoved ? "; \(shown) is removed" : "; \(shown) stays, with what was not put back"
    common.answer(
      UndoAnswer(
        undone: shown, dryRun: dryRun, changes: changes.kept, left: result.left, removed: result.isDirectoryRemoved),
      lines: [
        (changes.isEmpty
          ? "there is nothing to undo" : "\(dryRun ? "would undo" : "undid") the restore: \(changes.text)")
          + end
      ])
    return result.left > 0 ? .warnings : .done
  }
}

/// The document of `restore --undo --json`.
private struct UndoAnswer: Encodable {
  let undone: String
  let dryRun: Bool
  let changes: [RestoreChange]
  /// The entries that were left as they are.
  let left: UInt64
  /// True if the dated directory is gone.
  let removed: Bool
}
