internal import Catalog
internal import Model
internal import Repository

/// The operator's path inside a snapshot: absolute as at the source, or beginning with the label.
struct SnapshotPath {
  let components: [[UInt8]]

  /// The components of a path in a snapshot with this label.
  static func components(of path: [UInt8], below label: [UInt8]) throws(Failure) -> [[UInt8]] {
    let names = Commands.components(of: path)
    if names.contains(Array("..".utf8)) {
      throw Failure(.usage, "the path \(displayName(path)) must not contain \"..\"")
    }
    // An empty path may come from an unset variable of a script, or from habit. Only "/" or no path at all means
    // everything.
    if names.isEmpty && path.first != slash {
      throw Failure(
        .usage, "the path \"\(displayName(path))\" names nothing in a snapshot",
        hint: "name it as it was at the source, beginning with /")
    }
    return path.first == slash ? [label] + names : names
  }

  /// Looks the path up in the catalogs, in order.
  init(path: [UInt8], in catalogs: [CatalogReader]) throws {
    for catalog in catalogs {
      let names = try Self.components(of: path, below: catalog.summary.label)
      if try catalog.find(names) != nil {
        components = names
        return
      }
    }
    let isAbsolute = path.first == slash
    throw Failure(
      .usage, "\(displayName(path)) is not in the snapshot",
      hint: isAbsolute
        ? "name it as it was at the source; look for it with ls in the snapshot's directory"
        : "a path without a leading / begins with the label, such as localhost/etc")
  }
}
