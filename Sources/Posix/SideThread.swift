/// A thread that does one piece of work at a time beside the one that owns it.
///
/// Belongs to one thread. Where no other can be had, that one does both, one after the other.
public final class SideThread {
  /// What both threads see; the owner is not among it, so that the thread ends with the owner.
  private final class State: @unchecked Sendable {
    let gate = Gate()
    var work: (() -> Void)?
    var isStopped = false

    func run() {
      while true {
        let work: (() -> Void)? = gate.locked {
          while self.work == nil && !isStopped { gate.wait() }
          return self.work
        }
        guard let work else { return }
        work()
        gate.locked {
          self.work = nil
          gate.wakeAll()
        }
      }
    }
  }

  private let state = State()
  private let thread: BackgroundThread?

  public init() { thread = try? BackgroundThread { [state] in state.run() } }

  deinit {
    state.gate.locked {
      state.isStopped = true
      state.gate.wakeAll()
    }
    thread?.join()
  }

  /// Does `own` here and `other` there, and returns when both are done.
  public func both<R>(_ other: @escaping () -> Void, _ own: () throws -> R) rethrows -> R {
    begin(other)
    defer { wait() }
    return try own()
  }

  private func begin(_ work: @escaping () -> Void) {
    guard thread != nil else { return work() }
    state.gate.locked {
      state.work = work
      state.gate.wakeAll()
    }
  }

  private func wait() {
    state.gate.locked {
      while state.work != nil { state.gate.wait() }
    }
  }
}
