internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

// Contents that the client sends: in the stream, or on request.
extension PushSession {
  /// Receives the instructions for a content. Returns false if the beginning that the client continues is missing.
  ///
  /// A content that does not match its digest is requested later, whole.
  @discardableResult
  func takeContent(
    _ digest: ContentDigest, _ byteCount: UInt64, from offset: UInt64,
    _ base: (file: StoredSource?, byteCount: UInt64)?
  ) throws -> Bool {
    // A count of zeros costs the client nothing, and could keep the server hashing all day. Only sparse files may
    // have it.
    let mayHaveZeros = digest.isSparse && version >= Wire.sparseVersion
    guard let assembly = try tree.begin(digest, at: offset) else {
      // The beginning that the client continues is gone. The whole content is requested at the end.
      _ = try instructions.read(
        stream, byteCount: byteCount - offset, baseByteCount: base?.byteCount ?? 0, copy: { _, _ in true },
        mayHaveZeros: mayHaveZeros, literal: { _ in })
      return false
    }
    writeBack?.begin()
    var counted: UInt64 = 0
    func count() throws {
      writeBack?.wrote(assembly.writtenByteCount - counted, to: assembly.file)
      try room.took(assembly.writtenByteCount - counted, of: byteCount)
      counted = assembly.writtenByteCount
    }
    var isTooLarge = false
    func writing(_ body: () throws(Errno) -> Void) throws {
      if isTooLarge { return }
      do throws(Errno) { try body() } catch {
        // If the file is too large for the file system, the rest is read and discarded.
        isTooLarge = error == .fileTooLarge
        if isTooLarge { return }
        if error == .interrupted { try checkForSignal() }
        throw Failure.writing("receive a file in", at: repository.path, because: error)
      }
      try count()
    }
    let zeros: (UInt64) throws -> Void = { byteCount in
      try writing { () throws(Errno) in try assembly.appendZeros(byteCount) }
    }
    let isWhole: Bool
    do {
      isWhole = try instructions.read(
        stream, byteCount: byteCount - offset, baseByteCount: base?.byteCount ?? 0,
        copy: { offset, byteCount in
          guard let file = base?.file else { return false }
          var done: UInt64 = 0
          while done < byteCount {
            if isTooLarge { return false }
            let zeroCount = min((try? file.zeroBytes(at: offset + done)) ?? 0, byteCount - done)
            if zeroCount > 0 {
              try zeros(zeroCount)
              done += zeroCount
              continue
            }
            let space = assembly.space(atMost: byteCount - done)
            guard (try? file.read(into: space, at: offset + done)) == space.count else { return false }
            try writing { () throws(Errno) in try assembly.append(spaceFilled: space.count) }
            done += UInt64(space.count)
          }
          return true
        },
        mayHaveZeros: mayHaveZeros, zeros: zeros,
        literal: { bytes in try writing { () throws(Errno) in try assembly.append(bytes) } })
    } catch {
      try? assembly.flush()
      throw error
    }
    do {
      if isWhole, !isTooLarge {
        do throws(Errno) { try assembly.flush() } catch {
          isTooLarge = error == .fileTooLarge
          if !isTooLarge { throw error }
        }
      }
      if isTooLarge { tree.refuse(digest) }
      if isWhole, !isTooLarge {
        _ = try tree.end(assembly, digest, byteCount: byteCount)
      } else {
        try tree.giveUp(digest)
      }
      try count()
    } catch { throw Failure.writing("receive a file in", at: repository.path, because: error) }
    return true
  }

  // MARK: Missing records and contents

  private func need(_ path: [[UInt8]], isContent: Bool) throws -> IncomingStream.Parts {
    var message = MessageWriter()
    message.integer(isContent ? 1 : 0 as UInt64)
    message.path(path)
    try channel.send(.need, message.bytes)
    var parts = stream.parts
    guard try parts.integer() == UInt64(StreamTag.needed.rawValue) else {
      throw WireError("something else came than what was asked for")
    }
    return parts
  }

  func fetchRecord(_ digest: Digest, _ path: [[UInt8]]) throws -> DirectoryRecord? {
    var parts = try need(path, isContent: false)
    let (record, found) = try tree.add(record: try takeRecordContent(&parts, nil), movedFrom: nil)
    guard found == digest else { throw WireError("another directory came than was asked for") }
    return record
  }

  func fetchContent(_ digest: ContentDigest, _ path: [[UInt8]], _ byteCount: UInt64) throws {
    if tree.hasContent(digest) || tree.isTooLarge(digest) { return }
    _ = try need(path, isContent: true)
    try takeContent(digest, byteCount, from: 0, nil)
    if tree.isTooLarge(digest) { return }
    guard tree.hasContent(digest) else {
      throw Failure(
        .remote,
        "\(displayName(sourcePath(path, label: sent.label))): what the client sends is not what its catalog says")
    }
    // The whole content matches its digest, so the base's file is damaged and not the client's.
    if let before = doubtful.removeValue(forKey: digest), let base {
      notes.noteDamage(of: before, in: base)
    }
  }
}
