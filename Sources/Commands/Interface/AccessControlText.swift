internal import Catalog
internal import Model
internal import Posix

extension AttributeBlock {
  /// True if an ACL grants more than the mode does, or is inherited by new entries.
  var hasAccessControlList: Bool { AccessControlKind.allCases.contains { accessControl($0) != nil } }

  /// The lines of getfacl(1) for the ACLs; an ACL that cannot be decoded is one line that says so.
  var accessControlLines: [String] {
    AccessControlKind.allCases.flatMap { kind -> [String] in
      guard let value = accessControl(kind) else { return [] }
      let prefix = kind == .inherited ? "default:" : ""
      do { return try Posix.accessControlLines(of: value, prefix: prefix).map { aclText($0) } } catch {
        return ["# \(prefix)cannot be decoded: \(error)"]
      }
    }
  }
}

/// A line of libacl for display. It has a tab of its own, and escapes the names of accounts.
private func aclText(_ line: [UInt8]) -> String {
  line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false).map { part in
    String(validating: part, as: UTF8.self).flatMap { text in text.contains { $0.isNewline } ? nil : text }
      ?? displayName(part)
  }.joined(separator: "\t")
}

extension Entry {
  /// The block of getfacl(1), with an empty line at its end. Symbolic links have none.
  var accessControlText: [String] {
    guard let metadata = facts?.metadata, kind != .symbolicLink else { return [] }
    let flags = [(0o4000, "s"), (0o2000, "s"), (0o1000, "t")].map { Int(metadata.permissions) & $0.0 != 0 ? $0.1 : "-" }
    var lines = ["# file: \(octalName(path.drop { $0 == slash }))"]
    lines.append("# owner: \(octalName(Array(accountName(ofUser: metadata.user).utf8)))")
    lines.append("# group: \(octalName(Array(accountName(ofGroup: metadata.group).utf8)))")
    if metadata.permissions & 0o7000 != 0 { lines.append("# flags: \(flags.joined())") }
    let attributes = facts?.attributes ?? .empty
    if attributes.accessControl(.access) == nil {
      lines += ((try? Posix.accessControlLines(ofMode: metadata.permissions)) ?? []).map { aclText($0) }
    }
    return lines + attributes.accessControlLines + [""]
  }
}

/// A name in the form of getfacl(1), which setfacl(1) reads: backslashes and bytes that cannot be displayed are octal.
private func octalName(_ name: some Sequence<UInt8>) -> String {
  let bytes = Array(name)
  if let text = String(validating: bytes, as: UTF8.self), displayName(bytes) == text { return text }
  return bytes.map { byte in
    if (0x20...0x7E).contains(byte), byte != UInt8(ascii: "\\") { return String(Unicode.Scalar(byte)) }
    let digits = String(byte, radix: 8)
    return "\\" + String(repeating: "0", count: 3 - digits.count) + digits
  }.joined()
}
