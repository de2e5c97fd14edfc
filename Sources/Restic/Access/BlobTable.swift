internal import Model
internal import Posix
internal import Repository

/// The place of a blob as a table stores it, in 48 bytes.
struct BlobEntry {
  let id: Digest
  /// The number of the pack in the index.
  let pack: UInt32
  let offset: UInt32
  let byteCount: UInt32
  private let sizeAndType: UInt32

  private static let treeBit: UInt32 = 1 << 31

  init(_ blob: PackedBlob, pack: UInt32) {
    (id, self.pack, offset, byteCount) = (blob.name.id, pack, blob.offset, blob.byteCount)
    // A plain size is below 2^31; see `PackedBlob.mostPlainBytes`.
    sizeAndType = blob.plainByteCount | (blob.name.type == .tree ? Self.treeBit : 0)
  }

  init(_ entry: BlobEntry, packsBefore: UInt32) {
    (id, pack, offset) = (entry.id, entry.pack + packsBefore, entry.offset)
    (byteCount, sizeAndType) = (entry.byteCount, entry.sizeAndType)
  }

  var name: BlobName { BlobName(sizeAndType & Self.treeBit == 0 ? .data : .tree, id) }
  var plainByteCount: UInt32 { sizeAndType & ~Self.treeBit }
  fileprivate var prefix: Int { BlobTable.prefix(of: id) }
}

/// Blobs by their IDs, in a temporary file. Memory does not grow with their number, and one read finds a blob.
final class BlobTable: Sendable {
  fileprivate static let prefixBits = 16
  /// About so many entries are in a part.
  private static let partEntries = 64
  private let file: Descriptor
  /// The number of entries before each part of the file, and the number of all.
  private let starts: [UInt32]
  /// The number of bits at the end of a prefix that do not matter for the part.
  private let shift: Int

  fileprivate init(_ file: consuming Descriptor, starts: [UInt32], shift: Int) {
    self.file = file
    (self.starts, self.shift) = (starts, shift)
  }

  /// The entry of a blob; `nil` if there is none.
  func entry(of name: BlobName, prefix: Int) throws -> BlobEntry? {
    let part = prefix >> shift
    let range = Int(starts[part])..<Int(starts[part + 1])
    return try range.isEmpty ? nil : file.entries(range).first { $0.id == name.id && $0.name == name }
  }

  /// The first bits of an ID, which tell the part. IDs are digests, so they are spread evenly.
  static func prefix(of id: Digest) -> Int { Int(id.words.0 >> (64 - UInt64(prefixBits))) }

  /// Takes entries in any order. One thread at a time may use it.
  final class Builder: @unchecked Sendable {
    private let arrived: Descriptor
    private var counts = [UInt32](repeating: 0, count: 1 << BlobTable.prefixBits)
    private var count = 0

    init() throws { arrived = try Descriptor.scratchFile() }

    func append(_ entries: [BlobEntry]) throws {
      for entry in entries { counts[entry.prefix] += 1 }
      try arrived.write(entries, at: count)
      count += entries.count
    }

    private static let batch = 8192
    /// The entries are brought into so many groups first, each of which fits in memory.
    private static let groupBits = 8
    private static let waitingEntries = 128

    func finish() throws -> BlobTable {
      var shift = 0
      while shift < BlobTable.prefixBits - Self.groupBits, counts.count >> shift > count / BlobTable.partEntries {
        shift += 1
      }
      var starts: [UInt32] = [0]
      for first in stride(from: 0, to: counts.count, by: 1 << shift) {
        starts.append(counts[first..<first + 1 << shift].reduce(starts[starts.count - 1], +))
      }
      let sorted = try Descriptor.scratchFile()
      let partsOfGroup = (starts.count - 1) >> Self.groupBits
      let groups = (0..<1 << Self.groupBits).map {
        Int(starts[$0 * partsOfGroup])..<Int(starts[($0 + 1) * partsOfGroup])
      }
      try group(into: sorted, at: groups.map(\.lowerBound))
      for group in groups where !group.isEmpty {
        let entries = try sorted.entries(group).sorted { $0.id.words.0 < $1.id.words.0 }
        try sorted.write(entries, at: group.lowerBound)
      }
      return BlobTable(sorted, starts: starts, shift: shift)
    }

    private func group(into file: borrowing Descriptor, at places: [Int]) throws {
      var places = places
      var waiting = [[BlobEntry]](repeating: [], count: places.count)
      for start in stride(from: 0, to: count, by: Self.batch) {
        for entry in try arrived.entries(start..<min(start + Self.batch, count)) {
          let group = entry.prefix >> (BlobTable.prefixBits - Self.groupBits)
          waiting[group].append(entry)
          guard waiting[group].count == Self.waitingEntries else { continue }
          try file.write(waiting[group], at: places[group])
          places[group] += Self.waitingEntries
          waiting[group].removeAll(keepingCapacity: true)
        }
      }
      for (entries, place) in zip(waiting, places) where !entries.isEmpty { try file.write(entries, at: place) }
    }
  }
}

extension Descriptor {
  /// A file for entries that has no name, on the disk if that is possible.
  fileprivate static func scratchFile() throws -> Descriptor {
    if let file = try? temporaryFile() { return file }
    do { return try .memoryFile() } catch {
      throw Failure(.failed, "cannot make a temporary file for the index: \(error)")
    }
  }

  fileprivate borrowing func entries(_ range: Range<Int>) throws -> [BlobEntry] {
    let stride = MemoryLayout<BlobEntry>.stride
    return try [BlobEntry](unsafeUninitializedCapacity: range.count) { buffer, count in
      let bytes = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: range.count * stride)
      guard try read(into: bytes, at: UInt64(range.lowerBound * stride)) == bytes.count else {
        throw Failure(.failed, "the temporary file of the index is cut off")
      }
      count = range.count
    }
  }

  fileprivate borrowing func write(_ entries: [BlobEntry], at place: Int) throws {
    do {
      try entries.withUnsafeBytes { try write($0, at: UInt64(place * MemoryLayout<BlobEntry>.stride)) }
    } catch { throw Failure(.failed, "cannot write the temporary file of the index: \(error)") }
  }
}
