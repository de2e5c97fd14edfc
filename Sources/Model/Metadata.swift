/// The metadata that `chmod`, `chown` and `touch` set.
@frozen
public struct Metadata: Hashable, Sendable {
  /// The twelve bits of `chmod(2)`.
  public var permissions: UInt16
  public var user, group: UInt32
  public var modified: Timestamp

  @inlinable
  public init(permissions: UInt16, user: UInt32, group: UInt32, modified: Timestamp) {
    (self.permissions, self.user, self.group, self.modified) = (permissions, user, group, modified)
  }
}
