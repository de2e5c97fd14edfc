import Engine
import Replication
import Synchronization
import Testing

@testable import Commands

@Suite struct ProgressLineTests {
  private func line(entries: UInt64, bytesRead: UInt64, elapsedSeconds: Double) -> String {
    let progress = Progress()
    progress.expectedEntries.store(1000, ordering: .relaxed)
    progress.expectedBytes.store(1 << 30, ordering: .relaxed)
    progress.entries.store(entries, ordering: .relaxed)
    progress.bytesRead.store(bytesRead, ordering: .relaxed)
    return ProgressLine.line(for: "restore", of: progress, elapsedSeconds: elapsedSeconds)
  }

  @Test("the time left is shown after five seconds and one percent")
  func timeLeft() {
    #expect(line(entries: 64, bytesRead: 512 << 20, elapsedSeconds: 4).hasSuffix(" %"))
    #expect(line(entries: 64, bytesRead: 1 << 20, elapsedSeconds: 60).hasSuffix(", 0 %"))
    #expect(
      line(entries: 500, bytesRead: 512 << 20, elapsedSeconds: 30)
        == "restore: 512 MiB of 1.0 GiB, 500 of 1,000 entries, 50 %, about 30 s left")
    #expect(line(entries: 1000, bytesRead: 2 << 30, elapsedSeconds: 60).contains("100 %, about 0"))
  }

  @Test("the line of a push has the amounts and the time left, within 80 columns")
  func push() {
    let progress = PushProgress()
    progress.bytesExpected.store(1000 << 30, ordering: .relaxed)
    progress.bytesDone.store(500 << 30, ordering: .relaxed)
    let line = PushJob.line(for: progress, sent: 250 << 30, elapsedSeconds: 86_000)
    #expect(line == "push: 250 GiB sent, 3.0 MiB/s, 500 GiB of 1000 GiB, 50 %, about 23 h 53 min left")
  }
}
