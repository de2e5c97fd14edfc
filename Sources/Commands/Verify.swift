internal import ArgumentParser
internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Settings
internal import Synchronization

struct VerifyCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Check that snapshots are what their catalogs say.",
    discussion: """
      Every stored file is read once, however many of the snapshots share it, and compared with its \
      SHA-256; presence, kind and metadata of every entry are compared too. Each path that differs is \
      named. Without a SNAPSHOT all are checked. A part, such as 3/30, is the same part in every snapshot: each \
      stored file is in one part, and all parts together are everything.

      Examples:
        treering verify latest --repository /backup/treering
        treering verify --part 3/30 --limit-rate 50MB/s --repository /backup/treering
      """)

  @Argument(
    help: ArgumentHelp("The snapshots to check; all, if left out.", valueName: "snapshot"), completion: .snapshot)
  var snapshots: [String] = []

  @Option(
    help: ArgumentHelp("Check one of several parts of the stored data, such as 3/30.", valueName: "n/parts"),
    transform: parsed(
      by: { VerificationPart($0) }, or: "--part takes a part such as 3/30, of at most \(VerificationPart.mostParts)"))
  var part = VerificationPart.whole

  @Option(
    help: ArgumentHelp("Check only snapshots that were taken at this time or later.", valueName: "time"),
    transform: moment(for: "--since"))
  var since: Int64?

  @Option(
    help: ArgumentHelp(
      "Replace what is damaged by what another repository has of it: a path, an address, or a name.",
      valueName: "remote"), completion: .remote)
  var repairFrom: PathArgument?

  @OptionGroup var threads: ThreadOption
  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let (store, list) = try common.openList(connection: connection, allowsRate: true, fromCache: false)
    let names = try names(in: list, of: store)
    if let repairFrom { try checkRepair(of: store, from: repairFrom) }
    let start = Clock.now()
    let progress = Progress()
    let progressLine = ProgressLine(for: "verify", of: progress, options: common)
    defer { progressLine.stop() }
    var found = try read(names, in: store, progress: progress, prints: !common.json)
    let damaged = found.problems.filter(\.isDamage)
    if let repairFrom, let repository = store.local, !damaged.isEmpty {
      try repair(damaged, in: repository, from: repairFrom)
      try readAgain(names, in: repository, after: &found)
    }
    progressLine.stop()
    let verified = names.filter { !found.result.expired.contains($0) }
    report(findings: found, of: verified, progress: progress, remedy: try remedy(for: found, in: store.local))
    let isOfAll = Set(names).isSuperset(of: list.snapshots.map(\.name) + list.unusable.map(\.name))
    guard let repository = store.local else {
      if isOfAll { recordOfRemote(found.result, of: verified, at: start) }
      return found.status
    }
    var line = VerificationLine(
      time: start, part: part, verified: verified.count, of: list, findings: found, progress: progress)
    line.repairFrom = try repairRemote()
    if repairFrom != nil { line.unrepaired = found.result.damagedSnapshots.map(\.description) }
    let isRecorded = record(
      line, of: found.result, names: verified, part: isOfAll ? part : nil, in: repository, at: start)
    return isRecorded || found.status != .done ? found.status : .warnings
  }

  private func names(in list: SnapshotList, of store: any SnapshotStore) throws -> [SnapshotName] {
    var names: [SnapshotName] = []
    if snapshots.isEmpty { names = list.unusable.map(\.name) + list.snapshots.map(\.name) }
    for reference in snapshots {
      let snapshot = try store.resolve(reference, in: list)
      if names.contains(snapshot.name) { continue }
      common.noteDistance(of: snapshot, from: reference)
      names.append(snapshot.name)
    }
    if let since { names.removeAll { $0.seconds < since } }
    return names
  }

  /// Verifies snapshots. A remote verifies itself, and only the differences are sent.
  private func read(
    _ names: [SnapshotName], in store: any VerifiableStore, progress: Progress, prints: Bool
  ) throws -> VerificationFindings {
    let problems = Mutex<[Problem]>([])
    let keeps = common.json || repairFrom != nil
    let options = VerifyOptions(threads: threads.count, part: part, bytesPerSecond: connection.limitRate)
    let result = try store.verify(names, options: options, progress: progress) { problem in
      if keeps { problems.withLock { $0.append(problem) } }
      if prints { Console.print(problem.line) }
    }
    return VerificationFindings(result: result, problems: problems.withLock { $0 })
  }

  // MARK: Repair

  /// Throws a usage error before hours of reading. The connection is closed again, because it would not last so long.
  private func checkRepair(of store: any SnapshotStore, from source: PathArgument) throws {
    guard let repository = store.local else {
      throw Failure(.usage, "--repair-from repairs a repository that is here", hint: "run it where the repository is")
    }
    let owner = repository.identity.user
    guard CurrentProcess.effectiveUser == owner else {
      throw Failure(
        .usage, "the repository belongs to user \(owner): run as its owner, or files of another owner would be in it")
    }
    _ = try openSource(source, of: repository)
  }

  /// Verifies the damaged snapshots again: only a second reading clears damage. The others keep their first result.
  private func readAgain(_ names: [SnapshotName], in repository: Repository, after found: inout VerificationFindings)
    throws
  {
    let damaged = Set(found.problems.filter(\.isDamage).map(\.snapshot))
    let again = try read(names.filter(damaged.contains), in: repository, progress: Progress(), prints: false)
    found.problems = found.problems.filter { !damaged.contains($0.snapshot) } + again.problems
    found.result.damage.merge(again.result.damage) { $1 }
    found.result.elapsedSeconds += again.result.elapsedSeconds
    found.result.problems = UInt64(found.problems.count)
    found.result.damaged = UInt64(found.problems.count { $0.isDamage })
  }

  /// Opens the repository that supplies the data for repairs.
  private func openSource(_ source: PathArgument, of repository: Repository) throws -> any SnapshotStore {
    let text = String(decoding: source.bytes, as: UTF8.self)
    let configuration = try common.configuration()
    let isNamed = configuration?.settings.remotes.contains { $0.name == text } ?? false
    // A word without slash and colon is a name.
    var isRemote = isNamed || !text.contains("/") && !text.contains(":")
    if !isRemote, case .ssh = try CommonOptions.address(of: source.bytes) { isRemote = true }
    if try CommonOptions.address(of: source.bytes).isOfRestic { isRemote = true }
    if isRemote {
      let target = try RemoteTarget(named: text, in: configuration, connection: connection, options: common)
      if target.restic != nil {
        throw Failure(
          .usage, "a repository of restic's format cannot repair this one", hint: "restore the damaged paths from it")
      }
      return RemoteRepository(over: try Connection(options: target.options))
    }
    let other = try Repository.open(source.bytes)
    let (own, its) = (repository.identity, other.identity)
    guard own.inode != its.inode || own.device != its.device else {
      throw Failure(
        .usage, "\(displayName(source.bytes)) is the repository that is to be repaired", path: source.bytes,
        hint: "name another one")
    }
    return other
  }

  private func repair(_ problems: [Problem], in repository: Repository, from source: PathArgument) throws {
    let other = try openSource(source, of: repository)
    // Unpublished trees and the spare are deleted first, so that only snapshots have names of a damaged inode.
    try repository.withLock(for: "verify", at: Clock.now()) {
      try repository.publication.recover(keepingUnfinished: false)
      repository.retirement.discardSpare()
    }
    emptyTrashNotingErrors(of: repository, threads: threads.count)
    let result = try repository.withLock(for: "verify", at: Clock.now()) {
      try Engine.repair(problems, in: repository, from: other, threads: threads.count, progress: Progress())
    }
    emptyTrashNotingErrors(of: repository, threads: threads.count)
    if result.sharedInodes > 0 {
      Console.note(
        "\(counted(result.sharedInodes, "damaged file is", plural: "damaged files are")) in other snapshots "
          + "as well, under other paths; repair without naming a snapshot")
    }
    if common.json { return }
    for repair in result.repairs {
      let line = repair.problem.line.split(separator: ":", maxSplits: 1)[0]
      Console.print("\(line): " + (repair.obstacle.map { "cannot be repaired: \($0)" } ?? "repaired"))
    }
  }

  // MARK: Answer

  /// The way to repair damage; `nil` without damage, and for a remote, whose own pushes are not known.
  private func remedy(for found: VerificationFindings, in repository: Repository?) throws -> String? {
    guard let repository, found.result.damaged > 0 else { return nil }
    let names = found.result.damagedSnapshots
    let history = PastRuns(history: try repository.history.tail(byteCount: 1 << 20))
    var arrivals = Arrivals(of: repository, after: history, configuration: try common.configuration(of: repository))
    if let remote = try repairRemote() { arrivals.addFailedRepair(of: names, from: remote) }
    return arrivals.remedy(forDamageIn: names, repository: repository.path)
  }

  /// The remote of the repair as pushes are recorded: by its name, or the recorded form of its address.
  private func repairRemote() throws -> String? {
    guard let repairFrom else { return nil }
    let text = String(decoding: repairFrom.bytes, as: UTF8.self)
    if try common.configuration()?.settings.remotes.contains(where: { $0.name == text }) == true { return text }
    return displayName(try CommonOptions.address(of: repairFrom.bytes).resolved.recorded)
  }

  private func report(
    findings found: VerificationFindings, of verified: [SnapshotName], progress: Progress, remedy: String?
  ) {
    let result = found.result
    if common.json {
      Console.print(
        jsonText(
          Answer(
            snapshots: verified.map(\.description), part: part.isWhole ? nil : part.description,
            expired: result.expired.map(\.description).sorted(),
            entries: progress.entries.value, filesRead: result.filesRead, bytesRead: progress.bytesRead.value,
            archivedChunks: result.archivedChunks, problems: found.problems.map(Answer.Item.init),
            elapsedSeconds: result.elapsedSeconds)))
    } else if result.damaged > 0 {
      Console.complain(
        "damage found: \(counted(result.damaged, "path differs", plural: "paths differ")) from the catalog, "
          + "named on standard output", hint: remedy)
      // An entry that could not be read hides what is below it.
      if result.problems > result.damaged { Console.complain(unverified(count: result.problems - result.damaged)) }
    } else if result.problems > 0 {
      Console.complain(unverified(count: result.problems))
    } else if verified.isEmpty, result.expired.isEmpty {
      Console.complain("there is no snapshot to verify")
    } else if !common.quiet {
      Console.print(
        "verified " + (part.isWhole ? "" : "part \(part) of ")
          + "\(counted(verified.count, "snapshot")), \(counted(progress.entries.value, "entry")): read "
          + "\(counted(result.filesRead, "file")) "
          + "(\(byteText(progress.bytesRead.value))) in \(durationText(result.elapsedSeconds)), no damage"
          + (result.expired.isEmpty ? "" : "; \(result.expired.count) had expired before their turn"))
    }
    if result.archivedChunks > 0, !common.json {
      let chunks = counted(result.archivedChunks, "chunk is", plural: "chunks are")
      Console.note("\(chunks) in an archive, and not verified")
    }
  }

  private func unverified(count: UInt64) -> String {
    "\(counted(count, "path")) could not be verified, named on standard output"
      + (CurrentProcess.effectiveUser == 0 ? "" : "; verify as root")
  }

  /// Records damage and the run. Returns false, with a warning, if that failed.
  private func record(
    _ line: VerificationLine, of result: VerifyResult, names: [SnapshotName], part: VerificationPart?,
    in repository: Repository, at time: Timestamp
  ) -> Bool {
    do {
      try repository.record(line, of: result, names: names, part: part, by: "verify", at: time)
      return true
    } catch {
      // A user with read-only access to the repository may verify it.
      let isReader = CurrentProcess.effectiveUser != 0 && error.cause?.meansNoPermission == true
      if isReader || error.cause == .readOnlyFileSystem {
        if common.verbose { Console.note("\(error)") }
        return true
      }
      Console.warn("\(error)")
      return false
    }
  }

  /// Remembers the verification of all snapshots of a remote beside the memory of its pushes, for `audit`. Damage
  /// forgets all earlier ones.
  private func recordOfRemote(_ result: VerifyResult, of names: [SnapshotName], at time: Timestamp) {
    do {
      guard let file = try common.configuration(), let path = file.repositoryPath,
        let address = try common.remoteAddress()
      else { return }
      let repository = try Repository.open(path)
      guard let parts = repository.pushMemory.verifiedParts(at: address.recorded) else { return }
      if result.damaged > 0 { return try parts.forget() }
      guard result.problems == 0, result.archivedChunks == 0 else { return }
      try parts.add(part, of: names, by: "verify", at: time)
    } catch { Console.note("the verification is not remembered for audit: \(error)") }
  }

  private struct Answer: Encodable {
    struct Item: Encodable {
      let problem: Problem
      init(_ problem: Problem) { self.problem = problem }

      func encode(to encoder: any Encoder) throws {
        try JSONPath(bytes: problem.path).encode(to: encoder)
        try encoder.encode(["snapshot": problem.snapshot.description, "problem": problem.message])
      }
    }
    let snapshots: [String]
    let part: String?
    let expired: [String]
    let entries, filesRead, bytesRead, archivedChunks: UInt64
    let problems: [Item]
    let elapsedSeconds: Double
  }
}
