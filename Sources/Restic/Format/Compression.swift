internal import CCodec
internal import Catalog

/// zstd, as restic's repositories of version 2 use it. Each thread needs its own.
final class Compressor {
  private let compressor: OpaquePointer

  init() {
    // Level 3 is zstd's default and restic's, too.
    guard let compressor = tr_compressor_new(3) else { fatalError("no memory for zstd") }
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
  /// The largest plain text that is read. An index of restic has at most about 30 MiB.
  private static let mostBytes = 1 << 30

  static func encoded(_ json: [UInt8], with compressor: Compressor) -> [UInt8] {
    [compressedMark] + json.withUnsafeBytes { compressor.compress($0) }
  }

  static func decoded(_ text: [UInt8]) throws -> [UInt8] {
    guard let mark = text.first else { throw ResticError("it is empty") }
    if mark == UInt8(ascii: "{") || mark == UInt8(ascii: "[") { return text }
    guard mark == compressedMark else { throw ResticError("it has an unknown encoding") }
    var input: [UInt8]? = Array(text.dropFirst())
    let stream = StreamDecompressor(maximumWindowLog: 27) {
      defer { input = nil }
      return input
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 16)
    defer { buffer.deallocate() }
    var plain: [UInt8] = []
    while true {
      let count = try stream.read(into: buffer)
      if count == 0 { return plain }
      plain += buffer[..<count]
      guard plain.count <= mostBytes else { throw ResticError("it is too large") }
    }
  }
}
