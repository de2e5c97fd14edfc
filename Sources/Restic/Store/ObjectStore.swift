public import Model

/// The kinds of files in a repository; the raw value is the name of the directory, or of the only file.
public enum ObjectKind: String, CaseIterable, Sendable {
  case config, keys, locks, snapshots, index, data
}

/// The name of a file in a repository.
public struct ObjectName: Hashable, Sendable, CustomStringConvertible {
  public let kind: ObjectKind
  /// Zero for the configuration, of which there is one.
  public let id: Digest

  public init(_ kind: ObjectKind, _ id: Digest) { (self.kind, self.id) = (kind, id) }

  public static let config = ObjectName(.config, Digest(words: (0, 0, 0, 0)))

  public var description: String { kind == .config ? "config" : "\(kind.rawValue)/\(id)" }
}

/// The place of a repository's files: a directory, a bucket, or a server. Any number of threads may use it.
///
/// All calls throw a `Failure` that names the place.
public protocol ObjectStore: AnyObject, Sendable {
  /// The address, for messages.
  var displayName: String { get }
  /// The number of calls that may wait for the place at once; 0 if threads wait no longer than they compute.
  var connections: Int { get }
  /// True if a listing has every file whose write had ended before. A provider's listings may be late.
  var showsWritesAtOnce: Bool { get }
  /// All complete files of a kind with their sizes in bytes, in no order.
  func list(_ kind: ObjectKind) throws -> [(id: Digest, byteCount: UInt64)]
  /// The files below `keys/` and `snapshots/`, in one request where the place has one for both.
  func listKeysAndSnapshots() throws -> (keys: [Digest], snapshots: [Digest])
  /// The size in bytes; `nil` if there is no such file.
  func byteCount(of name: ObjectName) throws -> UInt64?
  /// Bytes from `offset` on, fewer at the end; `nil` if there is no such file.
  func read(_ name: ObjectName, at offset: UInt64, count: Int) throws -> [UInt8]?
  /// Writes a file as a whole. It is durable when the call returns, and never seen in part.
  func write(_ name: ObjectName, _ bytes: [UInt8]) throws
  /// Writes a pack with nothing but contents of files. It may go to an archive.
  func writeContents(_ name: ObjectName, _ bytes: [UInt8]) throws
  /// Removes a file; the absence of the file is no error.
  func remove(_ name: ObjectName) throws
  /// Removes what interrupted writes of this program left behind.
  func removeLeftovers() throws
  /// Extends the object locks of all files in good time before they end. Throws where files cannot be locked as wanted.
  func extendLocks() throws
  /// Asks whether this program's credentials could remove data, without harm to any.
  func probeRemoval() throws -> RemovalProbe
  /// The packs that must be thawed before they can be read.
  func archivedPacks() throws -> Set<Digest>
  /// The state of a pack in an archive.
  func thaw(of pack: Digest) throws -> Thaw
  /// Requests the thaw of a pack. A repeated request is no error.
  func requestThaw(of pack: Digest) throws
}

/// The answer of a place to the question whether this program's credentials could remove data.
public enum RemovalProbe: Sendable, Equatable {
  case refused, allowed
  /// The place has no harmless question.
  case unknown
}

/// The state of a pack in an archive.
public enum Thaw: Sendable { case frozen, underWay, done }

// Most places have neither locks nor archives.
extension ObjectStore {
  public var showsWritesAtOnce: Bool { false }
  public func listKeysAndSnapshots() throws -> (keys: [Digest], snapshots: [Digest]) {
    (try list(.keys).map(\.id), try list(.snapshots).map(\.id))
  }
  public func writeContents(_ name: ObjectName, _ bytes: [UInt8]) throws { try write(name, bytes) }
  public func extendLocks() throws {}
  public func probeRemoval() throws -> RemovalProbe { .unknown }
  public func archivedPacks() throws -> Set<Digest> { [] }
  public func thaw(of pack: Digest) throws -> Thaw { .done }
  public func requestThaw(of pack: Digest) throws {}
}

extension ObjectStore {
  /// The whole file; `nil` if there is none.
  func read(_ name: ObjectName, limit: Int) throws -> [UInt8]? {
    let bytes = try read(name, at: 0, count: limit + 1)
    if let bytes, bytes.count > limit { throw ResticError("\(name) is larger than \(limit) bytes") }
    return bytes
  }
}
