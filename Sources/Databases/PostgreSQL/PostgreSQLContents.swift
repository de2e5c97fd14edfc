internal import Model
internal import Posix

/// The data files that the table of contents of a dump names, by `pg_restore --list`.
struct PostgreSQLContents {
  private var tables: [[UInt8]] = []
  private var hasLargeObjects = false

  /// A line is `ID; CATALOG OID KIND SCHEMA NAME OWNER`. The catalog is 0 for data, so a table in a schema named
  /// `DATA` is no data.
  init(list: [UInt8]) {
    for line in list.split(separator: 10) where line.first != UInt8(ascii: ";") {
      let parts = line.split(separator: UInt8(ascii: " "), maxSplits: 3, omittingEmptySubsequences: false)
      guard parts.count == 4, parts[0].last == UInt8(ascii: ";"), parts[1] == [UInt8(ascii: "0")] else { continue }
      if parts[3].starts(with: "TABLE DATA ".utf8) { tables.append(parts[0].dropLast() + Array(".dat".utf8)) }
      if parts[3].starts(with: "BLOBS ".utf8) { hasLargeObjects = true }
    }
  }

  /// Throws if a data file is missing or lacks its end.
  func check(in directory: DumpDirectory, name: String) throws(DumpFailure) {
    for file in tables where !(try ends(file, with: Array("\\.\n\n\n".utf8), in: directory)) {
      throw DumpFailure(
        name: name, reason: "the dump has no complete file \(displayName(directory.path + [slash] + file))")
    }
    guard hasLargeObjects else { return }
    // Each line of such a list is `OID FILE`.
    let names = try directory.attempt("read") { () throws(Errno) in try directory.directory.names() }
    let lists = names.filter { $0.starts(with: "blobs".utf8) && $0.suffix(4).elementsEqual(".toc".utf8) }
    var files: [[UInt8]] = []
    for list in lists {
      let text = try directory.attempt("read", at: directory.path + [slash] + list) { () throws(Errno) in
        try directory.directory.descriptor.openToRead(list.span).readToEnd(limit: 1 << 30)
      }
      files += text.split(separator: 10).compactMap { $0.split(separator: UInt8(ascii: " ")).last.map(Array.init) }
    }
    let present = Set(names)
    guard !lists.isEmpty, let lack = files.first(where: { !present.contains($0) }) else {
      if lists.isEmpty { throw DumpFailure(name: name, reason: "the dump has no list of its large objects") }
      return
    }
    throw DumpFailure(name: name, reason: "the dump has no file \(displayName(directory.path + [slash] + lack))")
  }

  private func ends(_ file: [UInt8], with end: [UInt8], in directory: DumpDirectory) throws(DumpFailure) -> Bool {
    try directory.attempt("read", at: directory.path + [slash] + file) { () throws(Errno) in
      let opened = try directory.directory.descriptor.openToRead(file.span)
      let size = try opened.status().size
      guard size >= UInt64(end.count) else { return false }
      return try opened.read(at: size - UInt64(end.count), count: end.count) == end
    }
  }
}
