/// A place in PostgreSQL's write-ahead log: an LSN, such as `0/2000028`.
public struct LogPlace: Comparable, Hashable, Sendable, CustomStringConvertible {
  public var byte: UInt64

  public init(byte: UInt64) { self.byte = byte }

  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let high = Self.number(parts[0]), let low = Self.number(parts[1]) else { return nil }
    byte = UInt64(high) << 32 | UInt64(low)
  }

  private static func number(_ text: some StringProtocol) -> UInt32? {
    text.allSatisfy(\.isHexDigit) ? UInt32(text, radix: 16) : nil
  }

  public var description: String {
    String(byte >> 32, radix: 16, uppercase: true) + "/" + String(byte & 0xFFFF_FFFF, radix: 16, uppercase: true)
  }

  public static func < (a: LogPlace, b: LogPlace) -> Bool { a.byte < b.byte }
}

/// A segment of the write-ahead log: a file of a fixed size, with the places from `number * size` on.
public struct LogSegment: Hashable, Sendable {
  public var timeline: UInt32
  public var number: UInt64

  public init(timeline: UInt32, number: UInt64) { (self.timeline, self.number) = (timeline, number) }

  public init(timeline: UInt32, at place: LogPlace, segmentBytes: UInt64) {
    self.init(timeline: timeline, number: place.byte / segmentBytes)
  }

  /// The name of its file: 24 hexadecimal digits.
  public func name(segmentBytes: UInt64) -> String {
    let perFile = (1 << 32) / segmentBytes
    return [UInt64(timeline), number / perFile, number % perFile].map { part in
      let digits = String(part, radix: 16, uppercase: true)
      return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }.joined()
  }
}

/// The number that initdb(1) gives to a server, by which its log and its base backups belong together.
public struct SystemIdentifier: Hashable, Sendable, CustomStringConvertible {
  public var number: UInt64
  /// The bytes at the beginning of a segment that have it.
  public static let segmentHeadBytes = 40

  public init?(_ text: some StringProtocol) {
    guard let number = UInt64(text) else { return nil }
    self.number = number
  }

  /// Reads the first bytes of `global/pg_control`: `ControlFileData` of PostgreSQL's `pg_control.h`.
  public init?(controlFile bytes: [UInt8]) {
    guard bytes.count >= 8 else { return nil }
    number = littleEndian(bytes[..<8])
  }

  /// Reads the head of a segment: `XLogLongPageHeaderData` of PostgreSQL's `xlog_internal.h`. `nil` for other bytes.
  public init?(segment bytes: [UInt8]) {
    guard bytes.count >= Self.segmentHeadBytes else { return nil }
    let (magic, flags) = (littleEndian(bytes[0..<2]), littleEndian(bytes[2..<4]))
    let segmentBytes = littleEndian(bytes[32..<36])
    guard (0xD000...0xD1FF).contains(magic), flags & 2 != 0, segmentBytes.nonzeroBitCount == 1 else { return nil }
    number = littleEndian(bytes[24..<32])
  }

  public var description: String { "\(number)" }
}

/// A file that PostgreSQL archives, by the form of its name.
public enum LogFile: Hashable, Sendable {
  case segment(LogSegment)
  /// The last segment of a timeline that ended within it.
  case partial(LogSegment)
  /// The note about a base backup that began in the segment.
  case backup(LogSegment)
  /// The ancestors of a timeline.
  case history(timeline: UInt32)

  /// `nil` for any other name.
  public init?(_ name: [UInt8], segmentBytes: UInt64 = 16 << 20) {
    func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
      let isHexadecimal = digits.allSatisfy {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "A")...UInt8(ascii: "F")).contains($0)
      }
      return digits.count == 8 && isHexadecimal ? UInt64(String(decoding: digits, as: UTF8.self), radix: 16) : nil
    }
    guard let timeline = number(name.prefix(8)), timeline > 0 else { return nil }
    if name.dropFirst(8).elementsEqual(".history".utf8) {
      self = .history(timeline: UInt32(timeline))
      return
    }
    let perFile = (1 << 32) / segmentBytes
    guard name.count >= 24, let high = number(name[8..<16]), let low = number(name[16..<24]), low < perFile
    else { return nil }
    let segment = LogSegment(timeline: UInt32(timeline), number: high * perFile + low)
    let rest = name[24...]
    if rest.isEmpty {
      self = .segment(segment)
    } else if rest.elementsEqual(".partial".utf8) {
      self = .partial(segment)
    } else if rest.first == UInt8(ascii: "."), number(rest.dropFirst().prefix(8)) != nil,
      rest.dropFirst(9).elementsEqual(".backup".utf8)
    {
      self = .backup(segment)
    } else {
      return nil
    }
  }

  /// True for a file that begins with the head of a segment.
  public var isOfLog: Bool {
    switch self {
    case .segment, .partial: true
    case .backup, .history: false
    }
  }

  /// The segment that the file is or belongs to; `nil` for a history.
  var segment: LogSegment? {
    switch self {
    case .segment(let segment), .partial(let segment), .backup(let segment): segment
    case .history: nil
    }
  }
}

/// A base backup: a copy of the data directory that is consistent once the log from `start` to `end` is replayed.
public struct BaseBackup: Hashable, Sendable, CustomStringConvertible {
  /// The timeline of `start`.
  public var timeline: UInt32
  public var start, end: LogPlace

  public init(timeline: UInt32, start: LogPlace, end: LogPlace) {
    (self.timeline, self.start, self.end) = (timeline, start, end)
  }

  /// The form in a catalog's record of the database.
  public var description: String { "timeline \(timeline), LSN \(start) to \(end)" }

  /// Reads the result of `description`; `nil` for any other text.
  public init?(_ point: [UInt8]) {
    let words = String(decoding: point, as: UTF8.self).split(separator: " ")
    guard words.count == 6, words[0] == "timeline", words[2] == "LSN", words[4] == "to", words[1].last == ",",
      let timeline = UInt32(words[1].dropLast()), let start = LogPlace(words[3]), let end = LogPlace(words[5])
    else { return nil }
    self.init(timeline: timeline, start: start, end: end)
  }
}

/// The ancestors of a timeline: the content of a `.history` file.
public struct TimelineHistory: Equatable, Sendable {
  public struct Ancestor: Equatable, Sendable {
    public var timeline: UInt32
    /// The place at which the next timeline left this one.
    public var end: LogPlace
  }

  /// From the oldest on.
  public var ancestors: [Ancestor] = []

  /// The history of the first timeline.
  public init() {}

  /// `nil` if a line is wrong.
  public init?(_ text: [UInt8]) {
    for line in String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline) {
      let words = line.split(whereSeparator: \.isWhitespace)
      guard let first = words.first, first.first != "#" else { continue }
      guard words.count >= 2, let timeline = UInt32(first), let end = LogPlace(words[1]) else { return nil }
      ancestors.append(Ancestor(timeline: timeline, end: end))
    }
  }

  /// True if a recovery from the base can reach the timeline.
  func isReached(from base: BaseBackup) -> Bool {
    ancestors.contains { $0.timeline == base.timeline && $0.end >= base.start }
  }
}

/// Servers of both byte orders exist, but not ones that treering runs beside.
func littleEndian(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
