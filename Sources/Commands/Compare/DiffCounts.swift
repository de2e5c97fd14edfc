internal import Catalog
internal import Engine
internal import Model

/// The numbers of changes, as a whole and for each top directory.
struct DiffCounts {
  struct Numbers {
    private(set) var entries: [Change.Verb: UInt64] = [:]
    private(set) var entriesBelow: UInt64 = 0
    private(set) var bytes: (more: UInt64, less: UInt64) = (0, 0)

    var changes: UInt64 { entries.values.reduce(0, +) }
    func count(_ verb: Change.Verb) -> UInt64 { entries[verb] ?? 0 }

    mutating func add(_ change: Change) {
      entries[change.verb, default: 0] += 1
      entriesBelow = saturated(entriesBelow, plus: change.entriesBelow)
      bytes.more = saturated(bytes.more, plus: change.sizeAfter ?? 0)
      bytes.less = saturated(bytes.less, plus: change.sizeBefore ?? 0)
    }

    private func saturated(_ a: UInt64, plus b: UInt64) -> UInt64 {
      let (sum, overflow) = a.addingReportingOverflow(b)
      return overflow ? .max : sum
    }

    /// Such as "3 changed, 1 renamed with 601 below it, 12 added, +12 MiB".
    var summary: String {
      var parts: [String] = []
      for (verb, word) in [
        (Change.Verb.changed, "changed"), (.renamed, "renamed"), (.added, "added"),
        (.removed, "removed"),
      ] where count(verb) > 0 {
        let below = verb == .renamed && entriesBelow > 0
        parts.append(
          "\(grouped(count(verb))) \(word)"
            + (below ? " with \(grouped(entriesBelow)) below \(count(verb) == 1 ? "it" : "them")" : ""))
      }
      if bytes.more != bytes.less { parts.append(signedText(more: bytes.more, less: bytes.less)) }
      return parts.joined(separator: ", ")
    }

    /// The growth in bytes, for JSON.
    var growth: Int64 {
      bytes.more >= bytes.less ? Int64(clamping: bytes.more - bytes.less) : -Int64(clamping: bytes.less - bytes.more)
    }
  }

  private(set) var total = Numbers()
  private var byDirectory: [TreePath: Numbers] = [:]
  private let path: TreePath?
  private let sources: [TreePath]
  /// A directory may have millions of directories.
  private static var mostDirectories: Int { 10_000 }

  init(below path: TreePath?, sources: [TreePath]) { (self.path, self.sources) = (path, sources) }

  mutating func add(_ change: Change) {
    total.add(change)
    var directory = topDirectory(of: change)
    if byDirectory.count >= Self.mostDirectories, byDirectory[directory] == nil { directory = directory.dropLast() }
    byDirectory[directory, default: Numbers()].add(change)
  }

  /// The directory below the path or the source that has the change.
  private func topDirectory(of change: Change) -> TreePath {
    let top = path ?? sources.innermost(around: change.path)
    guard let top else { return change.path.prefix(max(change.path.count - 1, 1)) }
    let isBelow = change.path.count > top.count + 1 || change.path.count == top.count + 1 && change.kind == .directory
    return isBelow ? change.path.prefix(top.count + 1) : top
  }

  private var sorted: [(key: TreePath, value: Numbers)] { byDirectory.sorted { $0.key < $1.key } }

  func table(shown: (TreePath) -> [UInt8]) -> [String] {
    let rows = sorted.map { directory, numbers in
      [Change.Verb.changed, .renamed, .added, .removed].map { numbers.count($0) == 0 ? "" : grouped(numbers.count($0)) }
        + [
          numbers.bytes.more == numbers.bytes.less
            ? "" : signedText(more: numbers.bytes.more, less: numbers.bytes.less),
          displayName(shown(directory)),
        ]
    }
    return Commands.table(
      [["CHANGED", "RENAMED", "ADDED", "REMOVED", "BYTES", "DIRECTORY"]] + rows, rightAligned: [0, 1, 2, 3, 4])
  }

  func directories(shown: (TreePath) -> [UInt8]) -> [DiffAnswer.Directory] {
    sorted.map { DiffAnswer.Directory(path: shown($0.key), numbers: $0.value) }
  }
}

/// A difference of two numbers of bytes with its sign.
func signedText(more: UInt64, less: UInt64) -> String {
  more >= less ? "+\(byteText(more - less))" : "-\(byteText(less - more))"
}

/// The end of a document of `diff`.
struct DiffAnswer: Encodable {
  struct Directory: Encodable {
    let path: [UInt8]
    let numbers: DiffCounts.Numbers

    func encode(to encoder: any Encoder) throws {
      try JSONPath(bytes: path).encode(to: encoder)
      try DiffAnswer(numbers, directories: nil).encode(to: encoder)
    }
  }

  private let added, removed, changed, renamed, entriesBelow: UInt64
  private let bytes: Int64
  private let directories: [Directory]?

  init(_ numbers: DiffCounts.Numbers, directories: [Directory]?) {
    (added, removed) = (numbers.count(.added), numbers.count(.removed))
    (changed, renamed) = (numbers.count(.changed), numbers.count(.renamed))
    (entriesBelow, bytes) = (numbers.entriesBelow, numbers.growth)
    self.directories = directories
  }
}
