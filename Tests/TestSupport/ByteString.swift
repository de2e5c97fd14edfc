internal import Foundation

/// A path, a name or an argument: bytes, because a name need not be text.
public struct ByteString: Hashable, Comparable, Sendable, ExpressibleByStringInterpolation,
  CustomStringConvertible
{
  public var bytes: [UInt8]

  public init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }
  public init(_ text: String) { bytes = Array(text.utf8) }
  public init(stringLiteral text: String) { self.init(text) }

  /// Two paths as one, with a single slash between them.
  public static func / (above: ByteString, below: ByteString) -> ByteString {
    if above.bytes.isEmpty { return below }
    let slash = UInt8(ascii: "/")
    let separator: [UInt8] = above.bytes.last == slash || below.bytes.first == slash ? [] : [slash]
    return ByteString(above.bytes + separator + below.bytes)
  }

  public static func + (a: ByteString, b: ByteString) -> ByteString {
    ByteString(a.bytes + b.bytes)
  }

  public static func < (a: ByteString, b: ByteString) -> Bool {
    // Debug builds of the tests compare many thousands of names.
    let order = memcmp(a.bytes, b.bytes, min(a.bytes.count, b.bytes.count))
    return order == 0 ? a.bytes.count < b.bytes.count : order < 0
  }

  /// The directory above the last component; empty for a single name.
  public var parent: ByteString {
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return "" }
    return ByteString(bytes[..<max(1, slash)])
  }

  public var lastComponent: ByteString {
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return self }
    return ByteString(bytes[(slash + 1)...])
  }

  public func hasPrefix(_ prefix: ByteString) -> Bool { bytes.starts(with: prefix.bytes) }

  /// As text where it is text; other bytes show as U+FFFD.
  public var text: String { String(decoding: bytes, as: UTF8.self) }

  public var description: String { text }

  /// The NUL-terminated bytes, for system calls.
  var cString: [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }

  /// The parts between single bytes; a separator at the end begins no further part.
  static func split(_ bytes: [UInt8], by separator: UInt8) -> [ByteString] {
    bytes.withUnsafeBytes { all in
      var parts: [ByteString] = []
      var start = 0
      while start < all.count {
        let rest = all.count - start
        let found = memchr(all.baseAddress! + start, Int32(separator), rest)
        let count = found.map { UnsafeRawPointer($0) - (all.baseAddress! + start) } ?? rest
        parts.append(ByteString(Array(all[start..<start + count])))
        start += count + 1
      }
      return parts
    }
  }
}

/// Something that a test needs is missing or failed; never the fault of what is tested.
public struct TestSupportError: Error, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }

  /// For a system call that has just failed.
  static func systemCall(_ name: String, _ path: ByteString) -> TestSupportError {
    TestSupportError("\(name) \(path): \(String(cString: strerror(errno)))")
  }
}
