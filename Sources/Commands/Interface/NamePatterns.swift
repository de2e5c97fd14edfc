internal import Catalog
internal import Model
internal import Patterns
internal import Repository

/// The operator's patterns for entries of snapshots: a name or a glob, or with a slash a path; gitignore(5).
struct NamePatterns: Sendable {
  private var list = PatternList()
  private let ignoresCase: Bool

  /// One of several patterns must match.
  init(_ patterns: [[UInt8]], ignoresCase: Bool = false) throws(Failure) {
    self.ignoresCase = ignoresCase
    for pattern in patterns {
      var line = ignoresCase ? lowercased(pattern) : pattern
      guard !line.isEmpty else { throw Failure(.usage, "a pattern is empty") }
      // A # or ! at the beginning is part of the name, and no comment or negation of gitignore(5).
      if line[0] == UInt8(ascii: "#") || line[0] == UInt8(ascii: "!") { line = [UInt8(ascii: "\\")] + line }
      let isRelative = line.first != slash && line.dropLast().contains(slash)
      if isRelative { line = Array("**/".utf8) + line }
      var alone = PatternList()
      alone.add(line, origin: "")
      guard !alone.isEmpty else {
        throw Failure(.usage, "the pattern \"\(displayName(pattern))\" matches nothing", hint: "see gitignore(5)")
      }
      list.add(line, origin: "")
    }
  }

  /// Decides about entries of snapshots of a label. Neighbours in one directory share the work.
  func matcher(label: [UInt8]) -> (EntryPlace, Found) -> Bool {
    var directory: (path: TreePath, text: [UInt8]) = ([], [])
    return { place, entry in
      if place.name.isEmpty { return false }
      if directory.path != place.directory {
        let text = place.directory.below(label: label).bytes
        directory = (place.directory, ignoresCase ? lowercased(text) : text)
      }
      let isDirectory = entry.kind == .directory
      guard ignoresCase
      else { return list.match(directory: directory.text, name: place.name.span, isDirectory: isDirectory) != nil }
      let name = lowercased(Array(place.name))
      return list.match(directory: directory.text, name: name.span, isDirectory: isDirectory) != nil
    }
  }

  /// The matching paths of a snapshot below the given ones.
  func paths(in catalog: CatalogReader, under paths: [TreePath]) throws -> [TreePath] {
    let matches = matcher(label: catalog.summary.label)
    var found: [TreePath] = []
    for path in paths {
      try forEachDifference(from: nil, to: catalog, under: path) { entries, place in
        guard let entry = entries.sides.right, matches(place, entry) else { return }
        if place.path.count > path.count { found.append(place.path) }
      }
    }
    return found
  }
}

/// A name with small letters instead of capitals; only ASCII letters if it is not UTF-8.
private func lowercased(_ name: [UInt8]) -> [UInt8] {
  let isASCII = name.allSatisfy { $0 < 0x80 }
  if !isASCII, let text = String(validating: name, as: UTF8.self) { return Array(text.lowercased().utf8) }
  return name.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 + 32 : $0 }
}
