import Testing

@testable import Databases

@Suite("the space that a dump needs") struct SpaceTests {
  private static let gigabyte: UInt64 = 1 << 30

  @Test(
    "never less than the database without all that the last dump had",
    arguments: [
      (10, nil, 10), (10, 10, 10), (10, 12, 10),
      // Indexes and free space: the last dump with a margin.
      (10, 8, 10), (100, 60, 75),
      // It has grown since.
      (100, 10, 90), (10, 1, 9), (10, 0, 10),
    ] as [(UInt64, UInt64?, UInt64)])
  func table(_ server: UInt64, _ last: UInt64?, _ expected: UInt64) {
    let needed = DumpDirectory.neededBytes(
      serverBytes: server * Self.gigabyte, lastBytes: last.map { $0 * Self.gigabyte })
    #expect(needed / Self.gigabyte == expected)
  }
}
