internal import Posix
public import Repository
internal import Synchronization

/// One directory on its way through a walk. Handed from thread to thread, never shared by two at once:
/// the walk's stack orders `enter`, and `remaining` orders `leave` after every child's.
class WalkNode: @unchecked Sendable {
  let parent: WalkNode?
  /// Bytes of the directory's name; empty for the root of the walk.
  let name: [UInt8]
  /// Itself and the children that have not been left.
  fileprivate let remaining = Atomic<Int>(1)

  init(parent: WalkNode?, name: [UInt8]) {
    self.parent = parent
    self.name = name
  }

  /// The names from the root of the walk down to this directory.
  var path: [[UInt8]] {
    var names: [[UInt8]] = []
    var node: WalkNode? = self
    while let current = node, current.parent != nil {
      names.append(current.name)
      node = current.parent
    }
    return names.reversed()
  }
}

/// What is done in each directory. `enter` works on its entries and returns its sub-directories; `leave`
/// comes when all of them have been left. Both may run on any thread, with that thread's worker.
protocol TreeWork: Sendable {
  associatedtype Node: WalkNode
  associatedtype Worker
  func makeWorker() throws -> Worker
  func enter(_ node: Node, _ worker: Worker) throws -> [Node]
  func leave(_ node: Node, _ worker: Worker) throws
  /// The thread has no more to do.
  func finish(_ worker: Worker) throws
}

/// Walks a tree, directory by directory, on a fixed number of threads; the one walk of every verb.
///
/// The work waiting is a stack, so threads go deep before they go wide: the directories that are open
/// at one time are those on the way down, and memory grows with depth and width, not with the tree.
/// The first error that `work` throws ends the walk and is thrown here.
func walkTree<Work: TreeWork>(_ work: Work, from root: Work.Node, threads: Int) throws {
  let stack = WorkStack<Work.Node>(root)
  let failure = Mutex<(any Error)?>(nil)
  runThreads(threads) { _ in
    do {
      let worker = try work.makeWorker()
      var isFinished = false
      // What was gathered may be of use even where the walk fails.
      defer { if !isFinished { try? work.finish(worker) } }
      while let node = stack.next() {
        try checkForSignal()
        let children = try work.enter(node, worker)
        node.remaining.add(children.count, ordering: .relaxed)
        stack.push(children)
        try complete(node, work, worker)
        stack.finishedOne()
      }
      isFinished = true
      try work.finish(worker)
    } catch {
      failure.withLock { if $0 == nil { $0 = error } }
      stack.stop()
    }
  }
  if let error = failure.withLock({ $0 }) { throw error }
}

private func complete<Work: TreeWork>(
  _ node: Work.Node, _ work: Work, _ worker: Work.Worker
) throws {
  var node = node
  while node.remaining.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
    try work.leave(node, worker)
    guard let parent = node.parent else { return }
    node = unsafeDowncast(parent, to: Work.Node.self)
  }
}

/// Throws where the operator or the system asked the process to end.
public func checkForSignal() throws(Failure) {
  if let signal = Process.rememberedSignal {
    throw Failure(.interrupted(signal: signal), "interrupted")
  }
}

/// The directories that wait to be entered.
private final class WorkStack<Node: WalkNode>: @unchecked Sendable {
  private let gate = Gate()
  private var waiting: [Node]
  private var active = 0
  private var stopped = false

  init(_ root: Node) { waiting = [root] }

  /// The next directory; waits for one while any thread may still bring some.
  func next() -> Node? {
    gate.locked {
      while true {
        if stopped { return nil }
        if let node = waiting.popLast() {
          active += 1
          return node
        }
        if active == 0 { return nil }
        gate.wait()
      }
    }
  }

  /// Adds children so that the first is entered first.
  func push(_ nodes: [Node]) {
    if nodes.isEmpty { return }
    gate.locked {
      waiting.append(contentsOf: nodes.reversed())
      gate.wakeAll()
    }
  }

  func finishedOne() {
    gate.locked {
      active -= 1
      if active == 0 { gate.wakeAll() }
    }
  }

  func stop() {
    gate.locked {
      stopped = true
      gate.wakeAll()
    }
  }
}
