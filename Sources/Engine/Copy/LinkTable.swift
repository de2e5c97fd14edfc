internal import Posix

/// The inodes with several names in this run: the first name is stored, and the others are linked to it.
///
/// A thread that meets an inode waits while another thread stores it.
final class LinkTable<Key: Hashable & Sendable, Stored: Sendable>: Sendable {
  private enum State {
    case busy
    case stored(Stored)

    var isBusy: Bool { if case .busy = self { true } else { false } }
  }
  private let states = Guarded<[Key: State]>([:])

  /// Returns the stored value of the first name; `nil` if the caller is the first.
  ///
  /// The first caller must call `finish`. Before that it must not call `begin` for another inode.
  func begin(_ key: Key) -> Stored? {
    states.locked(when: { $0[key]?.isBusy != true }) { states in
      if case .stored(let stored) = states[key] { return stored }
      states[key] = .busy
      return nil
    }
  }

  /// Sets the stored value of the first name; with `nil`, the next name counts as the first.
  func finish(_ key: Key, storing stored: Stored?) { states.change { $0[key] = stored.map { .stored($0) } } }
}
