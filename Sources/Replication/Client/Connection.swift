internal import Catalog
internal import Engine
public import Repository

/// The options of a connection to a remote.
public struct RemoteOptions: Sendable {
  /// The program to start and its arguments: ssh, or the server itself.
  public var command: [[UInt8]]
  /// The path of the repository on the server's machine.
  public var path: [UInt8]
  /// The remote as the operator named it, for messages.
  public var displayName: String
  /// The form of the address in which a push is remembered.
  public var recordedAddress: [UInt8]
  /// The longest time in seconds that the server may do nothing.
  public var timeoutSeconds: Double
  /// The longest time in seconds that the connection may last; `nil` for any time.
  public var longestSeconds: Double?
  /// The most bytes that are sent in a second.
  public var bytesPerSecond: UInt64?
  public var receivedBytesPerSecond: UInt64?
  /// Name and version of this program.
  public var program: String
  /// Gets the lines that the program printed on standard error, after the connection failed. With `passesAllLines` it
  /// gets them at the end of every connection. A banner is no news of a good run.
  public var onLine: @Sendable ([UInt8]) -> Void
  public var passesAllLines = false

  public init(
    command: [[UInt8]], path: [UInt8], displayName: String, recordedAddress: [UInt8] = [], timeoutSeconds: Double = 300,
    bytesPerSecond: UInt64? = nil, program: String, onLine: @escaping @Sendable ([UInt8]) -> Void
  ) {
    self.command = command
    self.path = path
    self.displayName = displayName
    self.recordedAddress = recordedAddress
    self.timeoutSeconds = timeoutSeconds
    self.bytesPerSecond = bytesPerSecond
    self.program = program
    self.onLine = onLine
  }
}

/// A connection to a server, after the exchange of hellos.
public final class Connection: Sendable {
  let channel: Channel
  let options: RemoteOptions
  let version: ProtocolVersion
  private let hello: ServerHello
  /// `nil` if the server is not a child process.
  private let process: ServerProcess?

  /// The id of the server's repository.
  public var repositoryID: [UInt8] { hello.repositoryID }
  /// True if the server has no verb that removes or replaces anything.
  public var isAppendOnly: Bool { hello.isAppendOnly }
  public var bytesSent: UInt64 { channel.bytesSent.value }
  public var bytesReceived: UInt64 { channel.bytesReceived.value }

  /// Starts the program and exchanges hellos with the server.
  public convenience init(options: RemoteOptions) throws {
    let process = try ServerProcess(for: options)
    try self.init(options: options, over: ChildTransport(of: process.child), process: process)
  }

  /// Exchanges hellos with a server over an existing transport.
  convenience init(options: RemoteOptions, over transport: any Transport, process: ServerProcess? = nil) throws {
    let channel = Channel(
      over: transport, to: .server, timeoutSeconds: options.timeoutSeconds, readsWhileSending: true,
      bytesPerSecond: options.bytesPerSecond, receivedBytesPerSecond: options.receivedBytesPerSecond)
    try self.init(options: options, over: channel, process: process)
  }

  /// Exchanges hellos with a server over a channel that has sent no hello.
  init(options: RemoteOptions, over channel: Channel, process: ServerProcess? = nil) throws {
    self.options = options
    self.process = process
    self.channel = channel
    (version, hello) = try Self.annotatingErrors(of: options, process: process) {
      try Self.exchangeHellos(options: options, over: channel)
    }
  }

  private static func exchangeHellos(
    options: RemoteOptions, over channel: Channel
  ) throws -> (ProtocolVersion, ServerHello) {
    try channel.send(.hello, ClientHello(repositoryPath: options.path, program: options.program).payload)
    do {
      var (version, fields) = try channel.receiveHello()
      return (version, try ServerHello(from: &fields))
    } catch let error as ProtocolViolation {
      throw Failure(
        .remote, "what runs there is no treering serve: \(error)",
        hint: "does a start-up file of the shell print something there? A command over ssh must print nothing else")
    }
  }

  /// True if the server serves `repository` itself.
  public func servesSameRepository(as repository: Repository) -> Bool { hello.location == repository.hostIdentity }

  /// Turns every error into a failure that names the remote, and explains the program's end.
  func annotatingErrors<R>(body: () throws -> R) throws(Failure) -> R {
    try Self.annotatingErrors(of: options, process: process, body: body)
  }

  static func annotatingErrors<R>(
    of options: RemoteOptions, process: ServerProcess?, body: () throws -> R
  ) throws(Failure) -> R {
    do { return try body() } catch {
      var failure =
        switch error {
        case let error as Failure: error
        case let error as ProtocolViolation:
          Failure(
            .remote, "broke the protocol: \(error)", hint: "is the treering of the server about as old as this one?")
        case let error as CatalogError: Failure(.remote, "sent what cannot be read: \(error)")
        default: Failure(.remote, "\(error)")
        }
      if case .interrupted = failure.kind { throw failure }
      if failure.kind == .usage { throw failure }
      if failure.message == Channel.ended.message { try process?.explain(&failure) }
      process?.passOnLines()
      failure.path = failure.path ?? Array(options.displayName.utf8)
      failure.message = "\(options.displayName): \(failure.message)"
      throw failure
    }
  }
}
