/// A thread that does one task at a time beside its owner.
///
/// Belongs to one thread. If no thread can be created, the owner does the tasks itself, one after the other.
public final class SideThread {
  private struct State {
    var work: (() -> Void)?
    var isStopped = false
  }
  /// Has no reference to the owner, so the thread ends with the owner.
  private let state = Guarded(State())
  private let thread: BackgroundThread?

  public init() {
    thread = try? BackgroundThread { [state] in
      while let work = state.locked(when: { $0.work != nil || $0.isStopped }, body: { $0.work }) {
        work()
        state.change { $0.work = nil }
      }
    }
  }

  deinit {
    state.change { $0.isStopped = true }
    thread?.join()
  }

  /// Starts `work` on the thread, after the previous task is done.
  public func begin(work: @escaping () -> Void) {
    wait()
    guard thread != nil else { return work() }
    state.change { $0.work = work }
  }

  /// Waits until the thread has no task.
  public func wait() { state.locked(when: { $0.work == nil }) { _ in } }
}
