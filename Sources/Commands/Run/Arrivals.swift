internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The remotes that snapshots were pushed to, by the history and by the memory of pushes, as a command line names them.
struct Arrivals {
  private var remotes: [SnapshotName: Set<String>] = [:]
  /// The remotes from which a repair of a snapshot failed last time.
  private var failed: [SnapshotName: Set<String>] = [:]
  /// The option that the names of remotes need.
  private var option = ""
  private var names: Set<String> = []

  init() {}

  init(of repository: Repository, after history: PastRuns, configuration file: ConfigurationFile?) {
    // The name stands for each form of its address, because it also has the options of the connection.
    var namesOfAddresses: [String: String] = [:]
    for remote in file?.settings.remotes ?? [] {
      names.insert(remote.name)
      for address in [remote.address, remote.address.resolved] {
        namesOfAddresses[displayName(address.recorded)] = remote.name
      }
      add(remote.name, to: repository.pushMemory.last(address: remote.address.resolved.recorded)?.names ?? [])
    }
    func name(of remote: String) -> String { namesOfAddresses[remote] ?? remote }
    for (snapshot, remotes) in history.arrivals { for remote in remotes { add(name(of: remote), to: [snapshot]) } }
    // One repository may have had several addresses; its memory has the last one.
    for address in Set(history.arrivals.values.joined()) where !names.contains(address) {
      add(name(of: address), to: repository.pushMemory.last(address: Array(address.utf8))?.names ?? [])
    }
    failed = history.failedRepairs.mapValues { Set($0.map(name)) }
    if let file, file.path != ConfigurationFile.defaultPath { option = " --config \(displayName(file.path))" }
  }

  private mutating func add(_ remote: String, to snapshots: Set<SnapshotName>) {
    for snapshot in snapshots { remotes[snapshot, default: []].insert(remote) }
  }

  /// Notes that a repair from a remote left damage.
  mutating func addFailedRepair(of snapshots: [SnapshotName], from remote: String) {
    for snapshot in snapshots { failed[snapshot, default: []].insert(remote) }
  }

  func remedy(forDamageIn snapshots: [SnapshotName], repository path: [UInt8]) -> String {
    var found: [String: [SnapshotName]] = [:]
    for snapshot in snapshots {
      for remote in remotes[snapshot, default: []].subtracting(failed[snapshot] ?? []) {
        found[remote, default: []].append(snapshot)
      }
    }
    guard let (best, there) = found.max(by: { ($0.value.count, $1.key) < ($1.value.count, $0.key) }) else {
      let them = snapshots.count == 1 ? "it" : "them"
      let tried = Set(snapshots.flatMap { failed[$0] ?? [] }).sorted()
      return tried.isEmpty
        ? "no remote is known to have \(them)"
        : "the repair from \(tried.joined(separator: ", ")) failed, and no other remote is known to have \(them)"
    }
    return "repair with: "
      + commandLine(
        "verify\(Self.words(for: there)) --repair-from \(best)\(names.contains(best) ? option : "")", repository: path)
  }

  /// The arguments of `verify` for some snapshots: none for many, because all are verified then.
  static func words(for snapshots: [SnapshotName]) -> String {
    snapshots.count > 5 ? "" : snapshots.map(\.description).sorted().map { " \($0)" }.joined()
  }
}
