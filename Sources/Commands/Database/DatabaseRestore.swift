internal import Catalog
internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

/// `database restore`: the files of a dump in a new directory, or the dump in a server.
struct DatabaseRestore {
  private let command: DatabaseCommand
  private var common: CommonOptions { command.common }

  init(by command: DatabaseCommand) { self.command = command }

  func execute() throws -> ExitStatus {
    let (store, list) = try common.openList(connection: command.connection)
    let configured = try command.configured(command.name!.bytes)
    let (dump, choice) = try choose(in: list, of: store, configured: configured)
    CurrentProcess.rememberSignals()
    let moment = try MomentRestore(of: dump, by: command, in: list, of: store, database: configured)
    if let files = command.files { return try restoreSite(of: moment, in: store, to: absolutePath(of: files.bytes)) }
    guard let directory = command.to else {
      return try load(moment, of: store, into: try command.target(for: dump))
    }
    let path = try absolutePath(of: directory.bytes)
    try refuseContent(of: path)
    // Only a MySQL server's data are built here. The answer for any other dump is its files.
    guard dump.kind == .mysql, moment.hasLogs || dump.isPhysical
    else { return try copy(dump, of: store, to: path, following: choice) }
    return try build(moment, at: path, for: configured)
  }

  // MARK: A site

  /// Restores the files of a site, and then loads its database: with the connection that the site's own file has.
  private func restoreSite(
    of moment: MomentRestore, in store: any SnapshotStore, to directory: [UInt8]
  ) throws -> ExitStatus {
    let dump = moment.dump
    let configured = try common.configuration()?.settings.sites.first {
      dump.record.name.elementsEqual($0.database.name.utf8)
    }
    let work = try workDirectory(for: configured?.database ?? DatabaseConfiguration())
    let site = try SiteRestore(of: dump, in: store, to: directory, by: command, below: work)
    if !command.dryRun, !command.yes {
      try Console.requireQuestions(asJSON: common.json)
      Console.print("restore \(site.text), and load the database of the same moment")
      guard Console.asks("restore this?") else { throw Failure(.refused, "nothing was changed") }
    }
    try site.restoreFiles(isDry: command.dryRun, threads: command.threads.count, common: common)
    if !common.json { Console.print("\(command.dryRun ? "would restore" : "restored") \(site.text)") }
    guard command.isConfigured
    else { return try load(moment, of: store, into: try command.target(for: dump), isConfirmed: true) }
    if command.dryRun {
      common.answer(
        DatabaseRestoreAnswer(dump, into: "configured", dryRun: true),
        lines: ["would load its database with the connection of the restored site"])
      return .done
    }
    return try load(moment, of: store, into: try site.connection(configured: configured), isConfirmed: true)
  }

  /// The newest dump, that of the snapshot, or the newest that was complete at the time; of base backups the newest
  /// from which the wanted timeline is reached.
  private func choose(
    in list: SnapshotList, of store: any SnapshotStore, configured: DatabaseConfiguration?
  ) throws -> (StoredDump, TimelineChoice?) {
    let name = command.name!.bytes
    var records = list.dumpRecords(of: name)
    guard !records.isEmpty else { throw list.noDump(of: name) }
    var choice: TimelineChoice?
    if command.to != nil, records.contains(where: { BaseBackup($0.record.point) != nil }),
      let logs = try command.logs(of: configured, named: name, in: store)
    {
      choice = try TimelineChoice(of: logs, by: command)
      if command.inSnapshot == nil { records = try choice?.reachable(records) ?? records }
    }
    var found = records.first
    if let reference = command.inSnapshot {
      let path = DatabaseRecord.label + [slash] + name
      let snapshot = try store.choose(reference: reference, having: [path], in: list).snapshot
      found = records.first { $0.snapshot.name == snapshot.name }
    } else if let seconds = command.at {
      found = records.filter { $0.record.ended.seconds <= seconds }.max { $0.record.ended < $1.record.ended }
      if found == nil {
        let oldest = records.map(\.record.ended).min()!
        throw Failure(
          .usage, "no dump of \(displayName(name)) is so old", hint: "the oldest was complete at \(oldest.localText)")
      }
    }
    guard let found, let dump = try StoredDump(found.record, in: found.snapshot, of: store)
    else { throw Failure(.damaged, "the dump of \(displayName(name)) is not in the catalog of its snapshot") }
    return (dump, choice)
  }

  // MARK: Files

  private func copy(
    _ dump: StoredDump, of store: any SnapshotStore, to path: [UInt8], following choice: TimelineChoice?
  ) throws -> ExitStatus {
    let timeline = try choice?.timeline(from: dump)
    let progress = Progress()
    let monitor = ConsoleMonitor()
    var options = RestoreOptions(
      paths: [], destination: path, overwrite: .ifChanged, isDryRun: command.dryRun, threads: command.threads.count)
    options.top = dump.place
    let line = ProgressLine(for: "restore", of: progress, options: common)
    defer { line.stop() }
    let result = try restore(dump.snapshot, from: store, options: options, progress: progress, monitor: monitor)
    line.stop()
    let verb = command.dryRun ? "would copy" : "copied"
    let files = progress.files.value
    let isWhole = result.damaged == 0 && !command.dryRun
    let recovery = try isWhole && dump.isBaseBackup ? self.recovery(from: dump, of: store, at: path, on: timeline) : nil
    let start = try recovery?.prepare()
    if let warning = recovery?.shortage { Console.warn(warning) }
    let warnings = monitor.warnings.map(\.message) + [recovery?.shortage].compactMap(\.self)
    var answer = DatabaseRestoreAnswer(
      dump, to: displayName(path), dryRun: command.dryRun, warnings: warnings, elapsedSeconds: result.elapsedSeconds)
    (answer.start, answer.timeline) = (start, timeline)
    let copied =
      "\(verb) \(counted(files, "file")) (\(byteText(dump.byteCount))) of \(dump.text) to \(displayName(path))"
    common.answer(answer, lines: [copied] + (recovery?.lines(startingBy: start) ?? []))
    if result.damaged > 0 {
      Console.complain(counted(result.damaged, "damaged file") + ", named above: this dump is not whole")
      return .damaged
    }
    return warnings.isEmpty ? .done : .warnings
  }

  /// The recovery of a base backup: up to `--at`, or to the end of the log.
  private func recovery(
    from dump: StoredDump, of store: any SnapshotStore, at path: [UInt8], on timeline: UInt32?
  ) throws -> RecoveryDirectory {
    let file = try common.configuration()
    let configured = file?.settings.databases.first { dump.record.name.elementsEqual($0.name.utf8) }
    // Only root can give the directory to the account of the server.
    let user = configured?.user ?? "postgres"
    let account = CurrentProcess.effectiveUser == 0 ? Account(named: user) : nil
    var archive = try command.archive.map { try absolutePath(of: $0.bytes) }
    let base = BaseBackup(dump.record.point)
    let wanted = timeline ?? base?.timeline
    var newest: DatabaseLogs.Newest?
    // The archive of this machine may be lost, or of another server.
    if archive == nil, common.repository != nil, let logs = try store.logs(of: dump.record.name) {
      newest = try (logs as? LogArchive).flatMap { archive throws(Failure) in
        try DatabaseLogs(of: archive).newest(on: wanted)
      }
      archive = try RecoveryDirectory.copy(logs, beside: path, for: account)
    }
    archive = archive ?? configured?.archive.map { Array($0.utf8) }
    guard let archive else {
      return try RecoveryDirectory(withoutArchiveAt: path, account: account, seconds: command.at)
    }
    let found = try LogArchive(at: archive)
    try found.checkServer(ofData: Directory(Descriptor.open(path: path, [.read, .directory])))
    newest = try newest ?? DatabaseLogs(of: found).newest(on: wanted)
    // In the setting, a percent sign stands for itself if it is there twice.
    let words = [shellWord(try CurrentProcess.programFile()), shellWord(archive)].map { $0.replacing("%", with: "%%") }
    return RecoveryDirectory(
      path: path, account: account, fetchCommand: "\(words[0]) wal fetch %f %p --archive \(words[1])",
      seconds: command.at, timeline: timeline == base?.timeline ? nil : timeline,
      shortage: command.at.flatMap { RecoveryDirectory.shortage(of: newest?.stored, newest?.name, at: $0) })
  }

  /// Refuses a directory that has anything.
  private func refuseContent(of path: [UInt8]) throws(Failure) {
    do {
      let names = try Directory(Descriptor.open(path: path, [.read, .directory])).names()
      guard !names.isEmpty else { return }
    } catch {
      if error == .noSuchEntry { return }
      throw Failure(.usage, "cannot use the directory \(displayName(path)): \(error)", path: path)
    }
    throw Failure(
      .refused, "the directory \(displayName(path)) is not empty", path: path, hint: "name a new one with --to")
  }

  // MARK: A data directory

  private func build(
    _ moment: MomentRestore, at path: [UInt8], for configured: DatabaseConfiguration?
  ) throws -> ExitStatus {
    let start = Clock.monotonic()
    var database = configured ?? DatabaseConfiguration()
    if configured == nil {
      (database.name, database.kind) = (String(decoding: moment.dump.record.name, as: UTF8.self), .mysql)
    }
    var answer = DatabaseRestoreAnswer(moment.dump, to: displayName(path), dryRun: command.dryRun)
    if command.dryRun {
      common.answer(answer, lines: ["would build the data directory \(displayName(path)) of \(moment.text())"])
      return .done
    }
    let work = try PrivateDirectory(below: workDirectory(for: database), forBytes: moment.dump.byteCount)
    defer { work.remove() }
    let (shortage, words) = try moment.build(at: path, for: database, below: work)
    answer.add(LoadResult(warnings: shortage.warnings), elapsedSeconds: Clock.monotonic() - start)
    common.answer(
      answer,
      lines: [
        "built the data directory \(displayName(path)) of \(moment.text(reached: shortage.reached))",
        "  start a server on it with: " + words.map { shellWord($0) }.joined(separator: " "),
      ])
    return shortage.warnings.isEmpty ? .done : .warnings
  }

  // MARK: A server

  private func load(
    _ moment: MomentRestore, of store: any SnapshotStore, into target: DatabaseConfiguration, isConfirmed: Bool = false
  ) throws -> ExitStatus {
    let dump = moment.dump
    if dump.isPhysical {
      throw Failure(
        .usage, "the dump in \(dump.snapshot.name) is a copy of the server's files, which cannot be loaded",
        hint: "build a data directory of it with --to")
    }
    let start = Clock.monotonic()
    let options = loadOptions(at: moment.time)
    let databases = try chosenDatabases(of: dump)
    let (loader, steps) = try reporting {
      let loader = try DumpLoader(into: target, programs: .ofEnvironment)
      return (loader, try loader.plan(databases, options: options))
    }
    try refuse(steps, target: target)
    let texts = steps.map { text(of: $0, from: moment.text()) }
    var answer = DatabaseRestoreAnswer(
      dump, into: displayName(command.into!.bytes), steps: steps, dryRun: command.dryRun)
    if command.dryRun {
      common.answer(answer, lines: texts.map { "would load \($0) \(target.placeText)" })
      return .done
    }
    if !command.yes, !isConfirmed {
      try Console.requireQuestions(asJSON: common.json)
      for text in texts { Console.print("load \(text) \(target.placeText)") }
      guard Console.asks("load this?") else { throw Failure(.refused, "nothing was changed") }
    }
    let work = try PrivateDirectory(below: workDirectory(for: target), forBytes: dump.byteCount)
    defer { work.remove() }
    let (staged, shortage) = try moment.stage(databases: steps.map(\.database), for: target, below: work)
    var result = try reporting { try loader.load(steps, from: staged.directory, at: staged.path, options: options) }
    for warning in result.warnings { Console.warn(warning) }
    result.warnings += shortage.warnings
    answer.add(result, elapsedSeconds: Clock.monotonic() - start)
    let reached = moment.text(reached: shortage.reached)
    common.answer(answer, lines: lines(for: steps, result: result, from: reached, by: loader, at: target))
    return result.warnings.isEmpty ? .done : .warnings
  }

  private func loadOptions(at moment: Timestamp) -> LoadOptions {
    var options = LoadOptions(moment: moment)
    options.newName = command.newName?.bytes
    (options.replaces, options.keepsReplaced) = (command.replace, !command.noKeep)
    (options.makesRoles, options.leavesOwners) = (command.globals, command.noOwners)
    return options
  }

  /// The named databases of the dump, or all without the server's own.
  private func chosenDatabases(of dump: StoredDump) throws(Failure) -> [[UInt8]] {
    let all = dump.contents
    let known = all.map { displayName($0) }.joined(separator: ", ")
    for name in command.databases.map(\.bytes) where !all.contains(name) {
      throw Failure(.usage, "the dump has no database \(displayName(name))", hint: "it has: \(known)")
    }
    var chosen = command.databases.map(\.bytes)
    if chosen.isEmpty { chosen = dump.loadable }
    if command.newName != nil || command.replace, chosen.count != 1 {
      throw Failure(
        .usage, "--as and --replace are for one database, and these are \(chosen.count)",
        hint: "name one of: \(known)")
    }
    return chosen
  }

  /// Refuses to overwrite data.
  private func refuse(_ steps: [LoadStep], target: DatabaseConfiguration) throws(Failure) {
    for step in steps {
      guard case .occupied(let connections) = step.state else { continue }
      let shown = displayName(step.target)
      guard step.replacedName != nil else {
        throw Failure(
          .refused, "\(shown) has data already", hint: "choose another name with --as, or give --replace")
      }
      if target.kind == .mysql, step.target == ServersOwn.mysql {
        throw Failure(
          .refused, "the server does not run without its own database mysql, so nothing can take its place",
          hint: "load it under another name with --as")
      }
      if connections > 0 {
        throw Failure(
          .refused, "\(counted(connections, "program")) \(connections == 1 ? "uses" : "use") the database \(shown)",
          hint: "stop the programs that use it, or choose another name with --as")
      }
    }
  }

  private func workDirectory(for target: DatabaseConfiguration) throws(Failure) -> [UInt8] {
    if let directory = command.workDir { return try absolutePath(of: directory.bytes) }
    return Array((target.directory ?? "/var/tmp").utf8)
  }

  // MARK: Words

  private func text(of step: LoadStep, from moment: String) -> String {
    let (name, target) = (displayName(step.database), displayName(step.target))
    let place =
      switch step.state {
      case .new: "the new database \(target)"
      case .empty: "the empty database \(target)"
      case .occupied:
        "the place of \(target) ("
          + (command.noKeep ? "which is removed" : "kept as \(displayName(step.replacedName ?? []))") + ")"
      }
    return "\(name) of \(moment) into \(place)"
  }

  private func lines(
    for steps: [LoadStep], result: LoadResult, from moment: String, by loader: DumpLoader,
    at target: DatabaseConfiguration
  ) -> [String] {
    var lines: [String] = []
    if !result.roles.isEmpty {
      lines.append("made the roles " + result.roles.map { displayName($0) }.joined(separator: ", "))
    }
    for step in steps {
      lines.append("loaded \(text(of: step, from: moment)) \(target.placeText)")
      let words = loader.command(toLookAt: step.target).map { shellWord($0) }
      lines.append("  look at it with: " + words.joined(separator: " "))
      if command.files != nil, step.target != step.database {
        lines.append(
          "  the site's file still names \(displayName(step.database)): set DB_NAME to \(displayName(step.target))")
      }
    }
    return lines
  }
}

extension StoredDump {
  /// The dump for messages: its snapshot, and its moment.
  var text: String { "\(snapshot.name) (dumped \(record.ended.localText))" }
}

extension DatabaseConfiguration {
  /// The server or the directory, after the name of a database in messages.
  var placeText: String {
    if let path { return "in \(displayName(splitLast(of: Array(path.utf8)).parent))" }
    if let socket { return "on the server at \(socket)" }
    guard let host else { return "on the server of this machine" }
    return "on the server \(host)" + (port.map { ":\($0)" } ?? "")
  }
}

/// The document of `database restore --json`.
struct DatabaseRestoreAnswer: Encodable {
  let snapshot, name, kind, ended: String
  let point: String?
  let bytes: UInt64
  let to, into: String?
  let dryRun: Bool
  let databases: [Loaded]
  var roles: [String] = []
  var warnings: [String]
  /// The command line that starts a server on a restored data directory.
  var start: String?
  /// The timeline that a recovery of PostgreSQL follows.
  var timeline: UInt32?
  var elapsedSeconds: Double

  struct Loaded: Encodable {
    let database, target, state: String
    let replacedName: String?
  }

  init(
    _ dump: StoredDump, to: String? = nil, into: String? = nil, steps: [LoadStep] = [], dryRun: Bool,
    warnings: [String] = [], elapsedSeconds: Double = 0
  ) {
    let database = DatabaseAnswer(dump.record)
    snapshot = dump.snapshot.name.description
    (name, kind, ended, point) = (database.name, database.kind, database.ended, database.point)
    bytes = dump.byteCount
    (self.to, self.into, self.dryRun) = (to, into, dryRun)
    databases = steps.map { step in
      let state =
        switch step.state {
        case .new: "new"
        case .empty: "empty"
        case .occupied: "replaced"
        }
      return Loaded(
        database: displayName(step.database), target: displayName(step.target), state: state,
        replacedName: step.replacedName.map { displayName($0) })
    }
    (self.warnings, self.elapsedSeconds) = (warnings, elapsedSeconds)
  }

  mutating func add(_ result: LoadResult, elapsedSeconds: Double) {
    roles = result.roles.map { displayName($0) }
    warnings = result.warnings
    self.elapsedSeconds = elapsedSeconds
  }
}
