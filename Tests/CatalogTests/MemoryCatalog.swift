import Model
import Synchronization

@testable import Catalog

/// A catalog file in memory: what writers put frames into and readers read from.
final class MemoryCatalog: FrameSink, CatalogSource {
  private struct State {
    var bytes = CatalogFormat.header
    var offsets: [UInt64] = []
    var reads = 0
  }
  private let state: Mutex<State>

  init() { state = Mutex(State()) }

  init(bytes: [UInt8]) { state = Mutex(State(bytes: bytes)) }

  var bytes: [UInt8] { state.withLock { $0.bytes } }
  var frameOffsets: [UInt64] { state.withLock { $0.offsets } }
  /// How often a reader came to the file.
  var reads: Int { state.withLock { $0.reads } }

  func reserveFrame() -> UInt32 {
    state.withLock {
      $0.offsets.append(0)
      return UInt32($0.offsets.count - 1)
    }
  }

  func store(_ frame: UInt32, _ bytes: [UInt8]) {
    state.withLock {
      $0.offsets[Int(frame)] = UInt64($0.bytes.count)
      $0.bytes += bytes
    }
  }

  func append(_ bytes: [UInt8]) { state.withLock { $0.bytes += bytes } }

  var byteCount: UInt64 { state.withLock { UInt64($0.bytes.count) } }

  func read(at offset: UInt64, count: Int) -> [UInt8] {
    state.withLock {
      $0.reads += 1
      let start = Int(min(offset, UInt64($0.bytes.count)))
      return Array($0.bytes[start..<min($0.bytes.count, start + count)])
    }
  }
}

/// A directory as a test describes it.
struct TestDirectory {
  var metadata = Metadata(
    permissions: 0o755, user: 0, group: 0, modified: Timestamp(seconds: 1_700_000_000, nanoseconds: 5))
  var flags: EntryFlags = []
  var attributes = AttributeBlock.empty
  var hints = Hints.none
  /// In ascending order of names.
  var files: [(name: [UInt8], entry: NewEntry)] = []
  /// In ascending order of names.
  var directories: [(name: [UInt8], directory: TestDirectory)] = []
}

extension NewEntry {
  static func file(_ text: String = "", permissions: UInt16 = 0o644) -> NewEntry {
    var entry = NewEntry(
      kind: .regular,
      metadata: Metadata(
        permissions: permissions, user: 1000, group: 100,
        modified: Timestamp(seconds: 1_600_000_000, nanoseconds: 123_456_789)),
      hints: Hints(
        sourceInode: 7, changed: Timestamp(seconds: 1_600_000_001, nanoseconds: 1), storedInode: 8,
        flags: []))
    entry.size = UInt64(text.utf8.count)
    let hasher = SHA256()
    hasher.update(Array(text.utf8))
    entry.digest = ContentDigest(hasher.finish())
    return entry
  }
}

func name(_ text: String) -> [UInt8] { Array(text.utf8) }

/// Writes a tree as a run does, post-order, with as many writers as given taking turns.
func writeCatalog(
  _ root: TestDirectory, writers count: Int = 1, edit: (inout CatalogSummary) -> Void = { _ in }
) throws -> MemoryCatalog {
  let file = MemoryCatalog()
  let writers = (0..<count).map { _ in FrameWriter(sink: file) }
  let hasher = SHA256()
  var turn = 0

  func write(_ directory: TestDirectory) throws -> Subtree {
    let children = try directory.directories.map { ($0.name, try write($0.directory)) }
    let encoder = RecordEncoder()
    encoder.begin(with: directory.metadata, flags: directory.flags, attributes: directory.attributes)
    for (name, entry) in directory.files { encoder.append(name.span, entry) }
    for (name, subtree) in children { encoder.append(name.span, subtree) }
    turn += 1
    return try encoder.finish(directory.hints, blocks: 8, into: writers[turn % count], hasher: hasher)
  }

  var summary = CatalogSummary(root: try write(root))
  summary.sequence = 1
  edit(&summary)
  for writer in writers { try writer.flush() }
  let ending = try CatalogFormat.ending(
    summary, frameOffsets: file.frameOffsets, at: file.byteCount, writer: writers[0])
  file.append(ending)
  return file
}

/// One entry with everything a catalog says of it, in a form that can be compared.
struct FlatEntry: Equatable {
  var path: TreePath
  var kind: EntryKind
  var flags: UInt8
  var metadata: Metadata
  var size: UInt64
  var digest: ContentDigest
  var target: [UInt8]
  var attributes: [[UInt8]]
  var linkGroup: UInt64?
  var hints: [UInt64]
}

/// All that can be read of a catalog.
struct CatalogContent: Equatable {
  var entries: [FlatEntry] = []
  var summary: [[UInt8]] = []
}

private func numbers(_ hints: Hints) -> [UInt64] {
  [
    hints.sourceInode, UInt64(bitPattern: hints.changed.seconds), UInt64(hints.changed.nanoseconds),
    hints.storedInode, UInt64(hints.flags.rawValue),
  ]
}

private func flat(_ block: AttributeBlock) throws -> [[UInt8]] {
  try block.decoded().flatMap { [$0.name, $0.value] }
}

/// Reads header, trailer and every record.
func readAll(_ file: MemoryCatalog) throws -> CatalogContent {
  let catalog = try OpenCatalog(reading: file)
  let reader = CatalogReader(reading: catalog)
  var content = CatalogContent()
  let s = catalog.summary
  content.summary =
    [
      s.root.digest.bytes, s.label, s.repositoryID, s.program,
      name(
        "\(s.root.place) \(s.root.totals) \(s.sequence) \(s.started) \(s.finished) \(s.outcome) "
          + "\(s.files) \(s.directories) \(s.filesLinked) \(s.filesCopied) \(s.bytesCopied) "
          + "\(s.warnings) \(s.fileSystemID)"),
    ] + s.sources

  var waiting: [(path: TreePath, place: Place, digest: Digest)] = [
    ([], s.root.place, s.root.digest)
  ]
  while let (path, place, digest) = waiting.popLast() {
    let record = try reader.record(at: place, for: digest)
    content.entries.append(
      FlatEntry(
        path: path, kind: .directory, flags: record.flags.rawValue, metadata: record.metadata,
        size: 0, digest: .ofNothing, target: [], attributes: try flat(record.attributes),
        linkGroup: nil, hints: numbers(record.hints)))
    var cursor = try FileCursor(of: record)
    while let file = cursor.current {
      content.entries.append(
        FlatEntry(
          path: path + record.bytes[file.name], kind: file.kind, flags: file.flags.rawValue,
          metadata: file.metadata, size: file.size, digest: file.digest,
          target: record.target(of: file), attributes: try flat(record.attributes(of: file)),
          linkGroup: file.linkGroup, hints: numbers(file.hints)))
      try cursor.advance()
    }
    for row in try cursor.directories().reversed() {
      waiting.append((path + record.bytes[row.name], row.place, row.digest))
    }
  }
  return content
}

/// What `readAll` should find of a tree, without going through a catalog.
func expectedEntries(_ directory: TestDirectory, _ path: TreePath = []) throws -> [FlatEntry] {
  let own: EntryFlags = directory.attributes.isEmpty ? [] : .hasAttributes
  var entries = [
    FlatEntry(
      path: path, kind: .directory, flags: directory.flags.union(own).rawValue,
      metadata: directory.metadata, size: 0, digest: .ofNothing, target: [],
      attributes: try flat(directory.attributes), linkGroup: nil, hints: numbers(directory.hints))
  ]
  for (name, entry) in directory.files {
    var flags: EntryFlags = entry.attributes.isEmpty ? [] : .hasAttributes
    if entry.linkGroup != nil { flags.insert(.hardLinked) }
    if entry.digest.isSparse { flags.insert(.sparseDigest) }
    let size =
      switch entry.kind {
      case .regular: entry.size
      case .symbolicLink: UInt64(entry.target.count)
      case .characterDevice, .blockDevice: entry.device
      default: UInt64(0)
      }
    entries.append(
      FlatEntry(
        path: path + name, kind: entry.kind, flags: flags.rawValue, metadata: entry.metadata,
        size: size, digest: entry.kind == .regular && size > 0 ? entry.digest : .ofNothing,
        target: entry.target, attributes: try flat(entry.attributes), linkGroup: entry.linkGroup,
        hints: numbers(entry.hints)))
  }
  for (name, child) in directory.directories {
    entries += try expectedEntries(child, path + name)
  }
  return entries
}
