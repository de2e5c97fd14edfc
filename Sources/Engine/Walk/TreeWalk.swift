package import Model
internal import Posix
public import Repository
internal import Synchronization

/// One directory on its way through a walk, with the state that a verb keeps of it.
///
/// It passes from thread to thread; two threads never share it. The walk's stack orders `enter`. `remaining` orders
/// `leave` after that of every child.
@dynamicMemberLookup
package final class WalkNode<State>: @unchecked Sendable {
  package let parent: WalkNode?
  /// The bytes of the directory's name; empty for the root of the walk.
  package let name: [UInt8]
  package var state: State
  /// The sub-directories, for a verb whose `leave` needs them.
  ///
  /// Parents and children hold each other until the parent is left.
  package var children: [WalkNode] = []
  /// The number of children that have not been left, plus one for the directory itself.
  fileprivate let remaining = Atomic<Int>(1)

  package init(parent: WalkNode? = nil, name: [UInt8] = [], _ state: State) {
    (self.parent, self.name, self.state) = (parent, name, state)
  }

  package subscript<Value>(dynamicMember member: KeyPath<State, Value>) -> Value {
    @inline(__always) get { state[keyPath: member] }
  }

  package subscript<Value>(dynamicMember member: WritableKeyPath<State, Value>) -> Value {
    @inline(__always) get { state[keyPath: member] }
    @inline(__always) _modify { yield &state[keyPath: member] }
  }

  /// The names from the root of the walk down to this directory.
  package var path: TreePath {
    var names: [[UInt8]] = []
    var node: WalkNode? = self
    while let current = node, current.parent != nil {
      names.append(current.name)
      node = current.parent
    }
    return TreePath(names.reversed())
  }

  /// Releases all nodes below this one after a failed walk, which does not leave them.
  package func release() {
    var nodes = [self]
    while let node = nodes.popLast() {
      nodes += node.children
      node.children = []
    }
  }
}

/// The actions of a verb in each directory.
///
/// `enter` works on the directory's entries and returns its sub-directories. `leave` follows when all of them have
/// been left. Both may run on any thread, with that thread's worker.
package protocol TreeWork: Sendable {
  associatedtype State
  associatedtype Worker
  typealias Node = WalkNode<State>
  func makeWorker() throws -> Worker
  func enter(_ node: Node, with worker: Worker) throws -> [Node]
  func leave(_ node: Node, with worker: Worker) throws
  /// Called when the thread has no more directories.
  func finish(with worker: Worker) throws
}

/// Walks a tree, directory by directory, on several threads. Every verb uses this walk.
///
/// The waiting directories are a stack, so threads go deep before they go wide. Only the directories on the way down
/// are open at one time. Memory grows with depth and width, not with the tree. The first error that `work` throws
/// ends the walk and is thrown here.
package func walkTree<Work: TreeWork>(_ work: Work, from root: Work.Node, threads: ThreadCount) throws {
  let walk = TreeWalk(work, from: root, threads: threads)
  runThreads(threads.first) { _ in walk.run(isExtra: false) }
  walk.extras.join()
  if let error = walk.failure.withLock({ $0 }) { throw error }
}

private final class TreeWalk<Work: TreeWork>: Sendable {
  private let work: Work
  private let stack: WorkStack<Work.Node>
  private let most: Int
  private let count: Atomic<Int>
  let extras = ThreadGroup()
  let failure = Mutex<(any Error)?>(nil)

  init(_ work: Work, from root: Work.Node, threads: ThreadCount) {
    self.work = work
    stack = WorkStack(root: root)
    most = threads.most
    count = Atomic(threads.first)
  }

  /// The work of one thread. If it waits for the disk, it starts another.
  func run(isExtra: Bool) {
    do {
      let worker: Work.Worker
      do { worker = try work.makeWorker() } catch {
        // The other threads can do the same work.
        if isExtra { return }
        throw error
      }
      var isFinished = false
      // A worker's results may be of use even if the walk fails.
      defer { if !isFinished { try? work.finish(with: worker) } }
      var waits = most > count.load(ordering: .relaxed) || isExtra ? ThreadWaits() : nil
      while let (node, hasWaited) = stack.next() {
        if hasWaited { waits?.restart() }
        try checkForSignal()
        let children = try work.enter(node, with: worker)
        node.remaining.add(children.count, ordering: .relaxed)
        stack.push(children)
        try complete(node, work: work, with: worker)
        let hasMore = stack.finishedOne()
        if let share = waits?.look(), share > 0.3, hasMore { addThread() }
      }
      isFinished = true
      try work.finish(with: worker)
    } catch {
      failure.withLock { if $0 == nil { $0 = error } }
      stack.stop()
    }
  }

  private func addThread() {
    if count.add(1, ordering: .relaxed).newValue > most || !extras.start(body: { self.run(isExtra: true) }) {
      count.subtract(1, ordering: .relaxed)
    }
  }
}

private func complete<Work: TreeWork>(_ node: Work.Node, work: Work, with worker: Work.Worker) throws {
  var node = node
  while node.remaining.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
    try work.leave(node, with: worker)
    guard let parent = node.parent else { return }
    node = parent
  }
}

/// Throws if the operator or the system asked the process to end.
public func checkForSignal() throws(Failure) {
  if let signal = CurrentProcess.rememberedSignal { throw Failure(.interrupted(signal: signal), "interrupted") }
}

/// The directories that wait to be entered.
private final class WorkStack<Node>: Sendable {
  private struct State {
    var waiting: [Node]
    var active = 0
    var stopped = false

    var isReady: Bool { stopped || !waiting.isEmpty || active == 0 }
  }
  private let state: Guarded<State>

  init(root: Node) { state = Guarded(State(waiting: [root])) }

  /// The next directory; waits for one while any thread may still add some.
  func next() -> (node: Node, hasWaited: Bool)? {
    var hasWaited = false
    func isReady(_ state: State) -> Bool {
      if !state.isReady { hasWaited = true }
      return state.isReady
    }
    return state.locked(when: isReady) { state in
      guard !state.stopped, let node = state.waiting.popLast() else { return nil }
      state.active += 1
      return (node, hasWaited)
    }
  }

  /// Adds children so that the first is entered first.
  func push(_ nodes: [Node]) {
    if !nodes.isEmpty { state.change { $0.waiting.append(contentsOf: nodes.reversed()) } }
  }

  /// Returns true if directories wait for a thread.
  func finishedOne() -> Bool {
    var hasMore = false
    state.change {
      $0.active -= 1
      hasMore = !$0.waiting.isEmpty
    }
    return hasMore
  }

  func stop() { state.change { $0.stopped = true } }
}
