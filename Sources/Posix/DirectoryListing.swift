internal import CPosix
internal import Glibc
internal import Model

/// The names of one directory, sorted by their bytes, in one arena.
///
/// Reusable: `read(_:)` replaces the content and keeps the memory.
public struct DirectoryListing: Sendable {
  /// One name: the place of its bytes, and its data from `getdents64(2)`.
  public struct Entry: Sendable {
    var offset: Int
    /// The eight bytes after the prefix that all names share, big-endian; most comparisons need only these.
    var key: UInt64
    /// The inode number in the directory; at a mount point, that of the covered inode.
    public var inode: UInt64
    var length, type: UInt8

    /// The range of the name in `bytes`.
    public var range: Range<Int> { offset..<offset + Int(length) }
    /// True for a known directory; false also if the file system does not tell the type.
    public var isSurelyDirectory: Bool { type == UInt8(DT_DIR) }
    /// True for a known non-directory; false also if the file system does not tell the type.
    public var isSurelyNoDirectory: Bool { !isSurelyDirectory && type != UInt8(DT_UNKNOWN) }
  }

  public private(set) var bytes: [UInt8] = []
  public private(set) var entries: [Entry] = []
  /// The number of names that cannot be path components: some file systems have names of more than 255 bytes.
  public private(set) var refusedNames = 0
  private var buffer: [UInt8] = []

  public init() {}

  /// Reads all names of `directory`, which was not read before, without `.` and `..`; `getdents64(2)`.
  public mutating func read(_ directory: borrowing Descriptor) throws(Errno) {
    bytes.removeAll(keepingCapacity: true)
    entries.removeAll(keepingCapacity: true)
    refusedNames = 0
    if buffer.isEmpty { buffer = [UInt8](repeating: 0, count: 64 * 1024) }
    while true {
      let count = try perform(.getdents64) {
        buffer.withUnsafeMutableBytes { tr_getdents(directory.raw, $0.baseAddress, $0.count) }
      }
      if count == 0 { break }
      append(recordsOf: count)
    }
    sort()
    dropRepeatedNames()
    // A directory of a million names must not hold its arena for the rest of the run.
    if buffer.capacity > 1 << 20 { buffer = [] }
  }

  /// True if the listing has the name.
  public func contains(_ name: Span<UInt8>) -> Bool { entry(named: name) != nil }

  /// The inode number listed with a name; `nil` if the listing lacks it.
  public func inode(of name: Span<UInt8>) -> UInt64? { entry(named: name)?.inode }

  private func entry(named name: Span<UInt8>) -> Entry? {
    func order(_ index: Int) -> NameOrder { compareNames(bytes.span.extracting(entries[index].range), name) }
    let index = entries.indices.partitionPoint { order($0) == .before }
    return index < entries.count && order(index) == .same ? entries[index] : nil
  }

  /// Releases the memory that an unusually wide directory needed.
  public mutating func trim() {
    if bytes.capacity > 4 << 20 { bytes = [] }
    if entries.capacity > 1 << 17 { entries = [] }
  }

  private mutating func append(recordsOf count: Int) {
    // struct linux_dirent64: u64 inode, s64 offset, u16 record length, u8 type, name with NUL.
    buffer.withUnsafeBytes { buffer in
      var position = 0
      while position + 19 < count {
        let inode = buffer.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        let length = Int(buffer.loadUnaligned(fromByteOffset: position + 16, as: UInt16.self))
        guard length > 19, position + length <= count else { return }
        let type = buffer[position + 18]
        let name = buffer.baseAddress! + position + 19
        let nameLength = strnlen(name.assumingMemoryBound(to: CChar.self), length - 19)
        position += length
        let first = name.load(as: UInt8.self)
        if first == UInt8(ascii: "."),
          nameLength == 1
            || (nameLength == 2 && name.load(fromByteOffset: 1, as: UInt8.self) == first)
        {
          continue
        }
        guard nameLength > 0, nameLength <= 255 else {
          refusedNames += 1
          continue
        }
        entries.append(Entry(offset: bytes.count, key: 0, inode: inode, length: UInt8(nameLength), type: type))
        bytes.append(contentsOf: UnsafeRawBufferPointer(start: name, count: nameLength))
      }
    }
  }

  /// A change during the listing may repeat a name; some file systems repeat names even without a change.
  private mutating func dropRepeatedNames() {
    guard entries.count > 1 else { return }
    var kept = 1
    for next in 1..<entries.count {
      let (last, entry) = (entries[kept - 1], entries[next])
      if last.key == entry.key, last.length == entry.length, bytes[last.range] == bytes[entry.range] { continue }
      if kept != next { entries[kept] = entry }
      kept += 1
    }
    entries.removeLast(entries.count - kept)
  }

  private mutating func sort() {
    guard entries.count > 1 else { return }
    bytes.withUnsafeBufferPointer { bytes in
      let base = bytes.baseAddress!
      // Keys skip the shared prefix, so that file000001…file999999 have different ones.
      let first = entries[0]
      var shared = Int(first.length)
      for entry in entries {
        let limit = min(shared, Int(entry.length))
        var i = 0
        while i < limit && base[first.offset + i] == base[entry.offset + i] { i += 1 }
        shared = i
      }
      for i in entries.indices {
        let start = entries[i].offset + shared
        let count = min(8, Int(entries[i].length) - shared)
        var key: UInt64 = 0
        for j in 0..<8 { key = key << 8 | (j < count ? UInt64(base[start + j]) : 0) }
        entries[i].key = key
      }
      entries.sort { a, b in
        if a.key != b.key { return a.key < b.key }
        let order = memcmp(base + a.offset, base + b.offset, Int(min(a.length, b.length)))
        return order != 0 ? order < 0 : a.length < b.length
      }
    }
  }
}
