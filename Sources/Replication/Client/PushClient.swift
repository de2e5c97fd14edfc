internal import Catalog
internal import Delta
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Sends one snapshot to a server.
final class PushRun {
  private let snapshot: Snapshot
  private let repository: Repository
  private let connection: Connection
  private let channel: Channel
  private let progress: PushProgress
  private let monitor: any Monitor
  private let start = Clock.monotonic()

  private let new: CatalogReader
  private let tree: Directory
  private var base: (name: SnapshotName, finder: BaseFinder, files: StoredFiles?)?
  /// Digest prefixes of the records and contents that were sent, now or in earlier connections.
  private var known: Set<UInt64> = []
  /// The files that the server has in part, with the number of bytes.
  private var partials: [ContentDigest: UInt64] = [:]
  private var needs = PushNeeds()
  private var stream: OutgoingStream!
  private var contents: ContentSender!
  private var uses: [SnapshotLock]
  private let baseCandidates: [BaseCandidate]

  init(
    _ snapshot: Snapshot, _ repository: Repository, _ connection: Connection, _ progress: PushProgress,
    _ monitor: any Monitor
  ) throws {
    self.snapshot = snapshot
    self.repository = repository
    self.connection = connection
    self.progress = progress
    self.monitor = monitor
    channel = connection.channel
    uses = [try repository.locks.lockShared(snapshot.name)]
    new = CatalogReader(try repository.openCatalog(snapshot.name))
    tree = try repository.openTree(snapshot.name)
    baseCandidates = try repository.pushMemory.baseCandidates(
      for: snapshot, remote: connection.repositoryID, in: repository.snapshots())
  }

  func run(isDryRun: Bool) throws -> PushResult {
    do { return try runWhole(isDryRun: isDryRun) } catch let error as CatalogError {
      throw Failure(
        .damaged, "the catalog of the snapshot \(snapshot.name) is damaged here: \(error)",
        hint: "see: \(repository.advice("verify \(snapshot.name)"))")
    }
  }

  private func runWhole(isDryRun: Bool) throws -> PushResult {
    if isDryRun {
      // A dry run only lists the remote's snapshots. It announces no push.
      let list = try RemoteRepository(connection).snapshots().snapshots
      let remote = Set(list.map(\.summary.root.digest))
      let same = list.first { $0.name == snapshot.name }
      if let same, same.summary.root.digest != snapshot.summary.root.digest {
        throw Failure(
          .refused, "has another snapshot \(snapshot.name) already", hint: "what is there is never replaced")
      }
      let isThere = same != nil
      chooseBase(baseCandidates.first { remote.contains($0.summary.root.digest) })
      if !isThere { try measure() }
      return result(isNew: !isThere, linked: 0, copied: 0)
    }
    if try !agree() {
      remember()
      return result(isNew: false, linked: 0, copied: 0)
    }
    let ticker = Ticker(intervalMilliseconds: 1000) { [channel, progress] in
      channel.sendAlive(progress.bytesRead.value &+ progress.bytesDone.value &+ progress.changed.value)
    }
    defer { ticker.stop() }
    try measure()
    try agreeOnRoom()
    stream = OutgoingStream(channel)
    contents = ContentSender(stream, snapshot, tree, base.map { ($0.name, $0.files) }, progress, monitor)
    try sendDifference()
    try stream.message(.end)
    try stream.flush()
    progress.isBuilding.store(true, ordering: .relaxed)
    return try conclude()
  }

  // MARK: Beginning

  private func chooseBase(_ candidate: BaseCandidate?) {
    guard let candidate else { return }
    let catalog: OpenCatalog
    do { catalog = try repository.pushMemory.openCatalog(of: candidate) } catch {
      warnOfBase(candidate.name, error)
      return
    }
    var tree: Directory?
    if candidate.isHere, let use = try? repository.locks.lockShared(candidate.name) {
      uses.append(use)
      tree = try? repository.openTree(candidate.name)
    }
    base = (candidate.name, BaseFinder(CatalogReader(catalog)), tree.map { StoredFiles($0) })
  }

  /// Announces the push and reads the server's answer. Returns false if the server has the snapshot already.
  private func agree() throws -> Bool {
    let candidates = Array(baseCandidates.prefix(Wire.candidates))
    var message = MessageWriter()
    message.text(snapshot.name.bytes)
    message.text(repository.id)
    message.text(snapshot.summary.encoded)
    message.integer(UInt64(candidates.count))
    for candidate in candidates { message.digest(candidate.summary.root.digest) }
    guard message.bytes.count <= Wire.frameBytes else {
      throw Failure(.remote, "the snapshot \(snapshot.name) has too many sources to be pushed")
    }
    try channel.send(.push, message.bytes)
    let answer = try receive(.accept, .published)
    var reader = MessageReader(answer.payload)
    if answer.type == .published {
      guard try reader.integer() == 0 else { throw WireError("a snapshot is new before it was sent") }
      return false
    }
    let index = try reader.count(candidates.count)
    if index > 0 { chooseBase(candidates[index - 1]) }
    if connection.version >= 2 {
      for _ in 0..<(try reader.count(Wire.partialFiles)) {
        let digest = try reader.digest()
        let isSparse = try reader.count(1) == 1
        partials[ContentDigest(digest, isSparse: isSparse)] = try reader.quantity()
      }
    } else {
      let partialBytes = try reader.quantity()
      if partialBytes > 0 { partials[ContentDigest(try reader.digest())] = partialBytes - 1 }
    }
    var left = try reader.count(1 << 30)
    let knownLimit = Int(clamping: min(snapshot.summary.root.totals.entries &* 4 &+ 65536, 1 << 24))
    try reader.end()
    while left > 0 {
      let part = try channel.receive(.have).payload
      guard part.count % 8 == 0, part.count / 8 <= left, !part.isEmpty else { throw WireError("a list is not whole") }
      left -= part.count / 8
      // More digests than the snapshot has entries to send are of no use.
      if known.count > knownLimit { continue }
      part.withUnsafeBytes { bytes in
        for offset in stride(from: 0, to: bytes.count, by: 8) {
          known.insert(bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
      }
    }
    return true
  }

  /// Announces the space that the push needs. A server without that space refuses before any data is sent.
  private func agreeOnRoom() throws {
    guard connection.version >= 2 else { return }
    try channel.send(.needs, needs.encoded)
    let answer = try receive(.room)
    try MessageReader(answer.payload).end()
  }

  /// Adds up the bytes to read, for the progress line, and the space that the push needs on the server. A base with a
  /// damaged catalog is not used.
  private func measure() throws {
    do { try measureDifference() } catch let error as CatalogError {
      guard let base else { throw error }
      warnOfBase(base.name, error)
      self.base = nil
      progress.changed.store(0, ordering: .relaxed)
      needs = PushNeeds()
      try measureDifference()
    }
  }

  private func warnOfBase(_ name: SnapshotName, _ error: any Error) {
    monitor.warn(
      Warning(
        path: Array(name.description.utf8),
        message: "its catalog is damaged here, so everything is sent whole: \(error)"))
  }

  private func measureDifference() throws {
    var difference = Difference(new, base: base?.finder)
    let files = StoredFiles(tree)
    var folder: Difference.Folder!
    var seen = known
    var groups: Set<UInt64> = []
    var bytes: UInt64 = 0
    func count(_ row: FileRow, isSent: Bool) {
      // All hard links of one inode together take its space once.
      if let group = row.linkGroup, !groups.insert(group).inserted { return }
      needs.inodes += 1
      let size = files.storedBytes(folder.path + [Array(folder.record.bytes[row.name])], row.size)
      if isSent { needs.bytes &+= size - min(size, partials[row.digest] ?? 0) } else { needs.copiedBytes &+= size }
    }
    while let item = try difference.next() {
      switch item {
      case .folder(let next):
        folder = next
        progress.changed.add(1, ordering: .relaxed)
        if !seen.contains(next.digest.prefix) { needs.bytes &+= UInt64(next.record.content.count) }
      case .file(_, let row, _):
        let isSent = seen.insert(row.digest.prefix).inserted
        // A content that the server received earlier has its space already.
        if isSent || !known.contains(row.digest.prefix) { count(row, isSent: isSent) }
        guard isSent else { continue }
        progress.changed.add(1, ordering: .relaxed)
        bytes &+= row.size
      case .copy(let row): count(row, isSent: false)
      case .baseFile(_, let row, _, let isLinked):
        if !isLinked { count(row, isSent: false) }
        progress.changed.add(1, ordering: .relaxed)
      case .baseDirectory: progress.changed.add(1, ordering: .relaxed)
      }
    }
    progress.bytesExpected.store(bytes, ordering: .relaxed)
  }

  // MARK: The difference

  /// Sends all items. If the base's tree is local, each item is sent at once. Otherwise the loop looks some items
  /// ahead, and requests their signatures early.
  private func sendDifference() throws {
    var difference = Difference(new, base: base?.finder)
    let needsSignatures = base != nil && base?.files == nil
    var waiting: [(item: Difference.Item, hasSignature: Bool)] = []
    var isAtEnd = false
    var ahead: Difference.Folder?
    while !isAtEnd {
      var asked = 0
      var expectedBytes: UInt64 = 0
      while waiting.isEmpty
        || needsSignatures && asked < Wire.signatures / 2 && expectedBytes < 4 << 20
          && waiting.count < 4096
      {
        guard let item = try difference.next() else {
          isAtEnd = true
          break
        }
        var hasSignature = false
        if case .folder(let folder) = item { ahead = folder }
        if needsSignatures, case .file(_, let row, let before?) = item, isWorthDelta(row, before),
          !known.contains(row.digest.prefix), try isWorthSignature(row, before, in: ahead)
        {
          try stream.message(.signature) { $0.path(before.path) }
          hasSignature = true
          asked += 1
          expectedBytes += Self.signatureBytes(before.row)
        }
        waiting.append((item, hasSignature))
      }
      if asked > 0 { try stream.flush() }
      for (item, hasSignature) in waiting { try send(item, hasSignature) }
      waiting.removeAll(keepingCapacity: true)
    }
  }

  private func isWorthDelta(_ row: FileRow, _ before: Difference.BaseFile) -> Bool {
    row.size >= 256 && before.row.size >= 256
  }

  private static func signatureBytes(_ before: FileRow) -> UInt64 {
    before.size / UInt64(BlockSize.remote(before.size)) * 12
  }

  /// False for a sparse file that has less data than its base's signature.
  private func isWorthSignature(
    _ row: FileRow, _ before: Difference.BaseFile, in folder: Difference.Folder?
  ) throws -> Bool {
    guard row.digest.isSparse || before.row.digest.isSparse, let folder else { return true }
    let file = try contents.open(folder.path + [Array(folder.record.bytes[row.name])], row)
    return file.source.storedBytes > Self.signatureBytes(before.row)
  }

  private var folder: Difference.Folder!
  private var isFolderSent = false
  private var nextFile = 0

  private func send(_ item: Difference.Item, _ hasSignature: Bool) throws {
    try checkForSignal()
    try channel.checkForFailure()
    switch item {
    case .folder(let folder):
      self.folder = folder
      nextFile = 0
      isFolderSent = false
      if known.insert(folder.digest.prefix).inserted {
        try sendRecord(folder)
        isFolderSent = true
      }
    case .file(let index, let row, let before):
      let signature = hasSignature ? try receiveSignature(before!.row) : nil
      guard known.insert(row.digest.prefix).inserted else { return }
      try announceFolder()
      try sendFile(index, row, before, signature)
    case .copy: break
    case .baseFile(let index, let row, let path, _):
      guard known.insert(row.digest.prefix).inserted else { return }
      try announceFolder()
      try stream.message(.baseFile) {
        $0.integer(UInt64(index - nextFile))
        $0.path(path)
      }
      nextFile = index + 1
    case .baseDirectory(let index, let digest, let path):
      guard known.insert(digest.prefix).inserted else { return }
      try announceFolder()
      try stream.message(.baseDirectory) {
        $0.integer(UInt64(index))
        $0.path(path)
      }
    }
  }

  private func writeBase(_ folder: Difference.Folder, to message: inout MessageWriter) {
    guard let before = folder.base else {
      message.integer(0 as UInt64)
      return
    }
    message.integer(folder.isMoved ? 3 : 1 as UInt64)
    message.path(before.path)
  }

  /// Announces the directory of the next messages, if its record was sent earlier.
  private func announceFolder() throws {
    if isFolderSent { return }
    isFolderSent = true
    try stream.message(.directory) {
      $0.digest(folder.digest)
      writeBase(folder, to: &$0)
    }
  }

  private func sendRecord(_ folder: Difference.Folder) throws {
    let content = Array(folder.record.content)
    try checkVersion(folder.record, folder.path)
    guard content.count <= Wire.recordBytes else {
      throw Failure(
        .remote,
        "the directory \(displayName(sourcePath(folder.path, label: snapshot.summary.label))) has more entries than can be sent",
        hint: "at most some millions; leave it out, or divide it")
    }
    try stream.message(.record) {
      writeBase(folder, to: &$0)
      $0.integer(UInt64(content.count))
    }
    try contents.send(record: content, (folder.base?.record.content).map { Array($0) })
  }

  /// Throws if the server is too old for the record. Such a server would refuse it without a reason.
  private func checkVersion(_ record: DirectoryRecord, _ path: [[UInt8]]) throws {
    guard connection.version < Wire.sparseVersion else { return }
    var files = try FileCursor(record)
    while let row = files.current {
      if row.digest.isSparse {
        let name = sourcePath(path + [Array(record.bytes[row.name])], label: snapshot.summary.label)
        throw Failure(
          .remote, "the treering of the server is too old for the sparse file \(displayName(name))",
          hint: "use the newer treering for client and server")
      }
      try files.advance()
    }
  }

  private func sendFile(
    _ number: Int, _ row: FileRow, _ before: Difference.BaseFile?, _ signature: Signature?
  ) throws {
    let path = folder.path + [Array(folder.record.bytes[row.name])]
    let file = try contents.open(path, row)
    let offset = min(partials[row.digest] ?? 0, row.size)
    // A server of version 1 keeps one partial file, until another file arrives.
    if connection.version < 2 { partials = [:] }
    progress.bytesDone.add(offset, ordering: .relaxed)
    var base: ContentSender.Base?
    var old: StoredSource?
    if let before, isWorthDelta(row, before) {
      if let signature {
        base = ContentSender.Base(index: BlockIndex(signature))
      } else {
        (base, old) = contents.base(before)
      }
    }
    try stream.message(.file) {
      $0.integer(UInt64(number - nextFile))
      if base != nil, let before {
        let isSame =
          folder.base.map { before.path.dropLast() == $0.path[...] && before.path.last == path.last } ?? false
        $0.integer(isSame ? 1 : 2 as UInt64)
        if !isSame { $0.path(before.path) }
      } else {
        $0.integer(0 as UInt64)
      }
      $0.integer(offset)
    }
    nextFile = number + 1
    try contents.send(file, from: offset, base, mayHaveHoles: row.digest.isSparse)
    if let before, old?.hasFailed == true { contents.warnOfBase(before) }
  }

  private func receiveSignature(_ before: FileRow) throws -> Signature? {
    var bytes: [UInt8] = []
    while true {
      let frame = try receive(.signature)
      bytes += frame.payload
      if frame.payload.count < Wire.frameBytes { break }
      guard bytes.count < 64 << 20 else { throw WireError("a signature does not end") }
    }
    if bytes.isEmpty { return nil }
    do { return try Signature(decoding: bytes, expecting: before.size) } catch {
      throw WireError("a signature cannot be read: \(error)")
    }
  }

  private var notes = 0

  private func receive(_ types: FrameType...) throws -> Channel.Frame {
    while true {
      guard let frame = try channel.receive() else { throw Channel.ended }
      if frame.type == .note, notes < 10_000 {
        notes += 1
        var reader = MessageReader(frame.payload)
        let text = displayName(try reader.text(limit: 1 << 14))
        monitor.warn(Warning(path: Array(connection.options.shown.utf8), message: text))
        continue
      }
      guard types.contains(frame.type) else {
        throw WireError("a frame of type \(frame.type.rawValue) came where none may")
      }
      return frame
    }
  }

  // MARK: The end

  /// Sends the records and contents that the server requests, until the server has published the snapshot.
  private func conclude() throws -> PushResult {
    var answered: UInt64 = 0
    while true {
      let frame = try receive(.need, .published)
      var reader = MessageReader(frame.payload)
      if frame.type == .published {
        guard try reader.integer() == 1 else { throw WireError("the snapshot was there before it was sent") }
        _ = try reader.integer()
        let linked = try reader.quantity()
        let copied = try reader.quantity()
        try reader.end()
        remember()
        return result(isNew: true, linked: linked, copied: copied)
      }
      answered += 1
      guard answered <= snapshot.summary.root.totals.entries else {
        throw WireError("the same is asked for again and again")
      }
      let kind = try reader.count(1)
      let path = try reader.path()
      try reader.end()
      try answer(isDirectory: kind == 0, path)
    }
  }

  /// Records the push in the repository. The server has the snapshot, so an error is only a warning.
  private func remember() {
    do {
      try repository.pushMemory.remember(
        snapshot.name, to: connection.repositoryID, address: Array(connection.options.shown.utf8))
    } catch {
      monitor.warn(
        Warning(
          path: Array(connection.options.shown.utf8),
          message: "has \(snapshot.name), and that cannot be remembered here: \(error)"))
    }
  }

  private func answer(isDirectory: Bool, _ path: [[UInt8]]) throws {
    switch try new.find(path) {
    case .directory(let record, _)? where isDirectory:
      let content = Array(record.content)
      try stream.message(.needed) { $0.integer(UInt64(content.count)) }
      try contents.send(record: content, nil)
    case .file(let row, _)? where !isDirectory && row.kind == .regular:
      let file = try contents.open(path, row)
      // The server would request a file that does not match its digest again and again.
      try contents.check(file, row.digest)
      try stream.message(.needed)
      try contents.send(file, from: 0, nil, mayHaveHoles: row.digest.isSparse)
    default: throw WireError("something is asked for that the snapshot has not")
    }
    try stream.flush()
  }

  private func result(isNew: Bool, linked: UInt64, copied: UInt64) -> PushResult {
    PushResult(
      snapshot: snapshot, base: base?.name, isNew: isNew, bytesSent: connection.bytesSent,
      bytesReceived: connection.bytesReceived, entriesChanged: progress.changed.value, filesLinked: linked,
      filesCopied: copied, elapsedSeconds: Clock.monotonic() - start)
  }
}
