internal import Model
internal import Posix

extension Repository {
  /// Locks the drills that the configuration of the repository describes, so that none is done twice at once. `nil` if
  /// another process has the lock.
  public func lockDrills() throws(Failure) -> FileLock? { try lock(Array("drill.lock".utf8), what: "the drills") }
}

/// `.treering/history.jsonl`: one line for each run.
public struct History {
  let repository: Repository
  private static let name = Array("history.jsonl".utf8)

  /// The path of the repository.
  public var path: [UInt8] { repository.path }

  /// The last lines of all versions, at most `byteCount` bytes.
  public func lastBytes(byteCount: Int) throws(Failure) -> [UInt8] {
    do throws(Errno) {
      let file = try repository.control.descriptor.openToRead(Self.name.span)
      let size = try file.status().size
      let start = size - min(size, UInt64(byteCount))
      let bytes = try file.read(at: start, count: byteCount)
      return start == 0 ? bytes : Array(bytes.drop { $0 != UInt8(ascii: "\n") })
    } catch {
      if error == .noSuchEntry { return [] }
      throw Failure(
        .failed, "cannot read \(displayName(repository.path))/.treering/history.jsonl: \(error)", path: repository.path)
    }
  }

  /// Appends one line.
  public func append(_ line: String) throws(Failure) {
    do {
      let file = try repository.openFile(Self.name, in: repository.control, flags: [.readWrite, .append])
      let newline = UInt8(ascii: "\n")
      // A crash may have left an incomplete last line. It stays a separate line.
      let size = try file.status().size
      let isTorn = try size > 0 && file.read(at: size - 1, count: 1) != [newline]
      try file.write((isTorn ? [newline] : []) + Array(line.utf8) + [newline])
      try file.close()
    } catch { throw .writing("record the run in the history of", at: repository.path, because: error) }
  }
}
