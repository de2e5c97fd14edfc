public import Model

/// The records of one segment of PostgreSQL's write-ahead log, as far as the times in them.
///
/// The forms are those of PostgreSQL's `xlogrecord.h`, `xlog_internal.h`, `pg_control.h` and `xact.h`, of version 12 and
/// later.
public struct LogRecords {
  private let bytes: [UInt8]
  private let pageBytes: Int
  /// The place of the next byte to read.
  private var offset: Int

  private static let longHeadBytes = 40
  private static let headBytes = 24

  /// Begins at a place in the segment, or at its first record if the place is elsewhere. `nil` for other bytes.
  public init?(segment bytes: [UInt8], from place: LogPlace?) {
    guard SystemIdentifier(segment: bytes) != nil else { return nil }
    self.bytes = bytes
    pageBytes = Int(littleEndian(bytes[36..<40]))
    guard pageBytes.nonzeroBitCount == 1, (1 << 10...1 << 16).contains(pageBytes) else { return nil }
    let begin = littleEndian(bytes[8..<16])
    if let place, place.byte >= begin, place.byte - begin < UInt64(bytes.count) {
      offset = Int(place.byte - begin)
    } else {
      offset = Self.longHeadBytes
      // The rest of a record that began in the segment before.
      guard read(Int(littleEndian(bytes[16..<20])), keeping: 0) != nil else { return nil }
    }
  }

  /// The time of the next record that has one: of a commit, or of the end of a recovery.
  public mutating func nextTime() -> Timestamp? {
    while let (kind, information, data) = next() {
      if let time = Self.time(kind: kind, information: information, data) { return time }
    }
    return nil
  }

  /// The next record: its resource manager, its information, and the first bytes after its head.
  private mutating func next() -> (kind: UInt8, information: UInt8, data: [UInt8])? {
    offset = (offset + 7) & ~7
    guard let head = read(Self.headBytes, keeping: Self.headBytes) else { return nil }
    let total = Int(littleEndian(head[..<4]))
    guard total > Self.headBytes, let data = read(total - Self.headBytes, keeping: 256) else { return nil }
    return (head[17], head[16], data)
  }

  /// Passes over bytes of records, without the heads of pages. Returns the first `limit` of them; `nil` at the end.
  private mutating func read(_ count: Int, keeping limit: Int) -> [UInt8]? {
    var (kept, rest): ([UInt8], Int) = ([], count)
    while rest > 0 {
      if offset % pageBytes == 0 { offset += offset == 0 ? Self.longHeadBytes : Self.headBytes }
      let length = min(rest, pageBytes - offset % pageBytes)
      guard length > 0, offset + length <= bytes.count else { return nil }
      kept += bytes[offset..<offset + min(length, limit - kept.count)]
      (offset, rest) = (offset + length, rest - length)
    }
    return kept
  }

  private static func time(kind: UInt8, information: UInt8, _ data: [UInt8]) -> Timestamp? {
    guard let main = mainData(of: data) else { return nil }
    switch (kind, information & 0xF0, information & 0x70) {
    // XLOG_CHECKPOINT_SHUTDOWN, by which a recovery ends.
    case (0, 0x00, _) where main.count >= 72:
      return Timestamp(seconds: Int64(bitPattern: littleEndian(main[64..<72])), nanoseconds: 0)
    // XLOG_END_OF_RECOVERY, and the commit and abort of transactions.
    case (0, 0x90, _), (1, _, 0x00), (1, _, 0x20): return main.count >= 8 ? time(main[..<8]) : nil
    default: return nil
    }
  }

  /// Microseconds since 2000.
  private static func time(_ bytes: ArraySlice<UInt8>) -> Timestamp {
    let (seconds, micros) = Int64(bitPattern: littleEndian(bytes)).quotientAndRemainder(dividingBy: 1_000_000)
    return Timestamp(seconds: 946_684_800 + seconds, nanoseconds: UInt32(max(0, micros)) * 1000)
  }

  /// The data of a record that belongs to no block; `nil` for any other record.
  private static func mainData(of data: [UInt8]) -> [UInt8]? {
    var rest = data[...]
    while let first = rest.popFirst() {
      switch first {
      case 255: return Array(rest.dropFirst())
      case 254: return Array(rest.dropFirst(4))
      // An origin, and the top of a transaction.
      case 253: rest = rest.dropFirst(2)
      case 252: rest = rest.dropFirst(4)
      default: return nil
      }
    }
    return nil
  }
}
