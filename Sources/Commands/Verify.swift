internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Posix
internal import Replication
internal import Repository
internal import Settings
internal import Synchronization

struct VerifyCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check that snapshots are what their catalogs say.",
    discussion: """
      Every stored file is read once, however many of the snapshots share it, and compared with its \
      SHA-256; presence, kind and metadata of every entry are compared too. Each path that differs is \
      named. Without a SNAPSHOT all are checked.

      Example:
        treering verify latest --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The snapshots to check; all, if left out.", valueName: "snapshot"))
  var snapshots: [String] = []

  @Option(
    help: ArgumentHelp(
      "Replace what is damaged by what another repository has of it: a path, an address, or a name.",
      valueName: "remote"))
  var repairFrom: PathArgument?

  @OptionGroup var threads: ThreadOption
  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let store = try common.openStore(connection)
    let list = try store.snapshots()
    var names: [SnapshotName] = []
    if snapshots.isEmpty {
      names = list.unusable.map(\.name) + list.snapshots.map(\.name)
    } else {
      for reference in snapshots {
        let name = try store.resolve(reference, in: list).name
        if !names.contains(name) { names.append(name) }
      }
    }
    let start = Clock.now()
    let progress = Progress()
    let problems = Mutex<[Problem]>([])
    let isJSON = common.json
    let isRepairing = repairFrom != nil
    if let repairFrom {
      guard let repository = store as? Repository else {
        throw Failure(.usage, "--repair-from repairs a repository that is here", hint: "run it where the repository is")
      }
      let owner = repository.identity.user
      guard CurrentProcess.effectiveUser == owner else {
        throw Failure(
          .usage, "the repository belongs to user \(owner): run as its owner, or files of another owner would be in it")
      }
      // A usage error must show before hours of reading. The connection is closed again, because it would not last so
      // long.
      _ = try openSource(repairFrom, of: repository)
    }
    let line = ProgressLine("verify", progress, common)
    defer { line.stop() }
    var result = try check(names, in: store, progress) { problem in
      if isJSON || isRepairing { problems.withLock { $0.append(problem) } }
      if !isJSON { Console.print(Self.line(problem)) }
    }
    let found = problems.withLock { $0 }.filter(\.isDamage)
    if let repairFrom, let repository = store as? Repository, !found.isEmpty {
      try repairAll(found, in: repository, from: repairFrom)
      // Only a second reading clears damage. The other snapshots keep their first result.
      let damaged = Set(found.map(\.snapshot))
      problems.withLock { $0.removeAll { damaged.contains($0.snapshot) } }
      let again = try check(names.filter(damaged.contains), in: store, Progress()) { problem in
        problems.withLock { $0.append(problem) }
      }
      result.damage.merge(again.damage) { $1 }
      result.elapsedSeconds += again.elapsedSeconds
      let left = problems.withLock { $0 }
      result.problems = UInt64(left.count)
      result.damaged = UInt64(left.count { $0.isDamage })
    }
    line.stop()
    let verified = names.filter { !result.expired.contains($0) }
    if common.json {
      Console.print(
        jsonText(
          Answer(
            snapshots: verified.map(\.description), expired: result.expired.map(\.description).sorted(),
            entries: progress.entries.value, filesRead: result.filesRead, bytesRead: progress.bytesRead.value,
            problems: problems.withLock { $0 }.map(Answer.Item.init),
            elapsedSeconds: result.elapsedSeconds)))
    } else if result.damaged > 0 {
      Console.complain(
        "damage found: \(counted(result.damaged, "path differs", "paths differ")) from the catalog, "
          + "named on standard output")
    } else if result.problems > 0 {
      Console.complain(
        "\(counted(result.problems, "path", "paths")) could not be verified, named on standard output"
          + (CurrentProcess.effectiveUser == 0 ? "" : "; verify as root"))
    } else if !common.quiet {
      Console.print(
        "verified \(counted(UInt64(verified.count), "snapshot", "snapshots")), "
          + "\(counted(progress.entries.value, "entry", "entries")): read "
          + "\(counted(result.filesRead, "file", "files")) "
          + "(\(byteText(progress.bytesRead.value))) in \(durationText(result.elapsedSeconds)), "
          + "no damage"
          + (result.expired.isEmpty ? "" : "; \(result.expired.count) had expired before their turn"))
    }
    let status: ExitStatus =
      result.damaged > 0 ? .damaged : result.problems > 0 ? .warnings : .done
    let history = VerifyHistoryLine(
      time: start.rfc3339, snapshots: verified.count,
      ofSnapshots: list.snapshots.count + list.unusable.count - result.expired.count,
      entries: progress.entries.value, bytesRead: progress.bytesRead.value,
      problems: result.problems, exitStatus: status.code)
    guard let repository = store as? Repository else { return status }
    do {
      try Self.remember(result, in: repository, at: start)
      try repository.appendHistory(jsonText(history, isLine: true))
    } catch {
      // A user with read-only access to the repository may verify it.
      let isReader = CurrentProcess.effectiveUser != 0 && error.cause?.meansNoPermission == true
      if isReader || error.cause == .readOnlyFileSystem {
        if common.verbose { Console.complain("note: \(error)") }
      } else {
        Console.complain("warning: \(error)")
        return status == .done ? .warnings : status
      }
    }
    return status
  }

  /// Opens the repository that supplies the data for repairs.
  private func openSource(_ source: PathArgument, of repository: Repository) throws -> any SnapshotStore {
    let text = String(decoding: source.bytes, as: UTF8.self)
    let configuration = try common.configuration()
    let isNamed = configuration?.settings.remotes.contains { $0.name == text } ?? false
    // A word without slash and colon is a name.
    var isRemote = isNamed || !text.contains("/") && !text.contains(":")
    if !isRemote, case .ssh = try CommonOptions.address(source.bytes) { isRemote = true }
    if isRemote {
      return RemoteRepository(try Connection(try RemoteTarget(text, connection, configuration, common).options))
    }
    let other = try Repository.open(source.bytes)
    let (own, its) = (repository.identity, other.identity)
    guard own.inode != its.inode || own.device != its.device else {
      throw Failure(
        .usage, "\(displayName(source.bytes)) is the repository that is to be repaired", hint: "name another one")
    }
    return other
  }

  private func repairAll(_ problems: [Problem], in repository: Repository, from source: PathArgument) throws {
    let other = try openSource(source, of: repository)
    // Unpublished trees and the spare are deleted first, so that only snapshots have names of a damaged inode.
    try repository.whileLocked("verify", at: Clock.now()) {
      try repository.recover(keepingUnfinished: false)
      repository.discardSpare()
    }
    deleteTrash(repository, threads.count)
    let result = try repository.whileLocked("verify", at: Clock.now()) {
      try repair(
        problems, in: repository, from: other,
        fetcher: { (other as? RemoteRepository)?.contents(of: $0) }, threads: threads.count, progress: Progress())
    }
    deleteTrash(repository, threads.count)
    if result.sharedInodes > 0 {
      Console.complain(
        "note: \(counted(UInt64(result.sharedInodes), "damaged file is", "damaged files are")) in other snapshots "
          + "as well, under other paths; repair without naming a snapshot")
    }
    if common.json { return }
    for repair in result.repairs {
      let line = Self.line(repair.problem).split(separator: ":", maxSplits: 1)[0]
      Console.print("\(line): " + (repair.obstacle.map { "cannot be repaired: \($0)" } ?? "repaired"))
    }
  }

  /// Verifies a repository. A remote verifies itself, and only the differences are sent.
  private func check(
    _ names: [SnapshotName], in store: any SnapshotStore, _ progress: Progress,
    report: @escaping @Sendable (Problem) -> Void
  ) throws -> VerifyResult {
    guard let remote = store as? RemoteRepository else {
      return try verify(
        names, in: store as! Repository, threads: threads.count, progress: progress, report: report)
    }
    return try remote.verify(names, progress: progress, report: report)
  }

  /// Records damage, and clears the mark of a snapshot that was found intact.
  private static func remember(
    _ result: VerifyResult, in repository: Repository, at time: Timestamp
  ) throws(Failure) {
    for (name, damaged) in result.damage {
      guard let damaged else { continue }
      if damaged == 0 {
        _ = try repository.unmark(name, .damaged)
      } else {
        let reason = counted(damaged, "path differs", "paths differ")
        try repository.mark(name, .damaged, reason: "by verify: \(reason)", at: time)
      }
    }
  }

  private static func line(_ problem: Problem) -> String {
    problem.path.isEmpty
      ? "\(problem.snapshot): \(problem.message)"
      : "\(problem.snapshot) \(displayName(problem.path)): \(problem.message)"
  }

  private struct Answer: Encodable {
    struct Item: Encodable {
      let problem: Problem
      init(_ problem: Problem) { self.problem = problem }

      enum Key: String, CodingKey { case snapshot, problem }

      func encode(to encoder: any Encoder) throws {
        try JSONPath(bytes: problem.path).encode(to: encoder)
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(problem.snapshot.description, forKey: .snapshot)
        try container.encode(problem.message, forKey: .problem)
      }
    }
    let snapshots: [String]
    let expired: [String]
    let entries: UInt64
    let filesRead: UInt64
    let bytesRead: UInt64
    let problems: [Item]
    let elapsedSeconds: Double

    enum CodingKeys: String, CodingKey {
      case snapshots, expired, entries
      case filesRead = "files_read"
      case bytesRead = "bytes_read"
      case problems
      case elapsedSeconds = "elapsed_seconds"
    }
  }
}
