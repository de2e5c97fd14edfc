internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The staging directory of a pushed snapshot: all that the server has received of it.
///
/// `contents/` holds files named by their digests, and `parts` the records and references. `partial.DIGEST` holds the
/// beginning of a file whose transfer was cut off. It is kept until the whole file arrives.
final class PushStaging {
  private let directory: Directory
  let contents: Directory
  let parts: PartsLog
  private let tools = AssemblyTools()
  private let onWork: (UInt64) -> Void
  /// The files whose transfer was cut off, the largest first.
  let partialFiles: [PushAccept.PartialFile]
  /// Bytes received by earlier connections. If the last one left no note of it, the size of `parts`.
  let receivedBefore: UInt64
  /// The contents that are larger than a file can be in this file system. They are not requested again.
  let tooLarge = Mutex<Set<ContentDigest>>([])

  private static let receivedName = Array("received".utf8)
  private static let contentsName = Array("contents".utf8)
  private static let partsName = Array("parts".utf8)
  private static let ownerName = Array("owner".utf8)
  private static let partialPrefix = Array("partial.".utf8)

  /// Opens the staging directory, with the data from earlier pushes of the same snapshot by the same client.
  ///
  /// `base` is the snapshot that references point into. `onWork` gets the number of content bytes that are written, or
  /// read again.
  init(in directory: Directory, for request: PushRequest, base: Snapshot?, onWork: @escaping (UInt64) -> Void) throws {
    (self.directory, self.onWork) = (directory, onWork)
    let root = request.summary.root
    let baseText = base.map { "\($0.summary.root.digest)" } ?? "-"
    let owner = Array("\(displayName(request.client)) \(root.digest) \(baseText)".utf8)
    let lastOwner = try Self.owner(of: directory)
    do throws(Errno) { try directory.descriptor.makeDirectory(Self.contentsName.span, mode: 0o700) } catch {
      guard error == .exists else { throw error }
    }
    contents = try directory.directory(Self.contentsName.span)
    let file = try directory.descriptor.open(Self.partsName.span, [.readWrite, .create], mode: 0o600)
    // A staged file may not have been synced. The disk may have been removed since, or the machine may have lost power.
    if lastOwner != nil { try Self.removeDamaged(in: contents, tools: tools, onWork: onWork) }
    if lastOwner != owner {
      // Contents stay, because their names identify them. The parts belong to another client, snapshot or base.
      try file.setLength(0)
      let note = try directory.descriptor.open(Self.ownerName.span, [.write, .create, .truncate], mode: 0o600)
      try note.write(owner)
    }
    parts = try PartsLog(file: file, recordLimit: root.totals.entries)
    receivedBefore = try Self.takeReceived(from: directory) ?? parts.byteCount
    partialFiles = try Self.keptPartialFiles(in: directory)
  }

  /// The client, snapshot and base of the last push; `nil` before the first.
  private static func owner(of directory: Directory) throws(Errno) -> [UInt8]? {
    try ControlFile(named: ownerName, in: directory, mode: 0o600).read(limit: 4096)
  }

  /// True if this client filled the staging directory.
  static func isOwned(_ directory: Directory, by client: [UInt8]) throws(Errno) -> Bool {
    try owner(of: directory)?.starts(with: Array("\(displayName(client)) ".utf8)) ?? false
  }

  /// The bytes that earlier connections received; `nil` if the last one left no note of it.
  private static func takeReceived(from directory: Directory) throws(Errno) -> UInt64? {
    guard let text = try ControlFile(named: receivedName, in: directory, mode: 0o600).read(limit: 32)
    else { return nil }
    // The note is valid once. If this connection ends without a new note, the old one would be wrong.
    try directory.descriptor.unlink(receivedName.span)
    return UInt64(String(decoding: text, as: UTF8.self)).map { min($0, 1 << 62) }
  }

  /// Notes the bytes received, at the end of a connection. A note that cannot be written costs the client only time.
  func remember(received byteCount: UInt64) {
    guard
      let file = try? directory.descriptor.open(Self.receivedName.span, [.write, .create, .truncate], mode: 0o600)
    else { return }
    try? file.write(Array("\(receivedBefore &+ byteCount)".utf8))
  }

  // MARK: Whole contents

  /// Removes contents that do not match their digests. An earlier write may be lost; an unreadable file counts as lost.
  private static func removeDamaged(
    in contents: Directory, tools: AssemblyTools, onWork: @escaping (UInt64) -> Void
  ) throws {
    for name in try names(in: contents) {
      try checkForSignal()
      let digest = ContentDigest(fileName: name)
      if let digest, try isIntact(name, as: digest, in: contents, tools: tools, onWork: onWork) { continue }
      try contents.descriptor.unlink(name.span)
    }
  }

  private static func isIntact(
    _ name: [UInt8], as digest: ContentDigest, in contents: Directory, tools: AssemblyTools,
    onWork: @escaping (UInt64) -> Void
  ) throws -> Bool {
    do throws(Errno) {
      let file = try contents.descriptor.openToRead(name.span)
      let byteCount = try file.status().size
      let assembly = try FileAssembly(file, from: byteCount, elidingZeros: digest.isSparse, with: tools, onWork: onWork)
      return try assembly.finish() == digest
    } catch {
      if error == .interrupted { try checkForSignal() }
      // The error says nothing about the data. The next connection checks again.
      if error.leavesDataUnknown { throw error }
      return false
    }
  }

  private static func names(in directory: Directory) throws(Errno) -> [[UInt8]] {
    try Directory(directory.descriptor.reopenDirectory()).names()
  }

  func hasContent(of digest: ContentDigest) throws(Errno) -> Bool {
    let name = digest.fileName
    return try contents.descriptor.statusIfPresent(of: name.span) != nil
  }

  /// Digest prefixes of the records, contents and references that need not be sent again.
  func knownPrefixes() throws -> [UInt64] {
    try parts.prefixes + Self.names(in: contents).compactMap { ContentDigest(fileName: $0)?.prefix }
  }

  // MARK: Partial files

  private static func partialName(of digest: ContentDigest) -> [UInt8] { partialPrefix + digest.fileName }

  /// Finds the partial files. Removes the smallest ones beyond the limit.
  private static func keptPartialFiles(in directory: Directory) throws -> [PushAccept.PartialFile] {
    var found: [PushAccept.PartialFile] = []
    for name in try names(in: directory) where name.starts(with: partialPrefix) {
      let status = try directory.descriptor.status(of: name.span)
      guard let digest = ContentDigest(fileName: name.dropFirst(partialPrefix.count)), name == partialName(of: digest),
        status.kind == .regular
      else {
        try directory.descriptor.unlink(name.span)
        continue
      }
      found.append(PushAccept.PartialFile(digest: digest, byteCount: status.size))
    }
    found.sort { $0.byteCount > $1.byteCount }
    for file in found.dropFirst(Wire.partialFiles) {
      let name = partialName(of: file.digest)
      try directory.descriptor.unlink(name.span)
    }
    return Array(found.prefix(Wire.partialFiles))
  }

  func discardPartialFile(of digest: ContentDigest) throws(Errno) {
    let name = Self.partialName(of: digest)
    try directory.descriptor.unlink(name.span)
  }

  /// Begins a content, or continues it at `offset`; `nil` if the partial file is shorter than that.
  func begin(_ digest: ContentDigest, at offset: UInt64) throws -> FileAssembly? {
    let name = Self.partialName(of: digest)
    if offset == 0 {
      let file = try directory.descriptor.open(name.span, [.readWrite, .create, .truncate], mode: 0o600)
      return try FileAssembly(file, from: 0, elidingZeros: digest.isSparse, with: tools, onWork: onWork)
    }
    do throws(Errno) {
      let file = try directory.descriptor.open(name.span, .readWrite)
      let size = try file.status().size
      if offset > size { return nil }
      if size > offset { try file.setLength(offset) }
      return try FileAssembly(file, from: offset, elidingZeros: digest.isSparse, with: tools, onWork: onWork)
    } catch {
      if error == .interrupted { throw error }
      // An unreadable partial file counts as missing.
      if error != .noSuchEntry { try discardPartialFile(of: digest) }
      return nil
    }
  }

  /// Completes a content of which all bytes have arrived. Removes it if it does not match its digest.
  func end(_ assembly: FileAssembly, as digest: ContentDigest, byteCount: UInt64) throws(Errno) {
    guard try assembly.finish() == digest, assembly.byteCount == byteCount else {
      try discardPartialFile(of: digest)
      return
    }
    let name = Self.partialName(of: digest)
    let final = digest.fileName
    try directory.descriptor.rename(name.span, to: contents.descriptor, as: final.span, replacing: true)
  }
}

/// Removes the staging directories that no push of a client will continue.
struct StagingCleanup {
  let repository: Repository
  let client: [UInt8]
  let now: Timestamp
  private static let keptSeconds = 30.0 * 86_400

  /// Removes the staging directories of published snapshots. These and later snapshots may share inodes with the staged
  /// files, so the staged files must not serve again.
  func discard(_ published: Set<SnapshotName>) throws {
    for other in try repository.receivedParts.snapshots() where published.contains(other) {
      try repository.receivedParts.discard(other)
    }
  }

  /// Keeps the staged data of `name`. Without any, it takes over that of the newest snapshot that the client began to
  /// push. All other data of the client, and all old data, is removed.
  func prepare(for name: SnapshotName) throws {
    let found = try repository.receivedParts.snapshots()
    let others = found.filter { $0 != name }
    if !found.contains(name),
      let newest = others.filter({ isOwn($0) && !isOld($0) }).max(by: { $0.description < $1.description })
    {
      try repository.receivedParts.move(from: newest, to: name)
    }
    for other in try repository.receivedParts.snapshots() where other != name && (isOwn(other) || isOld(other)) {
      try repository.receivedParts.discard(other)
    }
  }

  private func isOwn(_ other: SnapshotName) -> Bool {
    guard let directory = repository.receivedParts.existingDirectory(for: other) else { return false }
    return (try? PushStaging.isOwned(directory, by: client)) ?? false
  }

  private func isOld(_ other: SnapshotName) -> Bool {
    guard let status = try? repository.receivedParts.existingDirectory(for: other)?.descriptor.status()
    else { return false }
    return now - status.modified > Self.keptSeconds
  }
}
