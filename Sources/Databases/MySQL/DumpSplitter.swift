internal import Model

/// Divides the output of mysqldump(1) into parts: one for each table, so that an unchanged table has unchanged bytes.
///
/// The parts, one after the other, are the output byte for byte. So a wrong boundary, as in a text that imitates the
/// program's comments, costs nothing but an unchanged file. A row cannot imitate them, because the program escapes
/// newlines in values. Bodies of triggers and routines are not searched.
struct DumpSplitter {
  /// A part of the output; a database has several.
  enum Part: Equatable {
    /// The session's settings, and the place in the binary log.
    case begin
    /// Makes the database.
    case database([UInt8])
    case table([UInt8], of: [UInt8])
    case sequence([UInt8], of: [UInt8])
    /// A table in place of a view, until all tables are there.
    case view([UInt8], of: [UInt8])
    case events(of: [UInt8])
    case routines(of: [UInt8])
    case views(of: [UInt8])
    /// The session's settings, and the end marker.
    case end
  }

  private var part = Part.begin
  private var database: [UInt8] = []
  private var seenDatabases: Set<[UInt8]> = []
  /// Bytes that wait for the end of their line: a line that may matter, and `--` before it.
  private var held: [UInt8] = []
  private var lineStart = 0
  private var isInLine = false
  private var mayMatter = false
  private var isInBody = false
  /// The last line, if it may matter and is not in a body.
  private(set) var lastLine: [UInt8] = []

  /// Comments are shorter; names have at most 64 characters.
  private static let longestLine = 1024

  /// Takes the next bytes of the output. `onBytes` gets them in order, and `onPart` each new part before its bytes.
  mutating func pass<Failure>(
    _ bytes: UnsafeRawBufferPointer, onPart: (Part) throws(Failure) -> Void,
    onBytes: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    var start = 0
    while start < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
      let length = rest.firstIndex(of: 10).map { $0 + 1 } ?? rest.count
      let piece = UnsafeRawBufferPointer(rebasing: rest[..<length])
      start += length
      // Lines that matter are `-- …`, `DELIMITER …` and `/*!40103 SET TIME_ZONE=…`.
      if !isInLine { mayMatter = "-D/".utf8.contains(piece[0]) }
      isInLine = piece[length - 1] != 10
      if mayMatter {
        held += piece
        if isInLine && held.count - lineStart < Self.longestLine { continue }
        try decide(onPart: onPart, onBytes: onBytes)
        mayMatter = false
      } else {
        lastLine = []
        try release(to: onBytes)
        try onBytes(piece)
      }
    }
  }

  /// Passes on the bytes that are still held.
  mutating func finish<Failure>(onBytes: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    try release(to: onBytes)
  }

  private mutating func decide<Failure>(
    onPart: (Part) throws(Failure) -> Void, onBytes: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    let line = Array(held[lineStart...])
    lastLine = isInBody ? [] : line
    if isInBody {
      isInBody = !line.elementsEqual("DELIMITER ;\n".utf8)
    } else if line.elementsEqual("DELIMITER ;;\n".utf8) {
      isInBody = true
    } else if line.elementsEqual("--\n".utf8) {
      held.removeLast(line.count)
      try release(to: onBytes)
      held = line
      lineStart = line.count
      return
    } else if let next = part(beginningWith: line), next != part {
      part = next
      if next == .end {
        // Held dashes do not belong to it.
        held.removeLast(line.count)
        try release(to: onBytes)
        held = line
      }
      try onPart(next)
    }
    try release(to: onBytes)
  }

  private mutating func release<Failure>(
    to onBytes: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    if !held.isEmpty {
      try held.withUnsafeBufferPointer { bytes throws(Failure) in try onBytes(UnsafeRawBufferPointer(bytes)) }
    }
    held.removeAll(keepingCapacity: true)
    lineStart = 0
  }

  /// The part that begins with this comment, or `nil`.
  private mutating func part(beginningWith line: [UInt8]) -> Part? {
    if line.starts(with: "/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE".utf8) || line.starts(with: "-- The deferred gtid".utf8)
    {
      return .end
    }
    guard lineStart > 0 else { return nil }
    if let name = name(in: line, after: "-- Current Database: `") {
      database = name
      return seenDatabases.insert(name).inserted ? .database(name) : .views(of: name)
    }
    if let name = name(in: line, after: "-- Table structure for table `") { return .table(name, of: database) }
    if let name = name(in: line, after: "-- Sequence structure for `") { return .sequence(name, of: database) }
    for kind in ["table", "view"] {
      if let name = name(in: line, after: "-- Temporary \(kind) structure for view `") {
        return .view(name, of: database)
      }
    }
    if line.starts(with: "-- Dumping events for database ".utf8) { return .events(of: database) }
    if line.starts(with: "-- Dumping routines for database ".utf8) { return .routines(of: database) }
    return line.starts(with: "-- Final view structure for view ".utf8) ? .views(of: database) : nil
  }

  /// The name in backquotes, in which each backquote is doubled.
  private func name(in line: [UInt8], after text: String) -> [UInt8]? {
    guard line.starts(with: text.utf8) else { return nil }
    var name: [UInt8] = []
    var rest = line[text.utf8.count...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "`") {
        guard rest.first == byte else { return name }
        rest.removeFirst()
      }
      name.append(byte)
    }
    return nil
  }
}
