internal import ArgumentParser
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

struct DrillCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drill", abstract: "Rehearse a recovery: restore a sample of each copy, and load the dumps.",
    discussion: """
      Restores random files and whole directories of the repository and of each remote to a temporary directory, reads \
      them again, and compares them with the catalog and with the source as it is now. A file that changed since the \
      snapshot is told apart from damage by its size, inode and times. The newest dump of each database is loaded into \
      a server that exists only for that. Everything is removed at the end.

      The result goes into the history. list prints the past drills; show prints one of them, the last if no time is \
      given. The same seed chooses the same files of the same snapshots.

      Examples:
        treering drill --files 200
        treering drill -r offsite --files 50 --seed 7
        treering drill show --json
      """)

  enum Action: String, CaseIterable, Sendable { case list, show }

  @Argument(
    help: ArgumentHelp("list or show; without it, a drill is done.", valueName: "action"),
    completion: .words(of: Action.self), transform: oneOf(for: "drill"))
  var action: Action?

  @Argument(
    help: ArgumentHelp("With show: the beginning of the time of a drill, as list prints it.", valueName: "time"))
  var time: String?

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

  func validate() throws {
    if let files, !(0...1_000_000).contains(files) { throw ValidationError("--files takes a number up to 1000000") }
    if action != nil, files != nil || seed != nil || workDir != nil {
      throw ValidationError("list and show do no drill, and take none of its options")
    }
    if time != nil, action != .show { throw ValidationError("only show takes the time of a drill") }
  }

  func execute() throws -> ExitStatus {
    switch action {
    case .list: try list()
    case .show: try show()
    case nil: try drill()
    }
  }

  // MARK: A drill

  private func drill() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let (start, now) = (Clock.monotonic(), Clock.now())
    let chosen = try seed ?? CurrentProcess.randomNumber() >> 32
    var answer = DrillAnswer(time: now.rfc3339, seed: chosen, wanted: files ?? 100)
    let parent = try workDir.map { try absolutePath(of: $0.bytes) } ?? Array("/var/tmp".utf8)
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
          try CommonOptions.openStore(at: RemoteTarget(remote: $0, connection: connection, options: common))
        } ?? common.openStore(connection: connection)
      let drill = SampleDrill(
        store: store, size: SampleSize(files: files ?? 100), seed: seed, parent: parent, now: now,
        threads: threads.count, common: common)
      try drill.run(into: &copy, since: start)
      copy.conclude()
    } catch {
      try checkForSignal()
      let failure = error as? Failure ?? Failure(.failed, "\(error)")
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
    guard let repository = try recordingRepository() else {
      throw Failure(.usage, "the drills of a remote are in the history of the repository here")
    }
    return DrillAnswer.all(in: try repository.history.tail(byteCount: DrillAnswer.historyBytes))
  }

  private func list() throws -> ExitStatus {
    let drills = try pastDrills()
    let rows = drills.reversed().map { drill in
      [
        drill.time, drill.name, drill.result.rawValue, durationText(drill.elapsedSeconds),
        drill.copies.map(\.copy).joined(separator: ", "),
      ]
    }
    common.answer(
      DrillList(drills: drills.reversed().map(DrillList.Line.init)),
      lines: rows.isEmpty
        ? ["no drill was done yet"] : table([["TIME", "DRILL", "RESULT", "TOOK", "COPIES"]] + rows, rightAligned: [3]))
    return .done
  }

  private func show() throws -> ExitStatus {
    let drills = try pastDrills()
    guard let drill = drills.last(where: { $0.time.hasPrefix(time ?? "") }) else {
      throw Failure(
        .usage, drills.isEmpty ? "no drill was done yet" : "there is no drill of the time \(time ?? "")",
        hint: drills.isEmpty ? "do one: treering drill" : "see: treering drill list")
    }
    common.answer(drill, lines: drill.lines)
    return .done
  }
}

/// The document of `drill list --json`.
private struct DrillList: Encodable {
  struct Line: Encodable {
    let time: String
    let name: String
    let result: DrillAnswer.Result
    let copies: [String]
    let elapsedSeconds: Double

    init(_ drill: DrillAnswer) {
      (time, name, result, elapsedSeconds) = (drill.time, drill.name, drill.result, drill.elapsedSeconds)
      copies = drill.copies.map(\.copy)
    }
  }
  let drills: [Line]
}
