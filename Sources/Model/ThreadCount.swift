/// The number of threads that work at once.
public struct ThreadCount: Sendable, Hashable, ExpressibleByIntegerLiteral {
  /// The number at the start, and the number for work that keeps the processors busy.
  public let first: Int
  /// The number that a walk may reach while its threads wait for the disk.
  public let most: Int

  /// A number that stays the same.
  public init(_ count: Int) { self.init(first: count, most: count) }

  /// A number that grows while threads wait.
  public init(first: Int, most: Int) { (self.first, self.most) = (first, max(first, most)) }

  public init(integerLiteral count: Int) { self.init(count) }
}
