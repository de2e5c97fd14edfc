internal import ArgumentParser
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

struct DrillCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drill",
    abstract: "Rehearse a recovery, of a sample of each copy or of a service.",
    discussion: """
      With the name of a table [[drill]], its paths and databases are restored to a place without network and without \
      the live data, its program is started, and its checks must pass. The time of each step is measured.

      Without a name, restores random files and whole directories of the repository and of each remote to a temporary directory, reads \
      them again, and compares them with the catalog and with the source as it is now. A file that changed since the \
      snapshot is told apart from damage by its size, inode and times. The newest dump of each database is loaded into \
      a server that exists only for that. Everything is removed at the end.

      The result goes into the history. list prints the past drills; show prints one of them, the last if no time is \
      given. The same seed chooses the same files of the same snapshots.

      Examples:
        treering drill --files 200
        treering drill -r offsite --files 50 --seed 7
        treering drill shop
        treering drill show shop --json
      """)

  enum Action: String, CaseIterable, Sendable { case list, show }

  @Argument(
    help: ArgumentHelp("list, show, or the name of a table [[drill]]; a sample, if left out.", valueName: "name"),
    completion: .words(of: Action.self))
  var subject: String?

  @Argument(
    help: ArgumentHelp(
      "With show: the name of a drill, or the beginning of its time, as list prints them.", valueName: "drill"))
  var which: String?

  @Flag(help: "Do all drills of the configuration that are due.")
  var due = false

  @Flag(help: "Keep the restored files and databases for inspection.")
  var keep = false

  @Option(help: ArgumentHelp("The number of random files to restore (100).", valueName: "n"))
  var files: Int?

  @Option(help: ArgumentHelp("The number that decides about the random choice; a new one.", valueName: "n"))
  var seed: UInt64?

  @Option(
    help: ArgumentHelp("The directory for everything that is restored; /var/tmp.", valueName: "dir"),
    completion: .directory)
  var workDir: PathArgument?

  @OptionGroup var threads: ThreadOption
  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  private var action: Action? { subject.flatMap(Action.init) }

  func validate() throws {
    if let files, !(0...1_000_000).contains(files) { throw ValidationError("--files takes a number up to 1000000") }
    if action != nil, files != nil || seed != nil || workDir != nil || due || keep {
      throw ValidationError("list and show do no drill, and take none of its options")
    }
    if which != nil, action != .show { throw ValidationError("only show takes a drill") }
    if subject != nil || due, files != nil || seed != nil {
      throw ValidationError("--files and --seed are for a sample, not for a drill of the configuration")
    }
    if subject != nil, due { throw ValidationError("name a drill, or give --due") }
  }

  func execute() throws -> ExitStatus {
    switch action {
    case .list: try list()
    case .show: try show()
    case nil: try subject != nil || due ? rehearse() : drill()
    }
  }

  // MARK: Drills of the configuration

  /// The directory below which everything is restored.
  private func parent() throws -> [UInt8] { try workDir.map { try absolutePath(of: $0.bytes) } ?? TableDrill.parent }

  private func rehearse() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let file = try common.requiredConfiguration()
    let repository = try common.openRepository()
    let drills: [DrillConfiguration]
    if let subject {
      drills = file.settings.drills.filter { $0.name == subject }
      guard !drills.isEmpty else {
        let names = file.settings.drills.map(\.name)
        throw Failure(
          .usage, "the configuration \(displayName(file.path)) has no drill \"\(subject)\"",
          hint: names.isEmpty ? "describe one in a table [[drill]]" : "it has: \(names.joined(separator: ", "))")
      }
    } else {
      drills = try file.dueDrills(in: repository, at: Clock.now())
    }
    guard let lock = try repository.lockDrills() else { throw Failure(.locked, "another drill is being done") }
    defer { withExtendedLifetime(lock) {} }
    var status = ExitStatus.done
    for drill in drills {
      let answer = try TableDrill(
        drill: drill, file: file, common: common, connection: connection, parent: try parent(), keeps: keep
      ).run()
      common.answer(answer, lines: answer.lines)
      let isRecorded = repository.history.record(answer)
      let own = answer.exitStatus == 0 && !isRecorded ? ExitStatus.warnings.code : answer.exitStatus
      if [0, ExitStatus.warnings.code].contains(status.code), own != 0 { status = ExitStatus(code: own) }
    }
    if drills.isEmpty { common.answer(DrillList(drills: []), lines: ["no drill is due"]) }
    return status
  }

  // MARK: A sample

  private func drill() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let (start, now) = (Clock.monotonic(), Clock.now())
    let chosen = try seed ?? CurrentProcess.randomNumber() >> 32
    var answer = DrillAnswer(time: now.rfc3339, seed: chosen, wanted: files ?? 100)
    let parent = try parent()
    for (name, remote) in try copies() {
      answer.copies.append(try drill(named: name, remote: remote, seed: chosen, below: parent, at: now))
    }
    answer.elapsedSeconds = Clock.monotonic() - start
    answer.conclude()
    common.answer(answer, lines: answer.lines)
    let isRecorded = try record(answer)
    return answer.exitStatus == 0 && !isRecorded ? .warnings : ExitStatus(code: answer.exitStatus)
  }

  /// The repository and the remotes, or only the one that `--repository` names.
  private func copies() throws -> [(name: String, remote: RemoteConfiguration?)] {
    let first: (String, RemoteConfiguration?) = (displayName(try common.repositoryPath()), nil)
    guard common.repository == nil, let file = try common.configuration() else { return [first] }
    return [first] + file.settings.remotes.map { ($0.name, $0) }
  }

  private func drill(
    named name: String, remote: RemoteConfiguration?, seed: UInt64, below parent: [UInt8], at now: Timestamp
  ) throws -> DrillAnswer.Copy {
    var copy = DrillAnswer.Copy(copy: name)
    let start = Clock.monotonic()
    do {
      let store =
        try remote.map {
          try CommonOptions.openStore(
            at: RemoteTarget(remote: $0, connection: connection, options: common), fromCache: false)
        } ?? common.openStore(connection: connection, allowsRate: common.repository == nil, fromCache: false)
      let drill = SampleDrill(
        store: store, size: SampleSize(files: files ?? 100), seed: seed, parent: parent, now: now,
        threads: threads.count, keeps: keep, common: common)
      try drill.run(into: &copy, since: start)
      copy.conclude()
    } catch {
      try checkForSignal()
      let failure = Failure(wrapping: error)
      // A wrong command line is no failed drill.
      if failure.kind == .usage, remote == nil { throw failure }
      copy.conclude(after: ("\(failure)", failure.kind == .usage ? .remote : ExitStatus(failure.kind)))
    }
    return copy
  }

  // MARK: Records

  /// The repository with the history: that of the configuration, else the one that was drilled; `nil` for a remote.
  private func recordingRepository() throws(Failure) -> Repository? {
    if let path = try common.configuration()?.repositoryPath { return try Repository.open(path) }
    let path = try common.repositoryPath()
    let address = try CommonOptions.address(of: path)
    guard case .local(let local) = address else { return nil }
    return try Repository.open(local)
  }

  /// Returns false, with a warning, if the drill cannot be recorded.
  private func record(_ answer: DrillAnswer) throws(Failure) -> Bool {
    guard let repository = try recordingRepository() else { return true }
    // A user who may only read the repository may do a drill.
    let user = CurrentProcess.effectiveUser
    return user != 0 && user != repository.identity.user || repository.history.record(answer)
  }

  private func pastDrills() throws -> [DrillAnswer] {
    guard let repository = try recordingRepository()
    else { throw Failure(.usage, "the drills of a remote are in the history of the repository here") }
    return try repository.pastDrills()
  }

  private func list() throws -> ExitStatus {
    let drills = try pastDrills()
    let lines = drills.indices.reversed().map { DrillList.Line(drills[$0], after: drills[..<$0]) }
    let rows = lines.map { line in
      [
        line.time, line.name, line.result.rawValue, durationText(line.elapsedSeconds),
        line.totalSeconds.map(durationText) ?? "", line.trend ?? "", line.copies.joined(separator: ", "),
      ]
    }
    let titles = ["TIME", "DRILL", "RESULT", "TOOK", "RECOVERY", "TREND", "COPIES"]
    common.answer(
      DrillList(drills: lines),
      lines: rows.isEmpty ? ["no drill was done yet"] : table([titles] + rows, rightAligned: [3, 4, 5]))
    return .done
  }

  private func show() throws -> ExitStatus {
    let drills = try pastDrills()
    guard let drill = drills.last(where: { $0.name == which ?? $0.name || $0.time.hasPrefix(which ?? "") }) else {
      throw Failure(
        .usage, drills.isEmpty ? "no drill was done yet" : "there is no drill \(which ?? "")",
        hint: drills.isEmpty ? "do one: treering drill" : "see: treering drill list")
    }
    common.answer(drill, lines: drill.lines)
    return .done
  }
}

/// The document of `drill list --json`.
private struct DrillList: Encodable {
  struct Line: Encodable {
    let time, name: String
    let result: DrillAnswer.Result
    let copies: [String]
    let elapsedSeconds: Double
    /// The time of the recovery; `nil` if it was not measured.
    let totalSeconds: Double?
    /// The change of this time since the drill of the same name before, such as `+12 %`.
    let trend: String?

    init(_ drill: DrillAnswer, after others: ArraySlice<DrillAnswer>) {
      (time, name, result, elapsedSeconds) = (drill.time, drill.name, drill.result, drill.elapsedSeconds)
      copies = drill.copies.map(\.copy)
      totalSeconds = drill.totalSeconds
      let before = others.last { $0.name == drill.name && $0.totalSeconds != nil }?.totalSeconds
      trend = totalSeconds.flatMap { total in
        before.map { before in
          let change = (total / max(before, 0.001) - 1) * 100
          return "\(change < 0 ? "-" : "+")\(fixed(abs(change), digits: 0)) %"
        }
      }
    }
  }
  let drills: [Line]
}
