internal import Catalog
internal import Delta
internal import Engine
internal import Model
internal import Repository
internal import Synchronization

/// Sends the items of a push plan as messages of the stream.
struct PlanSender {
  /// Files below this size are sent whole.
  private static let deltaBytes: UInt64 = 256
  /// The limits of a look ahead: requested signatures, their bytes, and items.
  private static let aheadSignatures = Wire.signatures / 2
  private static let aheadBytes: UInt64 = 4 << 20
  private static let aheadItems = 4096

  var plan: PushPlan
  let snapshot: Snapshot
  let base: ClientBase?
  var parts: ServerParts
  let stream: OutgoingStream
  let contents: ContentSender
  let answers: PushAnswers
  let connection: Connection
  let progress: PushProgress
  /// True if the hints about the source are sent, too.
  let sendsHints: Bool
  var isFolderSent = false
  /// The position in the folder after the last file sent.
  var nextFile = 0

  /// True if the base's files are not local.
  private var needsSignatures: Bool { base != nil && base?.files == nil }
  private var version: ProtocolVersion { connection.version }
  private var label: [UInt8] { snapshot.summary.label }

  /// Sends all items. If the base's tree is local, each item is sent at once. Otherwise the loop looks some items
  /// ahead, and requests their signatures early.
  mutating func run() throws {
    while true {
      let batch = try nextBatch()
      if batch.isEmpty { break }
      if batch.contains(where: \.hasSignature) { try stream.flush() }
      for (item, hasSignature) in batch { try send(item, hasSignature: hasSignature) }
    }
    try stream.flush()
    try contents.checkForChanges()
    try stream.write(.end)
    try stream.flush()
  }

  private mutating func nextBatch() throws -> [(item: PushPlan.Item, hasSignature: Bool)] {
    var batch: [(item: PushPlan.Item, hasSignature: Bool)] = []
    var signatures = 0
    var byteCount: UInt64 = 0
    while batch.isEmpty
      || needsSignatures && signatures < Self.aheadSignatures && byteCount < Self.aheadBytes
        && batch.count < Self.aheadItems
    {
      guard let item = try plan.next() else { break }
      let before = needsSignatures ? try baseWorthSignature(of: item) : nil
      if let before {
        try stream.write(.signature(path: before.path))
        signatures += 1
        byteCount += Self.signatureBytes(of: before.row)
      }
      batch.append((item, before != nil))
    }
    return batch
  }

  /// The base's file whose signature saves more than it costs. A sparse file may have less data than its base's
  /// signature.
  private func baseWorthSignature(of item: PushPlan.Item) throws -> PushPlan.BaseFile? {
    guard case .file(_, let row, let before?) = item.change, Self.isWorthDelta(row, against: before.row),
      !parts.known.contains(row.digest.prefix)
    else { return nil }
    guard row.digest.isSparse || before.row.digest.isSparse else { return before }
    guard let file = try contents.openUnlessChanged(at: item.folder.path(of: row), row: row) else { return nil }
    return file.source.storedBytes > Self.signatureBytes(of: before.row) ? before : nil
  }

  private static func isWorthDelta(_ row: FileRow, against before: FileRow) -> Bool {
    row.size >= deltaBytes && before.size >= deltaBytes
  }

  private static func signatureBytes(of row: FileRow) -> UInt64 {
    row.size / UInt64(BlockSize.remote(for: row.size)) * 12
  }

  // MARK: One item

  private mutating func send(_ item: PushPlan.Item, hasSignature: Bool) throws {
    try checkForSignal()
    try connection.channel.checkForFailure()
    let folder = item.folder
    switch item.change {
    case .record:
      nextFile = 0
      isFolderSent = parts.known.insert(folder.digest.prefix).inserted
      if isFolderSent { try sendRecord(folder) }
    case .file(let index, let row, let before):
      let signature = hasSignature ? try before.flatMap { try answers.receiveSignature(byteCount: $0.row.size) } : nil
      guard parts.known.insert(row.digest.prefix).inserted else { return }
      try announce(folder)
      try sendFile(row, at: index, in: folder, before: before, signature: signature)
    case .copy: break
    case .baseFile(let index, let row, let path, _):
      guard parts.known.insert(row.digest.prefix).inserted else { return }
      try announce(folder)
      try stream.write(.baseFile(skip: UInt64(index - nextFile), path: path))
      nextFile = index + 1
    case .baseDirectory(let index, let digest, let path):
      guard parts.known.insert(digest.prefix).inserted else { return }
      try announce(folder)
      try stream.write(.baseDirectory(index: index, path: path))
    }
  }

  private func base(of folder: PushPlan.Folder) -> BaseDirectory? {
    folder.base.map { BaseDirectory(path: $0.path, isMoved: folder.needsExplicitBasePath) }
  }

  /// Announces the directory of the next messages, if its record was sent earlier.
  private mutating func announce(_ folder: PushPlan.Folder) throws {
    if isFolderSent { return }
    isFolderSent = true
    try stream.write(.directory(folder.digest, base: base(of: folder)))
  }

  private func sendRecord(_ folder: PushPlan.Folder) throws {
    let content = Array(folder.record.content)
    try checkVersion(folder)
    guard content.count <= Wire.recordBytes else {
      throw Failure(
        .remote,
        "the directory \(displayName(folder.path.atSource(label: label))) has more entries than can be sent",
        hint: "at most some millions; leave it out, or divide it")
    }
    try stream.write(.record(base: base(of: folder), byteCount: content.count))
    try contents.send(record: content, base: (folder.base?.record.content).map { Array($0) })
    guard sendsHints else { return }
    let hints = try folder.record.sourceHints()
    try stream.write(.hints(byteCount: hints.count))
    try contents.send(record: hints, base: nil)
  }

  /// Throws if the server is too old for the record. Such a server would refuse it without a reason.
  private func checkVersion(_ folder: PushPlan.Folder) throws {
    if version.hasSparseFiles { return }
    var files = try FileCursor(of: folder.record)
    while let row = files.current {
      if row.digest.isSparse {
        let path = displayName(folder.path(of: row).atSource(label: label))
        throw Failure(
          .remote, "the treering of the server is too old for the sparse file \(path)",
          hint: "use the newer treering for client and server")
      }
      try files.advance()
    }
  }

  private mutating func sendFile(
    _ row: FileRow, at index: Int, in folder: PushPlan.Folder, before: PushPlan.BaseFile?, signature: Signature?
  ) throws {
    let path = folder.path(of: row)
    guard let file = try contents.openUnlessChanged(at: path, row: row) else { return }
    let offset = min(parts.partialBytes[row.digest] ?? 0, row.size)
    if !version.hasPartialFileList { parts.partialBytes = [:] }
    progress.bytesDone.add(offset, ordering: .relaxed)
    var base: ContentSender.DeltaBase?
    var old: StoredSource?
    if let before, Self.isWorthDelta(row, against: before.row) {
      if let signature {
        base = ContentSender.DeltaBase(index: BlockIndex(of: signature))
      } else {
        (base, old) = contents.deltaBase(before)
      }
    }
    var source = CopySource.nothing
    if base != nil, let before {
      let comparedSubtree = folder.base.map { $0.path + path.suffix(1) }
      source = before.path == comparedSubtree ? .comparedSubtree : .path(before.path)
    }
    try stream.write(.file(skip: UInt64(index - nextFile), source: source, offset: offset))
    nextFile = index + 1
    try contents.send(file, from: offset, base: base, mayHaveHoles: row.digest.isSparse)
    try contents.confirm(file, as: row)
    if let before, old?.hasFailed == true { contents.warnOfBase(before) }
  }
}
