internal import Catalog
internal import Engine
internal import Posix
internal import Repository
internal import Settings

/// The work of `import snapshots`.
struct SnapshotImport {
  let directory: [UInt8]
  let label: [UInt8]?
  let isDry: Bool
  let threads: Int
  let common: CommonOptions

  func execute() throws -> ExitStatus {
    Posix.Process.rememberSignals()
    let repository = try common.openRepository()
    let trees = try adoptableTrees(in: directory)
    guard !trees.isEmpty else {
      throw Failure(
        .usage, "there are no snapshots of rsnapshot in \(displayName(directory))",
        hint: "they are directories such as hourly.0 or daily.3")
    }
    let start = Clock.now()
    let answer =
      isDry
      ? SnapshotImportAnswer(
        time: start.rfc3339, isDry: true,
        trees: trees.map { .init($0, snapshot: SnapshotName(seconds: $0.time.seconds), error: nil) })
      : try repository.whileLocked("import", at: start) { try adoptAll(trees, repository, start) }
    if common.json { Console.print(jsonText(answer)) } else if isDry && !common.quiet { show(answer) }
    return ExitStatus(code: answer.exitStatus)
  }

  private func show(_ answer: SnapshotImportAnswer) {
    let rows = answer.trees.map { [$0.tree, $0.snapshot ?? ""] }
    for line in table([["TREE", "BECOMES"]] + rows) { Console.print(line) }
  }

  /// A tree that cannot be adopted stays where it is, and those after it are adopted all the same.
  private func adoptAll(
    _ trees: [AdoptableTree], _ repository: Repository, _ start: Timestamp
  ) throws -> SnapshotImportAnswer {
    let configured = try common.configuration().flatMap { $0.repositoryPath == repository.path ? $0 : nil }
    let options = AdoptOptions(
      directory: directory, label: label, sources: configured?.settings.sources.map { Array($0.path.utf8) } ?? [],
      threads: threads)
    var answer = SnapshotImportAnswer(time: start.rfc3339, isDry: false, trees: [])
    for tree in trees {
      do {
        let snapshot = try adopt(one: tree, options, repository)
        answer.trees.append(.init(tree, snapshot: snapshot.name, error: nil))
      } catch {
        let message = "\(displayName(tree.name)) is not adopted, and stays where it is: \(error)"
        Console.complain(message)
        answer.trees.append(.init(tree, snapshot: nil, error: error.description))
        answer.error = answer.error ?? message
        if error.kind == .failed { continue }
        // The others would fare no better.
        answer.exitStatus = ExitStatus(error.kind).code
        break
      }
    }
    if answer.error != nil, answer.exitStatus == ExitStatus.done.code {
      answer.exitStatus = (answer.trees.contains { $0.snapshot != nil } ? ExitStatus.warnings : .failed).code
    }
    try repository.updateSets(repository.snapshots())
    try repository.appendHistory(jsonText(answer, isLine: true))
    return answer
  }

  private func adopt(
    one tree: AdoptableTree, _ options: AdoptOptions, _ repository: Repository
  ) throws(Failure) -> Snapshot {
    let progress = Progress()
    let start = Clock.monotonic()
    let line = ProgressLine("import of \(displayName(tree.name))", progress, common)
    defer { line.stop() }
    let snapshot = try Engine.adopt(
      tree, options, in: repository, program: "treering \(Treering.version)", progress: progress)
    line.stop()
    if !common.quiet && !common.json {
      let totals = snapshot.summary.root.totals
      Console.print(
        "\(displayName(tree.name)) is now \(snapshot.name): \(counted(totals.entries, "entry", "entries")), "
          + "\(byteText(totals.bytes)), of which \(byteText(progress.bytesRead.value)) were read, "
          + "in \(durationText(Clock.monotonic() - start))")
    }
    return snapshot
  }
}

/// The document of `import snapshots --json`, and one line of the history.
struct SnapshotImportAnswer: Encodable {
  struct Tree: Encodable {
    let tree: String
    let time: String
    /// `nil` where it was not adopted.
    let snapshot: String?
    let error: String?

    init(_ tree: AdoptableTree, snapshot: SnapshotName?, error: String?) {
      self.tree = displayName(tree.name)
      time = tree.time.rfc3339
      self.snapshot = snapshot?.description
      self.error = error
    }
  }

  let time: String
  let command = "import"
  let isDry: Bool
  var trees: [Tree]
  var exitStatus = ExitStatus.done.code
  /// The first thing that went wrong.
  var error: String?

  enum CodingKeys: String, CodingKey {
    case time, command
    case isDry = "dry_run"
    case trees
    case exitStatus = "exit_status"
    case error
  }
}
