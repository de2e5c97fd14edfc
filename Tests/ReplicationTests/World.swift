import Catalog
import Engine
import Foundation
import Model
import Posix
import Repository
import Synchronization
import TestSupport
import Testing

@testable import Replication

/// What ends, ends within so many seconds, however much else the machine has to do.
let hangSeconds = 120.0

/// A repository with two snapshots that can be pushed, and one that has the older and receives; removed with its
/// last reference.
final class World: @unchecked Sendable {
  private let directory: TemporaryDirectory
  var path: String { directory.path.text }
  let near: Repository
  let far: Repository
  private(set) var older: Snapshot!
  private(set) var newer: Snapshot!

  init() throws {
    CurrentProcess.clearCreationMask()
    CurrentProcess.ignoreFileSignals()
    directory = try TemporaryDirectory("peer")
    let path = directory.path.text
    try directory.run("mkdir source")
    near = try Repository.initialize(Array((path + "/near").utf8), at: Clock.now())
    far = try Repository.initialize(Array((path + "/far").utf8), at: Clock.now())
    try run(
      """
      cd source; mkdir a b b/c; seq 1 4000 > a/large; echo one > a/one; ln a/one a/other; ln -s one a/link
      mkfifo a/fifo; : > b/empty; echo deep > b/c/deep; echo kept > b/kept
      """)
    older = try snapshot(as: "2020-01-01T00-00-00Z")
    let result = try pushHonestly(older)
    #expect(result.isNew)
    try run("cd source; seq 1 4000 | sed 's/^2000$/x/' > a/large")
    try run("cd source; echo new > b/new; mv b/c a/moved; mkdir d; echo d > d/d")
    newer = try snapshot(as: "2021-01-01T00-00-00Z")
  }

  /// Takes a snapshot and gives it a name of long ago.
  private func snapshot(as name: String) throws -> Snapshot {
    let result = try near.withLock(for: "test", at: Clock.now()) {
      try takeSnapshot(
        of: SnapshotOptions(sources: [Array((path + "/source").utf8)], threads: 1), in: near, program: "test",
        progress: Progress(), monitor: SilentMonitor())
    }
    let old = result.snapshot.name.description
    try run("cd near; mv \(old) \(name); mv .treering/catalogs/\(old).catalog .treering/catalogs/\(name).catalog")
    try run("cd near; ln -sfn \(name) latest")
    return Snapshot(name: SnapshotName(Array(name.utf8))!, summary: result.snapshot.summary)
  }

  @discardableResult
  func run(_ script: String) throws -> String { try directory.run(script) }

  /// The far repository but for what a push that failed may leave: names, kinds, modes, owners, sizes, times, inodes,
  /// targets, contents.
  func fingerprint() throws -> Fingerprint {
    let changing = [".treering/pending", ".treering/trash", ".treering/spare", ".treering/lock"]
    let lasting = try Fingerprint(ByteString(path + "/far")).filter { entry in
      !["", ".treering", ".treering/logs/main"].contains(entry.text)
        && !changing.contains { entry.text == $0 || entry.text.hasPrefix($0 + "/") }
    }
    #expect(lasting.count > 10)
    return lasting
  }

  /// True as soon as nobody has the far repository's lock. A program that is just being started by another test may
  /// have it, as it has all that this process has open, until it is executed.
  func becomesFree() -> Bool {
    for _ in 0..<200 {
      if (try? far.lock(command: "test", at: Clock.now())) != nil { return true }
      CurrentProcess.sleep(milliseconds: 10)
    }
    return false
  }

  /// As `Repository.snapshots` finds them.
  func names() throws -> [String] { try far.snapshots().snapshots.map(\.name.description) }

  func serveOptions(timeoutSeconds: Double = 5, isReadOnly: Bool = false) -> ServeOptions {
    var options = ServeOptions(program: "test")
    options.repository = far.path
    options.timeoutSeconds = timeoutSeconds
    options.isReadOnly = isReadOnly
    options.confines = false
    return options
  }

  func remoteOptions(timeoutSeconds: Double = 5) -> RemoteOptions {
    RemoteOptions(
      command: [], path: far.path, displayName: "far", timeoutSeconds: timeoutSeconds, program: "test", onLine: { _ in }
    )
  }

  /// Pushes with the client of the product.
  @discardableResult
  func pushHonestly(_ snapshot: Snapshot) throws -> PushResult {
    for _ in 0..<100 {
      do { return try pushOnce(snapshot) } catch let failure as Failure where failure.kind == .locked {
        CurrentProcess.sleep(milliseconds: 10)
      }
    }
    return try pushOnce(snapshot)
  }

  private func pushOnce(_ snapshot: Snapshot) throws -> PushResult {
    let server = Server(serveOptions(timeoutSeconds: 20))
    defer { server.end() }
    let connection = try Connection(options: remoteOptions(timeoutSeconds: 20), over: server.client)
    return try push(
      snapshot, of: near, over: connection, isDryRun: false, progress: PushProgress(), monitor: SilentMonitor())
  }

  /// Takes the newer snapshot away from the receiver.
  func forgetNewer() throws {
    try run(
      """
      cd far; rm -rf 2021* .treering/catalogs/2021* .treering/pending/* .treering/trash/* .treering/spare/* *ly
      ln -sfn 2020-01-01T00-00-00Z latest
      """)
    try run("rm -rf near/.treering/remotes")
  }
}

final class SilentMonitor: Monitor {
  func warn(_ warning: Warning) {}
  func note(_ shortcoming: String) {}
}

/// A session on a thread of its own.
final class Server: @unchecked Sendable {
  let client: MemoryTransport
  private let server: MemoryTransport
  private let outcome = Mutex<(isOver: Bool, error: (any Error)?)>((false, nil))
  private var thread: BackgroundThread!
  /// What the server has said.
  var recording: [UInt8] { server.recording }

  convenience init(_ options: ServeOptions) {
    self.init { try serve(options, over: $0, onReceived: { _, _ in }) }
  }

  init(session: @escaping @Sendable (MemoryTransport) throws -> Void) {
    (client, server) = MemoryTransport.pair()
    thread = try! BackgroundThread { [self] in
      var failure: (any Error)?
      do { try session(server) } catch { failure = error }
      outcome.withLock { $0 = (true, failure) }
      server.close()
      server.stopReading()
    }
  }

  /// Closes the client's end and waits for the session's; its error.
  @discardableResult
  func end() -> (any Error)? {
    client.close()
    client.stopReading()
    return wait()
  }

  func wait() -> (any Error)? {
    thread.join()
    return outcome.withLock { $0.error }
  }

  var isOver: Bool { outcome.withLock { $0.isOver } }
}
