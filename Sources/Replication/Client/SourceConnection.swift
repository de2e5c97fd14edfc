internal import Engine
internal import Posix
public import Repository

/// The connection of a host to the machine that receives one of its sources, over standard input and output.
public final class SourceConnection: Sendable {
  public let connection: Connection
  public let wanted: WantedSource

  /// Waits for the request, and exchanges hellos. `options` need no command.
  public init(options: RemoteOptions) throws {
    let channel = Channel(
      over: try StandardTransport(), to: .server, timeoutSeconds: options.timeoutSeconds, readsWhileSending: true)
    wanted = try channel.receive(WantedSource.self)
    connection = try Connection(options: options, over: channel)
  }

  /// Reports an entry that is not as on the host.
  public func report(_ warning: Warning) throws {
    try connection.channel.send(Request.report(SourceReport(path: warning.path, text: warning.message)).frame)
  }

  /// Reports that the source is not there.
  public func reportAbsence(because reason: String) throws {
    let report = SourceReport(kind: .absence, path: wanted.path, text: reason)
    try connection.channel.send(Request.report(report).frame)
  }

  /// Reports that the source is as in the server's last snapshot.
  public func reportUnchanged() throws {
    try connection.channel.send(
      Request.report(SourceReport(kind: .unchanged, path: wanted.path, text: "")).frame)
  }

  /// Reports that the source was sent, and all its entries that are not as on the host were reported.
  public func reportEnd() throws {
    try connection.channel.send(Request.report(SourceReport(kind: .done, path: wanted.path, text: "")).frame)
  }

  /// Reports that this machine cannot send the source by this protocol. Another program may do it.
  public func reportInability(because reason: String) throws {
    try connection.channel.send(Request.report(SourceReport(kind: .unable, path: wanted.path, text: reason)).frame)
  }

  /// Tells the server the reason for which the host gives up.
  public func end(with failure: Failure) { try? connection.channel.send(failure) }

  /// Sends keep-alives while a thread of this process is at work. `number` grows with its progress.
  ///
  /// Without a server, the work is for nothing, and keeps the next connection from its lock. SIGTERM ends it.
  public func whileWorking<R>(progress number: @escaping @Sendable () -> UInt64, body: () throws -> R) rethrows -> R {
    let ticker = Ticker(intervalMilliseconds: 1000) { [channel = connection.channel] in
      channel.sendKeepAlive(number: number())
      do { try channel.checkForFailure() } catch { CurrentProcess.terminate() }
    }
    defer { ticker.stop() }
    return try body()
  }
}
