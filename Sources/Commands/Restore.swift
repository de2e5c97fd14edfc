internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

struct RestoreCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Copy a snapshot, or some paths of it, back.",
    discussion: """
      A path of the source lands at the same path below the destination: with --to /tmp/x, /etc/fstab \
      becomes /tmp/x/etc/fstab; with --to / everything returns to its place. Owners, modes, times, \
      attributes, ACLs, hard links and holes are as they were; every file is checked against its \
      SHA-256 on the way. What is already there stays, unless --overwrite says otherwise, and \
      nothing is ever deleted.

      A SNAPSHOT is a name or its beginning, a local day or time such as 2026-11-21, '2026-11-21 20:00', yesterday or \
      3d, a member of a set such as daily.0, or latest. With paths the newest of them that has the paths is taken. Without paths a snapshot \
      that lacks sources which another one has is refused, unless you say --partial.

      Example:
        treering restore latest /etc/fstab --to /tmp/restored -r /backup/treering
      """)

  @Argument(help: ArgumentHelp("The snapshot to copy from.", valueName: "snapshot"))
  var snapshot: String

  @Argument(help: ArgumentHelp("What to restore, named as at the source; everything, if left out.", valueName: "path"))
  var paths: [PathArgument] = []

  @Option(help: ArgumentHelp("The directory to restore to; made if missing.", valueName: "dir"))
  var to: PathArgument

  @Option(
    help: ArgumentHelp(
      "Replace what exists: never, if-changed (kind, size, time, mode, owner) or always.", valueName: "when"),
    transform: oneOf(for: "--overwrite"))
  var overwrite = Overwrite.never

  @Flag(help: "Restore what the snapshot has, although other snapshots have sources that it lacks.")
  var partial = false

  @Flag(name: [.customShort("n"), .long], help: "Change nothing; say what would be done.")
  var dryRun = false

  @OptionGroup var threads: ThreadOption
  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let repository = try common.openStore(connection: connection)
    let list = try repository.snapshots()
    let choice = try repository.choose(reference: snapshot, having: paths.map(\.bytes), in: list)
    if !partial { try choice.refusePartial(in: list) }
    let found = choice.snapshot
    let options = RestoreOptions(
      paths: choice.places, destination: to.bytes, overwrite: overwrite, isDryRun: dryRun, threads: threads.count)
    noteMissingProc()
    let progress = Progress()
    let monitor = ConsoleMonitor()
    let line = ProgressLine(for: "restore", of: progress, options: common)
    defer { line.stop() }
    let result = try restore(found, from: repository, options: options, progress: progress, monitor: monitor)
    line.stop()
    report(result: result, of: choice, progress: progress, warnings: monitor.warnings)
    if result.damaged > 0 { return .damaged }
    return progress.warnings.value + progress.left.value > 0 ? .warnings : .done
  }

  private func report(result: RestoreResult, of choice: SnapshotChoice, progress: Progress, warnings: [Warning]) {
    let (files, directories) = (progress.files.value, progress.directories.value)
    let answer = Answer(
      snapshot: choice.snapshot.name.description, passedOver: choice.passedOver?.name.description,
      to: displayName(to.bytes), dryRun: dryRun, entries: files + directories, files: files, directories: directories,
      bytes: progress.bytesCopied.value, left: progress.left.value, catalogOnly: progress.catalogOnly.value,
      damaged: result.damaged, warnings: progress.warnings.value,
      warningsNamed: warnings.map(SnapshotAnswer.NamedWarning.init), elapsedSeconds: result.elapsedSeconds)
    common.answer(answer, lines: [text(for: answer, of: choice, ownersNotSet: result.ownersNotSet)])
  }

  private func text(for answer: Answer, of choice: SnapshotChoice, ownersNotSet: UInt64) -> String {
    let verb = dryRun ? "would restore" : "restored"
    var text =
      "\(verb) \(counted(answer.files, "file")) and \(counted(answer.directories, "directory")) "
      + "(\(byteText(answer.bytes))) of \(answer.snapshot) to \(answer.to), in \(durationText(answer.elapsedSeconds))"
    if let note = choice.note(for: self.snapshot) { text += "\n  \(note)" }
    if answer.left > 0 {
      let (one, many) =
        dryRun
        ? ("existing entry would be left as it is", "existing entries would be left as they are")
        : ("existing entry was left as it was", "existing entries were left as they were")
      text += "\n  \(counted(answer.left, one, plural: many)); see --overwrite"
    }
    if answer.damaged > 0 { text += "\n  \(counted(answer.damaged, "damaged entry")), named above" }
    if ownersNotSet > 0 {
      text += "\n  the owner of \(counted(ownersNotSet, "entry")) could not be set; root can set it"
    }
    return text
  }

  private struct Answer: Encodable {
    let snapshot: String
    /// The snapshot that the reference alone means. It does not have the paths.
    let passedOver: String?
    let to: String
    let dryRun: Bool
    let entries: UInt64
    let files: UInt64
    let directories: UInt64
    let bytes: UInt64
    let left: UInt64
    let catalogOnly: UInt64
    let damaged: UInt64
    let warnings: UInt64
    let warningsNamed: [SnapshotAnswer.NamedWarning]
    let elapsedSeconds: Double
  }
}
