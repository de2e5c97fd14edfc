/// A thread that does one task at a time beside its owner.
///
/// Belongs to one thread. If no thread can be created, the owner does the tasks itself, one after the other.
public final class SideThread {
  /// The state that both threads share. It has no reference to the owner, so the thread ends with the owner.
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

  /// Starts `work` on the thread, after the previous task is done.
  public func begin(_ work: @escaping () -> Void) {
    wait()
    guard thread != nil else { return work() }
    state.gate.locked {
      state.work = work
      state.gate.wakeAll()
    }
  }

  /// Waits until the thread has no task.
  public func wait() {
    state.gate.locked {
      while state.work != nil { state.gate.wait() }
    }
  }
}
