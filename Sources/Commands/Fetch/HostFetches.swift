internal import Engine
internal import Model
internal import Patterns
internal import Posix
internal import Repository
internal import Settings
internal import Synchronization

/// The fetches of a run: the sources of other hosts, before the snapshot that takes them in.
struct HostFetches {
  let file: ConfigurationFile

  /// The end of one fetch.
  struct End: Sendable {
    let source: Configuration.Source
    let start: Timestamp
    let state: HostSource
    /// Trouble that does not make the source less than whole.
    var warnings: [Warning] = []
    /// The reason, if there is no tree.
    var failure: String?
    /// True if the host or the directory is not there.
    var isAbsent = false

    var message: String? { failure ?? warnings.first?.description }

    func outcome(excusing excused: Set<[UInt8]>) -> RunStep.Outcome {
      if failure == nil { return warnings.isEmpty ? .done : .warnings }
      return isAbsent && excused.contains(source.subject) ? .absent : .failed
    }
  }

  /// The number of hosts that are fetched from at the same time.
  private static let mostHosts = 4

  /// Fetches each source. The caller holds the lock, and later calls `discard`.
  ///
  /// A host that cannot be reached delays no other host. Throws after a signal. Every other failure is told to `ended`
  /// alone.
  func make(
    in repository: Repository, for options: inout SnapshotOptions, isDirect: Bool, ended: (End) -> Void
  ) throws {
    guard !file.hostSources.isEmpty else { return }
    guard !isDirect else {
      let reason = "is left out: a source of another host needs a repository on this machine"
      for source in file.hostSources { options.hosts[source.subject] = .absent(reason: reason, isThere: true) }
      return
    }
    CurrentProcess.notifyServiceManager("STATUS=fetching from hosts")
    let list = try repository.snapshots()
    let rsync = Result { () throws(Failure) in try RsyncProgram.find(for: repository) }
    let settings = FetchSettings(
      changeDetection: options.changeDetection, threads: options.threads, minimumFree: file.settings.minimumFree,
      acceptsChanges: options.guardLimits.acceptsChanges)
    let waiting = Mutex(hosts.reversed().map(\.self))
    let ends = Mutex<[End]>([])
    let work: @Sendable () -> Void = {
      while let sources = waiting.withLock({ $0.popLast() }) {
        // A host that has no treering is asked once. The keys are the commands by which it was asked.
        var lacking: [[String]: String] = [:]
        for source in sources {
          let fetch = HostFetch(source: source, file: file, repository: repository, list: list, settings: settings)
          let end =
            fetch.receive(unless: &lacking)
            ?? fetch.run(with: rsync, rules: { () throws(Failure) in try rules(of: source) })
          ends.withLock { $0.append(end) }
        }
      }
    }
    let others = (1..<max(1, min(Self.mostHosts, hosts.count))).compactMap { _ in try? BackgroundThread(running: work) }
    work()
    others.forEach { $0.join() }
    let done = ends.withLock { $0 }
    for source in file.hostSources {
      guard let end = done.first(where: { $0.source.subject == source.subject }) else { continue }
      options.hosts[source.subject] = end.state
      ended(end)
    }
    try checkForSignal()
  }

  /// Removes the trees of finished fetches. Interrupted ones are kept for the next run.
  func discard(in repository: Repository) { repository.fetches.discard(but: file.hostSources.map(\.subject)) }

  /// The sources by host. Those of one host are fetched one after the other.
  private var hosts: [[Configuration.Source]] {
    var hosts: [(name: String, sources: [Configuration.Source])] = []
    for source in file.hostSources {
      let name = source.host?.text ?? ""
      if let index = hosts.firstIndex(where: { $0.name == name }) {
        hosts[index].sources.append(source)
      } else {
        hosts.append((name, [source]))
      }
    }
    return hosts.map(\.sources)
  }

  /// The rules of a source for rsync(1).
  func rules(of source: Configuration.Source) throws(Failure) -> [[UInt8]] {
    if source.host?.fetch == .treering { return [] }
    do { return try file.excludes(of: source).patterns.rsyncRules() } catch let error as UntranslatablePattern {
      throw Failure(
        .usage, "\(error.pattern.origin): rsync(1) has no rule for the pattern \"\(displayName(error.pattern.text))\"",
        hint: "write it with fewer \"**\"")
    } catch { throw error as? Failure ?? Failure(.failed, "\(error)") }
  }
}

/// The fetch of one source.
private struct HostFetch {
  let source: Configuration.Source
  let file: ConfigurationFile
  let repository: Repository
  let list: SnapshotList
  let settings: FetchSettings
  private let start = Clock.monotonic()

  private var subject: [UInt8] { source.subject }

  /// Fetches the source by treering's own protocol. `nil` if rsync(1) is to fetch it.
  ///
  /// `lacking` has the reasons for which no treering answers, by the command.
  func receive(unless lacking: inout [[String]: String]) -> HostFetches.End? {
    guard let host = source.host, host.fetch != .rsync else { return nil }
    func lacks(because reason: String) -> HostFetches.End? {
      host.fetch == .automatic ? nil : ended(withoutTree: reason, isAbsent: false)
    }
    let command = [host.ssh] + host.treering
    if let reason = lacking[command] { return lacks(because: reason) }
    do {
      let place = try repository.fetches.place(of: subject)
      try repository.fetches.discard(FetchDirectory.Place.tree, of: place)
      let fetch = TreeringFetch(
        source: source, host: host, repository: repository, base: try base()?.name,
        excludes: try file.excludes(of: source), settings: settings)
      switch try fetch.run(into: place) {
      case .fetched(let tree):
        try repository.fetches.discard(FetchDirectory.Place.interrupted, of: place)
        return HostFetches.End(source: source, start: start, state: .fetched(tree))
      case .kept(let kept):
        try repository.fetches.discard(FetchDirectory.Place.interrupted, of: place)
        return HostFetches.End(source: source, start: start, state: .kept(kept))
      case .absent(let reason): return ended(withoutTree: reason, isAbsent: true)
      case .unreachable(let end): return ended(withoutTree: end.sentence, isAbsent: end.result == .absent)
      case .unanswered(let reason):
        lacking[command] = reason
        return lacks(because: reason)
      }
    } catch {
      let failure = error as? Failure ?? Failure(.failed, "\(error)")
      return ended(withoutTree: failure.description, isAbsent: false)
    }
  }

  func run(with rsync: Result<RsyncProgram, Failure>, rules: () throws(Failure) -> [[UInt8]]) -> HostFetches.End {
    do {
      guard let host = source.host else { throw Failure(.usage, "it has no host") }
      let place = try repository.fetches.place(of: subject)
      try repository.fetches.discard(FetchDirectory.Place.tree, of: place)
      var command = FetchCommand(source: source, host: host, rsync: try rsync.get(), rules: try rules())
      command.comparesContents = settings.changeDetection == .content
      var lacks: [Warning] = []
      if let reason = command.rsync.unconfined {
        command.linksFiles = false
        lacks.append(
          Warning(path: subject, message: "is copied whole: rsync may not use user_namespaces(7): \(reason)"))
      }
      var end = try fetch(command, into: place)
      // A host that asks for the same change again gets no further attempt.
      var tried: [FetchEnd.Result] = []
      while !tried.contains(end.result) {
        tried.append(end.result)
        switch end.result {
        case .meetsLink: command.linksFiles = false
        case .linksToOneTree: try repository.fetches.discard(FetchDirectory.Place.interrupted, of: place)
        case .lacksACLs:
          command.keepsACLs = false
          lacks.append(lack(of: "ACLs"))
        case .lacksAttributes:
          command.keepsAttributes = false
          lacks.append(lack(of: "extended attributes"))
        case .fetched, .absent, .failed, .noSpace: return try take(end, lacks: lacks, at: place)
        }
        try repository.fetches.discard(FetchDirectory.Place.tree, of: place)
        end = try fetch(command, into: place)
      }
      return try take(end, lacks: lacks, at: place)
    } catch {
      let failure = error as? Failure ?? Failure(.failed, "\(error)")
      return ended(withoutTree: failure.description, isAbsent: false)
    }
  }

  private func lack(of what: String) -> Warning {
    Warning(path: subject, message: "has no \(what) in the snapshot: rsync on the host cannot send them")
  }

  private func fetch(_ command: FetchCommand, into place: FetchDirectory.Place) throws -> FetchEnd {
    let (tree, interrupted) = (FetchDirectory.Place.tree, FetchDirectory.Place.interrupted)
    let path = place.path + [slash] + tree
    let base = command.linksFiles ? try base() : nil
    var trees: [[UInt8]] = []
    // The first of the trees that has a file is the one with which a changed file is compared.
    if command.linksFiles, try place.directory.descriptor.statusIfPresent(of: interrupted.span) != nil {
      trees.append(place.path + [slash] + interrupted)
    }
    let root = try CurrentProcess.realPath(repository.path)
    if let base { trees.append(TreePath(parsing: base.name.bytes + [slash] + subject).bytes(below: root)) }
    let arguments: [[UInt8]]
    do { arguments = try command.arguments(into: path, linkingTo: trees) } catch {
      throw Failure(.usage, "the host cannot be used: \(error)")
    }
    var program = ChildProgram(
      arguments, environment: RsyncProgram.environment,
      timeoutSeconds: max(1, FetchCommand.longestSeconds - (Clock.monotonic() - start)))
    program.startsAtRoot = true
    program.joinsErrors = true
    if command.rsync.unconfined == nil {
      program.writable = (root, try readOnlyEntries(of: root, beside: place, base: base?.name))
    }
    var lines: [[UInt8]] = []
    var droppedCount = 0
    var buffer = LineBuffer()
    func keep(_ line: [UInt8]) {
      lines.append(line)
      // The first lines name entries, and the last ones have the reason.
      guard lines.count > 2000 else { return }
      lines.removeSubrange(1500..<1900)
      droppedCount += 400
    }
    let end: ChildEnd
    do throws(Errno) {
      end = try program.run { bytes throws(Errno) in buffer.pass(bytes, onLine: keep) }
      buffer.finish(onLine: keep)
    } catch { throw Failure(.failed, "cannot run \(displayName(arguments[0])): \(error)") }
    return FetchEnd(
      of: end, lines: lines, droppedCount: droppedCount, root: subject, path: Array(source.path.utf8), tree: path)
  }

  /// The newest snapshot that has the source, unless it is damaged.
  private func base() throws(Failure) -> Snapshot? {
    let base = list.snapshots.last { $0.summary.covers(TreePath(parsing: subject)) }
    return base.flatMap { repository.marks.contains(.damaged, on: $0.name) ? nil : $0 }
  }

  /// The entries of the repository that rsync(1) may not change: all but the place of the source, and but the stored
  /// tree whose files it links, because a link needs both on one mount.
  private func readOnlyEntries(
    of root: [UInt8], beside place: FetchDirectory.Place, base: SnapshotName?
  ) throws -> [[UInt8]] {
    let label = TreePath(parsing: subject)[0]
    let fetched = TreePath(parsing: splitLast(of: place.path).parent)
    let control = fetched.dropLast()
    var entries: [[UInt8]] = []
    func add(_ directory: [UInt8], but name: [UInt8]?) throws(Errno) {
      let opened = Directory(try Descriptor.open(path: directory, [.read, .directory]))
      for entry in try opened.names() where entry != name {
        guard try opened.descriptor.statusIfPresent(of: entry.span).map({ $0.kind != .symbolicLink }) == true else {
          continue
        }
        entries.append(directory + [slash] + entry)
      }
    }
    try add(root, but: control.last)
    if let base {
      let tree = TreePath(parsing: base.bytes).bytes(below: root)
      entries.removeAll { $0 == tree }
      try add(tree, but: label)
    }
    try add(control.absolute, but: fetched.last)
    try add(fetched.absolute, but: splitLast(of: place.path).name)
    return entries
  }

  private func take(_ end: FetchEnd, lacks: [Warning], at place: FetchDirectory.Place) throws -> HostFetches.End {
    let (tree, interrupted) = (FetchDirectory.Place.tree, FetchDirectory.Place.interrupted)
    let hasTree = try place.directory.descriptor.statusIfPresent(of: tree.span)?.kind == .directory
    switch end.result {
    case .fetched where hasTree:
      let fetched = try FetchedTree(at: place, warnings: lacks + end.warnings, threads: settings.threads)
      try repository.fetches.discard(interrupted, of: place)
      return HostFetches.End(source: source, start: start, state: .fetched(fetched), warnings: end.vanished)
    case .fetched:
      return ended(withoutTree: "rsync said that all is well, and made no tree", isAbsent: false)
    case .noSpace:
      // A kept tree could fill the disk for every later run.
      try repository.fetches.discard(tree, of: place)
      try repository.fetches.discard(interrupted, of: place)
    default:
      if hasTree { repository.fetches.keepInterrupted(place) }
    }
    return ended(withoutTree: end.sentence, isAbsent: end.result == .absent)
  }

  private func ended(withoutTree reason: String, isAbsent: Bool) -> HostFetches.End {
    var end = HostFetches.End(
      source: source, start: start,
      state: .absent(reason: "is left out: it cannot be fetched: \(reason)", isThere: !isAbsent))
    (end.failure, end.isAbsent) = (reason, isAbsent)
    return end
  }
}
