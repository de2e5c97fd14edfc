internal import CCodec
internal import Catalog

/// zstd, as restic's repositories of version 2 use it. Each thread needs its own.
final class Compressor {
  /// zstd's default and restic's, too.
  static let level: Int32 = 3
  private let compressor: OpaquePointer

  init() {
    guard let compressor = tr_compressor_new(Self.level) else { fatalError("no memory for zstd") }
    self.compressor = compressor
  }

  deinit { tr_compressor_free(compressor) }

  func compress(_ plain: UnsafeRawBufferPointer) -> [UInt8] {
    let bound = tr_compress_bound(plain.count)
    return [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
      count = tr_compress(compressor, buffer.baseAddress, bound, plain.baseAddress, plain.count)
      guard count > 0 else { fatalError("zstd could not compress") }
    }
  }
}

/// Decompresses a text whose plain size is known.
func decompressed(_ text: [UInt8], byteCount: Int) throws(ResticError) -> [UInt8] {
  var size = 0
  let plain = [UInt8](unsafeUninitializedCapacity: max(byteCount, 1)) { buffer, count in
    size = text.withUnsafeBytes { tr_decompress(buffer.baseAddress, byteCount, $0.baseAddress, $0.count) }
    count = size == byteCount ? byteCount : 0
  }
  guard size == byteCount else { throw ResticError("it does not decompress to its size") }
  return plain
}

/// The encoding of index, snapshot, lock and configuration files (`Unpacked Data Format`).
enum UnpackedText {
  private static let compressedMark: UInt8 = 2
  /// The largest plain text that is read. An index has at most about 60 MiB.
  private static let mostBytes = 1 << 30

  static func encoded(_ json: [UInt8], with compressor: Compressor) -> [UInt8] {
    [compressedMark] + json.withUnsafeBytes { compressor.compress($0) }
  }

  /// Encodes a long text, which `write` passes on in pieces.
  static func encoded(_ write: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws -> [UInt8] {
    let text = TextBuffer([compressedMark])
    let compressor = StreamCompressor(level: Compressor.level, windowLog: 21) { text.bytes += $0 }
    try write { try compressor.write($0) }
    try compressor.finish()
    return text.bytes
  }

  private final class TextBuffer {
    var bytes: [UInt8]
    init(_ bytes: [UInt8]) { self.bytes = bytes }
  }

  /// Reads into a buffer as much of a text as is there; 0 at its end.
  typealias Pieces = (UnsafeMutableRawBufferPointer) throws -> Int

  private static let pieceBytes = 256 << 10

  /// The plain text of an encoded one, piece by piece.
  static func pieces(of text: ArraySlice<UInt8>) throws(ResticError) -> Pieces {
    guard let mark = text.first else { throw ResticError("it is empty") }
    if mark == UInt8(ascii: "{") || mark == UInt8(ascii: "[") {
      var rest = text
      return { buffer in
        let piece = rest.prefix(buffer.count)
        buffer.copyBytes(from: piece)
        rest = rest.dropFirst(piece.count)
        return piece.count
      }
    }
    guard mark == compressedMark else { throw ResticError("it has an unknown encoding") }
    var rest = text.dropFirst()
    let stream = StreamDecompressor(maximumWindowLog: 27) {
      if rest.isEmpty { return nil }
      let piece = Array(rest.prefix(pieceBytes))
      rest = rest.dropFirst(piece.count)
      return piece
    }
    var byteCount = 0
    return { buffer in
      let count = try stream.read(into: buffer)
      byteCount += count
      guard byteCount <= mostBytes else { throw ResticError("it is too large") }
      return count
    }
  }

  static func decoded(_ text: [UInt8]) throws -> [UInt8] { try decoded(text[...]) }

  static func decoded(_ text: ArraySlice<UInt8>) throws -> [UInt8] {
    let pieces = try pieces(of: text)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 16)
    defer { buffer.deallocate() }
    var plain: [UInt8] = []
    while true {
      let count = try pieces(buffer)
      if count == 0 { return plain }
      plain += buffer[..<count]
    }
  }
}
