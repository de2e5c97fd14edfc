internal import Model

/// A file with sections of keys and values, in the form of AWS's shared credentials file.
public struct StorageCredentials: Sendable {
  private var sections: [String: [String: String]] = [:]

  /// Lines that are neither a section nor a key are left out.
  public init(text: [UInt8]) {
    var section = "default"
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let line = Self.trimmed(String(decoding: line, as: UTF8.self)[...])
      if line.first == "[", line.last == "]" {
        section = String(Self.trimmed(line.dropFirst().dropLast()))
        sections[section] = sections[section] ?? [:]
      } else if line.first != "#", line.first != ";", let sign = line.firstIndex(of: "=") {
        let key = Self.trimmed(line[..<sign]).lowercased()
        sections[section, default: [:]][key] = String(Self.trimmed(line[line.index(after: sign)...]))
      }
    }
  }

  private static func trimmed(_ text: Substring) -> Substring {
    var text = text
    while let first = text.first, first.isWhitespace { text.removeFirst() }
    while let last = text.last, last.isWhitespace { text.removeLast() }
    return text
  }

  /// The keys of a section; `nil` if there is no such section.
  public func values(of section: String) -> [String: String]? { sections[section] }
}
