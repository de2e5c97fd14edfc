internal import Model
internal import Posix

/// Writes the parts of an output of mysqldump(1) to files, a directory for each database, and their order.
final class DumpWriter {
  /// The files, one a line, in the order in which they are the output.
  static let order = "order"
  private let target: DumpDirectory
  private var splitter = DumpSplitter()
  private var directories: [[UInt8]: DumpDirectory] = [:]
  private var paths: [[UInt8]] = []
  private var names: Set<[UInt8]> = []
  private var file: SharedFile?
  private var buffer: [UInt8] = []
  /// The first part, which has the place in the binary log.
  private(set) var begin: [UInt8] = []

  private static let bufferBytes = 1 << 20
  private static let longestBegin = 64 << 10

  init(to target: DumpDirectory) { self.target = target }

  /// The end marker of a complete output.
  var isComplete: Bool { splitter.lastLine.starts(with: "-- Dump completed".utf8) }

  func pass(_ bytes: UnsafeRawBufferPointer) throws(DumpFailure) {
    if paths.isEmpty { try open(.begin) }
    try splitter.pass(bytes) { part throws(DumpFailure) in
      try open(part)
    } onBytes: { bytes throws(DumpFailure) in
      try append(bytes)
    }
  }

  /// Writes the rest, and the order of the files.
  func finish() throws(DumpFailure) {
    try splitter.finish { bytes throws(DumpFailure) in try append(bytes) }
    try flush()
    file = try target.makeFile(Array(Self.order.utf8))
    paths.append(Array(Self.order.utf8))
    for path in paths.dropLast() { buffer += path + [10] }
    try flush()
  }

  private func append(_ bytes: UnsafeRawBufferPointer) throws(DumpFailure) {
    if paths.count == 1, begin.count < Self.longestBegin { begin += bytes }
    buffer += bytes
    if buffer.count >= Self.bufferBytes { try flush() }
  }

  private func flush() throws(DumpFailure) {
    guard let file else { return }
    try target.attempt("write", at: target.path + [slash] + (paths.last ?? [])) { () throws(Errno) in
      try file.descriptor.write(buffer)
    }
    buffer.removeAll(keepingCapacity: true)
  }

  private func open(_ part: DumpSplitter.Part) throws(DumpFailure) {
    try flush()
    let (database, name) = part.place
    guard let database else {
      file = try target.makeFile(unused(name))
      return
    }
    if directories[database] == nil {
      directories[database] = try target.makeDirectory(for: database, reserved: DumpSplitter.Part.reserved)
    }
    let directory = fileName(for: database, reserved: DumpSplitter.Part.reserved)
    let path = unused(directory + [slash] + name)
    file = try directories[database]!.makeFile(Array(path.dropFirst(directory.count + 1)))
  }

  /// Notes the path of a new file, which gets a number if a part has the same name.
  private func unused(_ path: [UInt8]) -> [UInt8] {
    var found = path
    var number = 2
    while !names.insert(found).inserted {
      found = path + Array("~\(number)".utf8)
      number += 1
    }
    paths.append(found)
    return found
  }
}

extension DumpSplitter.Part {
  static let reserved: Set = ["begin.sql", "end.sql", DumpWriter.order, Dumper.logDirectory, "site.txt"]

  /// The database's name and the file's name.
  fileprivate var place: (database: [UInt8]?, file: [UInt8]) {
    func file(_ kind: String, _ object: [UInt8]) -> [UInt8] {
      Array("\(kind)-".utf8) + fileName(for: object) + Array(".sql".utf8)
    }
    return switch self {
    case .begin: (nil, Array("begin.sql".utf8))
    case .end: (nil, Array("end.sql".utf8))
    case .database(let name): (name, Array("database.sql".utf8))
    case .table(let name, let database): (database, file("table", name))
    case .sequence(let name, let database): (database, file("sequence", name))
    case .view(let name, let database): (database, file("view", name))
    case .events(let database): (database, Array("events.sql".utf8))
    case .routines(let database): (database, Array("routines.sql".utf8))
    case .views(let database): (database, Array("views.sql".utf8))
    }
  }
}
