import Foundation
import Glibc
import Posix
import Testing

private func start(_ words: String...) throws -> PipedChild {
  try PipedChild.start(words.map { Array($0.utf8) })
}

/// Reads until the end, for at most 20 seconds.
private func readAll(_ descriptor: borrowing Descriptor) throws -> [UInt8] {
  var bytes: [UInt8] = []
  var room = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = try room.withUnsafeMutableBytes {
      try descriptor.readAvailable(into: $0, timeoutMilliseconds: 20_000)
    }
    guard let count else { throw Errno(ETIMEDOUT) }
    if count == 0 { return bytes }
    bytes += room[..<count]
  }
}

private func outputText(_ words: String...) throws -> String {
  let child = try PipedChild.start(words.map { Array($0.utf8) })
  try child.closeInput()
  let text = String(decoding: try readAll(child.output), as: UTF8.self)
  guard try child.wait(timeoutSeconds: 20) == .exited(0) else { throw Errno(ECHILD) }
  return text
}

@Suite struct PipedChildTests {
  init() { CurrentProcess.ignoreFileSignals() }

  @Test("what is written comes back")
  func whatIsWrittenComesBack() throws {
    let child = try start("cat")
    let content = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
    var written = 0
    var read: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 50_000)
    var sawFullPipe = false
    while read.count < content.count {
      if written < content.count {
        let count = try content[written...].withUnsafeBytes {
          try child.input.writeAvailable($0, timeoutMilliseconds: 0)
        }
        if let count { written += count } else { sawFullPipe = true }
        if written == content.count { try child.closeInput() }
        if count != nil { continue }
      }
      let count = try room.withUnsafeMutableBytes {
        try child.output.readAvailable(into: $0, timeoutMilliseconds: 20_000)
      }
      read += room[..<(try #require(count))]
    }
    #expect(read == content && sawFullPipe)
    #expect(try readAll(child.output) == [])
    #expect(try readAll(child.error) == [])
    #expect(try child.wait(timeoutSeconds: 20) == .exited(0))
    #expect(try child.poll() == .exited(0))
  }

  @Test("errors have a pipe of their own")
  func errorsHaveAPipeOfTheirOwn() throws {
    let child = try start("sh", "-c", "echo out; echo err >&2; exit 3")
    #expect(try readAll(child.error) == name("err\n"))
    #expect(try readAll(child.output) == name("out\n"))
    #expect(try child.wait(timeoutSeconds: 20) == .exited(3))
  }

  @Test("what cannot be executed is an error")
  func whatCannotBeExecutedIsAnError() throws {
    #expect(throws: Errno.noSuchEntry) { try start("treering-no-such-program") }
    #expect(throws: Errno.noSuchEntry) { try start("/no/such/program") }
    #expect(throws: Errno.accessDenied) { try start("/etc/passwd") }
    #expect(throws: Errno.invalid) { try PipedChild.start([]) }
    #expect(throws: Errno.invalid) { try start("cat", "a\0b") }
  }

  @Test("a program is ended at its timeout")
  func timeoutsEnd() throws {
    let child = try start("sleep", "60")
    var room = [UInt8](repeating: 0, count: 10)
    let before = Posix.Clock.monotonic()
    let read = try room.withUnsafeMutableBytes {
      try child.output.readAvailable(into: $0, timeoutMilliseconds: 100)
    }
    #expect(read == nil)
    #expect(try child.poll() == nil)
    #expect(try child.wait(timeoutSeconds: 0.1) == nil)
    let elapsed = Posix.Clock.monotonic() - before
    #expect(elapsed >= 0.2 && elapsed < 30)

    // A pipe that nobody reads takes 64 KiB.
    let content = [UInt8](repeating: 0, count: 1 << 20)
    var written = 0
    while let count = try content.withUnsafeBytes({
      try child.input.writeAvailable($0, timeoutMilliseconds: 50)
    }) { written += count }
    #expect(written >= 4096 && written < content.count)
    child.terminate()
    #expect(try child.wait(timeoutSeconds: 20) == .signalled(SIGTERM))
    #expect(throws: Errno.brokenPipe) {
      try content.withUnsafeBytes { try child.input.writeAvailable($0, timeoutMilliseconds: 50) }
    }
    // There is nothing left to end, and the number may be somebody else's.
    child.terminate()
    child.kill()
  }

  @Test("one that does not listen is killed")
  func oneThatDoesNotListenIsKilled() throws {
    let child = try start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
    var room = [UInt8](repeating: 0, count: 10)
    let ready = try room.withUnsafeMutableBytes {
      try child.output.readAvailable(into: $0, timeoutMilliseconds: 20_000)
    }
    #expect(ready == 6)
    child.terminate()
    #expect(try child.wait(timeoutSeconds: 0.2) == nil)
    child.kill()
    #expect(try child.wait(timeoutSeconds: 20) == .signalled(SIGKILL))
  }

  @Test("the input is closed once")
  func theInputIsClosedOnce() throws {
    let child = try start("cat")
    try child.closeInput()
    try child.closeInput()
    #expect(throws: Errno(EBADF)) {
      try [1].withUnsafeBytes { try child.input.writeAvailable($0, timeoutMilliseconds: 50) }
    }
    #expect(try child.wait(timeoutSeconds: 20) == .exited(0))
  }

  /// Else the first would wait for the second to close what it does not know of.
  @Test("a child does not hold the ends of another")
  func aChildDoesNotHoldTheEndsOfAnother() throws {
    let first = try start("cat")
    let second = try start("sleep", "60")
    try first.closeInput()
    #expect(try first.wait(timeoutSeconds: 20) == .exited(0))
    #expect(try second.poll() == nil)
    let open = try outputText("sh", "-c", "exec ls -l /proc/self/fd")
    for stream in 0...2 { #expect(open.contains(" \(stream) -> pipe:")) }
  }

  @Test("it stays in the process group")
  func itStaysInTheProcessGroup() throws {
    let fields = try outputText("cat", "/proc/self/stat").split(separator: " ")
    #expect(fields[4] == "\(getpgrp())")
  }

  @Test("who forgets a child leaves no zombie")
  func whoForgetsAChildLeavesNoZombie() throws {
    var child: PipedChild? = try start("sleep", "60")
    let process = try #require(child?.identifier)
    #expect(FileManager.default.fileExists(atPath: "/proc/\(process)"))
    child = nil
    #expect(!FileManager.default.fileExists(atPath: "/proc/\(process)"))
  }

  @Test("the child has the mask and the signals of before")
  func theChildHasTheMaskAndTheSignalsOfBefore() async {
    await #expect(processExitsWith: .success) {
      umask(0o027)
      CurrentProcess.clearCreationMask()
      CurrentProcess.ignoreFileSignals()
      CurrentProcess.rememberSignals()
      let mask = try outputText("sh", "-c", "umask")
      precondition(mask == "0027\n", mask)
      let status = try outputText("cat", "/proc/self/status")
      let fields = status.split(separator: "\n").filter { line in
        ["SigBlk:", "SigIgn:", "SigCgt:"].contains { line.hasPrefix($0) }
      }
      precondition(fields.count == 3)
      for field in fields {
        // From 32 on signals are the C library's.
        let signals = UInt64(field.split(separator: "\t")[1], radix: 16)! & 0x7FFF_FFFF
        precondition(signals == 0, status)
      }
    }
  }

  @Test("closed standard streams are not in the way")
  func closedStandardStreamsAreNotInTheWay() async {
    await #expect(processExitsWith: .success) {
      for stream: Int32 in 0...2 { close(stream) }
      let child = try start("sh", "-c", "cat; echo err >&2")
      let written = try name("out").withUnsafeBytes { try child.input.writeAvailable($0, timeoutMilliseconds: 1000) }
      guard written == 3 else { exit(2) }
      try child.closeInput()
      guard try readAll(child.output) == name("out"), try readAll(child.error) == name("err\n") else { exit(3) }
      do {
        _ = try start("treering-no-such-program")
        exit(4)
      } catch { if error as? Errno != .noSuchEntry { exit(5) } }
    }
  }

  @Test("failures of calls are reported")
  func failuresOfCallsAreReported() async {
    await #expect(processExitsWith: .success) {
      guard SystemCallTrace.isAvailable else { return }
      let child = try start("sleep", "60")
      var room = [UInt8](repeating: 0, count: 10)
      _ = SystemCallTrace.record(failing: [.poll: (1, .inputOutput), .fork: (1, .noSpace)]) {
        do {
          _ = try room.withUnsafeMutableBytes { try child.output.readAvailable(into: $0, timeoutMilliseconds: 1) }
          fatalError()
        } catch { precondition(error as? Errno == .inputOutput) }
        do {
          _ = try start("cat")
          fatalError()
        } catch { precondition(error as? Errno == .noSpace) }
      }
    }
  }
}
