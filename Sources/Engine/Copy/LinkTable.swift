internal import Posix

/// The inodes with several names that this run has met: the first name is stored, the others are linked
/// to it. A thread that meets an inode which another is storing waits for it.
final class LinkTable<Key: Hashable & Sendable, Stored: Sendable>: @unchecked Sendable {
  private enum State {
    case busy
    case stored(Stored)
  }
  private let gate = Gate()
  private var states: [Key: State] = [:]

  /// Returns what the first name was stored as, or `nil` to the caller that is the first: it must call
  /// `finish`, and must not call `begin` for another inode before it has.
  func begin(_ key: Key) -> Stored? {
    gate.locked {
      while true {
        switch states[key] {
        case .stored(let stored): return stored
        case nil:
          states[key] = .busy
          return nil
        case .busy: gate.wait()
        }
      }
    }
  }

  /// Says what the first name was stored as; with `nil` the next name counts as the first.
  func finish(_ key: Key, _ stored: Stored?) {
    gate.locked {
      states[key] = stored.map { .stored($0) }
      gate.wakeAll()
    }
  }
}
