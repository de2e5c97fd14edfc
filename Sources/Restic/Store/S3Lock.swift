internal import Engine
internal import Model
internal import Posix
internal import Repository

/// The lock of everything that is written to a bucket.
public struct ObjectLock: Sendable {
  /// `COMPLIANCE` or `GOVERNANCE`, as the protocol has it.
  public var mode: String
  /// The time from the write, or from an extension, to the end of the lock.
  public var seconds: Int64

  public init(mode: String, seconds: Int64) { (self.mode, self.seconds) = (mode, seconds) }

  fileprivate static let strongest = "COMPLIANCE"
}

/// Object lock: this machine's key cannot remove a stored object, and neither can a thief of the key.
extension S3Store {
  /// The headers that lock a new version of an object.
  var lockHeaders: [(name: String, value: String)] {
    guard let lock = place.lock else { return [] }
    return [
      ("x-amz-object-lock-mode", lock.mode),
      ("x-amz-object-lock-retain-until-date", Self.text(of: Clock.now().seconds + lock.seconds)),
    ]
  }

  private static func text(of seconds: Int64) -> String { CalendarTime(seconds: seconds).rfc3339 }

  /// Throws if the bucket has no object lock, or no versions.
  func requireObjectLock() throws(Failure) {
    func require(_ query: String, element: String, lacking lacks: String) throws(Failure) {
      let answer = try send(Call(query: [(query, "")]))
      let value = answer.status == 200 ? S3Document(answer.body).first(element) : nil
      guard answer.status == 200 || answer.status == 404 else {
        throw failure("read the \(query) of the bucket", because: answer)
      }
      guard value == "Enabled" else {
        throw Failure(
          .usage, "the bucket of \(displayName) has no \(lacks), and its remote has a lock",
          hint: "switch it on at the provider, or let treering init make a new bucket")
      }
    }
    try require("object-lock", element: "ObjectLockEnabled", lacking: "object lock")
    try require("versioning", element: "Status", lacking: "versions")
  }

  /// Extends all locks when half of their time has passed.
  ///
  /// The file `config` is extended last. So no lock of a file that was there then ends before its lock does.
  public func extendLocks() throws {
    guard let lock = place.lock else { return }
    let now = Clock.now().seconds
    if try isLocked(.config, until: now + lock.seconds / 2, in: lock.mode) { return }
    try requireObjectLock()
    for kind in [ObjectKind.keys, .data, .index, .snapshots] {
      try concurrently(try list(kind), threads: connections) { item in
        try self.extendLock(of: ObjectName(kind, item.id), to: now + lock.seconds, in: lock.mode)
      }
    }
    try extendLock(of: .config, to: now + lock.seconds, in: lock.mode)
    guard try isLocked(.config, until: now + lock.seconds, in: lock.mode) else {
      throw Failure(
        .remote, "\(displayName) accepts locks of objects, and does not show them",
        hint: "the key may lack s3:GetObjectRetention: see treering-restic(7)")
    }
  }

  /// True if an object is locked in this mode, or a stronger one, until a time or longer.
  private func isLocked(_ name: ObjectName, until seconds: Int64, in mode: String) throws -> Bool {
    let answer = try send(Call(method: "HEAD", key: key(name.path)))
    guard answer.status == 200 else { throw failure("look at the lock of \(name)", because: answer) }
    guard let found = answer.header("x-amz-object-lock-mode"), found == mode || found == ObjectLock.strongest,
      let end = answer.header("x-amz-object-lock-retain-until-date")
    else { return false }
    // Servers add fractions of different length. Up to the second, the order of the texts is that of the times.
    return end.prefix(19) >= Self.text(of: seconds).prefix(19)
  }

  private func extendLock(of name: ObjectName, to seconds: Int64, in mode: String) throws {
    try checkForSignal()
    let answer = try send(
      "<Mode>\(mode)</Mode><RetainUntilDate>\(Self.text(of: seconds))</RetainUntilDate>", as: "Retention",
      to: "retention", of: name, by: "PUT")
    // Another process may have removed the file. A longer lock of an earlier configuration cannot be shortened.
    if answer.status == 200 || answer.status == 404 { return }
    if answer.status == 403, try isLocked(name, until: seconds, in: mode) { return }
    throw failure("extend the lock of \(name)", because: answer)
  }

  /// Tries to remove a version of an object of its own, which is no file of the repository.
  public func probeRemoval() throws -> RemovalProbe {
    let found = try send(Call(method: "HEAD", key: key(Self.probe)))
    // The lock of an earlier probe may have ended, so only a new one shows that removal is allowed.
    if found.status == 200, try !removeProbe(version: found.header("x-amz-version-id")) { return .refused }
    let body = Array("treering audit tries to remove this object.\n".utf8)
    let written = try send(
      Call(method: "PUT", key: key(Self.probe), headers: lockHeaders + Self.digestHeaders(of: body), body: body))
    guard written.status == 200 else { throw failure("write \(Self.probe)", because: written) }
    return try removeProbe(version: written.header("x-amz-version-id")) ? .allowed : .refused
  }

  private static let probe = "treering-probe"

  /// Returns false if the server refuses.
  private func removeProbe(version: String?) throws -> Bool {
    // A thief would send this header, too.
    let answer = try send(
      Call(
        method: "DELETE", key: key(Self.probe), query: [("versionId", version ?? "null")],
        headers: [("x-amz-bypass-governance-retention", "true")]))
    switch answer.status {
    case 403: return false
    case 200, 204, 404: return true
    default: throw failure("try to remove \(Self.probe)", because: answer)
    }
  }
}
