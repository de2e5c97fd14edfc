internal import Catalog
internal import Delta
internal import Engine
internal import Repository

/// Receives the server's answers during a push. Notes go to the monitor.
final class PushAnswers {
  private let channel: Channel
  private let remote: [UInt8]
  private let monitor: any Monitor
  private var notes = 0

  /// `remote` is the remote's name for messages.
  init(over channel: Channel, remote: [UInt8], monitor: any Monitor) {
    (self.channel, self.remote, self.monitor) = (channel, remote, monitor)
  }

  /// The next frame but notes. Throws if it has none of these types.
  func receive(_ types: FrameType...) throws -> Frame {
    while true {
      guard let frame = try channel.receive() else { throw Channel.ended }
      if frame.type == .note, notes < Wire.notes {
        notes += 1
        monitor.warn(Warning(path: remote, message: try Note(payload: frame.payload).text))
        continue
      }
      guard types.contains(frame.type) else { throw frame.isUnexpected }
      return frame
    }
  }

  /// The next signature, of a file of `byteCount` bytes; `nil` if the server cannot read the file.
  func receiveSignature(byteCount: UInt64) throws -> Signature? {
    var bytes: [UInt8] = []
    while true {
      let part = try receive(.signature).payload
      bytes += part
      if part.count < Wire.frameBytes { break }
      guard bytes.count < Wire.signatureBytes else { throw ProtocolViolation("a signature does not end") }
    }
    if bytes.isEmpty { return nil }
    do { return try Signature(decoding: bytes, expecting: byteCount) } catch {
      throw ProtocolViolation("a signature cannot be read: \(error)")
    }
  }

  func receiveParts(_ accept: PushAccept, of summary: CatalogSummary) throws -> ServerParts {
    var parts = ServerParts()
    for file in accept.partialFiles { parts.partialBytes[file.digest] = file.byteCount }
    // More digests than the snapshot has entries to send are of no use.
    let limit = Int(clamping: min(summary.root.totals.entries &* 4 &+ 65536, 1 << 24))
    var left = accept.knownCount
    while left > 0 {
      let found = try KnownParts(payload: try channel.receive(.have).payload, limit: left)
      left -= found.prefixes.count
      if parts.known.count <= limit { parts.known.formUnion(found.prefixes) }
    }
    return parts
  }
}

struct ServerParts {
  /// Digest prefixes of the records and contents that were sent, now or in earlier connections.
  var known: Set<UInt64> = []
  /// The files that the server has in part, with the number of bytes.
  var partialBytes: [ContentDigest: UInt64] = [:]
}
