import Posix
import Testing

/// What a snapshot costs in system calls, and what it does when one of them fails.
///
/// The trace is of the whole process, which other suites share: so each test has a process of its own.
@Suite(.enabled(if: SystemCallTrace.isAvailable)) struct CallTests {
  @Test("an unchanged file costs one look and one link", arguments: [1, 2], [false, true])
  func anUnchangedFileCostsOneLookAndOneLink(_ threads: Int, _ recycling: Bool) async {
    await #expect(processExitsWith: .success) { [threads, recycling] in
      try CallTrials(recycling: recycling).anUnchangedFileCostsOneLookAndOneLink(threads)
    }
  }

  @Test("an unchanged file is never read")
  func anUnchangedFileIsNeverRead() async {
    await #expect(processExitsWith: .success) { try CallTrials().anUnchangedFileIsNeverRead() }
  }

  @Test("without a failure the snapshot is the source", arguments: [false, true])
  func withoutAFailureTheSnapshotIsTheSource(_ recycling: Bool) async {
    await #expect(processExitsWith: .success) { [recycling] in
      try CallTrials(recycling: recycling).withoutAFailureTheSnapshotIsTheSource()
    }
  }

  /// One call of every kind, at every place, fails: the run fails whole or warns, and never lies.
  @Test("an input/output error anywhere loses nothing", arguments: [false, true])
  func anInputOutputErrorAnywhere(_ recycling: Bool) async {
    await #expect(processExitsWith: .success) { [recycling] in
      for call in SystemCall.allCases { try CallTrials(recycling: recycling).anInputOutputErrorAnywhere(call) }
    }
  }

  @Test("without room nothing is published and the status says why", arguments: [false, true])
  func withoutRoomNothingIsPublishedAndTheStatusSaysWhy(_ recycling: Bool) async {
    await #expect(processExitsWith: .success) { [recycling] in
      for call: SystemCall in [
        .write, .pwrite, .mkdirat, .linkat, .symlinkat, .mknodat, .ftruncate, .syncfs, .renameat2, .fsync,
      ] {
        try CallTrials(recycling: recycling).withoutRoomNothingIsPublishedAndTheStatusSaysWhy(call)
      }
    }
  }

  @Test("a refused value is no damage")
  func aRefusedValueIsNoDamage() async {
    await #expect(processExitsWith: .success) {
      for call: SystemCall in [.fchmod, .fchownat, .utimensat] { try CallTrials().aRefusedValueIsNoDamage(call) }
    }
  }

  @Test("a file with too many links is copied")
  func aFileWithTooManyLinksIsCopied() async {
    await #expect(processExitsWith: .success) { try CallTrials().aFileWithTooManyLinksIsCopied() }
  }

  /// Once copied, the copy is what later snapshots link to.
  @Test("after too many links the copy is linked")
  func afterTooManyLinksTheCopyIsLinked() async {
    await #expect(processExitsWith: .success) { try CallTrials().afterTooManyLinksTheCopyIsLinked() }
  }

  @Test("a file that cannot be read is named and the rest is published")
  func aFileThatCannotBeReadIsNamedAndTheRestIsPublished() async {
    await #expect(processExitsWith: .success) {
      try CallTrials().aFileThatCannotBeReadIsNamedAndTheRestIsPublished()
    }
  }

  /// Whatever call fails, a dump is in the snapshot as it was made, or not at all.
  @Test("a dump is whole or left out")
  func aDumpIsWholeOrLeftOut() async {
    await #expect(processExitsWith: .success) { try CallTrials().aDumpIsWholeOrLeftOut() }
  }

  @Test("a failed run leaves no descriptor open")
  func aFailedRunLeavesNoDescriptorOpen() async {
    await #expect(processExitsWith: .success) { try CallTrials().aFailedRunLeavesNoDescriptorOpen() }
  }

  @Test("a failed sync publishes nothing")
  func aFailedSyncPublishesNothing() async {
    await #expect(processExitsWith: .success) { try CallTrials().aFailedSyncPublishesNothing() }
  }

  @Test("an input/output error while receiving loses no hard link")
  func anInputOutputErrorWhileReceivingLosesNoHardLink() async {
    await #expect(processExitsWith: .success) { try CallTrials().anInputOutputErrorWhileReceivingLosesNoHardLink() }
  }
}
