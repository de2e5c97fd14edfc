import Posix
import Testing

/// What a snapshot costs in system calls, and what it does when one of them fails.
///
/// The trace is of the whole process, which other suites share: so each test has a process of its own.
@Suite(.enabled(if: SystemCallTrace.isAvailable)) struct CallTests {
  @Test(arguments: [1, 2], [false, true])
  func anUnchangedFileCostsOneLookAndOneLink(_ threads: Int, _ recycling: Bool) async {
    await #expect(processExitsWith: .success) { [threads, recycling] in
      try CallTrials(recycling: recycling).anUnchangedFileCostsOneLookAndOneLink(threads)
    }
  }

  @Test func anUnchangedFileIsNeverRead() async {
    await #expect(processExitsWith: .success) { try CallTrials().anUnchangedFileIsNeverRead() }
  }

  @Test(arguments: [false, true])
  func withoutAFailureTheSnapshotIsTheSource(_ recycling: Bool) async {
    await #expect(processExitsWith: .success) { [recycling] in
      try CallTrials(recycling: recycling).withoutAFailureTheSnapshotIsTheSource()
    }
  }

  /// One call of every kind, at every place, fails: the run fails whole or warns, and never lies.
  @Test(arguments: [false, true])
  func anInputOutputErrorAnywhere(_ recycling: Bool) async {
    await #expect(processExitsWith: .success) { [recycling] in
      for call in SystemCall.allCases { try CallTrials(recycling: recycling).anInputOutputErrorAnywhere(call) }
    }
  }

  @Test(arguments: [false, true])
  func withoutRoomNothingIsPublishedAndTheStatusSaysWhy(_ recycling: Bool) async {
    await #expect(processExitsWith: .success) { [recycling] in
      for call: SystemCall in [
        .write, .pwrite, .mkdirat, .linkat, .symlinkat, .mknodat, .ftruncate, .syncfs, .renameat2, .fsync,
      ] {
        try CallTrials(recycling: recycling).withoutRoomNothingIsPublishedAndTheStatusSaysWhy(call)
      }
    }
  }

  @Test func aRefusedValueIsNoDamage() async {
    await #expect(processExitsWith: .success) {
      for call: SystemCall in [.fchmod, .fchownat, .utimensat] { try CallTrials().aRefusedValueIsNoDamage(call) }
    }
  }

  @Test func aFileWithTooManyLinksIsCopied() async {
    await #expect(processExitsWith: .success) { try CallTrials().aFileWithTooManyLinksIsCopied() }
  }

  /// Once copied, the copy is what later snapshots link to.
  @Test func afterTooManyLinksTheCopyIsLinked() async {
    await #expect(processExitsWith: .success) { try CallTrials().afterTooManyLinksTheCopyIsLinked() }
  }

  @Test func aFileThatCannotBeReadIsNamedAndTheRestIsPublished() async {
    await #expect(processExitsWith: .success) {
      try CallTrials().aFileThatCannotBeReadIsNamedAndTheRestIsPublished()
    }
  }

  /// Whatever call fails, a dump is in the snapshot as it was made, or not at all.
  @Test func aDumpIsWholeOrLeftOut() async {
    await #expect(processExitsWith: .success) { try CallTrials().aDumpIsWholeOrLeftOut() }
  }

  @Test func aFailedRunLeavesNoDescriptorOpen() async {
    await #expect(processExitsWith: .success) { try CallTrials().aFailedRunLeavesNoDescriptorOpen() }
  }

  @Test func aFailedSyncPublishesNothing() async {
    await #expect(processExitsWith: .success) { try CallTrials().aFailedSyncPublishesNothing() }
  }

  @Test func anInputOutputErrorWhileReceivingLosesNoHardLink() async {
    await #expect(processExitsWith: .success) { try CallTrials().anInputOutputErrorWhileReceivingLosesNoHardLink() }
  }
}
