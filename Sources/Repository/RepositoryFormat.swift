/// The file `.treering/repository.toml`, which makes a directory a repository.
struct RepositoryFormat: Equatable {
  static let currentVersion = 1

  var version: Int
  /// 32 hexadecimal digits, chosen at random when the repository was made.
  var id: String
  /// The time of creation, in RFC 3339.
  var created: String

  init(version: Int = currentVersion, id: String, created: String) {
    (self.version, self.id, self.created) = (version, id, created)
  }

  /// An error in the file, with its line.
  struct ParseError: Error, CustomStringConvertible {
    var line: Int?
    var message: String

    var description: String { line.map { "line \($0): \(message)" } ?? message }
  }

  var text: String {
    """
    # A repository of treering snapshots. Nothing here is meant to be edited.
    version = \(version)
    id = "\(id)"
    created = "\(created)"

    """
  }

  /// Parses the file's text.
  init(text: [UInt8]) throws(ParseError) {
    guard let text = String(validating: text, as: UTF8.self) else { throw ParseError(message: "it is not UTF-8") }
    let values = try Self.values(in: text)
    guard let number = values["version"].flatMap({ Int($0.filter { $0 != "_" }) }), number >= 1
    else { throw ParseError(message: "\"version\" is missing or not a positive number") }
    version = number
    created = values["created"].flatMap(Self.string) ?? ""
    let id = values["id"].flatMap(Self.string) ?? ""
    // The other keys of a newer format are unknown.
    guard number > Self.currentVersion || id.utf8.count == 32 && id.allSatisfy(\.isHexDigit)
    else { throw ParseError(message: "\"id\" is missing or not 32 hexadecimal digits") }
    self.id = id
  }

  /// The values of the top-level keys, as TOML writes them. Comments, blank lines and tables are skipped.
  private static func values(in text: String) throws(ParseError) -> [String: Substring] {
    var values: [String: Substring] = [:]
    for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
      let line = line.drop(while: \.isWhitespace)
      if line.isEmpty || line.first == "#" { continue }
      if line.first == "[" { break }
      let parts = line.split(separator: "=", maxSplits: 1)
      let key = string(parts[0]) ?? trimmed(parts[0])
      guard parts.count == 2, values[key] == nil, let value = value(at: parts[1]) else {
        // A newer format may have other syntax.
        if let version = values["version"].flatMap({ Int($0) }), version > currentVersion { break }
        throw ParseError(line: index + 1, message: "it is not of the form key = value, or has a key twice")
      }
      values[key] = value
    }
    return values
  }

  /// The number or quoted string at the beginning of a text. `nil` if more than a comment follows.
  private static func value(at text: Substring) -> Substring? {
    let text = text.drop(while: \.isWhitespace)
    guard let first = text.first else { return nil }
    let end: Substring.Index
    if first == "\"" || first == "'" {
      guard let closing = text.dropFirst().firstIndex(of: first) else { return nil }
      end = text.index(after: closing)
    } else {
      end = text.firstIndex { !$0.isLetter && !$0.isNumber && !"+-_.:".contains($0) } ?? text.endIndex
    }
    let rest = text[end...].drop(while: \.isWhitespace)
    return end > text.startIndex && (rest.isEmpty || rest.first == "#") ? text[..<end] : nil
  }

  private static func trimmed(_ text: Substring) -> String { String(text.prefix { !$0.isWhitespace }) }

  /// The content of a quoted string. These values need no escapes.
  private static func string(_ value: Substring) -> String? {
    let value = trimmed(value)
    guard value.count >= 2, let quote = value.first, quote == "\"" || quote == "'", value.last == quote
    else { return nil }
    return String(value.dropFirst().dropLast())
  }
}
