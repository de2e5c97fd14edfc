import Catalog
import Model
import Posix
import Repository
import Testing

@testable import Replication

/// One thing that a client does and must not.
struct Lie: Sendable, CustomTestStringConvertible {
  let testDescription: String
  var timeoutSeconds = 5.0
  let tell: @Sendable (ScriptedClient) throws -> Void

  init(_ name: String, timeoutSeconds: Double = 5, _ tell: @escaping @Sendable (ScriptedClient) throws -> Void) {
    testDescription = name
    self.timeoutSeconds = timeoutSeconds
    self.tell = tell
  }

  /// After the beginning of a push, of a snapshot whose root is `root`, or of the world's.
  static func inPush(
    _ name: String, below root: RawRecord? = nil, _ tell: @escaping @Sendable (ScriptedClient) throws -> Void
  ) -> Lie {
    Lie(name) {
      if let root { $0.announce(root.digest, entries: 1000, directories: 100) }
      try $0.begin()
      try tell($0)
    }
  }
}

extension World {
  /// Tells lies one after the other, and proves that nothing came of them but an error.
  func tell(_ lies: [Lie]) throws {
    let before = try fingerprint()
    for lie in lies {
      let client = ScriptedClient(self, timeoutSeconds: lie.timeoutSeconds)
      let start = Clock.monotonic()
      var told: (any Error)?
      do {
        try lie.tell(client)
        try client.stream.flush()
        // Whoever is to be silent stays.
        if lie.timeoutSeconds >= 1 { client.server.client.close() }
        while try client.channel.receive() != nil {}
      } catch { told = error }
      let elapsed = Clock.monotonic() - start
      let ended = client.server.end()
      #expect(ended != nil, "\(lie.testDescription): the session ended without an error; the client saw \(told as Any)")
      #expect(elapsed < hangSeconds, "\(lie.testDescription): \(elapsed) s")
      let isSame = try fingerprint() == before
      #expect(isSame, "\(lie.testDescription): the repository has changed")
      #expect(becomesFree(), "\(lie.testDescription): the repository is locked")
    }
    #expect(try pushHonestly(newer).isNew)
    #expect(try names().count == 2)
  }
}
