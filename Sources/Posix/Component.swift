internal import Glibc
internal import Model

/// Calls `body` with `name` as a C string if it is one path component; otherwise returns -EINVAL.
///
/// Every `*at` call of this target goes through here, so no name can lead out of its directory. A component has 1 to
/// 255 bytes, no `/` and no NUL, and is not `.` or `..`.
@inline(__always)
func withComponent(_ name: Span<UInt8>, body: (UnsafePointer<CChar>) -> Int) -> Int {
  let count = name.count
  guard Name.isPossible(name) else { return -Int(count > 255 ? ENAMETOOLONG : EINVAL) }
  return withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
    let base = buffer.baseAddress!
    // Safe: 1...255 bytes of the span are copied into 256, and the NUL follows them.
    name.withUnsafeBufferPointer { _ = memcpy(base, $0.baseAddress!, count) }
    base.storeBytes(of: 0, toByteOffset: count, as: UInt8.self)
    return body(UnsafePointer(base.assumingMemoryBound(to: CChar.self)))
  }
}

/// Calls `body` with the bytes and a final NUL; returns -EINVAL if the bytes contain a NUL.
@inline(__always)
func withCString(_ bytes: [UInt8], body: (UnsafePointer<CChar>) -> Int) -> Int {
  if bytes.contains(0) { return -Int(EINVAL) }
  return (bytes + [0]).withUnsafeBytes { body($0.baseAddress!.assumingMemoryBound(to: CChar.self)) }
}
