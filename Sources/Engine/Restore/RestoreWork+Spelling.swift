internal import Catalog
internal import Model
internal import Posix

/// The treatment of two names as one by a directory at the destination, such as `README` and `readme`.
enum NameSpelling {
  case unknown
  /// Each name is an entry of its own.
  case exact
  /// Names that differ in case are one. These names of the snapshot are one with an earlier name there.
  case folded(Set<[UInt8]>)
}

extension RestoreWork {
  /// True if the entry that was found by a name is that of another name, which the file system takes for the same.
  ///
  /// It is left as it is: of the names that are one, the first is restored, in every run.
  func isOneWithAnother(_ name: [UInt8], in node: RestoreNode) throws(Errno) -> Bool {
    if case .unknown = node.spelling { node.spelling = try spelling(in: node, by: name) }
    guard case .folded(let others) = node.spelling, others.contains(name) else { return false }
    reportLeft(
      at: path(of: node, named: name), "is one name with another to the file system; the other is left as it is")
    return true
  }

  /// The treatment by a directory that finds an entry by this name. Inodes would not tell: a file system in user space
  /// may number both names.
  private func spelling(in node: RestoreNode, by name: [UInt8]) throws(Errno) -> NameSpelling {
    let text = String(validating: name, as: UTF8.self) ?? ""
    let other = Array((text == text.lowercased() ? text.uppercased() : text.lowercased()).utf8)
    guard !text.isEmpty, other != name, let directory = node.target else { return .unknown }
    if try directory.descriptor.statusIfPresent(of: other.span) == nil { return .exact }
    let names = try directory.names()
    return names.contains(name) && names.contains(other) ? .exact : .folded(laterSpellings(in: node.record))
  }

  /// The names of a directory that differ from an earlier one in case alone. Files come before directories.
  private func laterSpellings(in record: DirectoryRecord?) -> Set<[UInt8]> {
    guard let record, var files = try? FileCursor(of: record) else { return [] }
    var names: [[UInt8]] = []
    while let row = files.current {
      names.append(Array(record.bytes[row.name]))
      do { try files.advance() } catch { break }
    }
    names += ((try? files.directories()) ?? []).map { Array(record.bytes[$0.name]) }
    var seen: Set<[UInt8]> = []
    return Set(
      names.filter { name in
        let folded = String(validating: name, as: UTF8.self).map { Array($0.lowercased().utf8) }
        return !seen.insert(folded ?? name).inserted
      })
  }
}
