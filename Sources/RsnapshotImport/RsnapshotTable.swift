internal import Model
internal import Patterns
internal import Settings

/// The table `[[source]]` for a backup point: a directory of this machine, of a frozen volume, or of a host.
struct RsnapshotTable {
  enum Place: Equatable {
    case local
    /// With the size of the volume's snapshot.
    case frozen(size: String?)
    case host(RsnapshotHost, label: String)
  }

  let origin: RsnapshotConfiguration.Origin
  let place: Place
  let path: [String]
  let arguments: RsyncArguments
  /// The directory below rsnapshot's snapshot to which the source's content goes.
  let landing: [String]
  /// The number of leading components that rsync's patterns do not see.
  private let anchor: Int
  private var rules: [(globs: [RsyncPattern.Glob], isInclude: Bool)] = []
  var comments: [String] = []

  /// `source` is the absolute path of the point. rsync's patterns do not see the first `hidden` components of it.
  init(
    statement: RsnapshotConfiguration.Statement, source: String, hidden: Int = 0, place: Place = .local,
    arguments: RsyncArguments
  ) {
    origin = statement.origin
    self.place = place
    path = cleanComponents(of: source)
    self.arguments = arguments
    let whole = Array(source.utf8) + (source.utf8.last == slash ? [] : [slash])
    if !arguments.isRelative {
      anchor = path.count
    } else if let dot = whole.firstRange(of: Array("/./".utf8)) {
      // rsync drops the part before `/./`.
      anchor = cleanComponents(of: String(decoding: whole[..<dot.lowerBound], as: UTF8.self)).count
    } else {
      anchor = hidden
    }
    landing = cleanComponents(of: statement.values[1]) + path[anchor...]
  }

  func hasPath(of other: Self) -> Bool {
    label == other.label && path.elementsEqual(other.path, by: { $0.utf8.elementsEqual($1.utf8) })
  }

  /// True if a source of the same host has this one in it. Only a source of this machine may have another in it.
  func isInside(_ other: Self) -> Bool {
    label != nil && label == other.label && path.count > other.path.count
      && zip(path, other.path).allSatisfy { $0.utf8.elementsEqual($1.utf8) }
  }

  /// The label of a host; `nil` for the label of this machine.
  var label: String? { if case .host(_, let label) = place { label } else { nil } }

  // MARK: Rules

  /// Reads the patterns; returns comments on patterns without an equivalent.
  mutating func takeRules(notes: inout RsnapshotNotes) -> [String] {
    var comments: [String] = []
    var whole = PatternList()
    for rule in arguments.rules.reversed() {
      let text = String(decoding: rule.pattern, as: UTF8.self)
      guard let pattern = RsyncPattern(rule.pattern) else {
        comments += notes.add(rule.origin, why: "the pattern \(text) has no equivalent in gitignore(5)")
        continue
      }
      rules.append((pattern.globs, rule.isInclude))
      for glob in pattern.globs {
        whole.add(Self.line(for: glob, isInclude: rule.isInclude), origin: "\(text) (\(rule.origin.place))")
      }
    }
    // In the new configuration, a pattern for a directory above the source has no effect on it.
    let name = Array(path[anchor...].joined(separator: "/").utf8)
    if !name.isEmpty, let match = whole.match(name.span, isDirectory: true), match.isExcluded {
      comments += notes.add(
        origin,
        why: "rsnapshot stores nothing of it, because of the pattern \(match.pattern.origin); treering stores it")
    }
    return comments
  }

  /// The patterns below a directory as gitignore(5) lines: the last match decides.
  private func lines(from directory: [String]) -> [[UInt8]] {
    let below = directory[anchor...].map { Array($0.utf8) }
    return rules.flatMap { rule in
      rule.globs.flatMap { $0.below(below) }.map { Self.line(for: $0, isInclude: rule.isInclude) }
    }
  }

  private static func line(for glob: RsyncPattern.Glob, isInclude: Bool) -> [UInt8] {
    (isInclude ? [UInt8(ascii: "!")] : []) + glob.line
  }

  // MARK: Tables

  /// The source's table; it excludes rsnapshot's snapshots below `root`.
  func table(for root: [String]) -> [String] {
    var lines = ["[[source]]"]
    if case .host(let host, let label) = place { lines += host.lines(label: label) }
    lines += ["path = " + TOMLText.string("/" + path.joined(separator: "/"))]
    // A `!` pattern has no effect before the first exclusion.
    let rules = self.lines(from: path).drop { $0.first == UInt8(ascii: "!") }
    var exclude = rules.map { "  " + TOMLText.string(String(decoding: $0, as: UTF8.self)) + "," }
    if label == nil, root.count > path.count, zip(root, path).allSatisfy({ $0.utf8.elementsEqual($1.utf8) }) {
      let line = literalLine(for: Array(root[path.count...]), directoriesOnly: true)
      exclude.append("  # rsnapshot's snapshots")
      exclude.append("  " + TOMLText.string(String(decoding: line, as: UTF8.self)) + ",")
    }
    if !exclude.isEmpty { lines += ["exclude = ["] + exclude + ["]"] }
    if arguments.isOneFileSystem { lines.append("one_file_system = true") }
    if let size = arguments.maxFileSize { lines.append("max_file_size = \"\(size)\"") }
    if case .frozen(let size) = place {
      lines.append("freeze = \"lvm\"")
      if let size { lines.append("freeze_size = " + TOMLText.string(size)) }
    }
    return lines
  }
}
