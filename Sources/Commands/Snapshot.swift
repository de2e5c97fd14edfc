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
    commandName: "snapshot",
    abstract: "Take a snapshot of one or more directories now.",
    discussion: """
      Each SOURCE appears at SNAPSHOT/LABEL/its absolute path. Files that have not changed since the \
      newest snapshot are hard links to it and are not read. Nothing is left out unless you say so; the \
      repository itself and pseudo file systems such as /proc are kept as empty directories.

      Example:
        treering snapshot /home /etc --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The directories to back up.", valueName: "source"))
  var sources: [PathArgument]

  @Option(
    help: ArgumentHelp(
      "The first directory inside the snapshot; else the label of the repository's configuration, else localhost.",
      valueName: "name"))
  var label: String?

  @Option(
    help: ArgumentHelp(
      "What tells an unchanged file without reading it: ctime (the default), mtime, or content.",
      valueName: "test"),
    transform: oneOf("--change-detection"))
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
      changeDetection: changeDetection, guardLimits: guards.limits,
      excludes: try excluded.excludes())
    try refuse(options.sources, inside: repository)
    let monitor = ConsoleMonitor(wantsExcluded: common.verbose)
    let progress = Progress()
    let start = Clock.now()
    let (answer, published) = try repository.withLock(for: "snapshot", at: start) {
      let line = ProgressLine("snapshot", of: progress, options: common)
      do {
        let result = try takeSnapshot(
          of: options, in: repository, program: "treering \(Treering.version)",
          progress: progress, monitor: monitor)
        line.stop()
        let status: ExitStatus = progress.warnings.value > 0 ? .warnings : .done
        let answer = SnapshotAnswer(result, progress, monitor.warnings)
        report(result, progress, answer)
        return (answer, status)
      } catch {
        line.stop()
        let failure = error as? Failure ?? Failure(.failed, "\(error)")
        let status = ExitStatus(failure.kind)
        record(HistoryLine(start, options, nil, status, error: failure.description), in: repository)
        throw failure
      }
    }
    // The deletion may take long, and the snapshot is published, so it runs without the lock.
    let trouble = deleteTrash(of: repository, threads: threads.count)
    let status = trouble != nil && published == .done ? .warnings : published
    let why = trouble?.description ?? monitor.warnings.first?.description
    let isRecorded = record(HistoryLine(start, options, answer, status, error: why), in: repository)
    return status == .done && !isRecorded ? .warnings : status
  }

  private func namedSources() throws(Failure) -> [[UInt8]] {
    if sources.isEmpty {
      throw Failure(.usage, "no source is named", hint: "see: treering help snapshot")
    }
    return try Commands.namedSources(sources.map(\.bytes))
  }

  // MARK: Answer

  private func report(_ result: SnapshotResult, _ progress: Progress, _ answer: SnapshotAnswer) {
    if common.json {
      Console.print(jsonText(answer))
      return
    }
    // A successful run under cron prints nothing.
    guard !common.quiet, common.verbose || CurrentProcess.terminalWidth(.output) != nil else {
      if !common.quiet { catalogOnlyNote(progress, to: .error) }
      return
    }
    let summary = result.snapshot.summary
    var text =
      "\(result.snapshot.name): \(counted(summary.root.totals.entries, "entry", "entries")), "
      + "\(byteText(summary.root.totals.bytes))\n"
      + "  \(counted(summary.filesCopied, "file", "files")) copied "
      + "(\(byteText(summary.bytesCopied)))"
    if summary.filesLinked > 0 { text += ", \(grouped(summary.filesLinked)) linked" }
    if progress.moved.value > 0 { text += " (\(grouped(progress.moved.value)) moved)" }
    text += ", in \(durationText(result.elapsedSeconds))"
    if progress.linkLimits.value > 0 {
      text +=
        "\n  \(counted(progress.linkLimits.value, "file", "files")) stored once more, "
        + "because the old inode can take no more links"
    }
    if progress.warnings.value > 0 {
      text += "\n  \(counted(progress.warnings.value, "warning", "warnings")), named above"
    }
    if progress.skipped.value > 0 {
      text +=
        "\n  the repository and pseudo file systems were left out "
        + "(\(counted(progress.skipped.value, "directory", "directories")))"
    }
    if progress.excluded.value > 0 {
      text += "\n  \(counted(progress.excluded.value, "entry", "entries")) excluded"
    }
    Console.print(text)
    catalogOnlyNote(progress, to: .output)
  }

  private func catalogOnlyNote(_ progress: Progress, to stream: StandardStream) {
    let count = progress.catalogOnly.value
    guard count > 0, common.verbose || stream == .output else { return }
    let why = CurrentProcess.effectiveUser == 0 ? "" : ", because you may not set them; root can restore them"
    Console.write(
      "  owner, mode, device or attributes of \(counted(count, "entry", "entries")) are in the catalog only\(why)\n",
      to: stream)
  }
}

/// The document of `snapshot --json`.
struct SnapshotAnswer: Encodable {
  struct Trouble: Encodable {
    let path: String
    let message: String
  }
  let snapshot: String
  let previous: String?
  let sequence: UInt64
  let outcome: String
  let entries: UInt64
  let files: UInt64
  let directories: UInt64
  let bytes: UInt64
  let filesLinked: UInt64
  let filesMoved: UInt64
  let filesCopied: UInt64
  let filesCloned: UInt64
  let linkLimits: UInt64
  let bytesCopied: UInt64
  let bytesRead: UInt64
  let filesVanished: UInt64
  let catalogOnly: UInt64
  let directoriesSkipped: UInt64
  let excluded: UInt64
  /// Sources that were requested but are not in the snapshot.
  let absent: [String]
  let warnings: UInt64
  var warningsNamed: [Trouble]
  let rootDigest: String
  let elapsedSeconds: Double

  enum CodingKeys: String, CodingKey {
    case snapshot, previous, sequence, outcome, entries, files, directories, bytes
    case filesLinked = "files_linked"
    case filesMoved = "files_moved"
    case filesCopied = "files_copied"
    case filesCloned = "files_cloned"
    case linkLimits = "link_limits"
    case bytesCopied = "bytes_copied"
    case bytesRead = "bytes_read"
    case filesVanished = "files_vanished"
    case catalogOnly = "catalog_only"
    case directoriesSkipped = "directories_skipped"
    case excluded, absent, warnings
    case warningsNamed = "warnings_named"
    case rootDigest = "root_digest"
    case elapsedSeconds = "elapsed_seconds"
  }

  init(_ result: SnapshotResult, _ progress: Progress, _ named: [Warning]) {
    let summary = result.snapshot.summary
    snapshot = result.snapshot.name.description
    previous = result.previous?.description
    sequence = summary.sequence
    outcome = summary.outcome.word
    entries = summary.root.totals.entries
    files = summary.files
    directories = summary.directories
    bytes = summary.root.totals.bytes
    filesLinked = summary.filesLinked
    filesMoved = progress.moved.value
    filesCopied = summary.filesCopied
    filesCloned = progress.cloned.value
    linkLimits = progress.linkLimits.value
    bytesCopied = summary.bytesCopied
    bytesRead = progress.bytesRead.value
    filesVanished = progress.vanished.value
    catalogOnly = progress.catalogOnly.value
    directoriesSkipped = progress.skipped.value
    excluded = progress.excluded.value
    absent = summary.absentSources.map { displayName($0) }
    warnings = progress.warnings.value
    warningsNamed = named.map { Trouble(path: displayName($0.path), message: $0.message) }
    rootDigest = summary.root.digest.description
    elapsedSeconds = result.elapsedSeconds
  }
}

/// A line of a snapshot in `history.jsonl`.
struct HistoryLine: Encodable {
  let time: String
  let command = "snapshot"
  let sources: [String]
  let exitStatus: Int32
  let error: String?
  let result: SnapshotAnswer?

  enum CodingKeys: String, CodingKey {
    case time, command, sources
    case exitStatus = "exit_status"
    case error, result
  }

  init(
    _ start: Timestamp, _ options: SnapshotOptions, _ result: SnapshotAnswer?, _ status: ExitStatus,
    error: String?
  ) {
    time = CalendarTime(seconds: start.seconds).rfc3339
    sources = options.sources.map { displayName($0) }
    exitStatus = status.code
    self.error = error
    self.result = result
  }
}
