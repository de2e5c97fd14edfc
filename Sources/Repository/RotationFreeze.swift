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
    if reasons.isEmpty { return nil }
    return reasons.map { displayName(Array($0.description.utf8)) }.joined(separator: "; and since ")
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
      throw Failure(
        .failed, "cannot read \(displayName(repository.path))/.treering/rotation-held: \(error)", path: repository.path)
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

  /// The sequence number of the last arrival at the last release of rotation.
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
  /// The release accepts the gap between `last` and its predecessor.
  public func release(lastArrival last: Snapshot?) throws(Failure) -> Bool {
    if let last { try repository.replace(releasedFile, with: "\(last.name) \(last.summary.sequence)\n") }
    return try end()
  }
}

/// A reason for which rotation is held.
struct FreezeReason: Equatable {
  /// RFC 3339.
  var since: String
  var reason: String

  var line: String { "\(since) \(reason)" }
  /// The line for people.
  var description: String {
    if reason.isEmpty { return since }
    return since + (UnexaminedArrival(from: self) == nil ? ": " : ": the snapshot ") + reason
  }

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

/// A received, published snapshot that has not yet been compared with its predecessor.
///
/// Rotation is held from before the publication until the comparison. If the process is killed in between, the hold
/// stays, and the next process finishes the comparison.
public struct UnexaminedArrival: Sendable {
  public var name: SnapshotName
  /// The number of files that were found under another path in the base.
  public var movedFileCount: UInt64

  public init(name: SnapshotName, movedFileCount: UInt64) {
    (self.name, self.movedFileCount) = (name, movedFileCount)
  }

  fileprivate func reason(ending rest: String) -> String {
    "\(name) came with \(movedFileCount) moved files and \(rest)"
  }

  /// Parses a reason that `RotationFreeze.begin(for:)` wrote. `nil` for another reason.
  init?(from reason: FreezeReason) {
    let words = reason.reason.split(separator: " ", maxSplits: 6, omittingEmptySubsequences: false)
    guard words.count == 7, words[1...2] == ["came", "with"], words[4...5] == ["moved", "files"],
      let name = SnapshotName(Array(words[0].utf8)), let count = UInt64(words[3])
    else { return nil }
    self.init(name: name, movedFileCount: count)
  }
}

extension RotationFreeze {
  /// Holds rotation until an arrival has been compared.
  ///
  /// `problem` is the reason for a failed comparison; `nil` means that the comparison has not run yet.
  public func begin(for arrival: UnexaminedArrival, at time: Timestamp, problem: String? = nil) throws(Failure) {
    let reason = arrival.reason(ending: problem.map { "cannot be compared \($0)" } ?? "has not been looked at")
    let reasons = try reasons()
    var changed = reasons
    if let index = reasons.firstIndex(where: { UnexaminedArrival(from: $0)?.name == arrival.name }) {
      changed[index] = FreezeReason(since: reasons[index].since, reason: reason)
    } else if reasons.filter({ UnexaminedArrival(from: $0) != nil }).count < Self.mostReasons {
      changed.append(FreezeReason(since: CalendarTime(seconds: time.seconds).rfc3339, reason: reason))
    } else {
      return try begin("\(Self.mostReasons) snapshots came that could not be compared", at: time)
    }
    if changed != reasons { try write(changed) }
  }

  /// The arrivals for which rotation is held.
  public func arrivals() throws(Failure) -> [UnexaminedArrival] {
    try reasons().compactMap { UnexaminedArrival(from: $0) }
  }

  /// Ends the hold for an arrival after its comparison.
  public func end(for arrival: UnexaminedArrival) throws(Failure) {
    try write(try reasons().filter { UnexaminedArrival(from: $0)?.name != arrival.name })
  }
}
