internal import FoundationEssentials
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The end of the run of one of several repositories.
struct RepositoryRun: Encodable {
  /// The part of a run's document that counts here.
  struct Answer: Decodable {
    let result: String
    let steps: [RunStep]
    let snapshot: SnapshotFigures?
    let error: String?
  }

  let name, repository: String
  /// As in `RunAnswer`, or `hung`.
  var result: String
  var exitStatus: Int32
  var steps: [RunStep] = []
  var snapshot: SnapshotFigures?
  var error: String?
  var elapsedSeconds = 0.0

  /// True if there was nothing to do.
  var isIdle: Bool { result == "not_due" && steps.isEmpty && exitStatus == ExitStatus.done.code }

  /// True if another run is at work on the repository. This is no news, as for one repository.
  var isLocked: Bool { result == "locked" }

  /// One line for a person: the error, or else the message of the last step that has one.
  fileprivate var message: String {
    if isIdle { return "nothing is due" }
    return error ?? steps.first { $0.step == "snapshot" }?.message ?? steps.last { $0.message != nil }?.message ?? ""
  }
}

/// The document of `run --json` for several repositories.
struct RepositoryRunsAnswer: RunReport {
  let time: String
  let command = "run"
  let runID: String
  let startedBy = RunStarter.current()
  let host: String
  /// The worst of all.
  let exitStatus: Int32
  /// In the order of the file.
  var repositories: [RepositoryRun]
  let elapsedSeconds: Double
  /// A sentence about the runs that did not end well.
  let error: String?

  init(runID: String, at time: Timestamp, repositories: [RepositoryRun], elapsedSeconds: Double) {
    (self.runID, self.repositories, self.elapsedSeconds) = (runID, repositories, elapsedSeconds)
    self.time = time.rfc3339
    host = displayName(CurrentProcess.hostName())
    let bad = repositories.filter { $0.exitStatus != ExitStatus.done.code }
    exitStatus = ExitStatus.worst(of: repositories.map { ExitStatus(code: $0.exitStatus) }).code
    error =
      bad.isEmpty
      ? nil
      : "\(bad.count) of \(counted(repositories.count, "repository")) did not end well: "
        + bad.map { "\($0.name) with status \($0.exitStatus)" }.joined(separator: ", ")
  }

  /// True if no repository had anything to do.
  var isIdle: Bool { repositories.allSatisfy(\.isIdle) }

  /// A table, the worst first.
  var lines: [String] {
    let sorted = repositories.sorted {
      (ExitStatus(code: $0.exitStatus).severity, $0.name) < (ExitStatus(code: $1.exitStatus).severity, $1.name)
    }
    return table(
      [["REPOSITORY", "RUN", "TIME", ""]]
        + sorted.map { run in
          [
            run.name, run.exitStatus == 0 ? "well" : "STATUS \(run.exitStatus)", durationText(run.elapsedSeconds),
            run.message,
          ]
        }, rightAligned: [2])
  }

  var shortened: RepositoryRunsAnswer {
    var shorter = self
    for index in shorter.repositories.indices { shorter.repositories[index].steps = [] }
    return shorter
  }
}

/// The news about the runs of all repositories, for the receivers that the file names.
struct RepositoryRunsEnd {
  let file: ConfigurationFile
  let answer: RepositoryRunsAnswer

  init(of file: ConfigurationFile, answer: RepositoryRunsAnswer) { (self.file, self.answer) = (file, answer) }

  /// Writes the metrics and sends the notices. Returns true if something could not be sent.
  func tellAll() -> Bool {
    let now = Clock.now()
    var (states, failures): ([RepositoryTable.Named], [RepositoryTable.Failed]) = ([], [])
    for one in file.repositories {
      let name = one.name ?? ""
      // To open a repository on a dead file system would hang, too.
      if answer.repositories.contains(where: { $0.name == name && $0.result == "hung" }) {
        failures.append((name, Failure(.failed, "its run hangs")))
        continue
      }
      do {
        let repository = try Repository.open(one.repositoryPath ?? [])
        states.append((name, try RepositoryState(of: repository, configuration: one, at: now)))
      } catch { failures.append((name, Failure(wrapping: error))) }
    }
    var hasProblem = false
    if let path = file.settings.metricsTextfile {
      do { try writeMetrics(of: measured(states), at: now, to: Array(path.utf8)) } catch {
        Console.warn("\(error)")
        hasProblem = true
      }
    }
    let notices = Notices(for: file.settings, runID: answer.runID)
    let environment = [
      ("TREERING_RUN_ID", answer.runID), ("TREERING_STEP", "notify"), ("TREERING_EXIT_STATUS", "\(answer.exitStatus)"),
    ].map { (name: $0.0, value: Array($0.1.utf8)) }
    var steps = notices.runEnded(answer, environment: environment)
    steps += notices.sendMail(after: answer) { RepositoryTable(of: states, failures: failures).lines }
    return hasProblem || steps.contains { $0.outcome == .failed }
  }

  private func measured(_ states: [RepositoryTable.Named]) -> [MeasuredRepository] {
    file.repositories.map { one in
      let run = answer.repositories.first { $0.name == one.name }
      return (
        displayName(one.repositoryPath ?? []), states.first { $0.name == one.name }?.state,
        run.map { RunFigures(exitStatus: $0.exitStatus, elapsedSeconds: $0.elapsedSeconds, snapshot: $0.snapshot) }
      )
    }
  }
}
