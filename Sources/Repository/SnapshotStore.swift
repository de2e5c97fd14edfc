public import Catalog
public import Retention

/// A repository to read from, local or remote.
public protocol SnapshotStore: AnyObject {
  /// The path as the operator gave it.
  var path: [UInt8] { get }
  func snapshots() throws(Failure) -> SnapshotList
  /// The members of each set, newest first.
  func members(of list: SnapshotList) throws(Failure) -> [SnapshotSet: [SnapshotName]]
  /// The held snapshots, each with the start and reason of its hold.
  func heldSnapshots() throws(Failure) -> [SnapshotName: String]
  /// The start and reasons of the rotation hold, or `nil` if rotation is not held.
  func heldRotation() throws(Failure) -> String?
  func openCatalog(_ name: SnapshotName) throws(Failure) -> OpenCatalog
}

extension Repository: SnapshotStore {
  public func heldSnapshots() throws(Failure) -> [SnapshotName: String] { try marks(.held) }
}
