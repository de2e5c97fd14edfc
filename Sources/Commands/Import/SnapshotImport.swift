internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import RsnapshotImport
internal import Settings

struct SnapshotImport {
  let directory: [UInt8]
  let label: Name?
  let levels: [String]
  let isDry: Bool
  let threads: ThreadCount
  let common: CommonOptions

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let repository = try common.openRepository()
    let trees = try adoptableTrees(in: directory, levels: rsnapshotLevels + levels)
    guard !trees.isEmpty else {
      throw Failure(
        .usage, "there are no snapshots of rsnapshot in \(displayName(directory))", path: directory,
        hint: "they are directories such as hourly.0 or daily.3; name other levels with --level")
    }
    if !isDry { try Self.refuseWhileRsnapshotWorks() }
    let file = try common.configuration(of: repository)
    let options = AdoptOptions(
      directory: directory, label: (label ?? file?.settings.label ?? .localhost).bytes,
      sources: file?.sources.map { Array($0.path.utf8) } ?? [], hostSources: file?.hostSources.map(\.subject) ?? [],
      threads: threads)
    let start = Clock.now()
    var answer = SnapshotImportAnswer(time: start.rfc3339, dryRun: isDry, trees: [])
    var others: Set<[UInt8]> = []
    for tree in trees {
      let seen = try preflightAdoption(of: tree, with: options, in: repository)
      others.formUnion(seen.otherLabels)
      if isDry { answer.add(tree, snapshot: SnapshotName(seconds: tree.time.seconds), failure: seen.trouble) }
    }
    if !isDry {
      try repository.withLock(for: "import", at: start) {
        try adoptAll(trees, options: options, in: repository, into: &answer)
      }
    }
    common.answer(answer, lines: lines(for: answer, otherLabels: others))
    return ExitStatus(code: answer.exitStatus)
  }

  /// Refuses to work while rsnapshot runs.
  ///
  /// The test reads the lock file of Debian's default configuration.
  private static func refuseWhileRsnapshotWorks() throws(Failure) {
    let path = Array("/var/run/rsnapshot.pid".utf8)
    let text: [UInt8]
    do { text = try Descriptor.open(path: path, .read).readToEnd(limit: 64) } catch {
      if error.meansAbsence { return }
      throw Failure(
        .failed, "cannot find out whether rsnapshot is at work, from \(displayName(path)): \(error)", path: path)
    }
    guard let process = Int32(String(decoding: text.filter { $0 > 0x20 }, as: UTF8.self)),
      CurrentProcess.exists(process: process)
    else { return }
    throw Failure(
      .locked, "rsnapshot is at work, as process \(process)", hint: "wait for it to end, and disable its cron job")
  }

  private func lines(for answer: SnapshotImportAnswer, otherLabels others: Set<[UInt8]>) -> [String] {
    var lines: [String] = []
    if isDry {
      let rows = answer.trees.map { [$0.tree, $0.snapshot ?? "stays", $0.error ?? ""] }
      lines = table([["TREE", "BECOMES", ""]] + rows)
    } else if answer.error == nil {
      lines = ["disable rsnapshot's cron job; what retention makes of them is shown by: treering rotate --dry-run"]
    }
    if !others.isEmpty {
      let names = others.map { displayName($0) }.sorted().joined(separator: ", ")
      lines.append("beside their label the trees hold \(names): restore what is there by a path that begins so")
    }
    return lines
  }

  /// Adopts the trees in order, and stops at the first error.
  ///
  /// A tree must be newer than all snapshots, so later adoptions would exclude the failed tree for ever.
  private func adoptAll(
    _ trees: [AdoptableTree], options: AdoptOptions, in repository: Repository, into answer: inout SnapshotImportAnswer
  ) throws {
    for tree in trees {
      do throws(Failure) { answer.add(tree, snapshot: try adopt(tree, options: options, in: repository).name) } catch {
        answer.add(tree, failure: error)
        Console.complain(
          "\(displayName(tree.name)) is not adopted, and stays where it is with those after it: \(error)")
        break
      }
    }
    for problem in repository.problems.drain() {
      Console.warn("\(problem)")
      answer.warn(Failure(.failed, problem.description))
    }
    // Later errors do not undo the adoptions.
    func step(hint: String = "", body: () throws(Failure) -> Void) {
      do { try body() } catch {
        Console.warn("\(error)\(hint)")
        answer.warn(error)
      }
    }
    step { () throws(Failure) in try holdLast(for: options, in: repository, into: &answer) }
    step(hint: "; the next run tries again") { () throws(Failure) in
      try repository.retention.updateLinks(for: repository.snapshots())
    }
    step { () throws(Failure) in try repository.history.append(answer) }
  }

  /// Holds the newest adopted tree of each source that is no longer backed up.
  ///
  /// Only the operator can know whether it is still wanted.
  private func holdLast(
    for options: AdoptOptions, in repository: Repository, into answer: inout SnapshotImportAnswer
  ) throws(Failure) {
    let adopted = Set(answer.trees.compactMap(\.snapshot))
    let held = try repository.marks.all(.held)
    var seen = Set(SourceSet(label: options.label, paths: options.sources).keys + options.hostSources)
    for snapshot in try repository.snapshots().snapshots.reversed() {
      let summary = snapshot.summary
      let keys = SourceSet(label: summary.label, paths: summary.sources).keys + summary.otherSources
      let last = keys.filter { seen.insert($0).inserted }
      guard !last.isEmpty, adopted.contains(snapshot.name.description) else { continue }
      let reason = "the last of \(Self.words(for: last, label: options.label))"
      if held[snapshot.name] == nil {
        try repository.marks.add(.held, to: snapshot.name, reason: reason, at: Clock.now())
      }
      answer.held.append(SnapshotImportAnswer.Held(snapshot: snapshot.name.description, reason: reason))
      guard !common.quiet && !common.json else { continue }
      Console.print(
        "\(snapshot.name) is held, as \(reason); let it go with: \(repository.advice("release \(snapshot.name)")), and be rid of it "
          + "with: \(repository.advice("delete \(snapshot.name)"))")
    }
  }

  /// The names of sources for a message: labels of other hosts, and paths of this host's own sources.
  private static func words(for sources: [[UInt8]], label own: [UInt8]) -> String {
    var words: [String] = []
    for source in sources {
      let label = source.prefix { $0 != slash }
      let word = displayName(label.elementsEqual(own) ? Array(source[label.endIndex...]) : Array(label))
      if !words.contains(word) { words.append(word) }
    }
    return words.joined(separator: ", ")
  }

  private func adopt(
    _ tree: AdoptableTree, options: AdoptOptions, in repository: Repository
  ) throws(Failure) -> Snapshot {
    let progress = Progress()
    let start = Clock.monotonic()
    let line = ProgressLine(for: "import of \(displayName(tree.name))", of: progress, options: common)
    defer { line.stop() }
    let snapshot = try Engine.adopt(
      tree, with: options, in: repository, program: "treering \(Treering.version)", progress: progress)
    line.stop()
    if !common.quiet && !common.json {
      let totals = snapshot.summary.root.totals
      Console.print(
        "\(displayName(tree.name)) is now \(snapshot.name): \(counted(totals.entries, "entry")), "
          + "\(byteText(totals.bytes)), of which \(byteText(progress.bytesRead.value)) were read, "
          + "in \(durationText(Clock.monotonic() - start))")
    }
    return snapshot
  }
}

/// The document of `import snapshots --json`, and one line of the history.
struct SnapshotImportAnswer: HistoryLine {
  struct Held: Encodable {
    let snapshot, reason: String
  }

  struct Tree: Encodable {
    let tree, time: String
    /// `nil` if the tree was not adopted.
    let snapshot: String?
    let error: String?
  }

  let time: String
  let command = "import"
  let dryRun: Bool
  var trees: [Tree]
  /// The snapshots that are held because no newer one has their sources.
  var held: [Held] = []
  var exitStatus = ExitStatus.done.code
  var error: String?

  mutating func add(_ tree: AdoptableTree, snapshot: SnapshotName? = nil, failure: Failure? = nil) {
    trees.append(
      Tree(
        tree: displayName(tree.name), time: tree.time.rfc3339,
        snapshot: failure == nil ? snapshot?.description : nil, error: failure?.description))
    guard let failure, error == nil else { return }
    error = "\(displayName(tree.name)): \(failure)"
    let isSomeAdopted = trees.contains { $0.snapshot != nil }
    exitStatus = (isSomeAdopted ? ExitStatus(afterPublication: failure.kind) : ExitStatus(failure.kind)).code
  }

  /// Records an error that came after the adoption.
  mutating func warn(_ failure: Failure) {
    error = error ?? failure.description
    if exitStatus == ExitStatus.done.code { exitStatus = ExitStatus.warnings.code }
  }
}
