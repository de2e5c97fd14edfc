public import Catalog
public import Model
public import Posix

/// Opens the files of a snapshot that only the sources have, and the copies of those that change too often.
///
/// Each thread has its own.
public final class SourceFiles {
  /// The sources, the deepest first, each with the directory that it is read from.
  private let sources: [(place: TreePath, directory: [UInt8])]
  private let copies: Directory
  /// The sources that were opened. Links are followed there, because the operator named the path.
  private var roots: [TreePath: Directory] = [:]
  /// Successive files are often neighbours.
  private var last: (path: TreePath, directory: Directory)?

  /// `copies` has each copy under its `ContentDigest.fileName`.
  public init(of options: SnapshotOptions, copies: Directory) {
    sources = options.places.sorted { $0.place.count > $1.place.count }
    self.copies = copies
  }

  /// Opens a regular file of the catalog. It has at least the recorded size: a file that has only grown still begins
  /// with the recorded content. An error shows that the file has changed.
  public func open(at path: TreePath, row: FileRow) throws(Errno) -> Descriptor {
    let copy = row.digest.fileName
    if let status = try copies.descriptor.statusIfPresent(of: copy.span), status.size == row.size {
      return try copies.descriptor.openToRead(copy.span)
    }
    guard let name = path.last else { throw .invalid }
    let directory = try directory(at: path.dropLast())
    // Opening a device can do harm, so the kind is checked first.
    guard try directory.descriptor.status(of: name.span).kind == .regular else { throw .staleHandle }
    let file = try directory.descriptor.openToRead(name.span)
    let status = try file.status()
    guard status.kind == .regular, status.size >= row.size else { throw .staleHandle }
    return file
  }

  private func directory(at path: TreePath) throws(Errno) -> Directory {
    if let last, last.path == path { return last.directory }
    guard let source = sources.first(where: { path.starts(with: $0.place) }) else { throw .noSuchEntry }
    let root: Directory
    if let opened = roots[source.place] {
      root = opened
    } else {
      root = Directory(try Descriptor.open(path: source.directory, [.read, .directory]))
      roots[source.place] = root
    }
    let directory = try root.directory(path: path.dropFirst(source.place.count))
    last = (path, directory)
    return directory
  }
}

/// Files that are no longer as the catalog of their snapshot has them.
public struct ChangedFiles: Error {
  public let paths: [TreePath]

  public init(paths: [TreePath]) { self.paths = paths }
}

/// The end of a push of files that only the sources have.
public enum SourcePush<Result: Sendable>: Sendable {
  case done(Result)
  /// These files have changed since the catalog was made, so nothing was published. The rest of what was sent is kept.
  case filesChanged([TreePath])

  public func map<Other>(_ change: (Result) throws -> Other) rethrows -> SourcePush<Other> {
    switch self {
    case .done(let result): .done(try change(result))
    case .filesChanged(let paths): .filesChanged(paths)
    }
  }
}
