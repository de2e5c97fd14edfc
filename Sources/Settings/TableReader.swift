internal import Model
internal import TOMLKit

/// All errors found in a file, in any order; the first by place is reported.
final class Problems {
  private(set) var list: [(place: Locator.Place, message: String)] = []
  let locator: Locator

  init(locator: Locator) { self.locator = locator }

  /// Adds an error, once.
  func add(at place: Locator.Place?, message: String) {
    let place = place ?? .start
    if !list.contains(where: { $0 == (place, message) }) { list.append((place, message)) }
  }
}

/// One table of a TOML file: reads the requested keys and complains of all others.
struct TableReader {
  private let table: TOMLTable
  private let path: [String]
  /// The path without the numbers of array items.
  private let keyPath: [String]
  let problems: Problems

  /// The root table of a file.
  init(table: TOMLTable, problems: Problems) { self.init(table: table, path: [], keyPath: [], problems: problems) }

  private init(table: TOMLTable, path: [String], keyPath: [String], problems: Problems) {
    (self.table, self.path, self.keyPath, self.problems) = (table, path, keyPath, problems)
  }

  /// The line number of the table's start, from 1.
  var line: Int { (problems.locator.keys[path] ?? problems.locator.values[path])?.line ?? 1 }

  /// The line number of an array's item, from 1.
  func line(of key: String, index: Int) -> Int { problems.locator.values[path + [key, "\(index)"]]?.line ?? line }

  private var name: String { path.isEmpty ? "the file" : "[\(keyPath.joined(separator: "."))]" }

  /// The table's keys, in the order of the file.
  var keys: [String] { table.keys.sorted { (place(of: $0) ?? .start) < (place(of: $1) ?? .start) } }

  func place(of key: String) -> Locator.Place? { problems.locator.keys[path + [key]] }

  func has(_ key: String) -> Bool { table[key] != nil }

  func isArray(_ key: String) -> Bool { table[key]?.array != nil }

  func complain(key: String, message: String) {
    problems.add(at: problems.locator.values[path + [key]], message: message)
  }

  /// Complains of every unknown key.
  func know(_ known: [String]) {
    for key in table.keys where !known.contains(key) {
      let near = known.map { ($0, distance(from: key, to: $0)) }.min { $0.1 < $1.1 }
      let isNear = near.map { $0.1 <= max(2, key.count / 3) } ?? false
      let hint = isNear ? "did you mean \"\(near!.0)\"?" : "known are \(known.sorted().joined(separator: ", "))"
      problems.add(at: place(of: key), message: "unknown key \"\(key)\" in \(name); \(hint)")
    }
  }

  func require(_ key: String) {
    if table[key] == nil {
      problems.add(
        at: problems.locator.keys[path] ?? problems.locator.values[path], message: "\"\(key)\" is missing in \(name)")
    }
  }

  /// The value of a key, converted by `read`; `nil` if it is missing or wrong. Complains of a wrong value, and does
  /// not show a value that may be secret.
  func value<Value>(
    for key: String, expecting: String, isSecret: Bool = false, read: (any TOMLValueConvertible) -> Value?
  ) -> Value? {
    guard let found = table[key] else { return nil }
    if let value = read(found) { return value }
    complain(
      key: key, message: "\"\(key)\" should be \(expecting)" + (isSecret ? "" : ", not \(Self.words(in: found))"))
    return nil
  }

  func string(for key: String, expecting: String = "a string") -> String? {
    value(for: key, expecting: expecting) { $0.string }
  }

  /// A value from a list of words.
  /// Reads words for people, on one line.
  func words(for key: String) -> String? {
    value(for: key, expecting: "words on one line") { found in
      found.string.flatMap { text in text.isEmpty || text.utf8.contains { $0 < 0x20 } ? nil : text }
    }
  }

  func choice(for key: String, words: [String]) -> String? {
    let quoted = words.map { "\"\($0)\"" }
    return value(for: key, expecting: quoted.dropLast().joined(separator: ", ") + " or " + quoted.last!) { found in
      found.string.flatMap { words.contains($0) ? $0 : nil }
    }
  }

  func bool(for key: String) -> Bool? { value(for: key, expecting: "true or false") { $0.bool } }

  func integer(for key: String, range: ClosedRange<Int>, expecting: String) -> Int? {
    value(for: key, expecting: expecting) { found in
      found.string == nil ? found.int.flatMap { range.contains($0) ? $0 : nil } : nil
    }
  }

  func strings(for key: String, expecting: String = "an array of strings") -> [String]? {
    value(for: key, expecting: expecting) { Self.strings(in: $0) }
  }

  static func strings(in value: any TOMLValueConvertible) -> [String]? {
    guard let array = value.array else { return nil }
    let strings = array.compactMap { $0.string }
    return strings.count == array.count ? strings : nil
  }

  func duration(for key: String) -> Int64? {
    value(for: key, expecting: "a duration such as \"90s\", \"15m\", \"2h\" or \"14d\"") {
      $0.string.flatMap(Quantity.seconds)
    }
  }

  func rate(for key: String) -> UInt64? {
    value(for: key, expecting: "bytes per second, such as \"10MB/s\"") { $0.string.flatMap(Quantity.bytesPerSecond) }
  }

  func share(for key: String) -> Double? {
    value(for: key, expecting: "a percentage such as \"50%\"") { found in
      (found.string ?? found.int.map { "\($0)" }).flatMap(Quantity.share)
    }
  }

  func table(for key: String, expecting: String = "a table") -> TableReader? {
    value(for: key, expecting: expecting) { $0.table }.map {
      TableReader(table: $0, path: path + [key], keyPath: keyPath + [key], problems: problems)
    }
  }

  /// An item of an array, with its own reader if it is a table.
  typealias Item = (value: any TOMLValueConvertible, place: Locator.Place?, table: TableReader?)

  func items(for key: String, expecting: String) -> [Item] {
    guard let array = value(for: key, expecting: expecting, read: { $0.array }) else { return [] }
    return array.enumerated().map { index, item in
      let itemPath = path + [key, "\(index)"]
      return (
        item, problems.locator.values[itemPath],
        item.table.map { TableReader(table: $0, path: itemPath, keyPath: keyPath + [key], problems: problems) }
      )
    }
  }

  static func words(in value: any TOMLValueConvertible) -> String {
    if let text = value.string { return "\"\(text.prefix(40))\"" }
    if let number = value.int { return "\(number)" }
    if value.bool != nil { return "true or false" }
    if value.array != nil { return "an array" }
    if value.table != nil { return "a table" }
    return "a value of another type"
  }
}
