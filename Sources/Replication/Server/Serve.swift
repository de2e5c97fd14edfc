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
