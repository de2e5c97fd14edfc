internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The tree of a pushed snapshot: its received parts, and the client that sends the missing ones on request.
///
/// Several threads build the snapshot from them. The gate admits one request at a time.
final class PushedTree: WantedTree, @unchecked Sendable {
  private let push: IncomingPush
  private let stream: IncomingStream
  private let staging: PushStaging
  private let base: Snapshot?
  private let receiver: PartReceiver
  private let gate = Gate()
  /// The paths of the base's files from which a content could not be built, by the content's digest.
  private var doubtfulBaseFiles: [ContentDigest: TreePath]

  var contents: Directory { staging.contents }

  init(
    of push: IncomingPush, from stream: IncomingStream, in staging: PushStaging, base: Snapshot?,
    receiver: PartReceiver, doubtfulBaseFiles: [ContentDigest: TreePath]
  ) {
    self.push = push
    self.stream = stream
    self.staging = staging
    self.base = base
    self.receiver = receiver
    self.doubtfulBaseFiles = doubtfulBaseFiles
  }

  func record(for digest: Digest) throws -> DirectoryRecord? { try staging.parts.record(for: digest) }

  func basePath(of digest: Digest) throws -> TreePath? { try staging.parts.basePath(of: digest) }

  func baseFile(for digest: ContentDigest) throws -> TreePath? { try staging.parts.baseFile(for: digest) }

  func isTooLarge(_ digest: ContentDigest) -> Bool { staging.tooLarge.withLock { $0.contains(digest) } }

  // MARK: Missing parts

  func fetchRecord(_ digest: Digest, at path: TreePath) throws -> DirectoryRecord {
    try gate.locked {
      guard let byteCount = try request(PartRequest(isContent: false, path: path)) else { throw Self.unexpected }
      let content = try receiver.receiveRecord(byteCount: byteCount, base: nil)
      let (record, found) = try staging.parts.add(record: content)
      guard found == digest else { throw ProtocolViolation("another directory came than was asked for") }
      return record
    }
  }

  func fetchContent(_ digest: ContentDigest, byteCount: UInt64, at path: TreePath) throws {
    try gate.locked {
      if try staging.hasContent(of: digest) || isTooLarge(digest) { return }
      _ = try request(PartRequest(isContent: true, path: path))
      try receiver.receiveContent(digest, byteCount: byteCount, from: 0, base: nil)
      if isTooLarge(digest) { return }
      guard try staging.hasContent(of: digest) else {
        throw Failure(
          .remote,
          "\(displayName(path.atSource(label: push.request.summary.label))): what the client sends is not what its catalog says"
        )
      }
      // The whole content matches its digest, so the base's file is damaged and not the client's.
      if let before = doubtfulBaseFiles.removeValue(forKey: digest), let base {
        push.notes.noteDamage(of: before, in: base)
      }
    }
  }

  /// Requests a part. Returns the size of a record's body.
  private func request(_ request: PartRequest) throws -> Int? {
    try push.channel.send(request)
    guard case .needed(let recordByteCount) = try stream.message(answering: request) else { throw Self.unexpected }
    return recordByteCount
  }

  private static let unexpected = ProtocolViolation("something else came than what was asked for")
}
