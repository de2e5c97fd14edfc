/// A path inside a tree: the names on the way down from its root. In a snapshot, the first is the label.
///
/// The names are not checked. An impossible one is found in no catalog, and every system call refuses it.
@frozen
public struct TreePath: Hashable, Sendable {
  @usableFromInline var names: [[UInt8]] = []

  /// The root of the tree.
  @inlinable
  public init() {}

  /// Splits a path at its slashes. Empty components and `.` mean nothing.
  public init(parsing path: some Collection<UInt8>) {
    names = Array(path).split(separator: slash).map(Array.init).filter { $0 != [UInt8(ascii: ".")] }
  }

  /// The path of an entry of this directory; of the directory itself without a name.
  public static func + (path: TreePath, name: [UInt8]?) -> TreePath {
    var path = path
    if let name { path.names.append(name) }
    return path
  }

  public static func + (path: TreePath, name: ArraySlice<UInt8>) -> TreePath { path + Array(name) }

  /// The path from a directory that has the root of the path under a name; the path itself without a name.
  public static func + (name: [UInt8]?, path: TreePath) -> TreePath { TreePath((name.map { [$0] } ?? []) + path.names) }

  /// The path without its first names.
  public func dropFirst(_ count: Int = 1) -> TreePath { TreePath(names.dropFirst(count)) }

  /// The path of the directory that has the entry.
  public func dropLast() -> TreePath { TreePath(names.dropLast()) }

  /// The path as far as the first names.
  public func prefix(_ count: Int) -> TreePath { TreePath(names.prefix(count)) }
}

extension TreePath: RandomAccessCollection, RangeReplaceableCollection, ExpressibleByArrayLiteral {
  @inlinable
  public init(arrayLiteral names: [UInt8]...) { self.names = names }

  @inlinable public var startIndex: Int { 0 }
  @inlinable public var endIndex: Int { names.count }
  @inlinable
  public subscript(index: Int) -> [UInt8] { names[index] }

  @inlinable
  public mutating func replaceSubrange(_ range: Range<Int>, with other: some Collection<[UInt8]>) {
    names.replaceSubrange(range, with: other)
  }
}

extension TreePath: Comparable {
  /// The order of names, level by level. A path is followed by all paths below it.
  public static func < (a: TreePath, b: TreePath) -> Bool {
    a.names.lexicographicallyPrecedes(b.names) { $0.lexicographicallyPrecedes($1) }
  }
}

extension TreePath {
  /// The names with slashes between them; empty for the root.
  public var bytes: [UInt8] { Array(names.joined(separator: [slash])) }

  /// The path from the root of the file system, as at the source.
  public var absolute: [UInt8] { bytes(below: []) }

  /// For messages: the names with slashes between them, or `.` for the root.
  public var displayed: String { displayName(relative) }

  /// The path below a directory of the file system.
  public func bytes(below directory: [UInt8]) -> [UInt8] {
    let path = directory.reversed().drop { $0 == slash }.reversed() + names.flatMap { [slash] + $0 }
    return path.isEmpty ? [slash] : path
  }

  /// The path without its first name, if this is the label.
  public func below(label: [UInt8]) -> TreePath { first == label ? dropFirst() : self }

  /// The form that commands take for a path of a snapshot.
  ///
  /// Below the snapshot's own label, it is the path at the source. Otherwise it begins with the label.
  public func atSource(label: [UInt8]) -> [UInt8] { count > 1 && first == label ? dropFirst().absolute : relative }

  /// The names with slashes between them, or `.` for the root.
  public var relative: [UInt8] { isEmpty ? [UInt8(ascii: ".")] : bytes }
}

extension Sequence<TreePath> {
  /// The longest of the paths that lead to another one, or are it.
  public func innermost(around path: TreePath) -> TreePath? {
    filter { path.starts(with: $0) }.max { $0.count < $1.count }
  }

  /// The different paths that are not below another one.
  public var outermost: [TreePath] {
    sorted().reduce(into: []) { found, path in
      if found.last.map({ path.starts(with: $0) }) != true { found.append(path) }
    }
  }
}
