public import Catalog
internal import Posix

// Why rotation is held: the lines of `.treering/rotation-held`, each a time and a reason. Each cause adds a line of its
// own and takes away no other. The caller of what writes holds the lock.
extension Repository {
  /// One reason is enough to hold rotation; with more than so many, a person learns no more.
  static var mostHolds: Int { 16 }

  /// Makes every later rotation expire nothing, until somebody releases it.
  public func holdRotation(_ reason: String, at time: Timestamp) throws(Failure) {
    var holds = try rotationHolds()
    let lasting = holds.filter { UnexaminedArrival($0) == nil }
    if lasting.count >= Self.mostHolds || lasting.contains(where: { $0.reason == reason }) { return }
    holds.append(RotationHold(since: CalendarTime(seconds: time.seconds).rfc3339, reason: reason))
    try write(holds)
  }

  /// Since when and why rotation is held, in one line; `nil` where it is not.
  public func heldRotation() throws(Failure) -> String? {
    let holds = try rotationHolds()
    return holds.isEmpty ? nil : holds.map { displayName(Array($0.line.utf8)) }.joined(separator: "; and since ")
  }

  /// None where rotation is not held.
  func rotationHolds() throws(Failure) -> [RotationHold] {
    do throws(Errno) {
      let name = Self.rotationHoldName
      let bytes = try control.descriptor.openToRead(name.span).readToEnd(limit: 1 << 20)
      let lines = bytes.split(separator: UInt8(ascii: "\n")).map { RotationHold(line: String(decoding: $0, as: UTF8.self)) }
      // A file without a reason holds, too.
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

  /// False where rotation was not held.
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

  /// The sequence number of the newest snapshot when rotation was released last: a gap before it is no reason to hold it
  /// again.
  func acceptedSequence(of list: SnapshotList) -> UInt64? {
    let name = Self.releasedName
    let text = (try? control.descriptor.openToRead(name.span).readToEnd(limit: 256)) ?? []
    let words = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    // An older treering wrote the name alone.
    if words.count == 1 { return list.snapshots.first { $0.name.description == words[0] }?.summary.sequence }
    return words.count == 2 ? UInt64(words[1]) : nil
  }

  /// Lets rotation go on; false where it was not held. That `newest` is far from the one before it is all right.
  public func releaseRotation(newest: Snapshot?) throws(Failure) -> Bool {
    if let newest { try replace(Self.releasedName, with: "\(newest.name) \(newest.summary.sequence)\n") }
    return try endAllHolds()
  }
}

/// One reason for which rotation is held.
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
