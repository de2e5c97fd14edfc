public import Model
internal import Posix

/// The last verification of each part of a repository: the lines of a file, each a time and a part, and in newer lines
/// the number of snapshots, the newest of them, and the author. The file is `.treering/verified`, and for a remote one beside the memory of
/// its pushes.
///
/// A verification of everything is the part 1/1 and replaces all lines.
public struct VerifiedParts {
  private let repository: Repository
  private let file: ControlFile

  /// Without a directory, the parts are those of the repository itself.
  init(in repository: Repository, directory: Directory? = nil) {
    self.repository = repository
    file = repository.file(named: Array("verified".utf8), in: directory)
  }

  private static let fileBytes = 1 << 20
  private static let lockName = Array("verify.lock".utf8)

  /// The records, oldest first. Lines of another form are skipped.
  public func all() throws(Failure) -> [VerifiedPart] {
    do throws(Errno) {
      let text = String(decoding: try file.read(limit: Self.fileBytes) ?? [], as: UTF8.self)
      return text.split(separator: "\n").compactMap { VerifiedPart(line: $0) }.sorted { $0.seconds < $1.seconds }
    } catch { throw Failure(.failed, "cannot read \(displayName(repository.path))/.treering/verified: \(error)") }
  }

  /// Records a part of some snapshots in which every entry was compared by a command, such as `run`.
  public func add(
    _ part: VerificationPart, of names: [SnapshotName], by command: String, at time: Timestamp
  ) throws(Failure) {
    let others = part.isWhole ? [] : try all().filter { $0.part != part }
    let user = accountName(ofUser: CurrentProcess.effectiveUser)
    let extent = names.max { $0.seconds < $1.seconds }.map {
      VerifiedPart.Extent(snapshots: names.count, newest: $0, author: "treering \(command) as \(user)")
    }
    let new = VerifiedPart(part: part, seconds: time.seconds, extent: extent)
    // Records of an abandoned division are dropped in the end.
    let kept = others.suffix(2 * VerificationPart.mostParts) + [new]
    try repository.replace(file, with: kept.map { $0.line + "\n" }.joined())
  }

  /// Forgets all verifications, after one that found damage.
  public func forget() throws(Failure) {
    do throws(Errno) { _ = try file.remove() } catch {
      throw .writing("forget the verifications of", at: repository.path, because: error)
    }
  }

  /// Locks the verification of parts, so that two runs do not read the same. `nil` if another process has the lock.
  public func lock() throws(Failure) -> FileLock? { try repository.lock(Self.lockName, what: "the verification") }
}

/// A verified part, and the time of the verification.
public struct VerifiedPart: Sendable, Equatable {
  public let part: VerificationPart
  public let seconds: Int64
  /// `nil` if it was not recorded.
  public let extent: Extent?

  public struct Extent: Sendable, Equatable {
    /// The number of snapshots that were read.
    public let snapshots: Int
    /// The newest of them.
    public let newest: SnapshotName
    /// The command and the user, such as `treering run as root`.
    public let author: String
  }

  public init(part: VerificationPart, seconds: Int64, extent: Extent? = nil) {
    (self.part, self.seconds, self.extent) = (part, seconds, extent)
  }

  init?(line: Substring) {
    let words = line.split(separator: " ", maxSplits: 4)
    guard words.count >= 2, let seconds = Moment.seconds(of: String(words[0])), let part = VerificationPart(words[1])
    else { return nil }
    var extent: Extent?
    if words.count == 5, let count = Int(words[2]), let newest = SnapshotName(words[3].utf8) {
      extent = Extent(snapshots: count, newest: newest, author: String(words[4]))
    }
    self.init(part: part, seconds: seconds, extent: extent)
  }

  var line: String {
    let more = extent.map { " \($0.snapshots) \($0.newest) \($0.author)" } ?? ""
    return "\(CalendarTime(seconds: seconds).rfc3339) \(part)" + more
  }
}

extension [VerifiedPart] {
  /// The time of the last verification of each part of a division; `nil` for a part that was never verified.
  public func times(ofParts count: Int) -> [Int64?] {
    (1...count).map { number in
      filter { $0.part.isWhole || $0.part.count == count && $0.part.number == number }.map(\.seconds).max()
    }
  }

  /// The time since when everything was verified, by whatever division; `nil` if something never was.
  public var verifiedSince: Int64? {
    Set(map(\.part.count)).compactMap { count in
      let times = times(ofParts: count)
      return times.contains(nil) ? nil : times.compactMap(\.self).min()
    }.max()
  }

  /// The time of the newest snapshot of which everything was verified, as far as it was recorded.
  public var verifiedThrough: Int64? {
    map { VerifiedPart(part: $0.part, seconds: $0.extent?.newest.seconds ?? $0.seconds) }.verifiedSince
  }
}
