internal import CPosix
internal import Glibc

/// The lines of getfacl(1) for the value of an ACL's attribute, by libacl.
///
/// `prefix` begins each line. Accounts have the names of this machine. Throws if the value is no ACL; `acl(5)`.
public func accessControlLines(of value: [UInt8], prefix: String = "") throws(Errno) -> [[UInt8]] {
  guard (1...1 << 16).contains(value.count) else { throw .invalid }
  return try accessControlLines(prefix: prefix) { prefix, text in
    value.withUnsafeBytes { tr_acl_text($0.baseAddress, $0.count, 0, prefix, &text) }
  }
}

/// The lines of getfacl(1) for an entry without an ACL.
public func accessControlLines(ofMode permissions: UInt16) throws(Errno) -> [[UInt8]] {
  try accessControlLines(prefix: "") { prefix, text in tr_acl_text(nil, 0, UInt32(permissions), prefix, &text) }
}

private func accessControlLines(
  prefix: String, body: (UnsafePointer<CChar>, inout UnsafeMutablePointer<CChar>?) -> Int
) throws(Errno) -> [[UInt8]] {
  var text: UnsafeMutablePointer<CChar>?
  defer { free(text) }
  _ = try perform(.getxattr) { prefix.withCString { body($0, &text) } }
  guard let text else { return [] }
  return UnsafeRawBufferPointer(start: text, count: strlen(text)).split(separator: UInt8(ascii: "\n")).map(Array.init)
}

extension Descriptor {
  /// An empty file in memory; `memfd_create(2)`.
  public static func memoryFile() throws(Errno) -> Descriptor {
    Descriptor(raw: CInt(try perform(.memfd_create) { tr_memory_file() }))
  }

  /// A path by which a child of this process can open the descriptor's file; proc(5).
  public var pathForChild: [UInt8] { Array("/proc/\(getpid())/fd/\(raw)".utf8) }
}
