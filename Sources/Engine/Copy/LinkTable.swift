internal import Posix

/// The inodes with several names in this run: the first name is stored, and the others are linked to it.
///
/// A thread that meets an inode waits while another thread stores it.
final class LinkTable<Key: Hashable & Sendable, Stored: Sendable>: @unchecked Sendable {
  private enum State {
    case busy
    case stored(Stored)
  }
  private let gate = Gate()
  private var states: [Key: State] = [:]

  /// Returns the stored value of the first name; `nil` if the caller is the first.
  ///
  /// The first caller must call `finish`. Before that it must not call `begin` for another inode.
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

  /// Sets the stored value of the first name; with `nil`, the next name counts as the first.
  func finish(_ key: Key, storing stored: Stored?) {
    gate.locked {
      states[key] = stored.map { .stored($0) }
      gate.wakeAll()
    }
  }
}
