import Catalog
import Engine
import Model
import Posix
import Repository
import Testing

@testable import Replication

/// A host whose source is wanted, and that sends what it likes.
@Suite struct HostileHostTests {
  private let world: World
  private let source: [UInt8]
  private let place: TreePath

  init() throws {
    world = try World()
    source = Array((world.path + "/source/a").utf8)
    place = TreePath(parsing: Array("localhost".utf8) + source)
  }

  private var subject: [UInt8] { place.relative }

  private func receiver(base: SnapshotName? = nil) throws -> Repository {
    try world.far.fetches.receiver(of: subject, base: base, at: Clock.now())
  }

  /// Receives the source into a repository.
  private func session(into repository: Repository) -> (reception: SourceReception, server: Server) {
    let reception = SourceReception(of: WantedSource(path: source, label: .localhost), into: repository)
    let server = Server { transport in
      let channel = Channel(over: transport, to: .client, timeoutSeconds: 5, readsWhileSending: false)
      try reception.session(over: channel, program: "test", minimumFree: nil, threads: 1).run()
    }
    return (reception, server)
  }

  /// Takes a snapshot of the source alone, and sends it as an honest host does; without the last report if `isCutOff`.
  private func send(
    into repository: Repository, isCutOff: Bool = false
  ) throws -> (snapshot: Snapshot, warnings: [Warning]) {
    let snapshot = try world.near.withLock(for: "test", at: Clock.now()) {
      try takeSnapshot(
        of: SnapshotOptions(sources: [source], threads: 1), in: world.near, program: "test", progress: Progress(),
        monitor: SilentMonitor()
      ).snapshot
    }
    let (reception, server) = session(into: repository)
    let connection = try Connection(options: world.remoteOptions(timeoutSeconds: 20), over: server.client)
    let result = try push(
      snapshot, of: world.near, over: connection, isDryRun: false, progress: PushProgress(), monitor: SilentMonitor())
    #expect(result.isNew)
    if !isCutOff {
      try connection.channel.send(Request.report(SourceReport(kind: .done, path: source, text: "")).frame)
    }
    #expect(server.end() == nil)
    guard case .received(let name, let warnings) = try reception.result() else {
      throw Failure(.failed, "the source did not come")
    }
    #expect(name == snapshot.name)
    return (snapshot, warnings)
  }

  private func sendHonestly(into repository: Repository) throws -> Snapshot {
    let sent = try send(into: repository)
    #expect(sent.warnings == [])
    return sent.snapshot
  }

  @Test("a source whose connection broke after the data is there, and has a warning")
  func missingEnd() throws {
    let warnings = try send(into: try receiver(), isCutOff: true).warnings
    #expect(warnings.count == 1 && "\(warnings)".contains("before the host named all entries"), "\(warnings)")
  }

  @Test("a snapshot with anything beside the wanted source is refused")
  func others() throws {
    let repository = try receiver()
    let (reception, server) = session(into: repository)
    let client = ScriptedClient(world, of: server)
    client.summary.sources = [source]
    client.candidates = []
    #expect(throws: (any Error).self) { try client.pushAll() }
    let error = server.end()
    #expect("\(error as Any)".contains("the snapshot has more in it than localhost"), "\(error as Any)")
    #expect(throws: (any Error).self) { try reception.result() }
    #expect(try repository.snapshots().snapshots.isEmpty)
  }

  @Test("another path, a second source and another label are refused before anything comes")
  func announcements() throws {
    for change: @Sendable (inout CatalogSummary) -> Void in [
      { _ in }, { $0.sources.append([47, 98]) }, { $0.label = [98] }, { $0.otherSources = [Array("web02/etc".utf8)] },
    ] {
      let (_, server) = session(into: try receiver())
      let client = ScriptedClient(world, of: server)
      change(&client.summary)
      #expect(throws: (any Error).self) { try client.begin() }
      #expect(server.end() != nil)
    }
  }

  @Test("the stored tree that stands for a received one has the source, and nothing beside it")
  func shownTree() throws {
    let first = try receiver()
    let snapshot = try sendHonestly(into: first)
    // The repository gets the same source, beside another.
    try world.pushHonestly(snapshot)
    let name = "\(snapshot.name)"
    let above = "\(name)/localhost/\(world.path.dropFirst())/source"
    try world.run("cp -r source/b far/\(above)/b; echo secret > far/\(name)/secret")
    try world.run("rm -rf far/.treering/hosts/*/\(above)/a")
    #expect(!first.showsTree)
    let second = try receiver(base: snapshot.name)
    #expect(second.showsTree && second.nameOfTree(snapshot.name) == snapshot.name)
    let shown = try second.openTree(of: snapshot.name)
    let stored = try world.far.openTree(of: snapshot.name)
    #expect(
      try shown.directory(path: place).descriptor.status().inode
        == stored.directory(path: place).descriptor.status().inode)
    #expect(throws: Errno.noSuchEntry) { try shown.directory(path: place.dropLast() + [98]) }
    #expect(try stored.names().count == 2 && shown.names().count == 1)
    #expect(try shown.directory(path: place.dropLast()).names().isEmpty)
  }

  @Test("a received tree that never became a snapshot does not stand for an older one")
  func unpublished() throws {
    let first = try receiver()
    let old = try sendHonestly(into: first)
    try world.pushHonestly(old)
    try world.run("echo changed >> source/a/large; sleep 1.1")
    let new = try sendHonestly(into: receiver(base: old.name))
    let repository = try receiver(base: old.name)
    #expect(try repository.snapshots().snapshots.map(\.name) == [old.name] && repository.showsTree)
    try world.pushHonestly(new)
    // The old one is not the base any more. The host sees what the new one has, though its own catalog was given up.
    let last = try receiver(base: new.name)
    let names = try last.snapshots().snapshots.map(\.name)
    #expect(names.count == 1 && last.showsTree)
    let digest = try world.far.digest(of: place, in: new.name)
    #expect(try last.digest(of: place, in: #require(names.first)) == digest)
    #expect(try digest != world.far.digest(of: place, in: old.name))
  }

  @Test("reports without end are cut off")
  func reports() throws {
    for (bytes, most) in [(16_000, 70), (1, 10_001)] {
      let (_, server) = session(into: try receiver())
      let client = ScriptedClient(world, of: server)
      try client.greet()
      var sent = 0
      let report = SourceReport(path: source, text: String(repeating: "x", count: min(bytes, 4000)))
      let long = SourceReport(path: source + [UInt8](repeating: 47, count: max(0, bytes - 4000)), text: report.text)
      do {
        while sent <= most + 5000 {
          try client.channel.send(Request.report(long).frame)
          sent += 1
        }
      } catch {}
      let error = server.end()
      #expect("\(error as Any)".contains("the reports do not end"), "\(error as Any)")
    }
  }

  @Test("a host reads nothing but what it sent, and changes nothing else")
  func requests() throws {
    for request: Request in [
      .fetch(world.older.name, path: [Array("a".utf8)]), .verify(VerifyRequest(names: [])), .space([]), .logs([120]),
    ] {
      let (_, server) = session(into: try receiver())
      let client = ScriptedClient(world, of: server)
      try client.greet()
      try client.channel.send(request.frame)
      while (try? client.channel.receive()) != nil {}
      #expect("\(server.end() as Any)".contains("a host may only send its source"))
    }
  }
}
