internal import Archive
internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

struct ExportCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write a snapshot as an archive to standard output.",
    discussion: """
      The form tar is a pax archive with owners, times, attributes, ACLs, hard links and holes. GNU tar and bsdtar \
      restore it exactly. The form mtree describes each entry for mtree(8) and bsdtar(1), and sha256 is a list for \
      sha256sum(1). Names are those of the source, without the leading slash. Every file is checked while it is written.

      Examples:
        treering export latest /srv/www | gpg -e -r ops@example.org > www.tar.gpg
        treering export latest /etc --format sha256 | (cd / && sha256sum -c --quiet)
      """)

  enum Format: String, CaseIterable { case tar, mtree, sha256 }

  @Argument(help: ArgumentHelp("The snapshot to write.", valueName: "snapshot"), completion: .snapshot)
  var snapshot: String

  @Argument(
    help: ArgumentHelp("What to write, named as at the source; everything, if left out.", valueName: "path"),
    completion: .path(inSnapshotAt: 0))
  var paths: [PathArgument] = []

  @Option(
    help: ArgumentHelp("The form: tar, mtree or sha256.", valueName: "format"), completion: .words(of: Format.self),
    transform: oneOf(for: "--format"))
  var format = Format.tar

  @Flag(help: "Write what the snapshot has, although other snapshots have sources that it lacks.")
  var partial = false

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    if format == .tar, CurrentProcess.terminalWidth(of: .output) != nil {
      throw Failure(.usage, "an archive is not written to a terminal", hint: "redirect it: treering export … > FILE")
    }
    CurrentProcess.rememberSignals()
    let store = try common.openStore(connection: connection)
    let list = try store.snapshots()
    let choice = try store.choose(reference: snapshot, having: paths.map(\.bytes), in: list)
    if !partial { try choice.refusePartial(in: list) }
    let name = choice.snapshot.name
    let lock = try? store.local?.locks.lockShared(name)
    defer { withExtendedLifetime(lock) {} }
    if let note = choice.note(for: snapshot), !common.quiet { Console.note(note) }
    let form: any ExportForm =
      switch format {
      case .tar: try TarForm()
      case .mtree: MtreeForm()
      case .sha256: DigestForm()
      }
    var export = Export(
      of: CatalogReader(reading: try store.openCatalog(of: name)), from: FileContent(from: store.contents(of: name)),
      as: form)
    do {
      // A path below another one is written once.
      for place in outermost(of: choice.places.isEmpty ? [[]] : choice.places) { try export.write(below: place) }
      try export.end()
    } catch let error as CatalogError {
      throw Failure(.damaged, "the catalog of \(name) is damaged: \(error); the archive is not complete")
    } catch let error as ArchiveError {
      try checkForSignal()
      let reason = error.number == 0 ? error.message : "\(Errno(error.number))"
      throw Failure(.failed, "cannot write the archive: \(reason)")
    }
    for problem in export.problems {
      Console.complain("\(displayName(problem.path)): is damaged in \(name): \(problem.reason)")
    }
    return export.problems.isEmpty ? .done : .damaged
  }
}

/// An entry on its way to the output.
private struct ExportedEntry {
  let found: Found
  /// From the snapshot's root on.
  let place: [[UInt8]]
  /// The path in the archive.
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

/// The form of an export.
private protocol ExportForm {
  /// Announces the directories above what follows, which are not part of it.
  mutating func lead(to path: [[UInt8]]) throws
  /// True if the content of the file is needed.
  func needsContent(of row: FileRow) -> Bool
  /// Begins an entry; `data` are the ranges of a sparse file without its holes.
  mutating func begin(_ entry: ExportedEntry, data: [Range<UInt64>]?) throws
  mutating func write(_ bytes: UnsafeRawBufferPointer) throws
  var needsDigests: Bool { get }
  /// `digest` is the SHA-256 of all bytes of the entry's regular file.
  mutating func end(_ entry: ExportedEntry, digest: Digest?) throws
  mutating func close() throws
}

/// The walk of a catalog that writes each entry, in order.
///
/// The files of several entries are requested at once. All of them are received before the walk goes on, because the
/// catalog of a remote is read over the same connection.
private struct Export {
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
    self.catalog = catalog
    self.content = content
    self.form = form
  }

  mutating func write(below place: [[UInt8]]) throws {
    let label = catalog.summary.label
    try flush()
    try form.lead(to: place.first == label ? Array(place.dropFirst()) : place)
    try forEachDifference(from: nil, to: catalog, under: place) { entries, place in
      // No archive holds a socket, and no program wants one back.
      guard let found = entries.sides.right, found.kind != .socket else { return }
      let path = place.path
      // A directory that treering made has no metadata.
      if case .directory(let record, _) = found, record.isSynthetic { return }
      let name = path.first == label ? path.dropFirst() : path[...]
      try add(ExportedEntry(found: found, place: path, path: Array(name.joined(separator: [slash]))))
    }
  }

  private mutating func add(_ entry: ExportedEntry) throws {
    try checkForSignal()
    var entry = entry
    if entry.path.isEmpty { entry = ExportedEntry(found: entry.found, place: entry.place, path: [UInt8(ascii: ".")]) }
    if let key = InodeKey(entry.found) {
      entry.hardLink = firstNames[key]
      if entry.hardLink == nil { firstNames[key] = entry.path }
    }
    if let row = entry.row, row.size > 0, form.needsContent(of: row) {
      entry.isRequested = true
      // The holes of a sparse file must be known before it begins, so it is read twice, and alone.
      if row.digest.isSparse { try flush() }
    }
    waiting.append(entry)
    if waiting.count == Self.batch || entry.row?.digest.isSparse == true { try flush() }
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
    if row.digest.isSparse {
      data = try ranges(of: row, in: entry)
      try content.request(entry.place)
    }
    let hasher = ContentHasher()
    hasher.reset(elidingZeros: false)
    var hasBegun = false
    let problem = try content.receive(row) { bytes in
      if !hasBegun { try form.begin(entry, data: data) }
      hasBegun = true
      if row.digest.isSparse, form.needsDigests { hasher.update(bytes) }
      try form.write(bytes)
    }
    if let problem {
      // A file that cannot be had at all is left out.
      if let key = InodeKey(entry.found), firstNames[key] == entry.path { firstNames[key] = nil }
      problems.append((sourcePath(entry.place, label: catalog.summary.label), problem))
      return
    }
    let digest = row.digest.isSparse ? hasher.finish().digest : row.digest.digest
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

// MARK: Forms

private struct TarForm: ExportForm {
  private let writer: PaxWriter

  init() throws(Failure) {
    do {
      writer = try PaxWriter(to: StandardStream.output.rawValue) { CurrentProcess.rememberedSignal == nil ? 0 : 1 }
    } catch {
      throw Failure(.failed, "cannot write an archive: \(error.message)")
    }
  }

  func needsContent(of row: FileRow) -> Bool { true }
  var needsDigests: Bool { false }

  func begin(_ entry: ExportedEntry, data: [Range<UInt64>]?) throws {
    let facts = EntryFacts(of: entry.found)
    var made = PaxWriter.Entry(
      path: entry.path, kind: facts.kind, metadata: facts.metadata, size: facts.size, attributes: facts.attributes)
    made.target = facts.target
    made.hardLink = entry.hardLink
    made.data = data
    try writer.begin(made)
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws { try writer.write(bytes) }
  func end(_ entry: ExportedEntry, digest: Digest?) throws {}
  func close() throws { try writer.close() }
}

extension ExportForm {
  var needsDigests: Bool { true }
  func lead(to path: [[UInt8]]) throws {}
  // A list needs the content only of a sparse file, whose SHA-256 the catalog lacks.
  func needsContent(of row: FileRow) -> Bool { row.digest.isSparse }
  func begin(_ entry: ExportedEntry, data: [Range<UInt64>]?) throws {}
  func write(_ bytes: UnsafeRawBufferPointer) throws {}
  func close() throws {}
}

/// One line for each regular file, as sha256sum(1) writes and checks it.
private struct DigestForm: ExportForm {
  func end(_ entry: ExportedEntry, digest: Digest?) throws {
    guard entry.found.kind == .regular, let digest else { return }
    var name: [UInt8] = []
    for byte in entry.path {
      switch byte {
      case UInt8(ascii: "\\"): name += Array("\\\\".utf8)
      case 10: name += Array("\\n".utf8)
      case 13: name += Array("\\r".utf8)
      default: name.append(byte)
      }
    }
    let mark = name.count == entry.path.count ? "" : "\\"
    try CurrentProcess.write(Array("\(mark)\(digest.description)  ".utf8) + name + [10], to: .output)
  }
}

/// One line for each entry, as in mtree(5).
private struct MtreeForm: ExportForm {
  private var hasBegun = false
  private var announced: Set<[UInt8]> = []

  mutating func lead(to path: [[UInt8]]) throws {
    for count in stride(from: 1, to: path.count, by: 1) {
      let directory = Array(path.prefix(count).joined(separator: [slash]))
      if announced.insert(directory).inserted { try write(line: "./\(Self.encoded(directory)) type=dir") }
    }
  }

  private mutating func write(line: String) throws {
    if !hasBegun { try CurrentProcess.write(Array("#mtree\n. type=dir\n".utf8), to: .output) }
    hasBegun = true
    try CurrentProcess.write(Array((line + "\n").utf8), to: .output)
  }

  mutating func end(_ entry: ExportedEntry, digest: Digest?) throws {
    let facts = EntryFacts(of: entry.found)
    let nanoseconds = String(facts.metadata.modified.nanoseconds)
    var line =
      "./\(Self.encoded(entry.path)) type=\(Self.word(facts.kind)) uid=\(facts.metadata.user) gid=\(facts.metadata.group) "
      + "mode=0\(String(facts.metadata.permissions, radix: 8)) time=\(facts.metadata.modified.seconds)."
      + String(repeating: "0", count: 9 - nanoseconds.count) + nanoseconds
    switch facts.kind {
    case .regular:
      line += " size=\(facts.size)"
      if let digest { line += " sha256digest=\(digest.description)" }
    case .symbolicLink: line += " link=\(Self.encoded(facts.target))"
    case .characterDevice, .blockDevice: line += " device=native,\(facts.size >> 32),\(facts.size & 0xFFFF_FFFF)"
    default: break
    }
    try write(line: line)
  }

  private static func word(_ kind: EntryKind) -> String {
    switch kind {
    case .regular: "file"
    case .directory: "dir"
    case .symbolicLink: "link"
    case .fifo: "fifo"
    case .socket: "socket"
    case .characterDevice: "char"
    case .blockDevice: "block"
    }
  }

  /// Other bytes than letters, digits and a few signs as a backslash and three octal digits; vis(3).
  private static func encoded(_ path: [UInt8]) -> String {
    var text = ""
    for byte in path {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), slash, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
        UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: "@"), UInt8(ascii: ":"):
        text.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        let octal = String(byte, radix: 8)
        text += "\\" + String(repeating: "0", count: 3 - octal.count) + octal
      }
    }
    return text
  }
}

extension Found {
  /// The SHA-256 of all bytes of a regular file, if the catalog has it.
  fileprivate var plainDigest: Digest? {
    guard case .file(let row, _) = self, row.kind == .regular, !row.digest.isSparse else { return nil }
    return row.digest.digest
  }
}
