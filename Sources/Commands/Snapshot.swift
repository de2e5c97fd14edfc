internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings
internal import Synchronization

struct SnapshotCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "snapshot", abstract: "Take a snapshot of one or more directories now.",
    discussion: """
      Each SOURCE appears at SNAPSHOT/LABEL/its absolute path. Files that have not changed since the \
      newest snapshot are hard links to it and are not read. Nothing is left out unless you say so; the \
      repository itself and pseudo file systems such as /proc are kept as empty directories. Without a SOURCE the \
      sources, their rules and the label are those of the configuration.

      Examples:
        treering snapshot /home /etc --repository /backup/treering
        treering snapshot --hold 'before the upgrade' --config /etc/treering/treering.toml
        treering snapshot /home --repository ssh://backup@nas/srv/treering/web01
      """)

  @Argument(
    help: ArgumentHelp("The directories to back up; the configuration's, if left out.", valueName: "source"),
    completion: .directory)
  var sources: [PathArgument] = []

  @Option(
    help: ArgumentHelp("Hold the new snapshot, for this reason if one is given, as hold does.", valueName: "reason"))
  var hold: String?

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
  var changeDetection: ChangeDetection?

  @Flag(name: [.customShort("n"), .long], help: .hidden)
  var dryRun = false

  @OptionGroup var excluded: ExcludeOptions
  @OptionGroup var guards: GuardOptions
  @OptionGroup var threads: ThreadOption
  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    if dryRun {
      throw Failure(
        .usage, "snapshot has no --dry-run", hint: "see what the next one would find with: treering diff latest --live"
      )
    }
    CurrentProcess.rememberSignals()
    let direct = try DirectSnapshot(connection: connection, options: common)
    if direct != nil, hold != nil {
      throw Failure(.usage, "--hold works only on a repository that is here", hint: "hold the snapshot there")
    }
    let repository = try direct?.cache.repository ?? common.openRepository()
    let (options, file) = try sources.isEmpty ? configured(in: repository) : named(in: repository)
    // A source that is named on the command line takes only its freeze from the configuration.
    let dumps = sources.isEmpty ? file?.dumps : nil
    let fetches = sources.isEmpty ? file.map(HostFetches.init(file:)) : nil
    try refuse(options.localSources, inside: repository)
    let monitor = ConsoleMonitor(wantsExcluded: common.verbose)
    let start = Clock.now()
    func record(_ status: ExitStatus, error: String?, result: SnapshotAnswer? = nil) -> Bool {
      let databases = dumps?.databases.map { displayName($0.source) } ?? []
      return repository.history.record(
        SnapshotLine(
          time: start.rfc3339, sources: options.sources.map { displayName($0) } + databases, exitStatus: status.code,
          error: error, result: result))
    }
    let answer = try repository.withLock(for: "snapshot", at: start) {
      let frozen = file.map { FrozenSources(of: $0.sources, in: repository) }
      do {
        return try take(
          options, with: dumps, frozen: frozen, fetches: fetches, in: repository, by: direct, monitor: monitor)
      } catch {
        let failure = Failure(wrapping: error)
        _ = record(ExitStatus(failure.kind), error: failure.description)
        throw failure
      }
    }
    // The deletion may take long, and the snapshot is published, so it runs without the lock.
    let problem = emptyTrashNotingErrors(of: repository, threads: threads.count)
    let status: ExitStatus = problem != nil || answer.warnings > 0 ? .warnings : .done
    let named = answer.warningsNamed.first.map { "\($0.path): \($0.message)" }
    let isRecorded = record(status, error: problem?.description ?? named, result: answer)
    return status == .done && !isRecorded ? .warnings : status
  }

  /// Fetches from hosts, dumps the databases, freezes the sources, takes the snapshot, and reports it. The caller holds
  /// the lock.
  private func take(
    _ sources: SnapshotOptions, with dumps: DatabaseDumps?, frozen: FrozenSources?, fetches: HostFetches?,
    in repository: Repository, by direct: DirectSnapshot?, monitor: ConsoleMonitor
  ) throws -> SnapshotAnswer {
    var options = sources
    var dumpWarnings: [Warning] = []
    func warn(_ warning: Warning) {
      Console.warn(warning.message, path: warning.path)
      dumpWarnings.append(warning)
    }
    var isPublished = false
    let maintenance = SiteMaintenance(of: repository)
    frozen?.removeLeftovers().forEach(warn)
    defer {
      maintenance.endAll().forEach(warn)
      frozen?.end().forEach(warn)
      // The failure is more important than what stays of a dump; the next run tries again.
      if dumps != nil, !isPublished { _ = removeDumps(of: options, in: repository) }
      fetches?.discard(in: repository)
    }
    try fetches?.make(in: repository, for: &options, isDirect: direct != nil) { $0.warnings.forEach(warn) }
    try dumps?.make(in: repository, for: &options, during: maintenance) { $0.warnings.forEach(warn) }
    try frozen?.freeze(&options)
    let progress = Progress()
    let sent = try direct?.take(options, progress: progress, monitor: monitor)
    let result =
      try sent?.snapshot ?? common.takeSnapshot(of: options, in: repository, progress: progress, monitor: monitor)
    isPublished = true
    maintenance.endAll().forEach(warn)
    frozen?.end().forEach(warn)
    if dumps != nil { removeDumps(of: options, in: repository).forEach(warn) }
    if let hold { keep(result.snapshot, for: hold, in: repository, progress: progress, monitor: monitor) }
    var answer = SnapshotAnswer(for: result, progress: progress, warnings: monitor.warnings, dumpWarnings: dumpWarnings)
    if let direct, let sent { answer.add(sent, to: direct.target) }
    report(result, in: repository, progress: progress, answer: answer)
    return answer
  }

  /// The options for the sources of the command line, and the configuration that may freeze them.
  private func named(in repository: Repository) throws -> (SnapshotOptions, ConfigurationFile?) {
    let paths = try namedSources(sources.map(\.bytes))
    // A configuration that is named is meant, whichever repository it is for.
    let file = try common.config == nil ? common.configuration(of: repository) : common.configuration()
    let label = try self.label.map(checkedLabel) ?? file?.settings.label ?? .localhost
    if self.label == nil, file == nil, !common.quiet { try noteOtherLabel(than: label, in: repository) }
    let options = SnapshotOptions(
      sources: paths, label: label.bytes, threads: threads.count,
      changeDetection: changeDetection ?? .ctime, guardLimits: guards.limits(or: GuardLimits()),
      excludes: try excluded.excludes())
    return (options, file)
  }

  /// Says that the newest snapshot has another label, because the files of one machine belong below one label.
  private func noteOtherLabel(than label: Name, in repository: Repository) throws(Failure) {
    guard let newest = try repository.snapshots().newest, newest.summary.label != label.bytes else { return }
    let other = displayName(newest.summary.label)
    Console.note(
      "the label is \(displayName(label.bytes)), and that of the newest snapshot, \(newest.name), is \(other); for the same, give "
        + "--label \(other), or --config with the configuration of this machine")
  }

  /// The options for the sources of the configuration. Other options of the command line have precedence.
  private func configured(in repository: Repository) throws -> (SnapshotOptions, ConfigurationFile?) {
    guard let file = try common.configuration() else {
      throw Failure(
        .usage, "no source is named, and there is no configuration that names some",
        path: ConfigurationFile.defaultPath, hint: "name a source; see: treering help snapshot")
    }
    guard excluded.areEmpty else {
      throw Failure(
        .usage, "options that leave something out need a source",
        hint: "the sources of \(displayName(file.path)) "
          + "have rules of their own; name the source, or add the rule there")
    }
    var options = try file.snapshotOptions()
    options.excusedSources = try file.excusedSources(in: repository, at: Clock.now())
    if let label { options.label = try checkedLabel(label).bytes }
    if let changeDetection { options.changeDetection = changeDetection }
    if let count = threads.threads { options.threads = ThreadCount(count) }
    options.guardLimits = guards.limits(or: options.guardLimits)
    return (options, file)
  }

  /// Holds the new snapshot. It is published, so a failure is a warning.
  private func keep(
    _ snapshot: Snapshot, for reason: String, in repository: Repository, progress: Progress, monitor: ConsoleMonitor
  ) {
    do { try repository.marks.add(.held, to: snapshot.name, reason: reason, at: Clock.now()) } catch {
      monitor.warn(Warning(path: repository.path, message: "\(error)"))
      _ = progress.warnings.add(1, ordering: .relaxed)
    }
  }

  // MARK: Answer

  private func report(_ result: SnapshotResult, in repository: Repository, progress: Progress, answer: SnapshotAnswer) {
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
      + "  \(counted(summary.filesCopied, "file")) \(answer.remote == nil ? "copied" : "changed")"
      + " (\(byteText(summary.bytesCopied)))"
    if summary.filesLinked > 0 {
      text += ", \(grouped(summary.filesLinked)) \(answer.remote == nil ? "linked" : "unchanged")"
    }
    if progress.moved.value > 0 { text += " (\(grouped(progress.moved.value)) moved)" }
    if let remote = answer.remote { text += ", \(byteText(answer.bytesSent ?? 0)) sent to \(remote)" }
    text += ", in \(durationText(result.elapsedSeconds))"
    if progress.linkLimits.value > 0 {
      let files = counted(progress.linkLimits.value, "file")
      text += "\n  \(files) stored once more, because the old inode can take no more links"
    }
    if answer.warnings > 0 { text += "\n  \(counted(answer.warnings, "warning")), named above" }
    if progress.skipped.value > 0 {
      let directories = counted(progress.skipped.value, "directory")
      text += "\n  the repository and pseudo file systems were left out (\(directories))"
    }
    if progress.excluded.value > 0 { text += "\n  \(counted(progress.excluded.value, "entry")) excluded" }
    // The snapshot is published, so a plan that cannot be made is no failure.
    if answer.remote == nil, (try? common.isInNoSet(result.snapshot.name, of: repository)) == true {
      text +=
        "\n  in no set: a rotation may remove it when there is a newer one; hold it with: "
        + repository.advice("hold \(result.snapshot.name)")
    }
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

extension CommonOptions {
  /// Takes a snapshot in a repository that is here, with a progress line.
  func takeSnapshot(
    of options: SnapshotOptions, in repository: Repository, progress: Progress, monitor: ConsoleMonitor
  ) throws -> SnapshotResult {
    let line = ProgressLine(for: "snapshot", of: progress, options: self)
    defer { line.stop() }
    return try Engine.takeSnapshot(
      of: options, in: repository, program: "treering \(Treering.version)", progress: progress, monitor: monitor)
  }
}
