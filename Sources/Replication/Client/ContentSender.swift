internal import Catalog
internal import Delta
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Sends the contents of a snapshot's records and files, as deltas against the base or whole.
final class ContentSender {
  /// A file of the snapshot, and its path there.
  struct File {
    let path: TreePath
    let source: StoredSource
  }

  struct DeltaBase {
    let index: BlockIndex
    /// The local file, and the compact source that `index` was made of; `nil` if only a signature is known.
    var stored: (source: StoredSource, compact: CompactSource)?
  }

  private let stream: OutgoingStream
  private let name: SnapshotName
  private let label: [UInt8]
  private let files: any SnapshotFiles
  /// The files of the sources that are no longer as the catalog has them; `nil` if the files are stored.
  private(set) var changed: [TreePath]?
  private let base: ClientBase?
  private let progress: PushProgress
  private let monitor: any Monitor
  private let finder = DeltaFinder()
  private let buffer = LiteralBuffer()

  /// `files` are those of `snapshot`.
  init(
    to stream: OutgoingStream, of snapshot: Snapshot, files: any SnapshotFiles, base: ClientBase?,
    progress: PushProgress, monitor: any Monitor
  ) {
    self.stream = stream
    name = snapshot.name
    label = snapshot.summary.label
    self.files = files
    changed = files is SourceFiles ? [] : nil
    self.base = base
    self.progress = progress
    self.monitor = monitor
  }

  /// Opens a file. `nil` if it is in the sources and has changed there; then it is noted.
  func openUnlessChanged(at path: TreePath, row: FileRow) throws -> File? {
    do { return try open(at: path, row: row) } catch is ChangedFiles { return nil }
  }

  func open(at path: TreePath, row: FileRow) throws -> File {
    switch files.open(path, row: row, onRead: countRead) {
    case .opened(let source): return File(path: path, source: source)
    case .unknown(let error):
      throw Failure(
        .failed, "cannot read \(displayName(path.atSource(label: label))) in the snapshot \(name) here: \(error)")
    case .damaged: throw damaged(path, because: "it cannot be read, or has another size than its catalog says")
    }
  }

  private var countRead: (UInt64) -> Void {
    let progress = self.progress
    return { progress.bytesRead.add($0, ordering: .relaxed) }
  }

  /// Opens a file of the base; `nil` if the base's tree is not local. If the file cannot be read or does not match its
  /// catalog, warns and returns `nil`.
  func openBase(_ before: PushPlan.BaseFile) -> StoredSource? {
    guard let base, let files = base.files else { return nil }
    switch files.open(before.path, byteCount: before.row.size, onRead: countRead) {
    case .opened(let source): return source
    case .unknown(let error):
      let message = "it cannot be read in the snapshot \(base.name) here, and was sent whole: \(error)"
      monitor.warn(Warning(path: before.path.atSource(label: label), message: message))
    case .damaged: warnOfBase(before)
    }
    return nil
  }

  func warnOfBase(_ before: PushPlan.BaseFile) {
    guard let base else { return }
    monitor.warn(
      Warning(
        path: before.path.atSource(label: label),
        message: "it is damaged in the snapshot \(base.name) here, and was sent whole; "
          + "see: treering verify \(base.name)"))
  }

  /// The error for a file that cannot be sent.
  private func damaged(_ path: TreePath, because reason: String) -> any Error {
    if changed != nil {
      changed?.append(path)
      return ChangedFiles(paths: [path])
    }
    return Failure(
      .damaged, "the snapshot \(name) is damaged here: \(displayName(path.atSource(label: label))): \(reason)",
      hint: "see: treering verify \(name)")
  }

  /// Sends the instructions that build a record; `base` is the base's record.
  func send(record content: [UInt8], base: [UInt8]?) throws {
    var writer = InstructionWriter(to: stream)
    if let base {
      let index = try BlockIndex(of: MemorySource(base), blockBytes: BlockSize.local(for: UInt64(base.count)))
      try finder.find(in: MemorySource(content), against: index) { instruction in
        switch instruction {
        case .literal(let bytes): try writer.write(.literal(bytes))
        case .copy(let offset, let byteCount): try writer.write(.copy(offset: offset, byteCount: byteCount))
        }
      }
    } else {
      try content.withUnsafeBytes { try writer.write(.literal($0)) }
    }
    try writer.end()
  }

  /// Prepares the base of a file's delta; `nil` if the base's file cannot be read.
  func deltaBase(_ before: PushPlan.BaseFile) -> (base: DeltaBase?, source: StoredSource?) {
    guard let source = openBase(before) else { return (nil, nil) }
    guard let runs = try? source.runs() else { return (nil, source) }
    let compact = CompactSource(source, runs: runs)
    guard let index = try? BlockIndex(of: compact, blockBytes: BlockSize.local(for: compact.byteCount))
    else { return (nil, source) }
    return (DeltaBase(index: index, stored: (source, compact)), source)
  }

  /// Sends the instructions that build the file from `offset` on. Without `mayHaveHoles`, holes are sent as literals.
  func send(_ file: File, from offset: UInt64 = 0, base: DeltaBase?, mayHaveHoles: Bool) throws {
    let source = file.source
    let whole = source.byteCount == 0 ? [] : [0..<source.byteCount]
    var compact = CompactSource(source, runs: whole)
    try reading(from: file) { if mayHaveHoles { compact = CompactSource(source, runs: try source.runs()) } }
    var sender = InstructionSender(
      to: stream, new: compact, byteCount: source.byteCount, from: offset, base: base?.stored?.compact)
    func emit(_ instruction: DeltaInstruction) throws {
      let before = sender.position
      try sender.write(instruction)
      progress.bytesDone.add(sender.position - before, ordering: .relaxed)
    }
    try reading(from: file) {
      if let base {
        do { try finder.find(in: compact, from: sender.dataPosition, against: base.index, emit: emit) } catch {
          // If the base's file cannot be read, the rest is sent as literals.
          guard let old = base.stored?.source, old.hasFailed, !source.hasFailed else { throw error }
        }
      }
      while sender.dataPosition < compact.byteCount {
        let want = Int(min(UInt64(buffer.bytes.count), compact.byteCount - sender.dataPosition))
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<want])
        let count = try compact.read(into: part, at: sender.dataPosition)
        guard count == want else { throw DeltaError.shortened }
        try emit(.literal(UnsafeRawBufferPointer(part)))
      }
    }
    let before = sender.position
    try sender.end()
    progress.bytesDone.add(sender.position - before, ordering: .relaxed)
  }

  /// Checks a file that was sent. One of the sources that has changed since the walk, and not only grown, is noted.
  func confirm(_ file: File, as row: FileRow) throws {
    guard changed != nil, !file.source.isStill(row) else { return }
    do { try check(file, against: row.digest) } catch is ChangedFiles {}
  }

  /// Throws if some file has changed: the snapshot cannot be as its catalog has it.
  func checkForChanges() throws { if let changed, !changed.isEmpty { throw ChangedFiles(paths: changed) } }

  /// Throws if the file's bytes do not match `digest`.
  func check(_ file: File, against digest: ContentDigest) throws {
    let hasher = ContentHasher()
    hasher.reset(elidingZeros: digest.isSparse)
    try reading(from: file) {
      var done: UInt64 = 0
      while done < file.source.byteCount {
        let zeroCount = digest.isSparse ? try file.source.zeroBytes(at: done) : 0
        if zeroCount > 0 {
          hasher.updateZeros(byteCount: zeroCount)
          done += zeroCount
          continue
        }
        let count = try file.source.read(into: buffer.bytes, at: done)
        if count == 0 { break }
        hasher.update(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
        done += UInt64(count)
      }
    }
    if hasher.finish() != digest { throw damaged(file.path, because: "its bytes have changed") }
  }

  /// Reports a read error of `file` as damage of the local snapshot; the server is not at fault.
  private func reading(from file: File, body: () throws -> Void) throws {
    do { try body() } catch  where file.source.hasFailed {
      throw damaged(file.path, because: "it cannot be read to its end: \(error)")
    }
  }
}
