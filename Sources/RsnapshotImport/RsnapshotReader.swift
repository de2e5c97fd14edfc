internal import Settings

/// Splits an `rsnapshot.conf` into statements, with those of its included files in their place.
struct RsnapshotReader {
  private typealias Line = ArraySlice<UInt8>

  /// The limits for the depth of inclusion and for the number of files read.
  private static let deepest = 16
  private static let mostFiles = 256

  let files: RsnapshotFiles
  private(set) var statements: [RsnapshotConfiguration.Statement] = []
  private var open: [[UInt8]] = []
  private var fileCount = 0

  init(files: RsnapshotFiles) { self.files = files }

  mutating func read(_ path: [UInt8], includedBy origin: RsnapshotConfiguration.Origin?) throws(RsnapshotError) {
    let name = files.name(path)
    if let origin {
      guard !open.contains(path) else { throw RsnapshotError(at: origin, message: "\(name) includes itself") }
      guard open.count < Self.deepest, fileCount < Self.mostFiles else {
        throw RsnapshotError(
          at: origin, message: "more is included than \(Self.mostFiles) files, or files \(Self.deepest) deep")
      }
    }
    let content: [UInt8]
    do { content = try files.read(path) } catch {
      guard let origin else { throw RsnapshotError(file: name, message: "cannot be read: \(error)") }
      throw RsnapshotError(at: origin, message: "cannot read \(name): \(error)")
    }
    open.append(path)
    fileCount += 1
    let lines = content.split(separator: newline, omittingEmptySubsequences: false)
    var index = 0
    while index < lines.count {
      let number = index + 1
      var line = Array(lines[index])
      index += 1
      guard line.first != UInt8(ascii: "#"), !line.allSatisfy(isBlank) else { continue }
      while index < lines.count, Self.continues(lines[index]) {
        line += [tab] + trimmed(lines[index])
        index += 1
      }
      try take(line, place: RsnapshotConfiguration.Origin(file: name, line: number, text: ""))
    }
    open.removeLast()
  }

  /// True for a continuation line of the statement above.
  private static func continues(_ line: Line) -> Bool {
    (line.first == UInt8(ascii: " ") || line.first == tab) && !line.allSatisfy(isBlank)
  }

  private mutating func take(_ line: [UInt8], place: RsnapshotConfiguration.Origin) throws(RsnapshotError) {
    guard let text = String(validating: line, as: UTF8.self)
    else { throw RsnapshotError(at: place, message: "the line is not UTF-8") }
    if line.contains(0) { throw RsnapshotError(at: place, message: "the line holds a NUL") }
    if line.last == UInt8(ascii: "\r") {
      throw RsnapshotError(at: place, message: "the line ends with a carriage return; lines should end as on Linux")
    }
    var origin = place
    origin.text = text
    let fields = Self.fields(of: line).map { String(decoding: $0, as: UTF8.self) }
    guard let name = fields.first, fields.count > 1 else {
      let word = String(decoding: line.prefix { !isBlank($0) }, as: UTF8.self)
      throw RsnapshotError(
        at: origin,
        message: line.contains(where: isBlank)
          ? "a tab should follow \"\(word)\"; spaces separate nothing" : "\"\(word)\" should have a value, after a tab")
    }
    let statement = RsnapshotConfiguration.Statement(name: name, values: Array(fields.dropFirst()), origin: origin)
    try statement.check(after: statements)
    statements.append(statement)
    if name == "include_conf", statement.includedCommand == nil {
      try read(Array(statement.value.utf8), includedBy: origin)
    }
  }

  /// Fields separated by runs of tabs: at most four, and the last is the rest of the line.
  private static func fields(of line: [UInt8]) -> [Line] {
    var fields: [Line] = []
    var rest = line[...]
    while fields.count < 3, let end = rest.firstIndex(of: tab) {
      fields.append(rest[..<end])
      rest = rest[end...].drop { $0 == tab }
    }
    return fields + [rest]
  }
}

extension RsnapshotConfiguration.Statement {
  /// The command in backquotes whose output `include_conf` would include.
  var includedCommand: Substring? {
    value.utf8.count > 1 && value.utf8.first == backquote && value.utf8.last == backquote
      ? value.dropFirst().dropLast() : nil
  }
}

let newline = UInt8(ascii: "\n")
let tab = UInt8(ascii: "\t")
private let backquote = UInt8(ascii: "`")

/// Removes white space at both ends.
func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
  var rest = bytes.drop(while: isBlank)
  while let last = rest.last, isBlank(last) { rest.removeLast() }
  return rest
}

/// Splits a text at white space.
func words(of text: String) -> [String] {
  text.utf8.split(whereSeparator: isBlank).map { String(decoding: $0, as: UTF8.self) }
}
