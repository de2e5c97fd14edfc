public import Catalog
public import Model

/// A repository to read from, local or remote.
public protocol SnapshotStore: AnyObject {
  /// The path as the operator gave it.
  var path: [UInt8] { get }
  var repositoryID: [UInt8] { get }
  func snapshots() throws(Failure) -> SnapshotList
  /// The members of each set, newest first.
  func members(of list: SnapshotList) throws(Failure) -> [SnapshotSet: [SnapshotName]]
  /// The held snapshots, each with the start and reason of its hold.
  func heldSnapshots() throws(Failure) -> [SnapshotName: String]
  /// The start and reasons of the rotation hold, or `nil` if rotation is not held.
  func heldRotation() throws(Failure) -> String?
  func openCatalog(of name: SnapshotName) throws(Failure) -> OpenCatalog
  /// The repository, if it is on this machine. Only such a one can be locked, marked and repaired.
  var local: Repository? { get }
  /// The logs of a database that were pushed there; `nil` if there are none.
  func logs(of database: [UInt8]) throws(Failure) -> (any LogSource)?
  /// The files of a snapshot.
  func contents(of name: SnapshotName) -> any ContentFetcher
}

extension SnapshotStore {
  /// A repository of another format keeps no logs.
  public func logs(of database: [UInt8]) throws(Failure) -> (any LogSource)? { nil }
}

extension Repository: SnapshotStore {
  public var local: Repository? { self }
  public var repositoryID: [UInt8] { id }
  public func logs(of database: [UInt8]) throws(Failure) -> (any LogSource)? { try pushedLogs(of: database) }
  public func members(of list: SnapshotList) throws(Failure) -> [SnapshotSet: [SnapshotName]] {
    try retention.members(of: list)
  }
  public func contents(of name: SnapshotName) -> any ContentFetcher { StoredContents(of: name, in: self) }
  public func heldSnapshots() throws(Failure) -> [SnapshotName: String] { try marks.all(.held) }
  public func heldRotation() throws(Failure) -> String? { try rotationFreeze.description() }
}
