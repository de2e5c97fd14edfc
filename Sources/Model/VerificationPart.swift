/// One of several parts of the stored data, such as the third of thirty. A verification of all parts reads everything
/// once.
///
/// The part of a file follows from the digest of its content. So an inode is in the same part in every snapshot, and
/// stays there while snapshots come and go. The part of a directory, with its other entries, follows from its path.
public struct VerificationPart: Hashable, Sendable {
  /// From 1 to `count`.
  public let number: Int
  /// From 1 to `mostParts`.
  public let count: Int

  public static let mostParts = 1000
  /// Everything.
  public static let whole = VerificationPart(number: 1, of: 1)!

  public init?(number: Int, of count: Int) {
    guard (1...Self.mostParts).contains(count), (1...count).contains(number) else { return nil }
    (self.number, self.count) = (number, count)
  }

  /// Parses the result of `description`.
  public init?(_ text: some StringProtocol) {
    let numbers = text.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
    guard numbers.count == 2, let number = numbers[0], let count = numbers[1] else { return nil }
    self.init(number: number, of: count)
  }

  public var isWhole: Bool { count == 1 }

  /// True for a file whose digest has this prefix.
  public func contains(prefix: UInt64) -> Bool { prefix % UInt64(count) == UInt64(number - 1) }

  /// True for the directory at this path, with its names and its entries that are no regular files.
  public func contains(path: TreePath) -> Bool {
    if isWhole { return true }
    // FNV-1a, in 64 bits. It is part of no format: another hash would only change the order of a cycle.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for name in path { for byte in name + [0] { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 } }
    return contains(prefix: hash ^ hash >> 32)
  }
}

extension VerificationPart: CustomStringConvertible {
  /// Such as `3/30`.
  public var description: String { "\(number)/\(count)" }
}
