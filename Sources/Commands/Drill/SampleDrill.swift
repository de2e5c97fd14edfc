internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Restic
internal import Synchronization

/// The drill of one copy: a random sample of its files and directories is restored and compared, and its dumps are
/// loaded.
struct SampleDrill {
  let store: any VerifiableStore
  let size: SampleSize
  let seed: UInt64
  /// The directory below which everything is restored.
  let parent: [UInt8]
  let now: Timestamp
  let threads: ThreadCount
  let keeps: Bool
  let common: CommonOptions

  /// Runs the drill. `start` is the time before the copy was opened.
  func run(into answer: inout DrillAnswer.Copy, since start: Timestamp) throws {
    let list = try store.snapshots()
    answer.repositoryId = displayName(store.repositoryID)
    guard let newest = list.newest else { throw Failure(.failed, "the copy has no snapshot") }
    answer.ageSeconds = now.seconds - newest.summary.started.seconds
    let sample = try DrillSample(of: list, in: store, size: size, seed: seed)
    let dumps = try DatabaseDrill.newestDumps(
      in: list, of: store, configured: common.configuration()?.databaseSettings ?? [])
    answer.snapshots = Array(Set(sample.parts.map(\.snapshot.name.description))).sorted()
    answer.openSeconds = Clock.monotonic() - start
    // A dump, and the server that is made of it.
    let dumpBytes = dumps.map(\.byteCount).reduce(0) { keeps ? $0 &+ $1 : max($0, $1) }
    let place = try DrillPlace(below: parent, forBytes: sample.byteCount + 3 * dumpBytes)
    defer { if keeps { answer.kept = place.keep().map { displayName($0) } } else { place.remove() } }
    let files = try place.directory.make("files")
    for (number, part) in sample.parts.enumerated() {
      try restore(part, to: files.path(of: "\(number)"), into: &answer)
    }
    if dumps.isEmpty { return }
    let databases = try DatabaseDrill(
      of: store, in: place.directory, at: now, threads: threads, keeps: keeps, common: common)
    defer { databases.end() }
    for (number, dump) in dumps.enumerated() {
      let loaded = try databases.load(dump, number: number)
      answer.databases.append(loaded.answer)
      if let damage = loaded.damage {
        answer.add(.init(path: displayName(dump.record.source), message: damage, isDamage: true))
      } else if let obstacle = databases.obstacle {
        answer.add(.init(path: displayName(dump.record.source), message: obstacle, isDamage: false))
      }
    }
  }

  /// Restores a part of the sample and compares it with the catalog and with the source.
  private func restore(_ part: DrillSample.Part, to path: [UInt8], into answer: inout DrillAnswer.Copy) throws {
    let options = RestoreOptions(
      paths: part.paths, destination: path, overwrite: .never, isDryRun: false, threads: threads)
    let result = try answer.restore(part.snapshot, from: store, options: options, common: common)
    for path in part.paths {
      answer.add(
        .init(
          path: displayName(path.atSource(label: part.snapshot.summary.label)), snapshot: part.snapshot.name.description
        ))
    }
    let differences = try readAgain(part, from: path, options: options)
    func source(of restored: [UInt8]) -> String {
      displayName(restored.starts(with: path) ? restored.dropFirst(path.count) : restored[...])
    }
    for warning in result.warnings {
      let isDamage = result.damaged > 0 && differences[warning.path]?.isDamage == true
      answer.add(.init(path: source(of: warning.path), message: warning.message, isDamage: isDamage))
    }
    var bad = Set(result.warnings.map(\.path))
    for (path, difference) in differences.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) })
    where bad.insert(path).inserted {
      answer.add(.init(path: source(of: path), message: difference.message, isDamage: difference.isDamage))
    }
    if result.damaged > 0, !answer.problems.contains(where: \.isDamage) {
      let text = counted(result.damaged, "stored file is", plural: "stored files are") + " damaged"
      answer.add(.init(path: part.snapshot.name.description, message: text, isDamage: true))
    }
    try compareWithSource(part, restoredTo: path, without: bad, into: &answer)
  }

  /// Reads the restored entries again, and compares them with the catalog. The result is by path.
  private func readAgain(
    _ part: DrillSample.Part, from path: [UInt8], options: RestoreOptions
  ) throws -> [[UInt8]: RestoredDifference] {
    var options = options
    // The digests of restic's format are not those of whole files.
    options.overwrite = store is ResticStore ? .ifChanged : .ifDifferent
    options.isDryRun = true
    options.threads = 1
    let monitor = DrillMonitor()
    _ = try Engine.restore(part.snapshot, from: store, options: options, progress: Progress(), monitor: monitor)
    var differences: [[UInt8]: RestoredDifference] = [:]
    for change in monitor.changes { differences[change.path] = RestoredDifference(change) }
    return differences
  }

  /// `bad` has the restored paths that are not as the catalog says.
  private func compareWithSource(
    _ part: DrillSample.Part, restoredTo path: [UInt8], without bad: Set<[UInt8]>, into answer: inout DrillAnswer.Copy
  ) throws {
    let summary = part.snapshot.summary
    // Only the own label has the paths of this machine.
    guard part.paths.first?.first == summary.label, !summary.sources.isEmpty else { return }
    let restored: Directory
    do { restored = Directory(try Descriptor.open(path: path, [.read, .directory])) } catch {
      throw Failure.writing("open", at: path, because: error)
    }
    let comparison = LiveComparison(of: summary.sources, restoredBelow: restored)
    let catalog = CatalogReader(reading: try store.openCatalog(of: part.snapshot.name))
    for top in part.paths {
      try forEachDifference(from: nil, to: catalog, under: top) { entries, place in
        try checkForSignal()
        guard case .file(let row, _)? = entries.sides.right, row.kind == .regular else { return }
        let source = place.path.dropFirst()
        if bad.contains(source.bytes(below: path)) { return }
        let state = comparison.state(of: row, at: source)
        answer.live.count(state)
        guard state == .damaged else { return }
        answer.add(
          .init(
            path: displayName(source.absolute),
            message: "the source has other bytes than the copy, with the same size, inode and times", isDamage: true))
      }
    }
  }
}

extension DrillAnswer.Live {
  fileprivate mutating func count(_ state: LiveState) {
    switch state {
    case .same: same += 1
    case .changed: changed += 1
    case .gone: gone += 1
    case .damaged: damaged += 1
    case .unreadable: unreadable += 1
    }
  }
}

/// A difference of a restored entry from the catalog.
struct RestoredDifference: Equatable {
  let message: String
  let isDamage: Bool

  /// `nil` if there is none. `change` is what a restore in its place would do.
  init?(_ change: RestoreChange) {
    self.init(change.verb, isOtherKind: change.kindBefore != nil, aspects: change.aspects)
  }

  init?(_ verb: Change.Verb, isOtherKind: Bool, aspects: ChangedAspects) {
    if verb == .added {
      (message, isDamage) = ("was not restored", true)
    } else if isOtherKind || !aspects.isDisjoint(with: [.content, .target, .device]) {
      (message, isDamage) = ("was restored with another content than the catalog names", true)
    } else if aspects.isEmpty {
      return nil
    } else {
      let words = aspects.words.joined(separator: ", ")
      (message, isDamage) = ("was restored with other metadata: \(words)", false)
    }
  }
}

extension DrillAnswer.Copy {
  /// Restores files and counts them.
  mutating func restore(
    _ snapshot: Snapshot, from store: any SnapshotStore, options: RestoreOptions, common: CommonOptions
  ) throws -> (damaged: UInt64, warnings: [Warning]) {
    let progress = Progress()
    let monitor = DrillMonitor()
    let line = ProgressLine(for: "restore", of: progress, options: common)
    defer { line.stop() }
    let result = try Engine.restore(snapshot, from: store, options: options, progress: progress, monitor: monitor)
    files += Int(progress.files.value)
    directories += Int(progress.directories.value)
    bytes += progress.bytesCopied.value
    restoreSeconds = (restoreSeconds ?? 0) + result.elapsedSeconds
    return (result.damaged, monitor.warnings)
  }
}

/// Keeps the warnings and the changes of a restore.
final class DrillMonitor: Monitor {
  private let state = Mutex<(warnings: [Warning], changes: [RestoreChange])>(([], []))

  var wantsChanges: Bool { true }
  func warn(_ warning: Warning) { state.withLock { $0.warnings.append(warning) } }
  func changed(_ change: RestoreChange) { state.withLock { $0.changes.append(change) } }
  var warnings: [Warning] { state.withLock { $0.warnings } }
  var changes: [RestoreChange] { state.withLock { $0.changes } }
}
