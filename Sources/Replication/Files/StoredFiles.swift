internal import Catalog
internal import Engine
internal import Model
internal import Posix

/// The result of opening a file of a snapshot's tree.
enum StoredVersion {
  case opened(StoredSource)
  /// The file could not be inspected. This says nothing about its content.
  case unknown(Errno)
  /// The tree has no regular file of the recorded size here, or the disk cannot open it.
  case damaged

  /// The file, if it is open.
  var source: StoredSource? { if case .opened(let source) = self { source } else { nil } }
}

protocol SnapshotFiles: AnyObject {
  /// Opens a regular file of the catalog. `onRead` gets the bytes of each read.
  func open(_ path: TreePath, row: FileRow, onRead: @escaping (UInt64) -> Void) -> StoredVersion
}

extension SnapshotFiles {
  /// Holes of smaller files are not worth a search.
  private var largeBytes: UInt64 { 1 << 20 }

  /// The disk space that a file takes, in whole blocks. Holes of a large file take none.
  func storedBytes(of path: TreePath, row: FileRow) -> UInt64 {
    let blocks = row.size > UInt64.max - 4096 ? row.size : (row.size + 4095) & ~4095
    guard row.size >= largeBytes, let source = open(path, row: row, onRead: { _ in }).source else { return blocks }
    return min(blocks, source.storedBytes)
  }
}

extension SourceFiles: SnapshotFiles {
  func open(_ path: TreePath, row: FileRow, onRead: @escaping (UInt64) -> Void) -> StoredVersion {
    do throws(Errno) {
      let file = try open(at: path, row: row)
      let status = try file.status()
      return .opened(StoredSource(file: file, status: status, byteCount: row.size, onRead: onRead))
    } catch { return .damaged }
  }
}

/// Opens files of a snapshot's tree. Successive files of one directory share its descriptor.
final class StoredFiles: SnapshotFiles {
  private let root: Directory
  private var last: (path: TreePath, directory: Directory)?

  init(in root: Directory) { self.root = root }

  func open(_ path: TreePath, row: FileRow, onRead: @escaping (UInt64) -> Void) -> StoredVersion {
    open(path, byteCount: row.size, onRead: onRead)
  }

  /// Opens the regular file of `byteCount` bytes that the catalog has at `path`. `onRead` gets the bytes of each read.
  func open(_ path: TreePath, byteCount: UInt64, onRead: @escaping (UInt64) -> Void = { _ in }) -> StoredVersion {
    do throws(Errno) {
      let (directory, name) = try locate(path)
      let file = try directory.descriptor.openToRead(name.span)
      let status = try file.status()
      guard status.kind == .regular, status.size == byteCount else { return .damaged }
      return .opened(StoredSource(file: file, status: status, onRead: onRead))
    } catch { return error.leavesDataUnknown ? .unknown(error) : .damaged }
  }

  /// Opens a regular file of any size. The kind is checked first, because opening a device can do harm.
  func openRegularFile(at path: TreePath) throws(Errno) -> StoredSource {
    let (directory, name) = try locate(path)
    guard try directory.descriptor.status(of: name.span).kind == .regular else { throw .invalid }
    let file = try directory.descriptor.openToRead(name.span)
    let status = try file.status()
    return StoredSource(file: file, status: status)
  }

  private func locate(_ path: TreePath) throws(Errno) -> (directory: Directory, name: [UInt8]) {
    guard let name = path.last else { throw .noSuchEntry }
    let parent = path.dropLast()
    if let last, last.path == parent { return (last.directory, name) }
    let directory = try root.directory(path: parent)
    last = (parent, directory)
    return (directory, name)
  }
}
