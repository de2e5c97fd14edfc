internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Restic

/// A push of all snapshots that a remote lacks, oldest first.
///
/// A snapshot that the remote had and no longer has is not pushed again. `PushMemory` knows these.
struct PushAllJob {
  private let job: PushJob
  private let repository: Repository
  private let common: CommonOptions

  init(_ job: PushJob, from repository: Repository, options common: CommonOptions) {
    (self.job, self.repository, self.common) = (job, repository, common)
  }

  /// Pushes, or says what would be pushed. Each push is answered at once, and all together in the document.
  func run(isDryRun: Bool) throws -> ExitStatus {
    let list = try repository.snapshots()
    var (answer, lacking) = try compare(list, isDryRun: isDryRun)
    var status = unusableStatus(for: list.unusable)
    for unusable in list.unusable { Console.warn("\(unusable.sentence); it is not pushed") }
    if isDryRun {
      common.answer(answer, isWanted: true, lines: answer.plan)
      return answer.warnings > 0 && status == .done ? .warnings : status
    }
    do {
      for snapshot in lacking { try push(snapshot, answer: &answer, status: &status) }
    } catch {
      common.answer(answer, isWanted: common.speaks, lines: [answer.line])
      throw error
    }
    common.answer(answer, isWanted: common.speaks, lines: [answer.line])
    return answer.warnings > 0 && status == .done ? .warnings : status
  }

  /// Pushes a snapshot. One that is damaged here is named, and the others are pushed.
  private func push(_ snapshot: Snapshot, answer: inout PushAllAnswer, status: inout ExitStatus) throws {
    try checkForSignal()
    do {
      let pushed = try job.work(snapshot, isPartOfAll: true)
      if !common.json, common.speaks { Console.print(pushed.line) }
      answer.add(pushed)
    } catch let failure as Failure {
      if (try? repository.hasExpired(snapshot.name)) == true {
        answer.lacking.removeAll { $0 == snapshot.name.description }
        return
      }
      guard failure.kind == .damaged else { throw failure }
      Console.complain(of: failure, status: .damaged)
      status = .damaged
    }
  }

  /// Finds the snapshots that the remote lacks, in the order of the list.
  private func compare(_ list: SnapshotList, isDryRun: Bool) throws -> (PushAllAnswer, lacking: [Snapshot]) {
    let remote = try self.remote(of: list)
    let (usable, unusable) = (remote.usable, remote.unusable)
    let pushed = try repository.pushMemory.pushed(to: remote.id)
    var answer = PushAllAnswer(remote: job.target.name, dryRun: isDryRun)
    var same: Set<SnapshotName> = []
    var lacking: [Snapshot] = []
    for snapshot in list.snapshots {
      let name = snapshot.name
      if usable[name] == snapshot.summary.root.digest {
        same.insert(name)
      } else if usable[name] != nil || unusable.contains(name) {
        let which = usable[name] == nil ? "a damaged" : "another"
        Console.warn("\(job.target.name) has \(which) snapshot \(name); what is there is never replaced")
        answer.warnings += 1
      } else if pushed.contains(name) {
        answer.expiredThere.append(name.description)
      } else {
        lacking.append(snapshot)
      }
    }
    answer.there = same.count
    answer.lacking = lacking.map(\.name.description)
    if !isDryRun { try repository.pushMemory.note(same, areAt: remote.id) }
    return (answer, lacking)
  }

  /// The ID of the remote, and its snapshots: the root digests of the usable ones.
  private func remote(
    of list: SnapshotList
  ) throws -> (id: [UInt8], usable: [SnapshotName: Digest], unusable: Set<SnapshotName>) {
    if let access = job.target.restic {
      let restic = try access.open()
      let there = try PushedSnapshots(in: restic)
      let same = list.snapshots.filter(there.contains)
      let digests = Dictionary(uniqueKeysWithValues: same.map { ($0.name, $0.summary.root.digest) })
      return (restic.idText, digests, [])
    }
    let connection = try Connection(options: job.target.options)
    try job.refuseItself(at: connection)
    let there = try RemoteRepository(over: connection).snapshots()
    let digests = Dictionary(uniqueKeysWithValues: there.snapshots.map { ($0.name, $0.summary.root.digest) })
    return (connection.repositoryID, digests, Set(there.unusable.map(\.name)))
  }
}

/// The document of `push --all --json`.
struct PushAllAnswer: Encodable {
  let remote: String
  let dryRun: Bool
  var pushes: [PushAnswer] = []
  /// The snapshots that the remote lacks still.
  var lacking: [String] = []
  /// The snapshots that the remote had and no longer has.
  var expiredThere: [String] = []
  /// The number of snapshots that the remote had before.
  var there = 0
  var warnings = 0

  init(remote: String, dryRun: Bool) { (self.remote, self.dryRun) = (remote, dryRun) }

  mutating func add(_ push: PushAnswer) {
    pushes.append(push)
    lacking.removeAll { $0 == push.snapshot }
    warnings += push.warnings
  }

  /// The lines of a dry run.
  var plan: [String] {
    lacking.map { "would send \($0) to \(remote)" }
      + ["would send \(counted(lacking.count, "snapshot")); \(state)"]
  }

  var line: String {
    "sent \(counted(pushes.count, "snapshot")) to \(remote)"
      + (lacking.isEmpty ? "" : ", which lacks \(lacking.count) still") + "; \(state)"
  }

  private var state: String {
    "it had \(there)"
      + (expiredThere.isEmpty ? "" : ", and \(expiredThere.count) that expired there \(verb) not sent again")
  }

  private var verb: String { expiredThere.count == 1 ? "is" : "are" }
}
