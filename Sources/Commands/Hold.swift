internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

struct HoldCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "hold", abstract: "Keep snapshots from expiring.",
    discussion: """
      A held snapshot stays, whatever set it is in and however short space is, until it is released.

      Example:
        treering hold 2026-11-22 --reason 'before the upgrade' --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The snapshots to hold.", valueName: "snapshot"), completion: .snapshot)
  var snapshots: [String]

  @Option(help: ArgumentHelp("Why; shown by list.", valueName: "text"))
  var reason = ""

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let repository = try common.openRepository()
    return try repository.withLock(for: "hold", at: Clock.now()) {
      let list = try repository.snapshots()
      let names = try snapshots.map { try repository.resolve($0, in: list, allowsTimes: false).name }
      let before = try repository.marks.all(.held)
      for name in names { try repository.marks.add(.held, to: name, reason: reason, at: Clock.now()) }
      common.answer(
        HoldAnswer(held: names.map(\.description)),
        lines: names.map { name in
          let old = before[name] ?? ""
          return "held \(name)"
            + (old.isEmpty || old == displayName(Array(reason.utf8)) ? "" : "; the reason was \"\(old)\"")
        })
      return .done
    }
  }
}

/// The document of `hold --json`.
struct HoldAnswer: Encodable {
  let held: [String]
}
