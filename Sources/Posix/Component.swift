internal import Glibc

/// Calls `body` with `name` as a C string, if it is one component of a path; else returns -EINVAL.
///
/// Every `*at` call of this target goes through here, so no name, wherever it came from, can lead out of
/// the directory it is used in: not empty, not `.` or `..`, no `/`, no NUL, at most 255 bytes.
@inline(__always)
func withComponent(_ name: Span<UInt8>, _ body: (UnsafePointer<CChar>) -> Int) -> Int {
  let count = name.count
  guard count > 0, count <= 255 else {
    return -Int(count == 0 ? EINVAL : ENAMETOOLONG)
  }
  return withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
    let base = buffer.baseAddress!
    // Safe: 1...255 bytes of the span are copied into 256, and the last gets the NUL.
    name.withUnsafeBufferPointer { _ = memcpy(base, $0.baseAddress!, count) }
    base.storeBytes(of: 0, toByteOffset: count, as: UInt8.self)
    if buffer[0] == UInt8(ascii: "."), count == 1 || (count == 2 && buffer[1] == UInt8(ascii: ".")) {
      return -Int(EINVAL)
    }
    guard memchr(base, CInt(UInt8(ascii: "/")), count) == nil, memchr(base, 0, count) == nil else {
      return -Int(EINVAL)
    }
    return body(UnsafePointer(base.assumingMemoryBound(to: CChar.self)))
  }
}

/// Calls `body` with the bytes and a final NUL, or returns -EINVAL where they hold a NUL themselves.
@inline(__always)
func withCString(_ bytes: [UInt8], _ body: (UnsafePointer<CChar>) -> Int) -> Int {
  if bytes.contains(0) { return -Int(EINVAL) }
  return (bytes + [0]).withUnsafeBytes {
    body($0.baseAddress!.assumingMemoryBound(to: CChar.self))
  }
}
