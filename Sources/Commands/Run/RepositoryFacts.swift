internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

/// The facts about a repository, collected without reading a tree.
struct RepositoryFacts {
  var path: [UInt8]
  var list: SnapshotList
  /// The snapshots that a verification found damaged, each with the time and the reason.
  var damaged: [SnapshotName: String] = [:]
  var held: [SnapshotName] = []
  /// The number of members of each set.
  var memberCounts: [SnapshotSet: Int] = [:]
  var plan: RetentionPlan
  /// 0 if the file system does not tell its size.
  var bytesFree: UInt64 = 0
  var bytesTotal: UInt64 = 0
  var history: PastRuns
  var arrivals = Arrivals()
  var verifiedParts: [VerifiedPart] = []
  /// The state of the archived logs of each database that has an archive.
  var logs: [[UInt8]: DatabaseLogs.State] = [:]
  var sourcesOnSameDisk: [[UInt8]] = []
  /// The drills of the history, newest last; empty if the configuration has none.
  var drills: [DrillAnswer] = []

  /// A command line for this repository, for use in messages.
  func advice(_ command: String) -> String { commandLine(command, repository: path) }
}

extension RepositoryFacts {
  init(of repository: Repository, configuration file: ConfigurationFile?, sources: [[UInt8]], at now: Timestamp) throws
  {
    let list = try repository.snapshots()
    self.init(
      path: repository.path, list: list,
      plan: try repository.retention.plan(for: list, by: repository.retention.lastPolicy(), now: now),
      history: PastRuns(history: try repository.history.tail(byteCount: 1 << 20)))
    arrivals = Arrivals(of: repository, after: history, configuration: file)
    damaged = try repository.marks.all(.damaged)
    held = Array(try repository.marks.all(.held).keys)
    memberCounts = try repository.members(of: list).mapValues(\.count)
    verifiedParts = try repository.verifiedParts.all()
    let system = try repository.root.descriptor.fileSystem()
    if system.hasSize {
      bytesFree = system.bytesAvailable
      bytesTotal = system.bytesUsed &+ system.bytesAvailable
    }
    sourcesOnSameDisk = sources.filter { repository.isOnDisk(of: $0) }
    if file?.settings.drills.isEmpty == false { drills = try repository.pastDrills() }
    for database in file?.databases ?? [] {
      do { logs[database.name] = try database.logState(for: list) } catch {
        logs[database.name] = DatabaseLogs.State(problem: "\(error)")
      }
    }
  }
}

extension Repository {
  /// True if a directory is on the disk of the repository, as far as the kernel tells. A directory that cannot be
  /// opened is not.
  func isOnDisk(of path: [UInt8]) -> Bool {
    guard let status = try? Descriptor.open(path: path, .pathOnly).status() else { return false }
    if status.device == identity.device { return true }
    let devices = BlockDevices()
    return !devices.disks(below: self.path).isDisjoint(with: devices.disks(below: path))
  }

  func isOnDisk(of address: RemoteAddress) -> Bool {
    switch address {
    case .local(let path), .restic(let path): path.first == slash && isOnDisk(of: path)
    case .ssh, .storage: false
    }
  }
}

/// A source that should have snapshots.
struct ExpectedSource {
  let label, path: [UInt8]
  /// True if the source is on another host, which the label names.
  var isOnHost = false
  var isOptional = false
  /// The RPO of this source.
  var rpoSeconds: Int64?
  /// The RPO of all sources.
  var commonRPOSeconds: Int64?

  /// The sources of the configuration. Without one, or if others push here, the sources of all snapshots.
  static func all(in file: ConfigurationFile?, or list: SnapshotList) -> [ExpectedSource] {
    if let file, !file.settings.receives {
      return (file.sources + file.hostSources).map {
        ExpectedSource(
          label: $0.host?.label.bytes ?? file.settings.label.bytes, path: Array($0.path.utf8),
          isOnHost: $0.host != nil, isOptional: $0.isOptional,
          rpoSeconds: $0.rpoSeconds, commonRPOSeconds: file.settings.rpoSeconds)
      }
    }
    var seen: Set<[[UInt8]]> = []
    return list.snapshots.reversed().flatMap { snapshot in
      snapshot.summary.sources.filter { seen.insert([snapshot.summary.label, $0]).inserted }
        .map {
          ExpectedSource(label: snapshot.summary.label, path: $0, commonRPOSeconds: file?.settings.rpoSeconds)
        }
    }
  }

  /// The newest snapshot without warnings that has the source.
  func newestGood(in list: SnapshotList, damaged: [SnapshotName: String]) -> Snapshot? {
    list.snapshots.last { $0.summary.outcome == .complete && damaged[$0.name] == nil && isIn($0.summary) }
  }

  /// The maximum age of the newest good snapshot. The command line's value does not apply to optional sources.
  func maximumAge(said: Int64?) -> Int64? { isOptional ? rpoSeconds : said ?? rpoSeconds ?? commonRPOSeconds }

  /// True if the source is absent from the newest snapshot that was to contain it.
  func isAbsent(in list: SnapshotList) -> Bool {
    list.snapshots.last { isIn($0.summary) || isAbsent(from: $0.summary) }.map { isAbsent(from: $0.summary) } ?? false
  }

  /// The source in the form of a snapshot's options: with its label if it is on another host.
  var subject: [UInt8] { isOnHost ? (label + TreePath(parsing: path)).relative : path }

  /// The source as the operator names it.
  var title: String { (isOnHost ? displayName(label) + ":" : "") + displayName(path) }

  func isIn(_ summary: CatalogSummary) -> Bool {
    isOnHost ? summary.otherSources.contains(subject) : summary.label == label && summary.sources.contains(path)
  }

  private func isAbsent(from summary: CatalogSummary) -> Bool {
    (isOnHost || summary.label == label) && summary.absentSources.contains(subject)
  }
}

/// A database that should have dumps.
struct ExpectedDatabase {
  let name, kind: [UInt8]
  var isRequired = false
  /// The directory below which the dump is made; `nil` for the repository's own.
  var directory: [UInt8]?
  /// The maximum age of its newest good dump, or of its newest log if its logs are archived.
  var rpoSeconds: Int64?
  /// The archive of PostgreSQL's write-ahead log.
  var writeAheadLog: [UInt8]?
  /// The directory of its archived binary logs.
  var binaryLogs: [UInt8]?
  /// True if the dump is a copy of the server's files.
  var isPhysical = false

  /// The databases of the configuration. Without one, those of all snapshots.
  static func all(in file: ConfigurationFile?, or list: SnapshotList) -> [ExpectedDatabase] {
    if let file { return file.databases }
    var seen: Set<[UInt8]> = []
    return list.snapshots.reversed().flatMap { snapshot in
      snapshot.summary.databases.filter { seen.insert($0.name).inserted }
        .map { ExpectedDatabase(name: $0.name, kind: $0.kind) }
    }
  }

  /// The newest dump, and its snapshot. A dump in a snapshot is whole, whatever the warnings about files.
  func newestGood(
    in list: SnapshotList, damaged: [SnapshotName: String]
  ) -> (dump: DatabaseRecord, snapshot: SnapshotName)? {
    for snapshot in list.snapshots.reversed() where damaged[snapshot.name] == nil {
      let dump = snapshot.summary.databases.first { $0.name == name && !$0.isLeftOut }
      if let dump { return (dump, snapshot.name) }
    }
    return nil
  }

  /// True if the newest snapshot had to do without the database.
  func isLeftOut(in list: SnapshotList) -> Bool {
    list.newest?.summary.databases.contains { $0.name == name && $0.isLeftOut } ?? false
  }
}

/// A remote that should have snapshots.
struct ExpectedRemote {
  struct Arrival {
    /// The newest snapshot that the remote is known to have.
    var snapshot: SnapshotName
    /// The time of the last push that went well.
    var seconds: Int64
  }

  let name: String
  var isOptional = false
  /// The greatest age of the newest snapshot there.
  var rpoSeconds: Int64?
  var arrival: Arrival?
  var lastPush: PastRuns.Push?
  /// The reason that a remote on this machine is not there now.
  var absence: String?
  var isOnSameDisk = false
  /// The longest time between two tests of a password that is kept elsewhere.
  var keyTestSeconds: Int64?
  var lastKeyTest: Timestamp?

  /// True if the absence of the remote is not reported, because its RPO has not passed.
  func isAbsenceExcused(at now: Timestamp) -> Bool { isOptional && !isLate(at: now) }

  /// True if the RPO has passed. It also has if nothing ever arrived.
  func isLate(at now: Timestamp) -> Bool {
    guard let rpoSeconds else { return false }
    return arrival.map { now.seconds - $0.snapshot.seconds > rpoSeconds } ?? true
  }
}

extension ExpectedRemote {
  init(_ remote: RemoteConfiguration, in repository: Repository, history: PastRuns? = nil) {
    self.init(
      name: remote.name, isOptional: remote.isOptional, rpoSeconds: remote.rpoSeconds,
      lastPush: history?.pushes.first { $0.result.remote == remote.name }, absence: remote.address.absence,
      isOnSameDisk: repository.isOnDisk(of: remote.address))
    arrival = history?.goodPushes[name].flatMap(Arrival.init)
    keyTestSeconds = remote.keyTestSeconds
    if keyTestSeconds != nil {
      lastKeyTest = repository.pushMemory.lastKeyTest(address: remote.address.resolved.recorded)
    }
    compare(with: repository.pushMemory.last(address: remote.address.resolved.recorded))
  }

  /// Takes the newest snapshot that was ever pushed. The memory outlives the lines of the history, and the last push
  /// may have been one of an older snapshot.
  private mutating func compare(with last: (names: Set<SnapshotName>, time: Timestamp)?) {
    guard let last, let newest = last.names.max(by: { $0.seconds < $1.seconds }) else { return }
    let snapshot = arrival.map { $0.snapshot.seconds > newest.seconds ? $0.snapshot : newest } ?? newest
    arrival = Arrival(snapshot: snapshot, seconds: arrival?.seconds ?? last.time.seconds)
  }

  /// The remotes of the configuration. Without one, all that have had a push.
  static func all(in file: ConfigurationFile?, of repository: Repository, history: PastRuns) -> [ExpectedRemote] {
    if let file, !file.settings.remotes.isEmpty {
      return file.settings.remotes.map { ExpectedRemote($0, in: repository, history: history) }
    }
    return all(in: history).map { remote in
      var remote = remote
      guard let address = try? RemoteAddress(remote.name) else { return remote }
      remote.isOnSameDisk = repository.isOnDisk(of: address)
      remote.compare(with: repository.pushMemory.last(address: address.recorded))
      return remote
    }
  }

  /// The remotes that had a push, without those that were typing errors.
  static func all(in history: PastRuns) -> [ExpectedRemote] {
    history.pushes.filter { !history.mistypedRemotes.contains($0.result.remote) }.map { push in
      ExpectedRemote(
        name: push.result.remote, arrival: history.goodPushes[push.result.remote].flatMap(Arrival.init), lastPush: push)
    }
  }
}

extension ExpectedRemote.Arrival {
  fileprivate init?(_ push: PastRuns.Push) {
    guard let snapshot = SnapshotName(push.result.snapshot.utf8), let seconds = Moment.seconds(of: push.time)
    else { return nil }
    self.init(snapshot: snapshot, seconds: seconds)
  }
}
