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

  /// Begins `work` there, once what was begun before is done.
  public func begin(_ work: @escaping () -> Void) {
    wait()
    guard thread != nil else { return work() }
    state.gate.locked {
      state.work = work
      state.gate.wakeAll()
    }
  }

  /// Returns when nothing is being done there.
  public func wait() {
    state.gate.locked {
      while state.work != nil { state.gate.wait() }
    }
  }
}
