internal import Model
internal import Posix
internal import Repository

/// A value of a fixed size without references, which a table finds by its ID. IDs are digests, so they are spread evenly.
protocol DiskEntry: Sendable {
  var id: Digest { get }
}

extension DiskEntry {
  /// The first bits of the ID, which tell the part of the table.
  fileprivate var prefix: Int { id.tablePrefix }
}

extension Digest {
  fileprivate static let prefixBits = 16
  fileprivate var tablePrefix: Int { Int(words.0 >> (64 - UInt64(Self.prefixBits))) }
}

/// Entries by their IDs, in a temporary file. Memory does not grow with their number, and one read finds an entry.
final class DiskTable<Entry: DiskEntry>: Sendable {
  /// About so many entries are in a part.
  private static var partEntries: Int { 64 }
  private let file: Descriptor
  /// The number of entries before each part of the file, and the number of all.
  private let starts: [UInt32]
  /// The number of bits at the end of a prefix that do not matter for the part.
  private let shift: Int

  fileprivate init(_ file: consuming Descriptor, starts: [UInt32], shift: Int) {
    self.file = file
    (self.starts, self.shift) = (starts, shift)
  }

  /// The number of entries.
  var count: Int { Int(starts[starts.count - 1]) }

  /// All entries with an ID.
  func entries(of id: Digest) throws -> [Entry] {
    let part = id.tablePrefix >> shift
    let range = Int(starts[part])..<Int(starts[part + 1])
    return try range.isEmpty ? [] : file.entries(range).filter { $0.id == id }
  }

  /// Calls `body` with all entries, many at a time.
  func forEach(_ body: ([Entry]) throws -> Void) throws {
    for start in stride(from: 0, to: count, by: Builder.batch) {
      try body(try file.entries(start..<min(start + Builder.batch, count)))
    }
  }

  /// Takes entries in any order. One thread at a time may use it.
  final class Builder: @unchecked Sendable {
    private let arrived: Descriptor
    private var counts = [UInt32](repeating: 0, count: 1 << Digest.prefixBits)
    private(set) var count = 0

    init() throws { arrived = try Descriptor.scratchFile() }

    func append(_ entries: [Entry]) throws {
      for entry in entries { counts[entry.prefix] += 1 }
      try arrived.write(entries, at: count)
      count += entries.count
    }

    fileprivate static var batch: Int { 8192 }
    /// The entries are brought into so many groups first, each of which fits in memory.
    private static var groupBits: Int { 8 }
    private static var waitingEntries: Int { 128 }

    func finish() throws -> DiskTable {
      var shift = 0
      while shift < Digest.prefixBits - Self.groupBits, counts.count >> shift > count / DiskTable.partEntries {
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
        let entries: [Entry] = try sorted.entries(group).sorted { $0.id.words.0 < $1.id.words.0 }
        try sorted.write(entries, at: group.lowerBound)
      }
      return DiskTable(sorted, starts: starts, shift: shift)
    }

    private func group(into file: borrowing Descriptor, at places: [Int]) throws {
      var places = places
      var waiting = [[Entry]](repeating: [], count: places.count)
      for start in stride(from: 0, to: count, by: Self.batch) {
        for entry: Entry in try arrived.entries(start..<min(start + Self.batch, count)) {
          let group = entry.prefix >> (Digest.prefixBits - Self.groupBits)
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
  static func scratchFile() throws -> Descriptor {
    if let file = try? temporaryFile() { return file }
    do { return try .memoryFile() } catch {
      throw Failure(.failed, "cannot make a temporary file: \(error)")
    }
  }

  borrowing func entries<Entry: DiskEntry>(_ range: Range<Int>) throws -> [Entry] {
    let stride = MemoryLayout<Entry>.stride
    return try [Entry](unsafeUninitializedCapacity: range.count) { buffer, count in
      let bytes = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: range.count * stride)
      guard try read(into: bytes, at: UInt64(range.lowerBound * stride)) == bytes.count else {
        throw Failure(.failed, "a temporary file is cut off")
      }
      count = range.count
    }
  }

  borrowing func write(_ entries: [some DiskEntry], at place: Int) throws {
    do {
      let stride = entries.isEmpty ? 0 : entries.withUnsafeBytes { $0.count / entries.count }
      try entries.withUnsafeBytes { try write($0, at: UInt64(place * stride)) }
    } catch { throw Failure(.failed, "cannot write a temporary file: \(error)") }
  }
}
