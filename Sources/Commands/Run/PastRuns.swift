internal import Model
internal import Settings

/// The runs that a repository's history records.
struct PastRuns {
  struct Run: Codable {
    let time, command: String
    let exitStatus: Int32
    let error: String?
  }

  struct Push: Codable {
    struct Result: Codable {
      var remote: String
      let snapshot: String
    }
    let time: String
    let exitStatus: Int32
    let error: String?
    var result: Result

    var hasFailed: Bool { ![ExitStatus.done.code, ExitStatus.warnings.code].contains(exitStatus) }
  }

  struct Verification: Codable {
    let time: String
    /// `nil` for everything in the verified snapshots.
    let part: String?
    let snapshots, ofSnapshots, problems: Int
    let exitStatus: Int32
    let repairFrom: String?
    /// The snapshots that the repair left damaged.
    let unrepaired: [String]?
  }

  struct Audit: Codable {
    let time: String
    /// The number of findings that fall short.
    let short: Int
    let copies, media, offSite: Int
  }

  /// The result of a drill: `passed`, `warnings` or `failed`.
  struct Drill: Codable {
    let time, name, result: String
    let elapsedSeconds: Double
  }

  /// The part of a snapshot's line that gives its size.
  private struct Taken: Decodable {
    struct Result: Decodable {
      let snapshot: String
      let bytesCopied: UInt64
    }
    let result: Result
  }

  /// All runs but verifications, audits, drills, records of the plan and pushes, newest last.
  private(set) var runs: [Run] = []
  private(set) var lastVerification: Verification?
  private(set) var lastAudit: Audit?
  private(set) var lastDrill: Drill?
  /// Addresses that never worked, and that were followed by a successful push. They were typing errors, not remotes.
  private(set) var mistypedRemotes: Set<String> = []
  /// The bytes that each snapshot copied, expired snapshots included.
  private(set) var bytesCopied: [SnapshotName: UInt64] = [:]
  private var lastPushes: [String: Push] = [:]
  /// The last push to each remote that went well.
  private(set) var goodPushes: [String: Push] = [:]

  /// The remotes to which each snapshot was pushed.
  private(set) var arrivals: [SnapshotName: [String]] = [:]

  /// The remotes from which a repair of a snapshot failed, and that did not get the snapshot again since.
  private(set) var failedRepairs: [SnapshotName: Set<String>] = [:]

  /// The last push to each remote.
  var pushes: [Push] { lastPushes.values.sorted { $0.result.remote < $1.result.remote } }

  /// Skips lines of another form.
  init(history text: [UInt8]) {
    for line in text.split(separator: newline) {
      guard let run = Run(json: line) else { continue }
      switch run.command {
      case "verify":
        guard let verification = Verification(json: line) else { continue }
        lastVerification = verification
        add(repairOf: verification)
      case "audit": lastAudit = Audit(json: line) ?? lastAudit
      case "drill": lastDrill = Drill(json: line) ?? lastDrill
      case PlanRecord.commandName: break
      case "push": if let push = Push(json: line) { add(push: push) }
      default:
        runs.append(run)
        if let taken = Taken(json: line)?.result,
          let name = SnapshotName(taken.snapshot.utf8)
        {
          bytesCopied[name] = taken.bytesCopied
        }
      }
    }
  }

  private mutating func add(repairOf verification: Verification) {
    guard let remote = verification.repairFrom else { return }
    for name in (verification.unrepaired ?? []).compactMap({ SnapshotName($0.utf8) }) {
      failedRepairs[name, default: []].insert(remote)
    }
  }

  private mutating func add(push: Push) {
    var push = push
    // Older lines have the address as it was typed.
    push.result.remote = (try? RemoteAddress(push.result.remote)).map { displayName($0.recorded) } ?? push.result.remote
    let remote = push.result.remote
    lastPushes[remote] = push
    mistypedRemotes.remove(remote)
    if !push.hasFailed {
      if let name = SnapshotName(push.result.snapshot.utf8) {
        if arrivals[name]?.contains(remote) != true { arrivals[name, default: []].append(remote) }
        failedRepairs[name]?.remove(remote)
      }
      goodPushes[remote] = push
      mistypedRemotes.formUnion(Set(lastPushes.keys).subtracting(goodPushes.keys))
    }
  }
}
