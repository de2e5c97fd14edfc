internal import Catalog
internal import Engine
internal import Model
internal import Patterns
internal import Posix
internal import Replication
internal import Repository
internal import Settings

/// The fetch of one source of a host that has treering: the host walks, and sends the changes.
struct TreeringFetch {
  let source: Configuration.Source
  let host: Configuration.Source.Host
  let repository: Repository
  /// The newest snapshot that has the source, unless it is damaged.
  let base: SnapshotName?
  let excludes: Excludes
  let settings: FetchSettings
  private let start = Clock.monotonic()

  enum Result {
    case fetched(FetchedTree)
    case kept(KeptSource)
    case absent(reason: String)
    /// ssh could not connect.
    case unreachable(FetchEnd)
    /// No treering that can send the source is on the host.
    case unanswered(reason: String)
  }

  private var place: TreePath { TreePath(parsing: source.subject) }

  func run(into directory: FetchDirectory.Place) throws -> Result {
    let receiver = try repository.fetches.receiver(of: source.subject, base: base, at: Clock.now())
    var wanted = WantedSource(path: Array(source.path.utf8), label: host.label)
    wanted.patterns = excludes.patterns.lines
    wanted.isOneFileSystem = excludes.isOneFileSystem
    wanted.largestFile = excludes.largestFile
    wanted.changeDetection = settings.changeDetection
    wanted.acceptsChanges = settings.acceptsChanges
    while true {
      let end = try receive(
        wanted, by: connectionOptions(), into: receiver, minimumFree: settings.minimumFree, threads: settings.threads)
      switch end {
      case .received(let snapshot, let warnings):
        return .fetched(try take(snapshot, of: receiver, to: directory, warnings: warnings))
      case .unchanged(let warnings):
        guard let base, let digest = try repository.digest(of: place, in: base) else {
          throw Failure(.failed, "it is unchanged, but nothing is there that it could be compared with")
        }
        let stored = try repository.openTree(of: base).directory(path: place)
        return .kept(KeptSource(directory: stored, digest: digest, warnings: warnings))
      case .absent(let reason): return .absent(reason: reason)
      case .changed(let failure):
        guard wanted.attempt < WantedSource.attempts else { throw failure }
        wanted.attempt += 1
      case .unanswered(.exited(255)?, let lines, _):
        return .unreachable(
          FetchEnd(
            of: .exited(255), lines: lines, root: source.subject, path: wanted.path, tree: directory.path))
      case .unanswered(_, let lines, let reason):
        let said = lines.last.map { displayName($0.prefix(300)) } ?? reason
        return .unanswered(reason: "the host has no treering that can send it (\(said))")
      }
    }
  }

  /// Moves the received tree to its place, with the catalog that describes it.
  private func take(
    _ snapshot: SnapshotName, of receiver: Repository, to directory: FetchDirectory.Place, warnings: [Warning]
  ) throws -> FetchedTree {
    let catalog = try receiver.openCatalog(of: snapshot)
    guard let digest = try receiver.digest(of: place, in: snapshot) else {
      throw Failure(.failed, "the host sent something else than the source")
    }
    try repository.fetches.take(snapshot, from: receiver, of: source.subject, to: directory)
    let earlier = receiver.showsTree ? try base.map { try repository.openTree(of: $0).directory(path: place) } : nil
    return try FetchedTree(
      at: directory, warnings: warnings, threads: settings.threads,
      reception: ReceivedTree(catalog: catalog, digest: digest, earlier: earlier))
  }

  private func connectionOptions() throws(Failure) -> RemoteOptions {
    let words: [[UInt8]]
    do { words = try FetchCommand.connection(to: host) } catch {
      throw Failure(.usage, "the host cannot be used: \(error)")
    }
    let user = host.user.map { [Array("-l".utf8), $0] } ?? []
    let command = (host.treering + ["serve", "--source", source.path]).map(shellQuoted)
    let arguments = [Array("-T".utf8), Array("--".utf8), host.name, Array(command.joined(separator: " ").utf8)]
    var options = RemoteOptions(
      command: words + user + arguments, path: Array(source.path.utf8), displayName: source.title,
      timeoutSeconds: Double(FetchCommand.timeoutSeconds), program: "treering \(Treering.version)", onLine: { _ in })
    options.longestSeconds = max(1, FetchCommand.longestSeconds - (Clock.monotonic() - start))
    return options
  }
}

/// The settings that all fetches of a run share.
struct FetchSettings: Sendable {
  let changeDetection: ChangeDetection
  let threads: ThreadCount
  let minimumFree: MinimumFree?
  let acceptsChanges: Bool
}
