public import Catalog
internal import Posix

// The reasons for a rotation hold: the lines of `.treering/rotation-held`, each a time and a reason. Each cause adds
// its own line and removes no other. Functions that write the file need the lock.
extension Repository {
  /// The maximum number of holds. One hold stops rotation, and more lines tell the operator nothing new.
  static var mostHolds: Int { 16 }

  /// Holds rotation: no rotation expires a snapshot until the operator releases it.
  public func holdRotation(_ reason: String, at time: Timestamp) throws(Failure) {
    var holds = try rotationHolds()
    let lasting = holds.filter { UnexaminedArrival($0) == nil }
    if lasting.count >= Self.mostHolds || lasting.contains(where: { $0.reason == reason }) { return }
    holds.append(RotationHold(since: CalendarTime(seconds: time.seconds).rfc3339, reason: reason))
    try write(holds)
  }

  /// The start and reason of each rotation hold, in one line. `nil` if rotation is not held.
  public func heldRotation() throws(Failure) -> String? {
    let holds = try rotationHolds()
    return holds.isEmpty ? nil : holds.map { displayName(Array($0.line.utf8)) }.joined(separator: "; and since ")
  }

  /// The rotation holds; empty if rotation is not held.
  func rotationHolds() throws(Failure) -> [RotationHold] {
    do throws(Errno) {
      let name = Self.rotationHoldName
      let bytes = try control.descriptor.openToRead(name.span).readToEnd(limit: 1 << 20)
      let lines = bytes.split(separator: UInt8(ascii: "\n")).map {
        RotationHold(line: String(decoding: $0, as: UTF8.self))
      }
      // An empty file also holds rotation.
      return lines.isEmpty ? [RotationHold(line: "")] : lines
    } catch {
      if error == .noSuchEntry { return [] }
      throw Failure(.failed, "cannot read \(displayName(path))/.treering/rotation-held: \(error)")
    }
  }

  func write(_ holds: [RotationHold]) throws(Failure) {
    if holds.isEmpty {
      try endAllHolds()
    } else {
      try replace(Self.rotationHoldName, with: holds.map { $0.line + "\n" }.joined())
    }
  }

  /// Returns false if rotation was not held.
  @discardableResult
  private func endAllHolds() throws(Failure) -> Bool {
    do throws(Errno) {
      let name = Self.rotationHoldName
      try control.descriptor.unlink(name.span)
      try control.descriptor.synchronize()
      return true
    } catch {
      if error == .noSuchEntry { return false }
      throw .writing("release the rotation of", path, error)
    }
  }

  /// The sequence number of the newest snapshot at the last release of rotation.
  ///
  /// An older gap is no reason for a new hold.
  func acceptedSequence(of list: SnapshotList) -> UInt64? {
    let name = Self.releasedName
    let text = (try? control.descriptor.openToRead(name.span).readToEnd(limit: 256)) ?? []
    let words = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    // Older versions of treering wrote only the name.
    if words.count == 1 { return list.snapshots.first { $0.name.description == words[0] }?.summary.sequence }
    return words.count == 2 ? UInt64(words[1]) : nil
  }

  /// Releases rotation. Returns false if it was not held.
  ///
  /// The release accepts the gap between `newest` and its predecessor.
  public func releaseRotation(newest: Snapshot?) throws(Failure) -> Bool {
    if let newest { try replace(Self.releasedName, with: "\(newest.name) \(newest.summary.sequence)\n") }
    return try endAllHolds()
  }
}

/// A reason for a rotation hold.
struct RotationHold: Equatable {
  /// RFC 3339.
  var since: String
  var reason: String

  var line: String { "\(since) \(reason)" }

  init(since: String, reason: String) {
    self.since = since
    self.reason = reason.filter { !$0.isNewline }
  }

  init(line: String) {
    let words = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
    since = String(words.first ?? "")
    reason = words.count > 1 ? String(words[1]) : ""
  }
}
