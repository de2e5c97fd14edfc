internal import Engine
internal import Model

/// The files that no other snapshot has, largest first.
struct LostFiles {
  struct File: Encodable {
    /// The path as at the source.
    let path: [UInt8]
    let byteCount: UInt64
    let snapshot: SnapshotName

    func encode(to encoder: any Encoder) throws {
      try JSONPath(bytes: path).encode(to: encoder)
      try encoder.encode(["snapshot": snapshot.description, "bytes": byteCount])
    }
  }
  private static let mostShown = 10
  let files: [File]

  init(_ files: [File]) {
    self.files = files.sorted {
      $0.byteCount != $1.byteCount ? $0.byteCount > $1.byteCount : $0.path.lexicographicallyPrecedes($1.path)
    }
  }

  var byteCount: UInt64 { files.reduce(0) { $0 &+ $1.byteCount } }

  /// The largest ones, or all.
  func shown(all: Bool) -> [File] { all ? files : Array(files.prefix(Self.mostShown)) }

  /// The lines for a person.
  func lines(all: Bool) -> [String] {
    guard !files.isEmpty else { return ["other snapshots have all their files"] }
    let shown = shown(all: all)
    let sum = "\(counted(files.count, "file")) of \(byteText(byteCount)) \(files.count == 1 ? "is" : "are")"
    return ["\(sum) in no other snapshot"]
      + table(shown.map { ["  " + byteText($0.byteCount), displayName($0.path)] }, rightAligned: [0])
      + (shown.count == files.count
        ? [] : ["  and \(grouped(UInt64(files.count - shown.count))) more; see them with --verbose"])
  }
}
