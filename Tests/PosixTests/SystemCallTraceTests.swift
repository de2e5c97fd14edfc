import Foundation
import Posix
import Testing

/// The trace is of the whole process, which other suites share: so each test has a process of its own.
@Suite(.enabled(if: SystemCallTrace.isAvailable)) struct SystemCallTraceTests {
  @Test("the calls of all threads are counted")
  func countsTheCallsOfAllThreads() async {
    await #expect(processExitsWith: .success) {
      let scratch = try ScratchDirectory()
      let counts = SystemCallTrace.record {
        runThreads(4) { index in
          for turn in 0..<5 {
            let file = name("\(index)-\(turn)")
            do {
              let made = try scratch.directory.descriptor.open(
                file.span, [.write, .create], mode: 0o600)
              try made.write([1])
              try made.close()
              _ = try scratch.directory.descriptor.status(of: file.span)
            } catch { fatalError("\(error)") }
          }
        }
      }
      precondition(counts == [.openat: 20, .write: 20, .close: 20, .statx: 20], "\(counts)")
      // What is outside is not counted.
      _ = try scratch.directory.descriptor.status()
      precondition(SystemCallTrace.record {} == [:])
    }
  }

  /// A container's filter may answer so for a call that it does not know.
  @Test("landlock that is refused counts as none")
  func landlockThatIsRefusedCountsAsNone() async {
    await #expect(processExitsWith: .success) {
      for error in [Errno.notPermitted, .notImplemented, .notSupported] {
        let scratch = try ScratchDirectory()
        var isConfined: Bool?
        _ = SystemCallTrace.record(failing: [.landlock_create_ruleset: (1, error)]) {
          isConfined = try? CurrentProcess.confine(to: [scratch.directory])
        }
        precondition(isConfined == false, "\(error)")
      }
    }
  }

  @Test("the chosen call fails and no other")
  func theChosenCallFailsAndNoOther() async {
    await #expect(processExitsWith: .success) {
      let scratch = try ScratchDirectory()
      for nth in 1...3 {
        var errors: [Errno?] = []
        _ = SystemCallTrace.record(failing: [.statx: (nth, .inputOutput)]) {
          for _ in 1...4 {
            do throws(Errno) {
              _ = try scratch.directory.descriptor.status()
              errors.append(nil)
            } catch { errors.append(error) }
          }
        }
        var expected = [Errno?](repeating: nil, count: 4)
        expected[nth - 1] = .inputOutput
        precondition(errors == expected, "\(errors)")
      }
    }
  }

  @Test("a forced failure does nothing")
  func aForcedFailureDoesNothing() async {
    await #expect(processExitsWith: .success) {
      let scratch = try ScratchDirectory()
      let d = name("d")
      _ = SystemCallTrace.record(failing: [.mkdirat: (1, .noSpace)]) {
        do throws(Errno) {
          try scratch.directory.descriptor.makeDirectory(d.span, mode: 0o700)
          fatalError("no failure")
        } catch { precondition(error == .noSpace) }
      }
      let left = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
      precondition(left == [])
    }
  }
}
