internal import Catalog
public import Engine
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
  public var threads = 1
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
  let channel = Channel(transport, to: .client, timeoutSeconds: options.timeoutSeconds, readsWhileSending: false)
  do { try Session(channel, options, onReceived).run() } catch {
    let failure = serverFailure(error, options.repository ?? [UInt8(ascii: ".")])
    try? channel.send(.failure, failure.wireMessage)
    throw failure
  }
}

/// The failure that ends the server, in a sentence for the client and the history.
private func serverFailure(_ error: any Error, _ path: [UInt8]) -> Failure {
  switch error {
  case let error as Failure: error
  case let error as WireError: Failure(.remote, "the client broke the protocol: \(error)")
  case let error as CatalogError: Failure(.remote, "what was sent cannot be read: \(error)")
  case let error as Errno: .writing("serve", at: path, because: error)
  default: Failure(.remote, "\(error)")
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

private final class StandardTransport: Transport {
  private let input: Descriptor
  private let output: Descriptor

  init() throws(Errno) {
    input = try CurrentProcess.standardStream(.input)
    output = try CurrentProcess.standardStream(.output)
    try input.setNonBlocking(true)
    try output.setNonBlocking(true)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try input.readAvailable(into: buffer, timeoutMilliseconds: timeoutMilliseconds)
  }

  func write(_ bytes: UnsafeRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try output.writeAvailable(bytes, timeoutMilliseconds: timeoutMilliseconds)
  }
}

/// Handles one client's requests, one after the other.
final class Session {
  private let channel: Channel
  private let options: ServeOptions
  private let onReceived: (Repository, ReceivedPush) -> Void
  /// The version of the protocol.
  private var version: UInt64 = 1
  private var minimumFree: MinimumFree?

  init(_ channel: Channel, _ options: ServeOptions, _ onReceived: @escaping (Repository, ReceivedPush) -> Void) {
    self.channel = channel
    self.options = options
    self.onReceived = onReceived
  }

  func run() throws {
    let wanted = try greet()
    let repository = try open(options.repository ?? wanted)
    var hello = Greeting.begin()
    hello.text(repository.id)
    hello.text(Array(options.program.utf8))
    hello.integer((options.isAppendOnly ? 1 : 0) | (options.isReadOnly ? 2 : UInt64(0)))
    hello.text(repository.hostIdentity)
    try Greeting.send(hello, over: channel)
    let reading = ReadingSession(channel, repository, threads: options.threads, version: version)
    while let frame = try channel.receive() {
      switch frame.type {
      case .push:
        if options.isReadOnly {
          throw Failure(.refused, "\(displayName(repository.path)) is served read-only: nothing can be pushed to it")
        }
        // The trash also holds the data discarded after a violation of the protocol.
        defer { try? emptyTrash(of: repository, threads: options.threads) }
        let push = try PushSession(channel, repository, options, minimumFree, version: version, frame.payload)
        do {
          if let received = try push.run() { onReceived(repository, received) }
        } catch {
          let failure = serverFailure(error, repository.path)
          if failure.kind != .locked { onReceived(repository, push.outcome(nil, failure)) }
          throw failure
        }
      default: try reading.answer(frame)
      }
    }
  }

  /// Receives the client's greeting. Returns the path of the repository that it names.
  private func greet() throws -> [UInt8] {
    var reader: MessageReader
    (version, reader) = try Greeting.receive(over: channel)
    let path = try reader.text(limit: 1 << 14)
    _ = try reader.text(limit: 256)
    guard !path.contains(0) else { throw WireError("the repository's path has a NUL") }
    return path
  }

  private func open(_ path: [UInt8]) throws -> Repository {
    guard !path.isEmpty else { throw Failure(.usage, "no repository is named") }
    let repository: Repository
    do { repository = try Repository.open(path) } catch {
      // The client must follow the hint on the server's machine.
      throw Failure(error.kind, error.message, hint: error.hint.map { "there: \($0)" })
    }
    // System values that are read only once are read now, before the confinement.
    _ = CurrentProcess.bootID
    _ = SHA256()
    minimumFree = options.minimumFree(repository)
    // A confined process cannot inspect other processes.
    _ = repository.retirement.isSpareUnread()
    guard options.confines else { return repository }
    let isConfined: Bool
    do throws(Errno) {
      // The server reads the mounts in /proc/self before it recycles an expired tree.
      var places = [repository.root]
      do { places.append(Directory(try Descriptor.open(path: Array("/proc/self".utf8), [.read, .directory]))) } catch {
        guard error == .noSuchEntry else { throw error }
      }
      isConfined = try CurrentProcess.confine(to: places)
    } catch {
      throw Failure(.failed, "cannot confine the server to \(displayName(path)): \(error)")
    }
    if isConfined {
      // An open of `/` must fail now. This proves that the confinement holds.
      guard (try? Descriptor.open(path: Array("/".utf8), [.read, .directory])) == nil else {
        throw Failure(.failed, "the server's confinement to \(displayName(path)) does not hold")
      }
    } else {
      options.onNote("note: the server is not confined to \(displayName(path)): Landlock is not to be had here")
    }
    return repository
  }
}
