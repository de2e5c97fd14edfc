internal import Catalog
public import Model
internal import Posix

/// The reasons for which no snapshot expires: the lines of `.treering/rotation-held`, each a time and a reason.
///
/// Each cause adds its own line and removes no other. Functions that write the file need the lock.
public struct RotationFreeze {
  let repository: Repository

  /// The maximum number of reasons. One reason stops rotation, and more lines tell the operator nothing new.
  static var mostReasons: Int { 16 }
  /// The limit of `rotation-held` in bytes.
  private static var fileBytes: Int { 1 << 20 }

  private var file: ControlFile { repository.file(named: Array("rotation-held".utf8)) }
  private var releasedFile: ControlFile { repository.file(named: Array("released".utf8)) }

  /// Holds rotation: no rotation expires a snapshot until the operator releases it.
  public func begin(_ reason: String, at time: Timestamp) throws(Failure) {
    var reasons = try reasons()
    let lasting = reasons.filter { UnexaminedArrival(from: $0) == nil }
    if lasting.count >= Self.mostReasons || lasting.contains(where: { $0.reason == reason }) { return }
    reasons.append(FreezeReason(since: CalendarTime(seconds: time.seconds).rfc3339, reason: reason))
    try write(reasons)
  }

  /// The start and the text of each reason, in one line. `nil` if rotation is not held.
  public func description() throws(Failure) -> String? {
    let reasons = try reasons()
    return reasons.isEmpty ? nil : reasons.map { displayName(Array($0.line.utf8)) }.joined(separator: "; and since ")
  }

  /// The reasons; empty if rotation is not held.
  func reasons() throws(Failure) -> [FreezeReason] {
    do throws(Errno) {
      guard let bytes = try file.read(limit: Self.fileBytes) else { return [] }
      let lines = bytes.split(separator: UInt8(ascii: "\n")).map {
        FreezeReason(line: String(decoding: $0, as: UTF8.self))
      }
      // An empty file also holds rotation.
      return lines.isEmpty ? [FreezeReason(line: "")] : lines
    } catch {
      throw Failure(.failed, "cannot read \(displayName(repository.path))/.treering/rotation-held: \(error)")
    }
  }

  func write(_ reasons: [FreezeReason]) throws(Failure) {
    if reasons.isEmpty {
      try end()
    } else {
      try repository.replace(file, with: reasons.map { $0.line + "\n" }.joined())
    }
  }

  /// Returns false if rotation was not held.
  @discardableResult
  private func end() throws(Failure) -> Bool {
    do { return try file.remove() } catch {
      throw .writing("release the rotation of", at: repository.path, because: error)
    }
  }

  /// The sequence number of the newest snapshot at the last release of rotation.
  ///
  /// An older gap is no reason for a new hold. An unreadable file accepts no gap.
  func acceptedSequence(in list: SnapshotList) -> UInt64? {
    let text = (try? releasedFile.read(limit: 256)) ?? []
    let words = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    // Older versions of treering wrote only the name.
    if words.count == 1 { return list.snapshots.first { $0.name.description == words[0] }?.summary.sequence }
    return words.count == 2 ? UInt64(words[1]) : nil
  }

  /// Releases rotation. Returns false if it was not held.
  ///
  /// The release accepts the gap between `newest` and its predecessor.
  public func release(newest: Snapshot?) throws(Failure) -> Bool {
    if let newest { try repository.replace(releasedFile, with: "\(newest.name) \(newest.summary.sequence)\n") }
    return try end()
  }
}

/// A reason for which rotation is held.
struct FreezeReason: Equatable {
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
