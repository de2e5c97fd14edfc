internal import Model
internal import Posix

/// The files of a snapshot in this repository.
final class StoredContents: ContentFetcher, @unchecked Sendable {
  private let name: SnapshotName
  private let repository: Repository
  private var requests: ArraySlice<TreePath> = []
  /// The directory of the last file. Successive files are often neighbours.
  private var last: (path: TreePath, directory: Directory)?
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)

  init(of name: SnapshotName, in repository: Repository) { (self.name, self.repository) = (name, repository) }

  deinit { buffer.deallocate() }

  func request(_ path: TreePath) { requests.append(path) }

  func receive(
    byteCount: UInt64, takeZeros: (UInt64) throws -> Void, _ take: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> String? {
    guard let path = requests.popFirst() else { return "\(Errno.noSuchEntry)" }
    let file: StoredFile
    do { file = try open(at: path) } catch let error as Errno { return try problem(error) }
    let status = file.status
    guard status.size == byteCount else { return "its size is \(status.size) and not \(byteCount) bytes" }
    var position: UInt64 = 0
    while position < byteCount {
      let start: UInt64
      var count = 0
      do throws(Errno) {
        start = status.hasHoles ? min(try file.descriptor.seekData(from: position) ?? byteCount, byteCount) : position
        if start == position {
          let end = status.hasHoles ? min(try file.descriptor.seekHole(from: position), byteCount) : byteCount
          let want = Int(min(UInt64(buffer.count), end - position))
          count = try file.descriptor.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<want]), at: position)
        }
      } catch { return try problem(error) }
      if start > position {
        try takeZeros(start - position)
        position = start
        continue
      }
      guard count > 0 else { return "it has become shorter" }
      try take(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      position += UInt64(count)
    }
    return nil
  }

  /// The reason in words for a damaged file. An error that tells nothing about the file ends the run.
  private func problem(_ error: Errno) throws(Failure) -> String {
    if error.leavesDataUnknown { throw Failure(.failed, "cannot read a stored file of \(name): \(error)") }
    return error == .invalid ? "it is no regular file" : "\(error)"
  }

  private func open(at path: TreePath) throws -> StoredFile {
    guard let name = path.last else { throw Errno.invalid }
    let directory = try openDirectory(at: path.dropLast())
    // Opening a device can do harm, so the kind is checked first.
    guard try directory.descriptor.status(of: name.span).kind == .regular else { throw Errno.invalid }
    let descriptor = try directory.descriptor.openToRead(name.span)
    let status = try descriptor.status()
    return StoredFile(of: descriptor, status: status)
  }

  private func openDirectory(at path: TreePath) throws -> Directory {
    if let last, last.path == path { return last.directory }
    let directory = try repository.openTree(of: name).directory(path: path)
    last = (path, directory)
    return directory
  }
}

private final class StoredFile {
  let descriptor: Descriptor
  let status: FileStatus

  init(of descriptor: consuming Descriptor, status: FileStatus) {
    self.descriptor = descriptor
    self.status = status
  }
}
