internal import Catalog
internal import Engine
internal import Model
internal import Posix
public import Repository
internal import Synchronization

/// The options of a connection to a remote.
public struct RemoteOptions: Sendable {
  /// The program to start and its arguments: ssh, or the server itself.
  public var command: [[UInt8]]
  /// The path of the repository on the server's machine.
  public var path: [UInt8]
  /// The remote as the operator named it, for messages.
  public var shown: String
  /// The longest time in seconds that the server may do nothing.
  public var timeoutSeconds: Double
  public var bytesPerSecond: UInt64?
  /// Name and version of this program.
  public var program: String
  /// Gets the lines that the program printed on standard error, after the connection failed. With `wantsAll` it gets
  /// them at the end of every connection. A banner is no news of a good run.
  public var onLine: @Sendable ([UInt8]) -> Void
  public var wantsAll = false

  public init(
    command: [[UInt8]], path: [UInt8], shown: String, timeoutSeconds: Double = 300, bytesPerSecond: UInt64? = nil,
    program: String, onLine: @escaping @Sendable ([UInt8]) -> Void
  ) {
    self.command = command
    self.path = path
    self.shown = shown
    self.timeoutSeconds = timeoutSeconds
    self.bytesPerSecond = bytesPerSecond
    self.program = program
    self.onLine = onLine
  }
}

/// A connection to a server, after the exchange of greetings.
public final class Connection: @unchecked Sendable {
  let channel: Channel
  let options: RemoteOptions
  /// The id of the server's repository.
  public private(set) var repositoryID: [UInt8] = []
  private var place: [UInt8] = []
  /// The version of the protocol.
  private(set) var version: UInt64 = 1
  /// `nil` if the server is not a child process.
  private let child: PipedChild?
  private let errors: BackgroundThread?
  /// The program's lines that have not been passed on.
  private let said = SaidLines()

  public var bytesSent: UInt64 { channel.bytesSent.value }
  public var bytesReceived: UInt64 { channel.bytesReceived.value }

  /// Starts the program and exchanges greetings with the server.
  public init(_ options: RemoteOptions) throws {
    self.options = options
    let child: PipedChild
    do throws(Errno) { child = try PipedChild.start(options.command) } catch {
      let program = displayName(options.command.first ?? [])
      throw Failure(.remote, "\(options.shown): cannot start \(program): \(error)")
    }
    self.child = child
    let said = said
    errors = try BackgroundThread { Self.passOn(child) { said.add($0) } }
    channel = Channel(
      ChildTransport(child), to: .server, timeoutSeconds: options.timeoutSeconds, readsWhileSending: true,
      bytesPerSecond: options.bytesPerSecond)
    try explained { try greet() }
  }

  /// Exchanges greetings with a server over an existing transport.
  init(_ options: RemoteOptions, over transport: any Transport) throws {
    self.options = options
    child = nil
    errors = nil
    channel = Channel(
      transport, to: .server, timeoutSeconds: options.timeoutSeconds, readsWhileSending: true,
      bytesPerSecond: options.bytesPerSecond)
    try explained { try greet() }
  }

  deinit {
    guard let child else { return }
    // A local server gets time to clean up. A server on another machine cleans up without this process.
    try? child.closeInput()
    _ = try? child.wait(timeoutSeconds: 1)
    child.terminate()
    // A process that inherited the program's standard error must not block this one.
    _ = try? child.wait(timeoutSeconds: 2)
    child.kill()
    errors?.join()
    if options.wantsAll { said.take().forEach(options.onLine) }
  }

  private func greet() throws {
    var hello = Greeting.begin()
    hello.text(options.path)
    hello.text(Array(options.program.utf8))
    try Greeting.send(hello, over: channel)
    var reader: MessageReader
    do { (version, reader) = try Greeting.receive(over: channel) } catch let error as WireError {
      throw Failure(
        .remote, "what runs there is no treering serve: \(error)",
        hint: "does a start-up file of the shell print something there? A command over ssh must print nothing else")
    }
    repositoryID = try reader.text(limit: 64)
    guard isIdentifier(repositoryID) else {
      throw WireError("a repository has an impossible id")
    }
    _ = try reader.text(limit: 256)
    _ = try reader.integer()
    if reader.left > 0 { place = try reader.text(limit: 256) }
  }

  /// True if the server serves `repository` itself.
  public func leads(to repository: Repository) -> Bool { place == repository.hostIdentity }

  /// Turns every error into a failure that names the remote, and explains the program's end.
  func explained<R>(_ body: () throws -> R) throws(Failure) -> R {
    do { return try body() } catch {
      var failure: Failure
      switch error {
      case let error as Failure: failure = error
      case let error as WireError:
        failure = Failure(
          .remote, "broke the protocol: \(error)", hint: "is the treering of the server about as old as this one?")
      case let error as CatalogError: failure = Failure(.remote, "sent what cannot be read: \(error)")
      case let error as Errno: failure = Failure(.remote, "\(error)")
      default: failure = Failure(.remote, "\(error)")
      }
      if case .interrupted = failure.kind { throw failure }
      if failure.kind == .usage { throw failure }
      if failure.message == Channel.ended.message, let end = try? child?.wait(timeoutSeconds: 2) {
        // Ctrl-C goes to ssh as well, and ssh may end first.
        if let signal = CurrentProcess.rememberedSignal { throw Failure(.interrupted(signal: signal), "interrupted") }
        failure.message = Self.sentence(end, options.command)
        // After this join all of the program's lines have arrived. The last line mostly has the reason.
        errors?.join()
        if let why = said.takeLast() { failure.message += ": \(displayName(why.prefix(500)))" }
        if end == .exited(127) { failure.hint = "is treering installed there, in the PATH of a command over ssh?" }
      }
      said.take().forEach(options.onLine)
      failure.message = "\(options.shown): \(failure.message)"
      throw failure
    }
  }

  private static func sentence(_ end: ChildEnd, _ command: [[UInt8]]) -> String {
    let program = displayName(command.first ?? [])
    switch end {
    case .exited(255): return "\(program) could not connect, or lost the connection"
    case .exited(127): return "the remote machine has no such command (status 127)"
    case .exited(let status): return "the connection was closed before the end (\(program): status \(status))"
    case .signalled(let signal): return "\(program) was ended by signal \(signal)"
    default: return "\(program) ended"
    }
  }

  /// Passes on the program's standard error, line by line, until the program ends.
  private static func passOn(_ child: PipedChild, _ onLine: ([UInt8]) -> Void) {
    let limit = 4096
    var line: [UInt8] = []
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: limit, alignment: 1)
    defer { buffer.deallocate() }
    var hasEnded = false
    while true {
      let count: Int
      if let read = try? child.error.readAvailable(into: buffer, timeoutMilliseconds: hasEnded ? 0 : 200) {
        count = read
      } else if hasEnded {
        break
      } else {
        do { hasEnded = try child.poll() != nil } catch { hasEnded = true }
        continue
      }
      if count == 0 { break }
      for byte in buffer[..<count] {
        if byte == UInt8(ascii: "\n") || line.count >= limit {
          onLine(line.filter { $0 != UInt8(ascii: "\r") })
          line = []
        }
        if byte != UInt8(ascii: "\n") { line.append(byte) }
      }
    }
    if !line.isEmpty { onLine(line) }
  }
}

/// The last lines that a program printed.
private final class SaidLines: Sendable {
  private static let most = 100
  private let lines = Mutex<[[UInt8]]>([])

  func add(_ line: [UInt8]) {
    if line.isEmpty { return }
    lines.withLock {
      $0.append(line)
      if $0.count > Self.most { $0.removeFirst() }
    }
  }

  func takeLast() -> [UInt8]? { lines.withLock { $0.popLast() } }

  func take() -> [[UInt8]] {
    lines.withLock { lines in
      defer { lines = [] }
      return lines
    }
  }
}

private final class ChildTransport: Transport {
  private let child: PipedChild
  init(_ child: PipedChild) { self.child = child }

  func read(into buffer: UnsafeMutableRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try child.output.readAvailable(into: buffer, timeoutMilliseconds: timeoutMilliseconds)
  }

  func write(_ bytes: UnsafeRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int? {
    try child.input.writeAvailable(bytes, timeoutMilliseconds: timeoutMilliseconds)
  }
}
