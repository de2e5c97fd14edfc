internal import FoundationEssentials
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

extension History {
  private struct Version: Decodable { let version: Int }

  private static let hasWarned = Mutex(false)
  private static let mark = Array(#""version":"#.utf8)

  /// The last lines, at most `byteCount` bytes, without those of a newer version. A warning says once that there are
  /// such lines.
  func tail(byteCount: Int) throws(Failure) -> [UInt8] {
    let (lines, leftOut) = Self.readable(try lastBytes(byteCount: byteCount))
    let isFirst = Self.hasWarned.withLock { warned in
      defer { warned = warned || leftOut > 0 }
      return !warned
    }
    if leftOut > 0, isFirst {
      let subject = counted(leftOut, "line of the history is", plural: "lines of the history are")
      Console.warn("\(subject) of a newer treering, and left out", path: path)
    }
    return lines
  }

  /// The lines of a known version, and the number of those of a newer one. Damaged lines stay.
  static func readable(_ text: [UInt8]) -> (lines: [UInt8], leftOut: Int) {
    let lines = text.split(separator: newline)
    let known = lines.filter { !isNewer($0) }
    return known.count == lines.count
      ? (text, 0) : (known.flatMap { $0 + [newline] }, lines.count - known.count)
  }

  /// An object inside of a line may have the key, too.
  private static func isNewer(_ line: ArraySlice<UInt8>) -> Bool {
    var rest = line
    while let quote = rest.firstIndex(of: mark[0]) {
      rest = rest[quote...]
      if rest.starts(with: mark),
        let number = Int(String(decoding: rest.dropFirst(mark.count).prefix(while: isDigit), as: UTF8.self)),
        number > jsonVersion
      {
        let found = try? JSONDecoder().decode(Version.self, from: Data(line))
        return found.map { $0.version > jsonVersion } ?? false
      }
      rest = rest.dropFirst()
    }
    return false
  }
}
