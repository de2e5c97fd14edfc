internal import Catalog
internal import Databases
internal import Engine
internal import FoundationEssentials
internal import Model
internal import Operations
internal import Posix
internal import Repository
internal import Settings

/// The drill of a table `[[drill]]`: a service is recovered in namespaces that have nothing but the copy.
struct TableDrill {
  let drill: DrillConfiguration
  let file: ConfigurationFile
  let common: CommonOptions
  var connection = RemoteConnectionOptions.none
  /// The directory below which everything is restored.
  var parent = Self.parent
  var keeps = false

  /// The directory for restored files, if the operator names none.
  static let parent = Array("/var/tmp".utf8)

  /// Does the drill, and tells Healthchecks. Throws only if a signal ends it.
  func run() throws -> DrillAnswer {
    let (start, now) = (Clock.monotonic(), Clock.now())
    let healthchecks = drill.healthchecks.map {
      Healthchecks(
        url: $0, runID: UUID().uuidString.lowercased(), userAgent: "treering/\(Treering.version)",
        limitSeconds: Double(file.settings.notifySeconds))
    }
    tell { healthchecks?.start() }
    var answer = DrillAnswer(time: now.rfc3339, name: drill.name)
    var copy = DrillAnswer.Copy(copy: try drill.remote ?? displayName(common.repositoryPath()))
    var recovery = DrillAnswer.Recovery(rtoSeconds: drill.rtoSeconds, freshWithinSeconds: drill.freshWithinSeconds)
    do {
      try recover(into: &copy, recovery: &recovery, at: now)
      copy.recovery = recovery
      copy.conclude()
    } catch {
      try checkForSignal()
      let failure = Failure(wrapping: error)
      copy.recovery = recovery
      copy.conclude(after: ("\(failure)", failure.kind == .usage ? .failed : ExitStatus(failure.kind)))
    }
    answer.copies = [copy]
    answer.elapsedSeconds = Clock.monotonic() - start
    answer.conclude()
    tell { healthchecks?.finish(exitStatus: answer.exitStatus, log: Array(answer.lines.joined(separator: "\n").utf8)) }
    return answer
  }

  private func tell(_ send: () -> String?) {
    if let problem = send() { Console.warn("Healthchecks could not be told of the drill \(drill.name): \(problem)") }
  }

  // MARK: Steps

  private func recover(
    into copy: inout DrillAnswer.Copy, recovery: inout DrillAnswer.Recovery, at now: Timestamp
  ) throws {
    recovery.failedStep = "open"
    guard CurrentProcess.effectiveUser == 0 else {
      throw Failure(.failed, "only root can do the drill of a table, because it needs namespaces", hint: "run as root")
    }
    let start = Clock.monotonic()
    let store =
      try file.settings.remotes.first { $0.name == drill.remote }.map {
        try CommonOptions.openStore(
          at: RemoteTarget(remote: $0, connection: connection, options: common), fromCache: false)
      } ?? common.openStore(connection: connection, allowsRate: common.repository == nil, fromCache: false)
    let list = try store.snapshots()
    copy.repositoryId = displayName(store.repositoryID)
    let parts = try DrillParts(of: drill, in: list, of: store, configured: file.databaseSettings)
    copy.ageSeconds = parts.snapshots.map { now.seconds - $0.summary.started.seconds }.max()
    copy.snapshots = parts.snapshots.map(\.name.description)
    let openSeconds = Clock.monotonic() - start
    copy.openSeconds = openSeconds

    recovery.failedStep = "restore"
    let place = try DrillPlace(below: parent, forBytes: parts.byteCount)
    defer {
      if keeps { recovery.kept = place.keep().map { displayName($0) } } else { place.remove() }
    }
    let root = try place.directory.make("root")
    try root.openToAll()
    for (snapshot, paths) in parts.files {
      for path in paths { try restore(path, of: snapshot, from: store, to: root.path, into: &copy) }
    }

    recovery.failedStep = "place"
    let directory = try place.directory.make("sockets")
    try directory.openToAll()
    let sockets = try parts.settings.enumerated().map { try DrillSocket(of: $1, number: $0, in: directory) }
    let servers = sockets.indices.filter { index in !sockets[..<index].contains { $0.hasServer(of: sockets[index]) } }
    let links = servers.compactMap { sockets[$0].link }
    let group = ControlGroup(named: splitLast(of: place.directory.path).name, limits: drill.limits)
    if let problem = group.problem { recovery.notes.append(problem) }
    let base = try makeBase(in: place.directory, recovery: &recovery)
    let namespaces = try DrillNamespaces(
      root: root.path, work: try place.directory.make("hidden").path, base: base,
      restored: drill.paths.map { Array($0.utf8) }, shown: [(directory.path, DrillNamespaces.sockets)], links: links,
      group: group)
    defer { namespaces.end() }

    try prove(
      parts, from: store, in: place.directory, sockets: sockets, inside: namespaces, copy: &copy, recovery: &recovery,
      at: now)
    try judge(&recovery, of: copy)
  }

  private static let longestBaseSeconds = 3600.0

  /// The directory with the system of the programs, which a command may have to make; empty for this machine's.
  private func makeBase(in place: PrivateDirectory, recovery: inout DrillAnswer.Recovery) throws -> [UInt8] {
    guard let name = drill.baseCommand.first else { return Array((drill.base ?? "").utf8) }
    let base = try place.make("base")
    try base.openToAll()
    let words = drill.baseCommand.map { $0 == DrillConfiguration.baseWord ? base.path : Array($0.utf8) }
    // The files of a system are for all of its users. Mounts that the command leaves end with it.
    let shell = ["/usr/bin/unshare", "--mount", "--", "/bin/sh", "-c", "umask 022; exec \"$@\"", "base"].map {
      Array($0.utf8)
    }
    var program = ChildProgram(
      shell + words, environment: DrillNamespaces.environment, timeoutSeconds: Self.longestBaseSeconds)
    program.joinsErrors = true
    let start = Clock.monotonic()
    var lines: [String] = []
    let end = ProgramEnd(of: program) { lines = lines.suffix(19) + [displayName($0)] }
    try checkForSignal()
    guard end.isSuccess else {
      recovery.output = lines.map { "base: \($0)" }
      throw Failure(.failed, "the command of \"base\", \(name), \(end)")
    }
    recovery.notes.append("\(name) made the system of the programs in \(durationText(Clock.monotonic() - start))")
    return base.path
  }

  /// Starts the databases and the program, and checks them. All have ended when it returns.
  private func prove(
    _ parts: DrillParts, from store: any VerifiableStore, in place: PrivateDirectory, sockets: [DrillSocket],
    inside namespaces: DrillNamespaces, copy: inout DrillAnswer.Copy, recovery: inout DrillAnswer.Recovery,
    at now: Timestamp
  ) throws {
    recovery.failedStep = "database"
    let loader = try DatabaseDrill(
      of: store, in: place, sockets: sockets.map(\.directory), at: now, threads: file.threads, common: common)
    defer { loader.end() }
    var served: [ServedDatabase] = []
    for (number, dump) in parts.dumps.enumerated() {
      let (socket, settings) = (sockets[number], parts.settings[number])
      let address = socket.address(inNetworkOf: namespaces.process)
      let same = sockets[..<number].firstIndex { $0.hasServer(of: socket) }
      let loaded = try loader.serve(
        dump, number: number, as: address, beside: same.map { served[$0] }, queried: settings.databases?.first)
      copy.databases.append(loaded.answer)
      recovery.databaseSeconds = (recovery.databaseSeconds ?? 0) + loaded.answer.elapsedSeconds
      guard let database = loaded.served else {
        recovery.output = loaded.lines
        let reason = "the database \(settings.name) was not recovered: \(loaded.answer.message ?? "")"
        throw Failure(loaded.damage == nil ? .failed : .damaged, reason)
      }
      served.append(database)
      if let name = dump.loadable.first { try socket.placeFile(named: name, of: settings, in: namespaces) }
    }
    // The program may write newer data.
    recovery.failedStep = "data"
    let modified = parts.newestFile ?? parts.dumps.map(\.record.began).min { $0.seconds < $1.seconds }
    recovery.dataAgeSeconds = try dataAge(of: served.first, at: now) ?? modified.map { now.seconds - $0.seconds }
    try DrillService(drill: drill, namespaces: namespaces).run(into: &recovery)
    withExtendedLifetime(served) {}
  }

  /// Sums up, and throws if the data is too old.
  private func judge(_ recovery: inout DrillAnswer.Recovery, of copy: DrillAnswer.Copy) throws {
    let steps = [recovery.databaseSeconds, recovery.startSeconds, recovery.checkSeconds].compactMap(\.self)
    recovery.totalSeconds = steps.reduce((copy.openSeconds ?? 0) + (copy.restoreSeconds ?? 0), +)
    guard recovery.isStale, let age = recovery.dataAgeSeconds, let limit = recovery.freshWithinSeconds else { return }
    recovery.failedStep = "data"
    throw Failure(
      .failed,
      "the newest data is \(durationText(Double(age))) old, and should be at most \(durationText(Double(limit)))")
  }

  private func restore(
    _ path: TreePath, of snapshot: Snapshot, from store: any SnapshotStore, to root: [UInt8],
    into copy: inout DrillAnswer.Copy
  ) throws {
    let options = RestoreOptions(
      paths: [path], destination: root, overwrite: .never, isDryRun: false, threads: file.threads)
    let before = copy.restoreSeconds ?? 0
    let result = try copy.restore(snapshot, from: store, options: options, common: common)
    copy.add(
      .init(
        path: displayName(path.atSource(label: snapshot.summary.label)), snapshot: snapshot.name.description,
        seconds: (copy.restoreSeconds ?? 0) - before))
    for warning in result.warnings {
      let path = warning.path.starts(with: root) ? warning.path.dropFirst(root.count) : warning.path[...]
      copy.add(.init(path: displayName(path), message: warning.message, isDamage: false))
    }
    if result.damaged > 0 {
      throw Failure(.damaged, counted(result.damaged, "stored file is", plural: "stored files are") + " damaged")
    }
  }

  /// The age that the first database tells; `nil` if it is not asked.
  private func dataAge(of database: ServedDatabase?, at now: Timestamp) throws -> Int64? {
    guard let statement = drill.fresh else { return nil }
    let answer: [UInt8]?
    do { answer = try database?.answer(to: statement) } catch {
      throw Failure(.failed, "the age of the data cannot be asked: \(error.message)")
    }
    let text = String(decoding: answer ?? [], as: UTF8.self)
    guard let time = dataTime(of: text) else {
      throw Failure(
        .failed, "the answer to \"fresh\" is no time: \"\(displayName(Array(text.utf8.prefix(80))))\"",
        hint: "it should be seconds since 1970, or a time such as 2026-11-30 04:00:00+00")
    }
    let (age, overflows) = now.seconds.subtractingReportingOverflow(time)
    guard !overflows, age > -86_400 else {
      throw Failure(
        .failed, "the answer to \"fresh\" is in the future: \"\(displayName(Array(text.utf8.prefix(80))))\"",
        hint: "a number is one of seconds since 1970")
    }
    return age
  }
}
