public import Catalog
public import Retention

/// A repository to read from, local or remote.
public protocol SnapshotStore: AnyObject {
  /// As the operator named it.
  var path: [UInt8] { get }
  func snapshots() throws(Failure) -> SnapshotList
  /// The members of each set, the newest first.
  func members(of list: SnapshotList) throws(Failure) -> [SnapshotSet: [SnapshotName]]
  /// The snapshots that are held, with since when.
  func heldSnapshots() throws(Failure) -> [SnapshotName: String]
  /// Since when and why rotation is held; `nil` where it is not.
  func heldRotation() throws(Failure) -> String?
  func openCatalog(_ name: SnapshotName) throws(Failure) -> OpenCatalog
}

extension Repository: SnapshotStore {
  public func heldSnapshots() throws(Failure) -> [SnapshotName: String] { try marks(.held) }
}
