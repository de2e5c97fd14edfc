internal import CArchive
public import Catalog
public import Model

/// An archive that cannot be written.
public struct ArchiveError: Error {
  /// The number of `errno(3)`; 0 if there is none.
  public let number: Int32
  public let message: String
}

/// Writes a pax archive (POSIX.1-2001) that GNU tar and bsdtar restore exactly; libarchive(3).
public final class PaxWriter {
  /// An entry of the archive.
  public struct Entry {
    /// The path in the archive, without a leading slash.
    public var path: [UInt8]
    public var kind: EntryKind
    public var metadata: Metadata
    /// The size of a regular file in bytes, or the numbers of a device.
    public var size: UInt64
    public var attributes: AttributeBlock
    /// The target of a symbolic link.
    public var target: [UInt8] = []
    /// The path of an earlier entry with the same inode.
    public var hardLink: [UInt8]?
    /// The ranges of a sparse file that are no holes; `nil` for a file without holes.
    public var data: [Range<UInt64>]?

    public init(path: [UInt8], kind: EntryKind, metadata: Metadata, size: UInt64, attributes: AttributeBlock) {
      self.path = path
      self.kind = kind
      self.metadata = metadata
      self.size = size
      self.attributes = attributes
    }
  }

  private let archive: OpaquePointer

  /// `write` writes all bytes of the archive, and returns their number or a negated number of `errno(3)`.
  public init(write: @convention(c) (UnsafeRawPointer?, Int) -> Int) throws(ArchiveError) {
    if let trouble = tr_archive_trouble() { throw ArchiveError(number: 0, message: String(cString: trouble)) }
    guard let archive = tr_archive_open(write)
    else { throw ArchiveError(number: 0, message: "the archive cannot be begun") }
    self.archive = archive
  }

  deinit { tr_archive_free(archive) }

  /// Begins an entry. The content of a regular file without a hard link follows.
  public func begin(_ entry: Entry) throws(ArchiveError) {
    let (major, minor) = (UInt32(entry.size >> 32), UInt32(truncatingIfNeeded: entry.size))
    let isDevice = entry.kind == .characterDevice || entry.kind == .blockDevice
    withCString(entry.path) { path in
      withCString(entry.target) { target in
        withCString(entry.hardLink ?? []) { hardLink in
          var fields = tr_archive_entry(
            path: path, mode: entry.kind.modeBits | UInt32(entry.metadata.permissions), user: entry.metadata.user,
            group: entry.metadata.group, modified_seconds: entry.metadata.modified.seconds,
            modified_nanoseconds: UInt32(entry.metadata.modified.nanoseconds),
            size: entry.kind == .regular ? entry.size : 0, device_major: isDevice ? major : 0,
            device_minor: isDevice ? minor : 0, target: entry.kind == .symbolicLink ? target : nil,
            hard_link: entry.hardLink == nil ? nil : hardLink)
          _ = tr_archive_begin(archive, &fields)
        }
      }
    }
    // Further names of an inode have no metadata of their own.
    if entry.hardLink == nil { try add(entry.attributes) }
    for range in entry.data ?? [] { tr_archive_add_data(archive, range.lowerBound, UInt64(range.count)) }
    // A file that is one hole has an empty range at its end.
    if entry.data?.isEmpty == true { tr_archive_add_data(archive, entry.size, 0) }
    try check(tr_archive_write_header(archive))
  }

  /// Writes content of the entry. Holes come as zeros.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(ArchiveError) {
    if bytes.isEmpty { return }
    try check(tr_archive_write(archive, bytes.baseAddress, bytes.count))
  }

  /// Ends the archive.
  public func close() throws(ArchiveError) { try check(tr_archive_close(archive)) }

  private func add(_ attributes: AttributeBlock) throws(ArchiveError) {
    let decoded: [(name: [UInt8], value: [UInt8])]
    do { decoded = try attributes.decoded() } catch { throw ArchiveError(number: 0, message: "\(error)") }
    for (name, value) in decoded {
      if let list = AccessControlList(named: name, value: value) {
        for entry in list.entries {
          try check(tr_archive_add_acl(archive, list.isDefault ? 1 : 0, entry.tag, entry.permissions, entry.id))
        }
      } else {
        withCString(name) { name in
          value.withUnsafeBytes { tr_archive_add_attribute(archive, name, $0.baseAddress, $0.count) }
        }
      }
    }
  }

  private func check(_ result: Int32) throws(ArchiveError) {
    guard result != 0 else { return }
    throw ArchiveError(number: tr_archive_errno(archive), message: String(cString: tr_archive_error(archive)))
  }
}

/// The value of `system.posix_acl_access` or `system.posix_acl_default`: a version, and entries of eight bytes; see
/// `linux/posix_acl_xattr.h`.
private struct AccessControlList {
  let isDefault: Bool
  private(set) var entries: [(tag: UInt16, permissions: UInt16, id: UInt32)] = []

  init?(named name: [UInt8], value: [UInt8]) {
    switch String(decoding: name, as: UTF8.self) {
    case "system.posix_acl_access": isDefault = false
    case "system.posix_acl_default": isDefault = true
    default: return nil
    }
    func number(at offset: Int, count: Int) -> UInt32 {
      value[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
    guard value.count >= 4, value.count % 8 == 4, number(at: 0, count: 4) == 2 else { return nil }
    for offset in stride(from: 4, to: value.count, by: 8) {
      entries.append(
        (
          tag: UInt16(number(at: offset, count: 2)), permissions: UInt16(number(at: offset + 2, count: 2)),
          id: number(at: offset + 4, count: 4)
        ))
    }
  }
}

private func withCString<R>(_ bytes: [UInt8], body: (UnsafePointer<CChar>) -> R) -> R {
  (bytes + [0]).withUnsafeBufferPointer { buffer in
    buffer.withMemoryRebound(to: CChar.self) { body($0.baseAddress!) }
  }
}

extension EntryKind {
  /// The bits of `S_IFMT`; see inode(7).
  fileprivate var modeBits: UInt32 {
    switch self {
    case .fifo: 0o010000
    case .characterDevice: 0o020000
    case .directory: 0o040000
    case .blockDevice: 0o060000
    case .regular: 0o100000
    case .symbolicLink: 0o120000
    case .socket: 0o140000
    }
  }
}
