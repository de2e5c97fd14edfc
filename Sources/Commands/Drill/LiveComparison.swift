internal import Catalog
internal import Engine
internal import Model
internal import Posix

/// The facts that tell a change of a file from damage.
struct FileState: Equatable {
  var isRegular: Bool
  var size: UInt64
  var modified: Timestamp
  var inode: UInt64
  var changed: Timestamp
}

extension FileState {
  init(_ status: FileStatus) {
    self.init(
      isRegular: status.kind == .regular, size: status.size, modified: status.modified, inode: status.inode,
      changed: status.changed)
  }

  init(_ row: FileRow) {
    self.init(
      isRegular: row.kind == .regular, size: row.size, modified: row.metadata.modified, inode: row.hints.sourceInode,
      changed: row.hints.changed)
  }
}

/// The state of a source's file beside its restored copy.
enum LiveState: Equatable {
  case same
  /// The source was changed after the snapshot.
  case changed
  case gone
  /// The content differs, and size, inode and both times do not. A disk or a program has changed it without a trace.
  case damaged
  case unreadable(Errno)

  /// True if the contents must be compared.
  static func needsContent(of present: FileState, recorded: FileState) -> Bool {
    present.isRegular && present.size == recorded.size && present.modified == recorded.modified
  }

  /// `isTrusted` is false for a file that changed about the time of the snapshot. `isEqual` compares the contents, and is
  /// `nil` if they need not be compared.
  static func judge(present: FileState?, recorded: FileState, isTrusted: Bool, isEqual: Bool?) -> LiveState {
    guard let present else { return .gone }
    guard needsContent(of: present, recorded: recorded), let isEqual else { return .changed }
    if isEqual { return .same }
    // A copy without the inode and the ctime of the source does not tell the time of the change.
    return isTrusted && present == recorded ? .damaged : .changed
  }
}

/// Compares restored files with the sources of a snapshot as they are now.
final class LiveComparison {
  private let roots: [TreePath]
  private let restored: Directory
  private static let chunk = 1 << 18
  private let buffers = [0, 1].map { _ in UnsafeMutableRawBufferPointer.allocate(byteCount: chunk, alignment: 4096) }

  /// `restored` has the paths of the sources below it.
  init(of sources: [[UInt8]], restoredBelow restored: Directory) {
    roots = sources.map { TreePath(parsing: $0) }
    self.restored = restored
  }

  deinit { buffers.forEach { $0.deallocate() } }

  /// `path` is the absolute one of the source.
  func state(of row: FileRow, at path: TreePath) -> LiveState {
    let recorded = FileState(row)
    let isTrusted = row.hints.flags.isDisjoint(with: [.racy, .changedWhileRead])
    let name = path.last ?? []
    do throws(Errno) {
      guard let (directory, present) = try find(named: name, at: path) else { return .gone }
      guard LiveState.needsContent(of: present, recorded: recorded)
      else { return LiveState.judge(present: present, recorded: recorded, isTrusted: isTrusted, isEqual: nil) }
      let copy = try restored.directory(path: path.dropLast()).descriptor.openToRead(name.span)
      let file = try directory.descriptor.openToRead(name.span)
      let isEqual = try isEqual(file, to: copy)
      // A file that changes while it is read is no damage.
      guard FileState(try file.status()) == present else { return .changed }
      return LiveState.judge(present: present, recorded: recorded, isTrusted: isTrusted, isEqual: isEqual)
    } catch { return .unreadable(error) }
  }

  /// The directory and the state of a source's file; `nil` if it is gone. Below the source, no link is followed.
  private func find(named name: [UInt8], at path: TreePath) throws(Errno) -> (Directory, FileState)? {
    do throws(Errno) {
      // The only file of a source has its directory in place of the source's.
      let root = roots.innermost(around: path.dropLast()) ?? path.dropLast()
      let top = Directory(try Descriptor.open(path: root.absolute, [.read, .directory]))
      let directory = try top.directory(path: path.dropLast().dropFirst(root.count))
      return try directory.descriptor.statusIfPresent(of: name.span).map { (directory, FileState($0)) }
    } catch {
      if error.meansAbsence { return nil }
      throw error
    }
  }

  private func isEqual(_ a: borrowing Descriptor, to b: borrowing Descriptor) throws(Errno) -> Bool {
    while true {
      let count = try Self.fill(buffers[0], from: a)
      guard try Self.fill(buffers[1], from: b) == count,
        areEqual(buffers[0].baseAddress!, buffers[1].baseAddress!, count: count)
      else { return false }
      if count < Self.chunk { return true }
    }
  }

  private static func fill(
    _ buffer: UnsafeMutableRawBufferPointer, from file: borrowing Descriptor
  ) throws(Errno) -> Int {
    var filled = 0
    while filled < buffer.count {
      let count = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
      if count == 0 { break }
      filled += count
    }
    return filled
  }
}
