import Model
import Testing

@testable import Repository

@Suite struct RecoveryStepTests {
  typealias Published = RecoveryStep.Published

  private static let name = SnapshotName(seconds: 1_800_000_000)
  private static let nothing = Published(hasTree: false, catalog: .absent)

  private func step(_ found: String, isDirectory: Bool, published: Published) -> RecoveryStep {
    RecoveryStep(for: Array(found.utf8), isDirectory: isDirectory) { name in
      #expect(name == Self.name)
      return published
    }
  }

  @Test(
    "a tree in pending",
    arguments: [
      (Published(hasTree: false, catalog: .intact), RecoveryStep.publishTree(name)),
      (Published(hasTree: false, catalog: .damaged), .keepAsSpare),
      (nothing, .keepAsSpare),
      (Published(hasTree: true, catalog: .intact), .keepAsSpare),
      (Published(hasTree: true, catalog: .absent), .keepAsSpare),
    ])
  func tree(published: Published, expected: RecoveryStep) {
    #expect(step("\(Self.name)", isDirectory: true, published: published) == expected)
  }

  @Test(
    "a catalog in pending",
    arguments: [
      (nothing, RecoveryStep.removeFile),
      (Published(hasTree: false, catalog: .intact), .removeFile),
      (Published(hasTree: true, catalog: .intact), .removeFile),
      (Published(hasTree: true, catalog: .damaged), .publishCatalog(name)),
      (Published(hasTree: true, catalog: .absent), .publishCatalog(name)),
    ])
  func catalog(published: Published, expected: RecoveryStep) {
    #expect(step("\(Self.name).catalog", isDirectory: false, published: published) == expected)
  }

  @Test("other entries in pending")
  func others() {
    #expect(step("\(Self.name).expired", isDirectory: false, published: Self.nothing) == .finishExpiry(Self.name))
    #expect(step("repair", isDirectory: true, published: Self.nothing) == .discard)
    #expect(step("latest", isDirectory: false, published: Self.nothing) == .removeFile)
  }
}
