internal import Posix
internal import Synchronization

/// A server program that runs while the value lives; another thread watches it.
final class RunningServer {
  private let name: String
  private let stop = StopFlag()
  private let end = ServerEnd()
  private var thread: BackgroundThread?

  /// `process` is one of the network namespace for the server; `nil` for that of this process.
  init(_ arguments: [[UInt8]], by tools: Tools, inNetworkOf process: Int32? = nil) {
    name = tools.name
    var setting = Tools.Setting()
    setting.stop = stop
    setting.keepsNetwork = process != nil
    let (end, waited) = (end, setting)
    thread = try? BackgroundThread {
      do throws(DumpFailure) {
        if let process { try Self.enterNetwork(of: process, for: tools) }
        _ = try tools.run(arguments, waited)
        end.set(nil)
      } catch { end.set(error) }
    }
    if thread == nil { end.set(DumpFailure(name: name, reason: "no thread can be made")) }
  }

  private static func enterNetwork(of process: Int32, for tools: Tools) throws(DumpFailure) {
    do throws(Errno) { try CurrentProcess.enterNetwork(of: process) } catch {
      throw DumpFailure(name: tools.name, reason: "cannot enter the network of the drill: \(error)")
    }
  }

  /// Asks the server until it answers, for at most a minute.
  func waitUntilReady(asking ask: () throws(DumpFailure) -> Void) throws(DumpFailure) {
    var last: DumpFailure?
    for _ in 0..<600 {
      if let failure = end.value { throw failure ?? DumpFailure(name: name, reason: "the private server ended") }
      do throws(DumpFailure) { return try ask() } catch {
        if error.isInterrupted { throw error }
        last = error
      }
      CurrentProcess.sleep(milliseconds: 100)
    }
    throw last!
  }

  /// Waits for the server's end, which something else has asked for.
  func waitForEnd() throws(DumpFailure) {
    thread?.join()
    if let failure = end.value ?? nil { throw failure }
  }

  deinit {
    stop.set()
    thread?.join()
  }
}

/// The end of a server that another thread watches.
private final class ServerEnd: Sendable {
  private let state = Mutex<DumpFailure??>(nil)

  /// `nil` while the server runs; the failure, if it ended with one.
  var value: DumpFailure?? { state.withLock { $0 } }

  func set(_ failure: DumpFailure?) { state.withLock { $0 = .some(failure) } }
}
