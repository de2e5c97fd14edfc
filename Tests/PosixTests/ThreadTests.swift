import Posix
import Synchronization
import Testing

@Suite struct ThreadTests {
  @Test("every thread runs once", arguments: [1, 2, 7, 32])
  func everyThreadRunsOnce(_ count: Int) {
    let seen = Mutex<[Int]>([])
    runThreads(count) { index in seen.withLock { $0.append(index) } }
    #expect(seen.withLock { $0.sorted() } == Array(0..<count))
  }

  @Test("no threads are one")
  func noThreadsAreOne() {
    let calls = Atomic<Int>(0)
    runThreads(0) { _ in _ = calls.add(1, ordering: .relaxed) }
    #expect(calls.load(ordering: .relaxed) == 1)
  }

  private final class Counter: @unchecked Sendable {
    let gate = Gate()
    var value = 0
  }

  @Test("a gate lets one in at a time")
  func aGateLetsOneInAtATime() {
    let counter = Counter()
    runThreads(8) { _ in
      for _ in 0..<2000 { counter.gate.locked { counter.value += 1 } }
    }
    #expect(counter.value == 16_000)
  }

  @Test("who waits is woken")
  func whoWaitsIsWoken() {
    let counter = Counter()
    let passed = Atomic<Int>(0)
    runThreads(4) { index in
      if index == 0 {
        for _ in 0..<3 {
          counter.gate.locked {
            counter.value += 1
            counter.gate.wakeAll()
          }
        }
      } else {
        counter.gate.locked {
          while counter.value == 0 { counter.gate.wait() }
          counter.value -= 1
        }
        passed.add(1, ordering: .relaxed)
      }
    }
    #expect(passed.load(ordering: .relaxed) == 3 && counter.value == 0)
  }

  @Test("a gate gives back what the body throws")
  func aGateGivesBackWhatTheBodyThrows() {
    struct Problem: Error {}
    let gate = Gate()
    #expect(throws: Problem.self) { try gate.locked { throw Problem() } }
    // And is open again.
    #expect(gate.locked { 5 } == 5)
  }

  @Test("a ticker ticks until it is stopped")
  func aTickerTicksUntilItIsStopped() {
    let ticks = Atomic<Int>(0)
    let ticker = Ticker(intervalMilliseconds: 20) { ticks.add(1, ordering: .relaxed) }
    while ticks.load(ordering: .relaxed) < 3 { CurrentProcess.sleep(milliseconds: 5) }
    ticker.stop()
    let count = ticks.load(ordering: .relaxed)
    CurrentProcess.sleep(milliseconds: 80)
    #expect(ticks.load(ordering: .relaxed) == count)
  }
}
