import Engine
import Foundation
import Model
import Posix
import Synchronization
import Testing

/// The number of threads of a walk.
@Suite struct TreeWalkTests {
  /// A tree of one level, whose directories take a time each.
  private final class Work: TreeWork {
    typealias State = Int
    private let workInOne: @Sendable () -> Void
    private let now = Atomic<Int>(0)
    private let highest = Atomic<Int>(0)

    init(_ workInOne: @escaping @Sendable () -> Void) { self.workInOne = workInOne }

    var most: Int { highest.load(ordering: .relaxed) }

    func makeWorker() -> Void {}
    func finish(with worker: Void) {}
    func leave(_ node: Node, with worker: Void) {}

    func enter(_ node: Node, with worker: Void) -> [Node] {
      if node.state == 0 { return (1...200).map { Node(parent: node, name: Array("\($0)".utf8), $0) } }
      highest.max(now.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
      workInOne()
      now.subtract(1, ordering: .relaxed)
      return []
    }
  }

  private func most(_ threads: ThreadCount, _ workInOne: @escaping @Sendable () -> Void) throws -> Int {
    let work = Work(workInOne)
    try walkTree(work, from: WalkNode(0), threads: threads)
    return work.most
  }

  @Test("threads that wait get others beside them, up to the limit")
  func waiting() throws {
    #expect(try most(ThreadCount(first: 2, most: 16)) { usleep(10_000) } == 16)
  }

  @Test("a number that the user chose stays the same")
  func fixed() throws {
    #expect(try most(3) { usleep(6_000) } == 3)
  }

  @Test("threads that compute stay alone")
  func computing() throws {
    let most = try most(ThreadCount(first: 2, most: 16)) {
      let start = Clock.monotonic()
      while Clock.monotonic() - start < 0.006 {}
    }
    #expect(most == 2)
  }
}
