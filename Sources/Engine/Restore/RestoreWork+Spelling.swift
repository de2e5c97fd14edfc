internal import Model
internal import Posix

/// The treatment of two names as one by a directory at the destination, such as `README` and `readme`.
enum NameSpelling {
  case unknown
  /// Each name is an entry of its own.
  case exact
  /// Names that differ in case are one; the names as they are spelled there.
  case folded(Set<[UInt8]>)
}

extension RestoreWork {
  /// True if the entry that was found by a name has another name, which the file system takes for the same.
  ///
  /// The entry then belongs to another entry of the snapshot, or to the operator.
  func isOneWithAnother(_ name: [UInt8], found: FileStatus, in node: RestoreNode) throws(Errno) -> Bool {
    if case .unknown = node.spelling { node.spelling = try spelling(of: node.target!, found: found, by: name) }
    guard case .folded(let names) = node.spelling, !names.contains(name) else { return false }
    reportLeft(
      at: path(of: node, named: name), "is one name with another to the file system; the other is left as it is")
    return true
  }

  private func spelling(of directory: Directory, found: FileStatus, by name: [UInt8]) throws(Errno) -> NameSpelling {
    let other = name.map { isLetter($0) ? $0 ^ 0x20 : $0 }
    if other == name { return .unknown }
    guard try directory.descriptor.statusIfPresent(of: other.span)?.isSameInode(as: found) == true else {
      return .exact
    }
    let names = Set(try directory.names())
    // They may be two links to one inode.
    return names.contains(name) && names.contains(other) ? .exact : .folded(names)
  }
}
