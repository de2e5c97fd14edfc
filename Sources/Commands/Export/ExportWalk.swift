internal import Catalog
internal import Engine
internal import Model
internal import Posix

/// An entry on its way to the output.
struct ExportedEntry {
  let found: Found
  /// From the snapshot's root on.
  let place: TreePath
  let path: [UInt8]
  /// An earlier path of the same inode.
  var hardLink: [UInt8]?
  var isRequested = false

  /// The regular file whose content the entry has.
  var row: FileRow? {
    guard case .file(let row, _) = found, row.kind == .regular, hardLink == nil else { return nil }
    return row
  }
}

/// The walk of a catalog that writes each entry, in order.
///
/// The files of several entries are requested at once. All of them are received before the walk goes on, because the
/// catalog of a remote is read over the same connection.
struct Export {
  private static let batch = 64

  private let catalog: CatalogReader
  private let content: FileContent
  private var form: any ExportForm
  private var waiting: [ExportedEntry] = []
  private var firstNames: [InodeKey: [UInt8]] = [:]
  /// The SHA-256 of sparse files with several names.
  private var digests: [InodeKey: Digest] = [:]
  private(set) var problems: [(path: [UInt8], reason: String)] = []

  private struct InodeKey: Hashable {
    let group: UInt64
    let digest: ContentDigest

    init?(_ found: Found) {
      guard case .file(let row, _) = found, let group = row.linkGroup else { return nil }
      (self.group, digest) = (group, row.digest)
    }
  }

  init(of catalog: CatalogReader, from content: FileContent, as form: any ExportForm) {
    (self.catalog, self.content, self.form) = (catalog, content, form)
  }

  mutating func write(below place: TreePath) throws {
    let label = catalog.summary.label
    try flush()
    try form.lead(to: place.below(label: label))
    try forEachDifference(from: nil, to: catalog, under: place) { entries, place in
      // No archive holds a socket, and no program wants one back.
      guard let found = entries.sides.right, found.kind != .socket else { return }
      let path = place.path
      // A directory that treering made has no metadata.
      if case .directory(let record, _) = found, record.isSynthetic { return }
      try add(ExportedEntry(found: found, place: path, path: path.below(label: label).relative))
    }
  }

  private mutating func add(_ entry: ExportedEntry) throws {
    try checkForSignal()
    var entry = entry
    if let key = InodeKey(entry.found) {
      entry.hardLink = firstNames[key]
      if entry.hardLink == nil { firstNames[key] = entry.path }
    }
    if let row = entry.row, row.size > 0, form.needsContent(of: row) {
      entry.isRequested = true
      // The holes of a sparse file must be known before it begins, so it is read twice, and alone.
      if row.digest.form != .plain { try flush() }
    }
    waiting.append(entry)
    if waiting.count == Self.batch || entry.row.map({ $0.digest.form != .plain }) == true { try flush() }
  }

  mutating func end() throws {
    try flush()
    try form.close()
  }

  /// Writes the waiting entries. If the first name of an inode is lost, a further name takes its place.
  private mutating func flush() throws {
    while !waiting.isEmpty {
      let batch = waiting
      waiting.removeAll(keepingCapacity: true)
      for entry in batch where entry.isRequested { try content.request(entry.place) }
      var parted: [ExportedEntry] = []
      for entry in batch {
        if let link = entry.hardLink, let key = InodeKey(entry.found), firstNames[key] != link {
          parted.append(ExportedEntry(found: entry.found, place: entry.place, path: entry.path))
        } else {
          try write(entry)
        }
      }
      for entry in parted { try add(entry) }
    }
  }

  private mutating func write(_ entry: ExportedEntry) throws {
    guard let row = entry.row, entry.isRequested else {
      try form.begin(entry, data: nil)
      return try form.end(entry, digest: entry.found.plainDigest ?? InodeKey(entry.found).flatMap { digests[$0] })
    }
    var data: [Range<UInt64>]?
    if row.digest.form != .plain {
      data = try ranges(of: row, in: entry)
      try content.request(entry.place)
    }
    let hasher = ContentHasher()
    hasher.reset(elidingZeros: false)
    var hasBegun = false
    let problem = try content.receive(row) { bytes in
      if !hasBegun { try form.begin(entry, data: data) }
      hasBegun = true
      if row.digest.form != .plain, form.needsDigests { hasher.update(bytes) }
      try form.write(bytes)
    }
    if let problem {
      // A file that cannot be had at all is left out.
      if let key = InodeKey(entry.found), firstNames[key] == entry.path { firstNames[key] = nil }
      problems.append((entry.place.atSource(label: catalog.summary.label), problem))
      return
    }
    let digest = row.digest.form != .plain ? hasher.finish().digest : row.digest.digest
    if let key = InodeKey(entry.found) { digests[key] = digest }
    try form.end(entry, digest: digest)
  }

  /// The ranges of the requested sparse file that are not zero, in blocks of 4096 bytes.
  private func ranges(of row: FileRow, in entry: ExportedEntry) throws -> [Range<UInt64>] {
    var ranges: [Range<UInt64>] = []
    var offset: UInt64 = 0
    _ = try content.receive(row) { bytes in
      for start in stride(from: 0, to: bytes.count, by: 4096) {
        let block = bytes[start..<min(start + 4096, bytes.count)]
        guard block.contains(where: { $0 != 0 }) else { continue }
        let range = offset + UInt64(start)..<offset + UInt64(start + block.count)
        if let last = ranges.last, last.upperBound == range.lowerBound {
          ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
        } else {
          ranges.append(range)
        }
      }
      offset += UInt64(bytes.count)
    }
    return ranges
  }
}

extension Found {
  /// The SHA-256 of all bytes of a regular file, if the catalog has it.
  fileprivate var plainDigest: Digest? {
    guard case .file(let row, _) = self, row.kind == .regular, row.digest.form == .plain else { return nil }
    return row.digest.digest
  }
}
