internal import Catalog
internal import Engine
public import Model
internal import Posix
public import Repository

/// The options of a server, among them the rights of its client.
public struct ServeOptions: Sendable {
  /// The only repository that is served; if `nil`, the client names the repository.
  public var repository: [UInt8]?
  /// True if the client may add snapshots, but not remove or replace any.
  public var isAppendOnly = false
  /// True if the client may change nothing.
  public var isReadOnly = false
  /// The longest time in seconds that the client may be silent.
  public var timeoutSeconds = 600.0
  /// The space that must stay free in a repository's file system. Called before the server is confined to the
  /// repository.
  public var minimumFree: @Sendable (Repository) -> MinimumFree? = { _ in nil }
  public var threads: ThreadCount = 1
  /// Name and version of this program.
  public var program: String
  /// Gets notes for the client's operator.
  public var onNote: @Sendable (String) -> Void = { _ in }
  /// False if the process has other work afterwards.
  var confines = true

  public init(program: String) { self.program = program }
}

/// Serves one client and one repository over standard input and output, until the client ends.
///
/// Throws the error that ended the connection early, after sending it to the client.
public func serve(_ options: ServeOptions, onReceived: @escaping (Repository, ReceivedPush) -> Void) throws {
  let transport = try StandardTransport()
  try serve(options, over: transport, onReceived: onReceived)
}

/// Serves one client over an existing transport.
func serve(
  _ options: ServeOptions, over transport: any Transport, onReceived: @escaping (Repository, ReceivedPush) -> Void
) throws {
  let channel = Channel(over: transport, to: .client, timeoutSeconds: options.timeoutSeconds, readsWhileSending: false)
  do { try ServerSession(channel: channel, options: options, onReceived: onReceived).run() } catch {
    let failure = Failure(ofServer: error, at: options.repository ?? [UInt8(ascii: ".")])
    try? channel.send(failure)
    throw failure
  }
}

extension Failure {
  /// The failure that ends the server, in a sentence for the client and the history. `path` is the repository's.
  init(ofServer error: any Error, at path: [UInt8]) {
    self =
      switch error {
      case let error as Failure: error
      case let error as ProtocolViolation: Failure(.remote, "the client broke the protocol: \(error)")
      case let error as CatalogError: Failure(.remote, "what was sent cannot be read: \(error)")
      case let error as Errno: .writing("serve", at: path, because: error)
      default: Failure(.remote, "\(error)")
      }
  }
}

/// The result of a push, for the history.
public struct ReceivedPush: Sendable {
  public var name: SnapshotName
  /// `nil` if the push did not publish one.
  public var snapshot: Snapshot?
  public var failure: Failure?
  public var bytesReceived: UInt64
  public var elapsedSeconds: Double
  public var began: Timestamp
}

/// Handles one client's requests, one after the other.
struct ServerSession {
  let channel: Channel
  let options: ServeOptions
  let onReceived: (Repository, ReceivedPush) -> Void
  /// The reception of a source of a host, into a repository that is open already; `nil` for any other client.
  var source: SourceReception?

  func run() throws {
    var (version, fields) = try channel.receiveHello()
    let hello = try ClientHello(from: &fields)
    let repository = try source?.begin() ?? open(options.repository ?? hello.repositoryPath)
    // System values that are read only once are read now, before the confinement.
    _ = CurrentProcess.bootID
    let minimumFree = options.minimumFree(repository)
    // A confined process cannot inspect other processes.
    _ = repository.retirement.isSpareUnread()
    if options.confines { try confine(to: repository) }
    try channel.send(
      .hello,
      ServerHello(
        repositoryID: repository.id, program: options.program, isAppendOnly: options.isAppendOnly,
        isReadOnly: options.isReadOnly, location: repository.hostIdentity
      ).payload)
    var reads = ReadRequestHandler(channel: channel, repository: repository, threads: options.threads, version: version)
    let logs = LogRequestHandler(
      channel: channel, repository: repository, isReadOnly: options.isReadOnly,
      space: SpaceBudget(of: repository, minimumFree: minimumFree))
    while let frame = try channel.receive() {
      let request = try Request(frame: frame)
      try source?.check(request)
      switch request {
      case .list: try reads.list()
      case .openCatalog(let name): try reads.openCatalog(of: name)
      case .readCatalog(let name, let offset, let byteCount):
        try reads.readCatalog(of: name, at: offset, byteCount: byteCount)
      case .fetch(let name, let path): try reads.fetch(path, of: name)
      case .verify(let request): try reads.verify(request)
      case .space(let names): try reads.measureSpace(of: names)
      case .logs(let database): try logs.list(of: database)
      case .storeLog(let log): try logs.store(log)
      case .fetchLog(let log): try logs.fetch(log)
      case .report(let report):
        guard let source else { throw frame.isUnexpected }
        try source.take(report)
      case .push(let request):
        try receive(
          PushReceiver(
            for: request, over: channel, into: repository, options: options, minimumFree: minimumFree, version: version,
            notes: source),
          into: repository)
      }
    }
  }

  private func receive(_ push: PushReceiver, into repository: Repository) throws {
    if options.isReadOnly {
      throw Failure(
        .refused, "\(displayName(repository.path)) is served read-only: nothing can be pushed to it",
        path: repository.path)
    }
    // The trash also holds the data discarded after a violation of the protocol.
    defer { try? emptyTrash(of: repository, threads: options.threads) }
    do {
      if let received = try push.run() { onReceived(repository, received) }
    } catch {
      let failure = Failure(ofServer: error, at: repository.path)
      if failure.kind != .locked { onReceived(repository, push.result(failure: failure)) }
      throw failure
    }
  }

  // MARK: The repository

  private func open(_ path: [UInt8]) throws -> Repository {
    guard !path.isEmpty else { throw Failure(.usage, "no repository is named") }
    do { return try Repository.open(path) } catch {
      // The client must follow the hint on the server's machine.
      throw Failure(error.kind, error.message, hint: error.hint.map { "there: \($0)" })
    }
  }

  /// Confines this process to the repository, and proves it. A kernel without Landlock is only noted.
  private func confine(to repository: Repository) throws {
    let path = displayName(repository.path)
    let isConfined: Bool
    do throws(Errno) {
      // The server reads the mounts in /proc/self before it recycles an expired tree.
      var places = [repository.root]
      do { places.append(Directory(try Descriptor.open(path: Array("/proc/self".utf8), [.read, .directory]))) } catch {
        guard error == .noSuchEntry else { throw error }
      }
      isConfined = try CurrentProcess.confine(to: places)
    } catch { throw Failure(.failed, "cannot confine the server to \(path): \(error)") }
    guard isConfined else {
      options.onNote("note: the server is not confined to \(path): Landlock is not to be had here")
      return
    }
    // An open of `/` must fail now.
    guard (try? Descriptor.open(path: Array("/".utf8), [.read, .directory])) == nil else {
      throw Failure(.failed, "the server's confinement to \(path) does not hold")
    }
  }
}
