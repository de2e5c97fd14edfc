internal import Model
public import Posix

/// The events of a binary log file, as far as their headers tell.
public struct BinaryLog: Sendable, Equatable {
  /// The second of the first event, which is that of the file's beginning.
  public let began: Int64
  /// The second of the latest event.
  public let ended: Int64

  fileprivate static let magic: [UInt8] = [0xFE, 0x62, 0x69, 0x6E]
  private static let headerBytes = 19

  /// Reads the headers of all events; `nil` if the file is no whole sequence of events.
  public init?(reading file: borrowing Descriptor) throws(Errno) {
    let size = try file.status().size
    guard try file.read(at: 0, count: 4) == Self.magic else { return nil }
    var (place, first, latest): (UInt64, Int64?, Int64) = (4, nil, 0)
    while place < size {
      let header = try file.read(at: place, count: Self.headerBytes)
      guard header.count == Self.headerBytes else { return nil }
      func number(_ range: Range<Int>) -> UInt64 { header[range].reversed().reduce(0) { $0 << 8 | UInt64($1) } }
      let length = number(9..<13)
      guard length >= UInt64(Self.headerBytes), length <= size - place else { return nil }
      first = first ?? Int64(number(0..<4))
      latest = max(latest, Int64(number(0..<4)))
      place += length
    }
    guard let first else { return nil }
    (began, ended) = (first, latest)
  }
}

/// The name of a binary log, such as `mysql-bin.000017`: a base, and a number that grows by one.
public struct BinaryLogName: Sendable, Hashable, Comparable {
  public let base: [UInt8]
  public let number: UInt64
  public let text: [UInt8]

  /// `nil` for any other name.
  public init?(_ text: some Collection<UInt8>) {
    let text = Array(text)
    guard let dot = text.lastIndex(of: UInt8(ascii: ".")), dot > 0, (6...10).contains(text.count - dot - 1),
      let number = UInt64(String(decoding: text[(dot + 1)...], as: UTF8.self)),
      text.allSatisfy({ $0 > 32 && $0 < 127 && $0 != slash && $0 != UInt8(ascii: "\\") }), text[0] != UInt8(ascii: "-")
    else { return nil }
    (base, self.number, self.text) = (Array(text[..<dot]), number, text)
  }

  public static func < (a: Self, b: Self) -> Bool { a.number < b.number }
}

/// The event at the beginning of a binary log, which is a server's own: its second, and the server's number.
public struct BinaryLogStart: Sendable, Equatable {
  public let second: Int64
  public let server: UInt64

  /// The bytes of a log that have it.
  public static let byteCount = 23

  /// Reads the beginning of a log; `nil` for any other file.
  public init?(head: [UInt8]) {
    guard head.count >= Self.byteCount, head.starts(with: BinaryLog.magic) else { return nil }
    func number(_ range: Range<Int>) -> UInt64 { head[range].reversed().reduce(0) { $0 << 8 | UInt64($1) } }
    (second, server) = (Int64(number(4..<8)), number(9..<13))
  }

  /// The beginning of the line that mysqlbinlog(1) writes for it, in UTC: `#261130  8:04:22 server id 1 `.
  var line: String {
    let text = CalendarTime(seconds: second).rfc3339
    let (date, hour) = (text.prefix(10).dropFirst(2).filter { $0 != "-" }, text.dropFirst(11).prefix(2))
    let shown = hour.hasPrefix("0") ? " " + hour.dropFirst() : String(hour)
    return "#\(date) \(shown)\(text.dropFirst(13).prefix(6)) server id \(server) "
  }
}

/// The logs of an archive beside those of a server, which need not be the server that wrote them.
public struct BinaryLogComparison {
  /// The log that shows that the archive is of another server, or of the time before `RESET MASTER`.
  public let conflict: BinaryLogName?
  /// The newest log that both have.
  public let common: BinaryLogName?

  /// `server` has the closed logs with their sizes.
  public init(
    archived: [BinaryLogName], server: [BinaryLogName: UInt64], sizeInArchive: (BinaryLogName) throws -> UInt64?
  ) rethrows {
    let newest = server.keys.max()
    let own = archived.filter { $0.base == newest?.base }.sorted()
    common = own.last { server[$0] != nil }
    // Only a closed log is archived.
    if let last = own.last, let newest, last > newest {
      conflict = last
      return
    }
    // Numbers that agree in all of so many logs leave no doubt.
    conflict = try own.filter { server[$0] != nil }.suffix(32).first { try sizeInArchive($0) != server[$0] }
  }
}

/// A place in the binary logs.
public struct BinaryLogPlace: Sendable, Equatable {
  public let log: BinaryLogName
  public let position: UInt64

  init(log: BinaryLogName, position: UInt64) { (self.log, self.position) = (log, position) }

  /// Reads the text of a dump's record, such as `binary log bin.000017, position 344`.
  public init?(point: [UInt8]) {
    let text = Array("binary log ".utf8)
    guard point.starts(with: text), let comma = point.lastIndex(of: UInt8(ascii: ",")),
      let log = BinaryLogName(point[text.count..<comma]),
      let position = UInt64(String(decoding: point[comma...].filter { (48...57).contains($0) }, as: UTF8.self))
    else { return nil }
    (self.log, self.position) = (log, position)
  }

  /// The logs from this place on, in their order, up to the first that lacks; and that one, unless there is none after.
  public func chain(in names: some Sequence<BinaryLogName>) -> (logs: [BinaryLogName], lacking: BinaryLogName?) {
    let later = Set(names.filter { $0.base == log.base && $0.number >= log.number })
    var found: [BinaryLogName] = []
    for name in later.sorted() {
      guard name.number == log.number + UInt64(found.count) else { return (found, following(found.count)) }
      found.append(name)
    }
    return (found, nil)
  }

  /// The name after so many logs.
  fileprivate func following(_ count: Int) -> BinaryLogName? {
    let digits = String(log.number + UInt64(count))
    let zeros = String(repeating: "0", count: max(0, log.text.count - log.base.count - 1 - digits.count))
    return BinaryLogName(log.base + Array(".\(zeros)\(digits)".utf8))
  }
}

/// The meaning of archived binary logs for the dumps that are kept.
public struct BinaryLogPlan {
  /// The logs that no dump needs, because all are later. Logs of another server than that of any dump stay.
  public let removable: [BinaryLogName]
  /// The missing logs between two that are there, unless no dump needs them: the first, and their number.
  public let gaps: [(first: BinaryLogName, count: UInt64)]

  public init(logs: [BinaryLogName], dumps: [BinaryLogPlace]) {
    let oldest = Dictionary(dumps.map { ($0.log.base, $0.log.number) }, uniquingKeysWith: min)
    removable = logs.filter { log in oldest[log.base].map { log.number < $0 } ?? false }
    // Dumps from before the archive was begun lack nothing that could be had.
    let needed = logs.filter { log in oldest[log.base].map { log.number >= $0 } ?? false }.sorted()
    gaps = Dictionary(grouping: needed, by: \.base).values.flatMap { logs in
      zip(logs, logs.dropFirst()).compactMap { earlier, later in
        guard later.number > earlier.number + 1 else { return nil }
        let place = BinaryLogPlace(log: earlier, position: 0)
        return place.following(1).map { ($0, later.number - earlier.number - 1) }
      }
    }
  }
}
