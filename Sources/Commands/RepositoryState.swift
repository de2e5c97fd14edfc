internal import Catalog
internal import FoundationEssentials
internal import Model
internal import Posix
internal import Repository
internal import Retention

/// The state of a repository, collected without reading a tree: the answer to "is all well?".
struct RepositoryState: Encodable {
  struct Source: Encodable {
    let source: String
    /// The newest snapshot without warnings that has the source.
    let newestGood: String?
    let time: String?
    let ageSeconds: Int64?
    /// `well`, `late`, `never`, `absent` or `future`.
    let state: String

    enum CodingKeys: String, CodingKey {
      case source
      case newestGood = "newest_good"
      case time
      case ageSeconds = "age_seconds"
      case state
    }
  }

  struct Run: Codable {
    let time: String
    let command: String
    let exitStatus: Int32
    let error: String?

    enum CodingKeys: String, CodingKey {
      case time, command
      case exitStatus = "exit_status"
      case error
    }
  }

  /// True if a snapshot is known to be damaged.
  var isDamaged: Bool { !damagedSnapshots.isEmpty }

  let repository: String
  /// True if the operator has nothing to do.
  let isWell: Bool
  /// The problems, one sentence each.
  let findings: [String]
  let sources: [Source]
  let snapshots: Int
  /// The number of members of each set.
  let sets: [String: Int]
  let held: [String]
  /// The reason that nothing expires, with its start if rotation is held.
  let rotationHeld: String?
  let damagedSnapshots: [String]
  let bytesFree: UInt64
  let bytesTotal: UInt64
  /// The recent daily average of bytes that snapshots copied.
  let bytesCopiedPerDay: UInt64
  /// The time and extent of the last verification.
  let lastVerification: Verification?
  /// The last push to each remote that has had a push.
  let pushes: [Push]
  /// The last runs, newest last.
  let runs: [Run]

  /// The history line of a snapshot.
  private struct Taken: Decodable {
    struct Result: Decodable {
      let snapshot: String
      let bytesCopied: UInt64

      enum CodingKeys: String, CodingKey {
        case snapshot
        case bytesCopied = "bytes_copied"
      }
    }
    let result: Result
  }

  struct Push: Codable {
    struct Result: Codable {
      let remote: String
      let snapshot: String
    }
    let time: String
    let exitStatus: Int32
    let error: String?
    let result: Result

    var hasFailed: Bool { ![ExitStatus.done.code, ExitStatus.warnings.code].contains(exitStatus) }

    enum CodingKeys: String, CodingKey {
      case time
      case exitStatus = "exit_status"
      case error, result
    }
  }

  struct Verification: Codable {
    let time: String
    let snapshots: Int
    let ofSnapshots: Int
    let problems: Int
    let exitStatus: Int32

    enum CodingKeys: String, CodingKey {
      case time, snapshots
      case ofSnapshots = "of_snapshots"
      case problems
      case exitStatus = "exit_status"
    }
  }

  enum CodingKeys: String, CodingKey {
    case repository
    case isWell = "is_well"
    case findings, sources, snapshots, sets, held
    case rotationHeld = "rotation_held"
    case damagedSnapshots = "damaged_snapshots"
    case bytesFree = "bytes_free"
    case bytesTotal = "bytes_total"
    case bytesCopiedPerDay = "bytes_copied_per_day"
    case lastVerification = "last_verification"
    case pushes, runs
  }

  /// Collects the state. The configuration names the expected sources; without one, all known sources are expected.
  ///
  /// A newest good snapshot is late if it is older than `maximumAgeSeconds`, or else than the configuration's RPO.
  init(
    _ repository: Repository, _ file: ConfigurationFile?, remotes: [String]? = nil, maximumAgeSeconds: Int64? = nil,
    at now: Timestamp
  ) throws {
    let list = try repository.snapshots()
    let knownDamage = try repository.marks.all(.damaged)
    var findings: [String] = []
    let expected = ExpectedSource.all(file, list)
    let hasLabels = Set(expected.map(\.label)).count > 1
    sources = expected.map { source in
      let shown = (hasLabels ? "\(displayName(source.label)):" : "") + displayName(source.path)
      let good = source.newestGood(in: list, damaged: knownDamage)
      let age = good.map { now.seconds - $0.summary.started.seconds }
      var state = "well"
      if let age, let good {
        if age < 0 {
          state = "future"
          findings.append(
            "the newest good snapshot of \(shown), \(good.name), is from the future: the clock was or is wrong")
        } else if let most = source.maximumAge(maximumAgeSeconds), age > most {
          state = "late"
          let remedy =
            file == nil ? "; if it is backed up no longer: \(repository.advice("rotate --expire \(good.name)"))" : ""
          findings.append(
            "the newest good snapshot of \(shown) is \(durationText(Double(age))) old, and should be at most "
              + durationText(Double(most)) + remedy)
        } else if source.isAbsent(in: list) {
          state = "absent"
        }
      } else if source.isOptional && source.rpoSeconds == nil {
        state = "absent"
      } else {
        state = "never"
        findings.append("there is no good snapshot of \(shown)")
      }
      return Source(
        source: shown, newestGood: good?.name.description, time: good?.summary.started.rfc3339,
        ageSeconds: age, state: state)
    }
    if list.snapshots.isEmpty { findings.append("there is no snapshot yet") }
    self.repository = displayName(repository.path)
    snapshots = list.snapshots.count
    sets = Dictionary(
      uniqueKeysWithValues: try repository.members(of: list).map { ($0.key.rawValue, $0.value.count) })
    held = try repository.marks.all(.held).keys.map(\.description).sorted()
    let plan = try repository.retention.plan(for: list, by: repository.retention.lastPolicy(), now: now)
    rotationHeld = plan.obstacle
    if let rotationHeld { findings.append("nothing expires: \(rotationHeld)") }
    if let unprotected = plan.unprotectedSentence { findings.append(unprotected) }
    let present = Set(list.snapshots.map(\.name))
    let verifiedDamage = knownDamage.filter { present.contains($0.key) }
    damagedSnapshots = (list.damaged.map(\.name) + verifiedDamage.keys).map(\.description).sorted()
    findings += list.unusable.map(\.sentence)
    for (name, reason) in verifiedDamage.sorted(by: { $0.key.description < $1.key.description }) {
      findings.append("the snapshot \(name) is damaged, found \(reason); see: \(repository.advice("verify \(name)"))")
    }
    let system = try repository.root.descriptor.fileSystem()
    bytesFree = system.hasSize ? system.bytesAvailable : 0
    bytesTotal = system.hasSize ? system.bytesUsed &+ system.bytesAvailable : 0
    let history = Self.history(try repository.history.tail(byteCount: 1 << 20))
    var copied = history.copied
    for snapshot in list.snapshots { copied[snapshot.name] = snapshot.summary.bytesCopied }
    bytesCopiedPerDay = Self.bytesCopiedPerDay(copied, at: now)
    runs = history.runs.suffix(10)
    lastVerification = history.verification
    pushes = history.pushes.filter { remotes?.contains($0.result.remote) ?? !history.wrong.contains($0.result.remote) }
    for name in remotes ?? [] where !pushes.contains(where: { $0.result.remote == name }) {
      findings.append("nothing was pushed to \(name) yet")
    }
    for push in pushes where push.hasFailed {
      findings.append(
        "the last push to \(push.result.remote), at \(push.time), failed\(push.error.map { ": \($0)" } ?? "")")
    }
    // A later rotation or received push does not clear the failure of another run.
    let tidied = history.runs.last.flatMap { $0.command == "rotate" ? $0 : nil }
    for last in [history.runs.last { !["rotate", "receive"].contains($0.command) }, tidied].compactMap({ $0 })
    where last.exitStatus != 0 {
      let why = last.error.map { ": \($0)" } ?? ""
      findings.append("the last \(last.command), at \(last.time), ended with status \(last.exitStatus)\(why)")
    }
    self.findings = findings
    isWell = findings.isEmpty
  }

  /// The daily mean over the last seven days, or over the repository's age if that is less.
  ///
  /// The span is at least one day. Expired snapshots count. The first snapshot does not count, because it copied
  /// everything.
  private static func bytesCopiedPerDay(_ copied: [SnapshotName: UInt64], at now: Timestamp) -> UInt64 {
    guard let first = copied.keys.min(by: { $0.seconds < $1.seconds }) else { return 0 }
    let day: Int64 = 86_400
    let span = min(7 * day, max(day, now.seconds - first.seconds))
    let bytes = copied.filter { $0.key != first && now.seconds - $0.key.seconds < span }.reduce(0) { $0 &+ $1.value }
    return UInt64(Double(bytes) / Double(span) * Double(day))
  }

  private static func history(
    _ text: [UInt8]
  ) -> (
    runs: [Run], verification: Verification?, pushes: [Push], wrong: Set<String>, copied: [SnapshotName: UInt64]
  ) {
    // Addresses that never worked, and that were followed by a successful push. They were typing errors, not remotes.
    var wrong: Set<String> = []
    var reached: Set<String> = []
    var runs: [Run] = []
    var pushes: [String: Push] = [:]
    var verification: Verification?
    var copied: [SnapshotName: UInt64] = [:]
    let decoder = JSONDecoder()
    for line in text.split(separator: UInt8(ascii: "\n")) {
      guard let run = try? decoder.decode(Run.self, from: Data(line)) else { continue }
      switch run.command {
      case "verify": verification = (try? decoder.decode(Verification.self, from: Data(line))) ?? verification
      case "push":
        guard let push = try? decoder.decode(Push.self, from: Data(line)) else { continue }
        pushes[push.result.remote] = push
        wrong.remove(push.result.remote)
        if !push.hasFailed {
          reached.insert(push.result.remote)
          wrong.formUnion(Set(pushes.keys).subtracting(reached))
        }
      default:
        runs.append(run)
        if let taken = (try? decoder.decode(Taken.self, from: Data(line)))?.result,
          let name = SnapshotName(taken.snapshot.utf8)
        {
          copied[name] = taken.bytesCopied
        }
      }
    }
    return (runs, verification, pushes.values.sorted { $0.result.remote < $1.result.remote }, wrong, copied)
  }
}

/// The line of `verify` in the history.
struct VerifyHistoryLine: Encodable {
  let time: String
  let command = "verify"
  /// The number of verified snapshots, then the number of existing ones.
  let snapshots: Int
  let ofSnapshots: Int
  let entries: UInt64
  let bytesRead: UInt64
  let problems: UInt64
  let exitStatus: Int32

  enum CodingKeys: String, CodingKey {
    case time, command, snapshots
    case ofSnapshots = "of_snapshots"
    case entries
    case bytesRead = "bytes_read"
    case problems
    case exitStatus = "exit_status"
  }
}
