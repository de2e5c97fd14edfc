internal import Model
internal import Posix

/// The document of `drill --json`, and a line of the history.
struct DrillAnswer: HistoryLine, Codable {
  enum Result: String, Codable { case passed, warnings, failed }

  /// An entry that is not as it should be.
  struct Problem: Codable, Equatable {
    let path, message: String
    let isDamage: Bool
  }

  /// The sampled regular files beside the source as it is now.
  struct Live: Codable, Equatable {
    var same = 0
    /// Changed or gone since the snapshot.
    var changed = 0
    var gone = 0
    /// Other content, although size, inode and times are the same.
    var damaged = 0
    var unreadable = 0
  }

  struct Database: Codable, Equatable {
    enum Result: String, Codable {
      case loaded, failed
      case notTested = "not_tested"
    }

    let name, kind, snapshot: String
    /// The time between the dump and the drill.
    let ageSeconds: Int64
    var result = Result.loaded
    var server: String?
    var databases, tables: Int?
    var message: String?
    var elapsedSeconds = 0.0
  }

  /// A restored path of the sources.
  struct Path: Codable, Equatable {
    let path: String
    let snapshot: String
    /// `nil` for a path of a sample.
    var seconds: Double?
  }

  /// The drill of one copy.
  struct Copy: Codable {
    let copy: String
    /// The ID of its repository, spelled as the decoder of JSON spells it.
    var repositoryId: String?
    var result = Result.passed
    /// The snapshots of the sample, oldest first.
    var snapshots: [String] = []
    /// The time between the newest snapshot and the drill.
    var ageSeconds: Int64?
    var files = 0
    var directories = 0
    var bytes: UInt64 = 0
    /// From the connection to the choice of the sample, and from there to the last restored file; `nil` for a step that
    /// was not done to its end.
    var openSeconds: Double?
    var restoreSeconds: Double?
    /// The restored paths; of a sample the first ones.
    var paths: [Path]? = []
    var live = Live()
    var databases: [Database] = []
    /// `nil` for a sample.
    var recovery: Recovery?
    var problems: [Problem] = []
    /// The number of all problems; only the first are named.
    var problemCount = 0
    /// The directory that was kept, of a sample.
    var kept: String?
    /// The failure that ended the drill of this copy.
    var error: String?
    var exitStatus = ExitStatus.done.code
  }

  var time: String
  var command = "drill"
  var name = "sample"
  /// The machine on which it was done, and the version of its treering. Older lines of a history have neither.
  var host: String? = displayName(CurrentProcess.hostName())
  var programVersion: String? = Treering.version
  /// The seed of the random choice of a sample.
  var seed: UInt64?
  /// The number of files that were wanted.
  var wanted: Int?
  var result = Result.passed
  var copies: [Copy] = []
  var exitStatus = ExitStatus.done.code
  var error: String?
  var elapsedSeconds = 0.0
}

extension DrillAnswer.Copy {
  private static let mostNamed = 100

  mutating func add(_ path: DrillAnswer.Path) {
    if paths?.count ?? 0 < Self.mostNamed { paths = (paths ?? []) + [path] }
  }

  /// The time for all files; `nil` if not all were restored.
  var filesSeconds: Double? {
    guard let openSeconds, let restoreSeconds, result != .failed else { return nil }
    return openSeconds + restoreSeconds
  }

  mutating func add(_ problem: DrillAnswer.Problem) {
    problemCount += 1
    if problems.count < Self.mostNamed { problems.append(problem) }
  }

  /// Decides about the result. `failure` ended the drill.
  mutating func conclude(after failure: (message: String, status: ExitStatus)? = nil) {
    error = failure?.message
    let hasDamage = live.damaged > 0 || problems.contains(where: \.isDamage)
    let status: ExitStatus =
      failure?.status
      ?? (hasDamage
        ? .damaged
        : databases.contains { $0.result == .failed }
          ? .failed : problemCount > 0 || live.unreadable > 0 || recovery?.isSlow == true ? .warnings : .done)
    exitStatus = status.code
    result = status == .done ? .passed : status == .warnings ? .warnings : .failed
  }
}

extension DrillAnswer {
  /// The time of the recovery of a service; `nil` if it was not measured.
  var totalSeconds: Double? { copies.first?.recovery?.totalSeconds }

  /// The end of the history that is searched for drills.
  static let historyBytes = 32 << 20

  /// The drills in a history, newest last. Skips lines of another form.
  static func all(in text: [UInt8]) -> [DrillAnswer] {
    // The keys of a line are sorted.
    let mark = Array(#"{"command":"drill","#.utf8)
    return text.split(separator: newline).filter { $0.starts(with: mark) }.compactMap { DrillAnswer(json: $0) }
  }

  /// The worst result of the copies. Damage is worse than a copy that cannot be reached.
  mutating func conclude() {
    let order: [ExitStatus] = [.damaged, .failed, .remote, .noSpace]
    let codes = copies.map(\.exitStatus)
    let worst = order.first { codes.contains($0.code) }?.code ?? codes.max() ?? ExitStatus.done.code
    exitStatus = worst
    result = worst == ExitStatus.done.code ? .passed : worst == ExitStatus.warnings.code ? .warnings : .failed
    error = copies.first { $0.error != nil }.map { "\($0.copy): \($0.error!)" }
  }

  // MARK: Text

  /// The page of a drill for a person.
  var lines: [String] {
    let verdict = [Result.passed: "passed", .warnings: "passed, with warnings", .failed: "FAILED"][result]!
    let title = seed == nil ? "drill \(name) of \(time)" : "drill of \(time)"
    return ["\(title): \(verdict), in \(durationText(elapsedSeconds))" + (seed.map { " (seed \($0))" } ?? "")]
      + copies.flatMap { [""] + $0.lines }
  }
}

extension DrillAnswer.Copy {
  fileprivate var lines: [String] {
    var lines = ["\(copy): \(result == .failed ? "FAILED" : result.rawValue)"]
    func item(_ text: String, mark: String = " ") { lines += wrapped(text, first: "\(mark) ", next: "  ") }
    if let error { item(error, mark: "!") }
    if files + directories > 0 {
      let age = ageSeconds.map { ", \(durationText(Double($0))) old" } ?? ""
      item(
        "restored \(counted(files, "file")) and \(counted(directories, "directory")) (\(byteText(bytes))) of "
          + "\(snapshots.joined(separator: ", "))\(age)"
          + (restoreSeconds.map { ", in \(durationText((openSeconds ?? 0) + $0))" } ?? ""))
      if recovery == nil { item("beside the source: \(live.text)", mark: live.damaged > 0 ? "!" : " ") }
    }
    for database in databases { item(database.text, mark: database.result == .failed ? "!" : " ") }
    if let kept { item("kept in \(kept)") }
    for (text, isBad) in recoveryLines { item(text, mark: isBad ? "!" : " ") }
    lines += (recovery?.output ?? []).map { "  | \($0)" }
    for problem in problems { item("\(problem.path): \(problem.message)", mark: problem.isDamage ? "!" : "-") }
    if problemCount > problems.count { item("and \(problemCount - problems.count) more", mark: "-") }
    return lines
  }
}

extension DrillAnswer.Live {
  fileprivate var text: String {
    let all = [
      (same, "the same"), (changed, "changed since"), (gone, "gone since"),
      (damaged, "DIFFERENT with the same size and times"), (unreadable, "not readable"),
    ]
    let words = all.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
    return words.isEmpty ? "no regular file" : words.joined(separator: ", ")
  }
}

extension DrillAnswer.Database {
  fileprivate var text: String {
    let age = "\(durationText(Double(ageSeconds))) old"
    let counts = [databases.map { counted($0, "database") }, tables.map { counted($0, "table") }].compactMap(\.self)
    switch result {
    case .loaded:
      let what = counts.isEmpty ? "" : " (\(counts.joined(separator: ", ")))"
      return "the database \(name), \(age): loaded\(what) into a scratch server of \(server ?? kind), in "
        + durationText(elapsedSeconds) + (message.map { "; \($0)" } ?? "")
    case .failed: return "the database \(name), \(age), cannot be loaded: \(message ?? "")"
    case .notTested: return "the database \(name), \(age), was not tested: \(message ?? "")"
    }
  }
}
