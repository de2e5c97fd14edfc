internal import Catalog
public import Model
internal import Posix

/// The facts of a stored log: the size and the SHA-256 of its plain bytes.
public struct LogFacts: Sendable, Equatable {
  public var byteCount: UInt64
  public var digest: Digest

  static let trailerBytes = 48
  /// The head of a skippable frame with 40 bytes (RFC 8878, section 3.1.2).
  private static let head: [UInt8] = [0x5F, 0x2A, 0x4D, 0x18, 40, 0, 0, 0]

  init(byteCount: UInt64, digest: Digest) { (self.byteCount, self.digest) = (byteCount, digest) }

  /// The frame at the end of a stored log: head, size (little-endian), digest.
  var trailer: [UInt8] { Self.head + withUnsafeBytes(of: byteCount.littleEndian) { Array($0) } + digest.bytes }

  /// `nil` if the bytes are no such frame.
  init?(trailer: [UInt8]) {
    guard trailer.count == Self.trailerBytes, trailer.starts(with: Self.head) else { return nil }
    byteCount = trailer[8..<16].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    guard let digest = Digest(Array(trailer[16...])) else { return nil }
    self.digest = digest
  }
}

/// An open file of an archive. Its owner may have changed it, so its bytes are untrusted.
struct StoredLog {
  let file: SharedFile
  let size: UInt64
  private let path: [UInt8]

  init(_ file: consuming Descriptor, path: [UInt8]) throws {
    let status = try file.status()
    guard status.kind == .regular else { throw Failure(.damaged, "\(displayName(path)) is no file", path: path) }
    (size, self.path) = (status.size, path)
    self.file = SharedFile(file)
  }

  var facts: LogFacts {
    get throws(Failure) {
      guard size > UInt64(LogFacts.trailerBytes) else { throw damaged("it is cut off") }
      let trailer: [UInt8]
      do { trailer = try file.descriptor.read(at: dataSize, count: LogFacts.trailerBytes) } catch {
        throw .writing("read", at: path, because: error)
      }
      guard let facts = LogFacts(trailer: trailer) else { throw damaged("its end has no digest") }
      return facts
    }
  }

  private var dataSize: UInt64 { size - UInt64(LogFacts.trailerBytes) }

  /// Passes on the plain bytes. Throws `damaged` unless they are those of the facts.
  func read(into receiver: (UnsafeRawBufferPointer) throws -> Void) throws(Failure) {
    let expected = try facts
    var offset: UInt64 = 0
    // The stream reads until it is released, at the end of this call.
    let (file, end) = (file, dataSize)
    let input = StreamDecompressor(maximumWindowLog: 27) {
      let bytes = try file.descriptor.read(at: offset, count: Int(min(LogPieces.byteCount, end - offset)))
      offset += UInt64(bytes.count)
      return bytes.isEmpty ? nil : bytes
    }
    do {
      let hasher = SHA256()
      var count: UInt64 = 0
      let pieces = LogPieces()
      while true {
        let piece = UnsafeRawBufferPointer(rebasing: pieces.buffer[..<(try input.read(into: pieces.buffer))])
        if piece.isEmpty { break }
        count += UInt64(piece.count)
        guard count <= expected.byteCount else { break }
        hasher.update(piece)
        try receiver(piece)
      }
      guard LogFacts(byteCount: count, digest: hasher.finish()) == expected
      else { throw damaged("its content does not match its digest") }
    } catch {
      if let error = error as? CatalogError { throw damaged(error.description) }
      throw .writing("read", at: path, because: error)
    }
  }

  /// Puts the plain bytes at a path of the operator, whole and durable. An existing file is replaced.
  func put(at path: [UInt8]) throws(Failure) {
    let (parent, last) = splitLast(of: path)
    do {
      let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
      let temporary = TemporaryFile(named: last + Array(".new".utf8), in: above)
      try temporary.write { target in
        try read { try target.descriptor.write($0) }
      } publish: { () throws(Errno) in
        try above.descriptor.rename(temporary.name.span, to: above.descriptor, as: last.span, replacing: true)
      }
    } catch { throw .writing("write", at: path, because: error) }
  }

  private func damaged(_ reason: String) -> Failure {
    Failure(
      .damaged, "the log \(displayName(path)) is damaged: \(reason)", path: path,
      hint: "look for a good copy, such as a remote's; a server that still has the log stores it again when it is gone")
  }
}

/// A buffer for the pieces of a file.
final class LogPieces {
  static let byteCount: UInt64 = 256 << 10
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(byteCount), alignment: 16)
  deinit { buffer.deallocate() }
}

extension Descriptor {
  /// Passes on exactly the first `size` bytes of the file, or throws: a file that became shorter is no whole one.
  borrowing func forEachPiece(upTo size: UInt64, body: (UnsafeRawBufferPointer) throws -> Void) throws {
    let pieces = LogPieces()
    var offset: UInt64 = 0
    while offset < size {
      let wanted = UnsafeMutableRawBufferPointer(
        rebasing: pieces.buffer[..<Int(min(LogPieces.byteCount, size - offset))])
      let count = try read(into: wanted, at: offset)
      guard count > 0 else { throw Errno.inputOutput }
      try body(UnsafeRawBufferPointer(rebasing: wanted[..<count]))
      offset += UInt64(count)
    }
  }
}
