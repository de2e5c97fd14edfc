internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

struct SnapshotCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "snapshot", abstract: "Take a snapshot of one or more directories now.",
    discussion: """
      Each SOURCE appears at SNAPSHOT/LABEL/its absolute path. Files that have not changed since the \
      newest snapshot are hard links to it and are not read. Nothing is left out unless you say so; the \
      repository itself and pseudo file systems such as /proc are kept as empty directories.

      Example:
        treering snapshot /home /etc --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The directories to back up.", valueName: "source"), completion: .directory)
  var sources: [PathArgument]

  @Option(
    help: ArgumentHelp(
      "The first directory inside the snapshot; else the label of the repository's configuration, else localhost.",
      valueName: "name"))
  var label: String?

  @Option(
    help: ArgumentHelp(
      "What tells an unchanged file without reading it: ctime (the default), mtime, or content.", valueName: "test"),
    completion: .words(of: ChangeDetection.self),
    transform: oneOf(for: "--change-detection"))
  var changeDetection = ChangeDetection.ctime

  @OptionGroup var excluded: ExcludeOptions
  @OptionGroup var guards: GuardOptions
  @OptionGroup var threads: ThreadOption
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let sources = try namedSources()
    let repository = try common.openRepository()
    let label = try self.label ?? common.configuration(of: repository)?.settings.label ?? "localhost"
    let options = SnapshotOptions(
      sources: sources, label: try checkedLabel(label), threads: threads.count,
      changeDetection: changeDetection, guardLimits: guards.limits, excludes: try excluded.excludes())
    try refuse(options.sources, inside: repository)
    let monitor = ConsoleMonitor(wantsExcluded: common.verbose)
    let progress = Progress()
    let start = Clock.now()
    func record(_ status: ExitStatus, error: String?, result: SnapshotAnswer? = nil) -> Bool {
      repository.history.record(
        SnapshotLine(
          time: start.rfc3339, sources: sources.map { displayName($0) }, exitStatus: status.code, error: error,
          result: result))
    }
    let (answer, published) = try repository.withLock(for: "snapshot", at: start) {
      let line = ProgressLine(for: "snapshot", of: progress, options: common)
      do {
        let result = try takeSnapshot(
          of: options, in: repository, program: "treering \(Treering.version)", progress: progress, monitor: monitor)
        line.stop()
        let status: ExitStatus = progress.warnings.value > 0 ? .warnings : .done
        let answer = SnapshotAnswer(for: result, progress: progress, warnings: monitor.warnings)
        report(result, progress: progress, answer: answer)
        return (answer, status)
      } catch {
        line.stop()
        let failure = error as? Failure ?? Failure(.failed, "\(error)")
        _ = record(ExitStatus(failure.kind), error: failure.description)
        throw failure
      }
    }
    // The deletion may take long, and the snapshot is published, so it runs without the lock.
    let problem = emptyTrashNotingErrors(of: repository, threads: threads.count)
    let status = problem != nil && published == .done ? .warnings : published
    let why = problem?.description ?? monitor.warnings.first?.description
    let isRecorded = record(status, error: why, result: answer)
    return status == .done && !isRecorded ? .warnings : status
  }

  private func namedSources() throws(Failure) -> [[UInt8]] {
    if sources.isEmpty { throw Failure(.usage, "no source is named", hint: "see: treering help snapshot") }
    return try Commands.namedSources(sources.map(\.bytes))
  }

  // MARK: Answer

  private func report(_ result: SnapshotResult, progress: Progress, answer: SnapshotAnswer) {
    if common.json {
      Console.print(jsonText(answer))
      return
    }
    // A successful run under cron prints nothing.
    guard !common.quiet, common.speaks else {
      if !common.quiet { noteCatalogOnly(progress, to: .error) }
      return
    }
    let summary = result.snapshot.summary
    var text =
      "\(result.snapshot.name): \(counted(summary.root.totals.entries, "entry")), "
      + "\(byteText(summary.root.totals.bytes))\n"
      + "  \(counted(summary.filesCopied, "file")) copied (\(byteText(summary.bytesCopied)))"
    if summary.filesLinked > 0 { text += ", \(grouped(summary.filesLinked)) linked" }
    if progress.moved.value > 0 { text += " (\(grouped(progress.moved.value)) moved)" }
    text += ", in \(durationText(result.elapsedSeconds))"
    if progress.linkLimits.value > 0 {
      let files = counted(progress.linkLimits.value, "file")
      text += "\n  \(files) stored once more, because the old inode can take no more links"
    }
    if progress.warnings.value > 0 { text += "\n  \(counted(progress.warnings.value, "warning")), named above" }
    if progress.skipped.value > 0 {
      let directories = counted(progress.skipped.value, "directory")
      text += "\n  the repository and pseudo file systems were left out (\(directories))"
    }
    if progress.excluded.value > 0 { text += "\n  \(counted(progress.excluded.value, "entry")) excluded" }
    Console.print(text)
    noteCatalogOnly(progress, to: .output)
  }

  private func noteCatalogOnly(_ progress: Progress, to stream: StandardStream) {
    let count = progress.catalogOnly.value
    guard count > 0, common.verbose || stream == .output else { return }
    let why = CurrentProcess.effectiveUser == 0 ? "" : ", because you may not set them; root can restore them"
    Console.write(
      "  owner, mode, device or attributes of \(counted(count, "entry")) are in the catalog only\(why)\n", to: stream)
  }
}
