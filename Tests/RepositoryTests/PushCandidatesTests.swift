import Testing

@testable import Repository

@Suite struct PushCandidatesTests {
  @Test(
    "of too many candidates, those that the remote has stay",
    arguments: [
      (4, [1, 2, 3, 8]), (5, [1, 2, 3, 4, 8]), (1, [8]), (10, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ])
  func limit(count: Int, expected: [Int]) {
    #expect(limited(Array(1...9), to: count) { $0 == 8 } == expected)
  }

  @Test("the limit holds for those, too")
  func known() { #expect(limited(Array(1...9), to: 3) { $0 > 2 } == [3, 4, 5]) }
}
