internal import Archive
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

protocol ExportForm {
  /// Announces the directories above what follows, which are not part of it.
  mutating func lead(to path: TreePath) throws
  func needsContent(of row: FileRow) -> Bool
  /// Begins an entry; `data` are the ranges of a sparse file without its holes.
  mutating func begin(_ entry: ExportedEntry, data: [Range<UInt64>]?) throws
  mutating func write(_ bytes: UnsafeRawBufferPointer) throws
  var needsDigests: Bool { get }
  /// `digest` is the SHA-256 of all bytes of the entry's regular file.
  mutating func end(_ entry: ExportedEntry, digest: Digest?) throws
  mutating func close() throws
}

extension ExportForm {
  var needsDigests: Bool { true }
  func lead(to path: TreePath) throws {}
  // A list needs the content only of a sparse file, whose SHA-256 the catalog lacks.
  func needsContent(of row: FileRow) -> Bool { row.digest.form != .plain }
  func begin(_ entry: ExportedEntry, data: [Range<UInt64>]?) throws {}
  func write(_ bytes: UnsafeRawBufferPointer) throws {}
  func close() throws {}
}

struct TarForm: ExportForm {
  private let writer: PaxWriter

  init() throws(Failure) {
    do {
      writer = try PaxWriter { bytes, count in
        do throws(Errno) {
          try CurrentProcess.write(UnsafeRawBufferPointer(start: bytes, count: count), to: .output)
          return count
        } catch { return -Int(error.number) }
      }
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

/// One line for each regular file, as sha256sum(1) writes and checks it.
struct DigestForm: ExportForm {
  let writer: AnswerWriter

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
    try writer.write(Array("\(mark)\(digest.description)  ".utf8) + name + [10])
  }
}

/// One line for each entry, as in mtree(5).
struct MtreeForm: ExportForm {
  let writer: AnswerWriter
  private var hasBegun = false
  private var announced: Set<[UInt8]> = []

  init(writer: AnswerWriter) { self.writer = writer }

  mutating func lead(to path: TreePath) throws {
    for count in stride(from: 1, to: path.count, by: 1) {
      let directory = path.prefix(count).bytes
      if announced.insert(directory).inserted { try write(line: "./\(Self.encoded(directory)) type=dir") }
    }
  }

  private mutating func write(line: String) throws {
    if !hasBegun { try writer.write("#mtree\n. type=dir\n") }
    hasBegun = true
    try writer.line(line)
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
