internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Restic

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

      With --in-place everything returns to where it was, and only entries that differ in content or metadata are \
      touched. The plan is printed first, path by path, and you are asked. Entries that are replaced, or removed with \
      --delete, move to a dated directory.

      A SNAPSHOT is a name or its beginning, a local day or time such as 2026-11-21, '2026-11-21 20:00', yesterday or \
      3d, a member of a set such as daily.0, or latest. With paths the newest of them that has the paths is taken. Without paths a snapshot \
      that lacks sources which another one has is refused, unless you say --partial.

      Example:
        treering restore latest /etc/fstab --to /tmp/restored -r /backup/treering
        treering restore yesterday /srv/www --in-place -n
      """)

  @Argument(
    help: ArgumentHelp("The snapshot to copy from; left out with --undo.", valueName: "snapshot"),
    completion: .snapshot)
  var snapshot: String?

  @Argument(
    help: ArgumentHelp("What to restore, named as at the source; everything, if left out.", valueName: "path"),
    completion: .path(inSnapshotAt: 0))
  var paths: [PathArgument] = []

  @Option(help: ArgumentHelp("The directory to restore to; made if missing.", valueName: "dir"), completion: .directory)
  var to: PathArgument?

  @Flag(help: "Restore to the original place, and only what differs.")
  var inPlace = false

  @Flag(help: "With --in-place, remove what the snapshot does not have.")
  var delete = false

  @Flag(help: "With --in-place, do not keep what is replaced or removed.")
  var noKeep = false

  @Option(
    help: ArgumentHelp(
      "Undo a restore in place: put back what it moved to this directory, and remove what it added.", valueName: "kept"),
    completion: .directory)
  var undo: PathArgument?

  @Flag(name: [.customShort("y"), .long], help: "With --in-place and --undo, do not ask.")
  var yes = false

  @Option(
    help: ArgumentHelp(
      "Replace what exists: never, if-changed (kind, size, time, mode, owner), if-different (content, too) or always.",
      valueName: "when"),
    completion: .words(of: Overwrite.self),
    transform: oneOf(for: "--overwrite"))
  var overwrite: Overwrite?

  @Flag(name: [.customShort("u"), .long], help: "Leave what was modified after the snapshot's version.")
  var keepNewer = false

  @Flag(help: "Follow symbolic links of the destination that lead to the paths, or stand in the place of directories.")
  var followDestinationLinks = false

  @Option(
    help: ArgumentHelp("Restore only what matches a name or a glob; may be given several times.", valueName: "glob"))
  var pattern: [PathArgument] = []

  @Flag(help: "Restore what the snapshot has, although other snapshots have sources that it lacks.")
  var partial = false

  @Flag(name: [.customShort("n"), .long], help: "Change nothing; name each change that would be made.")
  var dryRun = false

  @Flag(help: "Wait until the objects that are in an archive are thawed.")
  var waitForArchive = false

  @OptionGroup var threads: ThreadOption
  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if undo != nil {
      let isOther = snapshot != nil || to != nil || inPlace || delete || noKeep || overwrite != nil || !pattern.isEmpty
      if isOther || followDestinationLinks || partial || keepNewer {
        throw ValidationError("--undo takes a directory, --yes and --dry-run, and nothing else")
      }
      return
    }
    guard let snapshot else { throw ValidationError("name a snapshot, such as latest") }
    try requireSnapshot(snapshot, before: paths, then: "--to DIR")
    try refuseDots()
    if (to != nil) == inPlace { throw ValidationError("give either --to DIR or --in-place") }
    if delete, !pattern.isEmpty {
      throw ValidationError("--delete removes whatever is not restored, and takes no --pattern")
    }
    if inPlace, overwrite != nil {
      throw ValidationError(
        "--in-place restores what differs, and takes no --overwrite; --keep-newer leaves what was modified since")
    }
    if keepNewer, delete { throw ValidationError("--delete removes new entries, and --keep-newer keeps them") }
    if keepNewer, !inPlace, overwrite ?? .never == .never {
      throw ValidationError("--keep-newer needs --in-place, or --overwrite if-changed")
    }
    if !inPlace, delete || noKeep || yes { throw ValidationError("--delete, --no-keep and --yes need --in-place") }
  }

  /// Refuses `.` and `..`. They come from habit or from a script, and the directory may be another one than was meant:
  /// a whole tree would be replaced.
  private func refuseDots() throws {
    for path in paths where path.bytes.first != slash {
      let names = TreePath(parsing: path.bytes)
      guard !path.bytes.isEmpty, names.allSatisfy({ $0 == Array("..".utf8) }) else { continue }
      let whole = (try? absolutePath(of: path.bytes)).map { ", such as \(displayName($0))" } ?? ""
      throw ValidationError("to restore a whole working directory, write its path\(whole)")
    }
  }

  func execute() throws -> ExitStatus {
    if let undo { return try undoRestore(keptIn: absolutePath(of: undo.bytes)) }
    var chosen = try common.openSnapshot(snapshot!, having: paths, connection: connection)
    if !partial { try chosen.choice.refusePartial(in: chosen.list) }
    if delete, noKeep, chosen.snapshot.summary.warnings > 0 {
      throw Failure(
        .refused, "the snapshot \(chosen.name) has warnings: entries that it could not read would be deleted",
        hint: "leave out --no-keep, so that they are kept")
    }
    if inPlace {
      try refuseOtherLabel(of: chosen)
      try refuseOtherHost(of: chosen)
    }
    try refuseDumps(of: chosen)
    noteMissingProc()
    if !pattern.isEmpty { chosen.choice.places = try matches(in: chosen) }
    // The plan names the dated directory of the restore.
    let time = Clock.now()
    let plan = inPlace && !dryRun && !yes ? try confirmedPlan(restoring: chosen, at: time) : nil
    CurrentProcess.rememberSignals()
    if let store = chosen.store as? ResticStore, !dryRun {
      try ArchiveThaw(store: store, snapshot: chosen.name, places: chosen.choice.places).require(waits: waitForArchive)
    }
    return try run(restoring: chosen, at: time, after: plan)
  }

  /// Refuses to put the files of another machine in the place of this one's, unless a path names that machine's label.
  private func refuseOtherLabel(of chosen: ChosenSnapshot) throws(Failure) {
    let label = chosen.snapshot.summary.label
    let configuration = try common.configuration()
    let own = configuration?.sourceSet?.label ?? Name.localhost.bytes
    guard label != own, paths.isEmpty || paths.contains(where: { $0.bytes.first == slash }) else { return }
    throw Failure(
      .refused,
      "the snapshot \(chosen.name) has the label \(displayName(label)), and this machine the label \(displayName(own))",
      hint: (configuration == nil
        ? "if it is this machine's, name its configuration with --config FILE; else " : "")
        + "restore it with --to, or name paths that begin with the label, such as \(displayName(label))/etc")
  }

  /// Refuses to put a fetched source in the place that it has on its own host.
  private func refuseOtherHost(of chosen: ChosenSnapshot) throws(Failure) {
    let own = try common.configuration()?.sourceSet?.label ?? Name.localhost.bytes
    let fetched = chosen.snapshot.summary.hostSources.map { TreePath(parsing: $0) }
    for place in chosen.choice.places where place.first != own {
      guard let source = fetched.first(where: { place.starts(with: $0) || $0.starts(with: place) }) else { continue }
      let label = displayName(place.first ?? [])
      let path = displayName(source.dropFirst().absolute)
      throw Failure(
        .refused, "\(displayName(place.relative)) belongs to the host \(label), and is not put in place here",
        hint: "restore it with --to DIR, and copy it there, with rsync -aHAXS --numeric-ids; "
          + "on \(label) itself, a configuration with label = \"\(label)\" allows \(path) in place")
    }
  }

  /// Refuses to put a dump in place, because it belongs into a server. A snapshot of dumps alone has nothing else.
  private func refuseDumps(of chosen: ChosenSnapshot) throws(Failure) {
    let databases = chosen.snapshot.summary.databases
    if !databases.isEmpty, chosen.snapshot.summary.sources.isEmpty, chosen.choice.places.isEmpty {
      throw Failure(
        .usage, "the snapshot \(chosen.name) has only dumps of databases, \(chosen.snapshot.sourcesText)",
        hint: "copy one of them with --to, and load it: man 7 treering-databases")
    }
    guard inPlace, !databases.isEmpty,
      let place = chosen.choice.places.first(where: { $0.first == DatabaseRecord.label })
    else { return }
    throw Failure(
      .refused, "\(place.displayed) is the dump of a database, and no directory of this machine",
      hint: "copy it with --to, and load it: man 7 treering-databases")
  }

  /// The note that a restore of everything leaves the dumps out; `nil` if there are none.
  private func noteOfDumps(in chosen: ChosenSnapshot) -> String? {
    let databases = chosen.snapshot.summary.databases.filter { !$0.isLeftOut }
    guard chosen.choice.places.isEmpty, let first = databases.first else { return nil }
    let all = databases.map { displayName($0.source) }.joined(separator: ", ")
    return "the dumps of databases are not among the files: \(all); see man 7 treering-databases; copy one with: "
      + "treering restore \(chosen.name) \(displayName(first.source)) --to DIRECTORY"
  }

  /// The paths below the named ones that match a pattern.
  private func matches(in chosen: ChosenSnapshot) throws -> [TreePath] {
    let (name, choice) = (chosen.name, chosen.choice)
    let catalog = try chosen.openCatalog()
    let patterns = try NamePatterns(pattern.map(\.bytes))
    let sources = choice.snapshot.summary.placesOfSources.filter { $0.first != DatabaseRecord.label }
    let tops = choice.places.isEmpty ? sources.isEmpty ? [[]] : sources : choice.places
    let places = try patterns.paths(in: catalog, under: tops)
    guard places.isEmpty else { return places }
    throw Failure(.usage, "nothing in \(name) matches", hint: "look for it with: treering find PATTERN")
  }

  /// Prints the plan, and asks, unless there is nothing to do.
  private func confirmedPlan(restoring chosen: ChosenSnapshot, at time: Timestamp) throws -> ChangePrinter {
    try Console.requireQuestions(asJSON: common.json)
    let plan = ChangePrinter(reporting: ConsoleMonitor(), to: .output, keeps: false)
    let progress = Progress()
    let line = ProgressLine(for: "comparing", of: progress, options: common)
    let result = try restore(
      chosen.snapshot, from: chosen.store, options: try options(for: chosen.choice, at: time, isDryRun: true),
      progress: progress,
      monitor: plan)
    line.stop()
    if plan.isEmpty { return plan }
    for path in result.kept { Console.print(Self.keptText(displayName(path), isDry: true)) }
    if let note = chosen.note { Console.note(note) }
    let question = "\(plan.text): restore this from \(chosen.name)?"
    guard Console.asks(question) else { throw Failure(.refused, "nothing was changed") }
    return plan
  }

  private func options(for choice: SnapshotChoice, at time: Timestamp, isDryRun: Bool) throws(Failure) -> RestoreOptions
  {
    var options = RestoreOptions(
      paths: choice.places, destination: to?.bytes ?? [slash],
      overwrite: inPlace ? .ifDifferent : overwrite ?? .never, isDryRun: isDryRun,
      // One thread prints the plan in order.
      threads: isDryRun ? 1 : threads.count)
    if inPlace {
      options.displacement = .init(removesOthers: delete, isKept: !noKeep)
      options.displacement!.time = time
      // An entry that the rules leave out is in no snapshot, and must stay.
      if delete, let configuration = try common.configuration(), configuration.sourceSet != nil {
        options.displacement!.excludes = try configuration.snapshotOptions().excludesOfSource
      }
    }
    options.followsLinks = followDestinationLinks
    options.keepsNewer = keepNewer
    return options
  }

  /// `plan` has the changes that were confirmed.
  private func run(restoring chosen: ChosenSnapshot, at time: Timestamp, after plan: ChangePrinter?) throws
    -> ExitStatus
  {
    let progress = Progress()
    let console = ConsoleMonitor()
    var options = try options(for: chosen.choice, at: time, isDryRun: dryRun)
    if let plan { options.displacement?.approves = { plan.hasShown($0) } }
    let changes =
      inPlace || dryRun
      ? ChangePrinter(
        reporting: console, to: common.json || common.quiet && !dryRun ? nil : .output, keeps: common.json, after: plan)
      : nil
    let line = ProgressLine(for: "restore", of: progress, options: common)
    defer { line.stop() }
    let result = try restore(
      chosen.snapshot, from: chosen.store, options: options, progress: progress, monitor: changes ?? console)
    line.stop()
    report(result: result, of: chosen, progress: progress, warnings: console.warnings, changes: changes)
    if result.damaged > 0 { return .damaged }
    return progress.warnings.value + progress.left.value > 0 ? .warnings : .done
  }

  private func report(
    result: RestoreResult, of chosen: ChosenSnapshot, progress: Progress, warnings: [Warning],
    changes: ChangePrinter?
  ) {
    let (files, directories) = (progress.files.value, progress.directories.value)
    let answer = Answer(
      snapshot: chosen.name.description, passedOver: chosen.choice.passedOver?.name.description,
      to: displayName(to?.bytes ?? [slash]), dryRun: dryRun, entries: files + directories, files: files,
      directories: directories,
      bytes: progress.bytesCopied.value, left: progress.left.value, newer: progress.newer.value,
      catalogOnly: progress.catalogOnly.value,
      damaged: result.damaged, warnings: progress.warnings.value,
      warningsNamed: warnings.map(SnapshotAnswer.NamedWarning.init),
      changes: changes?.kept, kept: result.kept.map { displayName($0) },
      elapsedSeconds: result.elapsedSeconds)
    common.answer(answer, lines: [text(for: answer, of: chosen, ownersNotSet: result.ownersNotSet, changes: changes)])
  }

  private func text(
    for answer: Answer, of chosen: ChosenSnapshot, ownersNotSet: UInt64, changes: ChangePrinter?
  ) -> String {
    let verb = dryRun ? "would restore" : "restored"
    let isNothing = inPlace ? changes?.isEmpty != false : answer.entries == 0
    var text =
      isNothing && answer.left + answer.damaged + answer.warnings + answer.newer == 0
      ? paths.isEmpty && pattern.isEmpty
        ? "everything of \(answer.snapshot) is there already"
        : "all that is named is there as in \(answer.snapshot) already"
      : inPlace
        ? "\(verb) in place from \(answer.snapshot): \(changes?.text ?? "no change") (\(byteText(answer.bytes))), "
          + "in \(durationText(answer.elapsedSeconds))"
        : "\(verb) \(counted(answer.files, "file")) and \(counted(answer.directories, "directory")) "
          + "(\(byteText(answer.bytes))) of \(answer.snapshot) to \(answer.to), in \(durationText(answer.elapsedSeconds))"
    if let changes, !inPlace, !changes.isEmpty { text += "\n  \(changes.text)" }
    for path in answer.kept { text += "\n  " + Self.keptText(path, isDry: dryRun) }
    if let note = chosen.note { text += "\n  \(note)" }
    if let note = noteOfDumps(in: chosen) { text += "\n  \(note)" }
    if answer.left > 0 {
      let (one, many) =
        dryRun
        ? ("existing entry would be left as it is", "existing entries would be left as they are")
        : ("existing entry was left as it was", "existing entries were left as they were")
      text += "\n  \(counted(answer.left, one, plural: many))"
      if !inPlace, overwrite ?? .never == .never { text += "; see --overwrite" }
    }
    if answer.newer > 0 {
      text +=
        "\n  \(counted(answer.newer, "newer entry")) \(dryRun ? "would stay" : answer.newer == 1 ? "stays" : "stay")"
    }
    if answer.damaged > 0 { text += "\n  \(counted(answer.damaged, "damaged entry")), named above" }
    if ownersNotSet > 0 {
      text += "\n  the owner of \(counted(ownersNotSet, "entry")) could not be set; root can set it"
    }
    return text
  }

  private static func keptText(_ path: String, isDry: Bool) -> String {
    let text = "replaced and removed entries \(isDry ? "would be" : "were") moved to \(path)"
    return isDry ? text : text + "; undo it with: treering restore --undo \(path)"
  }

  private struct Answer: Encodable {
    let snapshot: String
    /// The snapshot that the reference alone means. It does not have the paths.
    let passedOver: String?
    let to: String
    let dryRun: Bool
    let entries, files, directories, bytes, left, newer, catalogOnly, damaged, warnings: UInt64
    let warningsNamed: [SnapshotAnswer.NamedWarning]
    /// Each change, in a dry run and in place.
    let changes: [RestoreChange]?
    let kept: [String]
    let elapsedSeconds: Double
  }
}
