internal import Catalog
internal import Engine
internal import Posix
internal import Repository
internal import Synchronization

/// Receives the instructions for one part, a record or a content, and stores the part in the staging directory.
final class PartReceiver {
  /// The base's file of a content's copies; without `file` it cannot be read.
  struct CopyBase {
    let file: StoredSource?
    let byteCount: UInt64
  }

  private let push: IncomingPush
  private let stream: IncomingStream
  private let staging: PushStaging
  private let fsync: BackgroundFsync
  private let buffer = LiteralBuffer()
  var limits: ReceptionLimits

  init(of push: IncomingPush, from stream: IncomingStream, into staging: PushStaging, fsync: BackgroundFsync) {
    (self.push, self.stream, self.staging, self.fsync) = (push, stream, staging, fsync)
    limits = ReceptionLimits(channel: push.channel, staging: staging)
  }

  /// Receives the body of a record; `base` is the record that its copies come from.
  func receiveRecord(byteCount: Int, base: DirectoryRecord?) throws -> [UInt8] {
    let source = base?.content ?? []
    limits.beginRecord(baseByteCount: source.count)
    var instructions = InstructionReader(
      from: stream, buffer: buffer, byteCount: UInt64(byteCount), baseByteCount: UInt64(source.count))
    var content: [UInt8] = []
    while let instruction = try instructions.next() {
      switch instruction {
      case .literal(let bytes): content += bytes
      case .copy(let offset, let byteCount):
        let start = source.startIndex + Int(offset)
        content += source[start..<start + Int(byteCount)]
      case .zeros: break
      }
      try limits.checkRecord(byteCount: content.count)
    }
    limits.endRecord(byteCount: content.count)
    return content
  }

  /// Receives a content of `byteCount` bytes from `offset` on. Returns false if the beginning that the client continues
  /// is missing.
  ///
  /// A content that does not match its digest is requested later, whole.
  @discardableResult
  func receiveContent(_ digest: ContentDigest, byteCount: UInt64, from offset: UInt64, base: CopyBase?) throws -> Bool {
    // A count of zeros costs the client nothing, and could keep the server hashing all day. Only sparse files may
    // have it.
    var instructions = InstructionReader(
      from: stream, buffer: buffer, byteCount: byteCount - offset, baseByteCount: base?.byteCount ?? 0,
      mayHaveZeros: digest.isSparse && push.version.hasSparseFiles)
    guard let assembly = try staging.begin(digest, at: offset) else {
      while try instructions.next() != nil {}
      return false
    }
    fsync.begin()
    var target = ContentTarget(assembly: assembly, byteCount: byteCount, push: push, fsync: fsync)
    do {
      while let instruction = try instructions.next() { try target.apply(instruction, base: base?.file) }
    } catch {
      try? assembly.flush()
      throw error
    }
    do {
      if target.isWhole, !target.isTooLarge { try target.write { () throws(Errno) in try assembly.flush() } }
      if target.isTooLarge { staging.tooLarge.withLock { _ = $0.insert(digest) } }
      if target.isWhole, !target.isTooLarge {
        try staging.end(assembly, as: digest, byteCount: byteCount)
      } else {
        try staging.discardPartialFile(of: digest)
      }
      try target.countWritten()
    } catch { throw Failure.writing("receive a file in", at: push.repository.path, because: error) }
    return true
  }
}

/// A content that is being built from its instructions.
private struct ContentTarget {
  let assembly: FileAssembly
  let byteCount: UInt64
  let push: IncomingPush
  let fsync: BackgroundFsync
  var countedBytes: UInt64 = 0
  /// False if the base's file cannot be read. The rest of the instructions is read and discarded.
  private(set) var isWhole = true
  /// True if the file is too large for the file system. The rest of the instructions is read and discarded.
  private(set) var isTooLarge = false

  mutating func apply(_ instruction: Instruction, base: StoredSource?) throws {
    guard isWhole else { return }
    let assembly = assembly
    switch instruction {
    case .literal(let bytes): try write { () throws(Errno) in try assembly.append(bytes) }
    case .zeros(let byteCount): try write { () throws(Errno) in try assembly.appendZeros(byteCount: byteCount) }
    case .copy(let offset, let byteCount): isWhole = try copy(byteCount: byteCount, at: offset, from: base)
    }
  }

  /// Returns false if the base's file cannot be read, or the bytes cannot be written.
  private mutating func copy(byteCount: UInt64, at offset: UInt64, from base: StoredSource?) throws -> Bool {
    guard let base else { return false }
    let assembly = assembly
    var done: UInt64 = 0
    while done < byteCount {
      if isTooLarge { return false }
      let zeroCount = min((try? base.zeroBytes(at: offset + done)) ?? 0, byteCount - done)
      if zeroCount > 0 {
        try write { () throws(Errno) in try assembly.appendZeros(byteCount: zeroCount) }
        done += zeroCount
        continue
      }
      let buffer = assembly.space(atMost: byteCount - done)
      guard (try? base.read(into: buffer, at: offset + done)) == buffer.count else { return false }
      try write { () throws(Errno) in try assembly.append(spaceFilled: buffer.count) }
      done += UInt64(buffer.count)
    }
    return true
  }

  mutating func write(body: () throws(Errno) -> Void) throws {
    if isTooLarge { return }
    do throws(Errno) { try body() } catch {
      isTooLarge = error == .fileTooLarge
      if isTooLarge { return }
      if error == .interrupted { try checkForSignal() }
      throw Failure.writing("receive a file in", at: push.repository.path, because: error)
    }
    try countWritten()
  }

  /// Counts the bytes written since the last call, for the flush and the free space.
  mutating func countWritten() throws {
    let byteCount = assembly.writtenByteCount - countedBytes
    countedBytes = assembly.writtenByteCount
    fsync.count(byteCount: byteCount, writtenTo: assembly.file)
    try push.space.consume(byteCount: byteCount, ofFileWith: self.byteCount)
  }
}
