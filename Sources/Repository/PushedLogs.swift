internal import Model
internal import Posix

/// Archived logs that can be read, here or at a remote.
public protocol LogSource {
  /// The names of all logs, in the order of their bytes.
  func names() throws(Failure) -> [[UInt8]]
  /// Passes on the file of a log as it is stored. False if there is no such log.
  func readStored(_ name: [UInt8], into receiver: (UnsafeRawBufferPointer) throws -> Void) throws(Failure) -> Bool
}

extension LogArchive: LogSource {}

extension LogSource {
  /// Puts the plain bytes of a log at a path of the operator, whole, verified and durable. False if there is no such log.
  ///
  /// An existing file is replaced.
  public func fetch(_ name: [UInt8], to path: [UInt8]) throws(Failure) -> Bool {
    let (parent, last) = splitLast(of: path)
    do {
      let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
      // The file at a remote may have any size, so it is no matter for memory.
      let copy = TemporaryFile(named: last + Array(".stored".utf8), in: above)
      return try copy.write { file in
        guard try readStored(name, into: { try file.descriptor.write($0) }) else { return false }
        try StoredLog(try file.descriptor.duplicate(), path: name).put(at: path)
        return true
      } publish: { () throws(Errno) in
        try copy.remove()
      }
    } catch { throw .writing("fetch", at: path, because: error) }
  }

  /// The plain bytes of a log, verified; at most 1 GiB. `nil` if there is no such log.
  public func content(of name: [UInt8]) throws(Failure) -> [UInt8]? {
    do {
      let file = SharedFile(try Descriptor.memoryFile())
      guard try readStored(name, into: { try file.descriptor.write($0) }) else { return nil }
      var content: [UInt8] = []
      try StoredLog(try file.descriptor.duplicate(), path: name).read { piece in
        guard content.count + piece.count <= 1 << 30 else { throw Errno.fileTooLarge }
        content += piece
      }
      return content
    } catch { throw .writing("read", at: name, because: error) }
  }

  /// Stores some logs of this source in an archive, as they are.
  public func copy(_ names: [[UInt8]], to archive: LogArchive) throws(Failure) {
    for name in names {
      _ = try archive.storeAsStored(name) { sink in
        guard try readStored(name, into: sink)
        else { throw Failure(.failed, "the log \(displayName(name)) has vanished") }
      }
    }
  }
}

// The logs that clients pushed to this repository: `.treering/logs/DATABASE`.
extension Repository {
  private static let logsName = Array("logs".utf8)

  /// True for a database whose logs can have a directory.
  public static func isDatabaseName(_ name: [UInt8]) -> Bool {
    (1...64).contains(name.count) && name.allSatisfy { isAlphanumeric($0) || "-_".utf8.contains($0) }
  }

  /// The logs of a database; `nil` if none were pushed.
  public func pushedLogs(of database: [UInt8]) throws(Failure) -> LogArchive? {
    guard Self.isDatabaseName(database) else { return nil }
    let place = path(ofLogs: database)
    do {
      return try LogArchive(try control.directory(path: [Self.logsName, database]), path: place)
    } catch {
      if let error = error as? Errno, error == .noSuchEntry { return nil }
      throw .writing("open the logs", at: place, because: error)
    }
  }

  /// The logs of a database, with a new directory if there is none.
  public func makePushedLogs(of database: [UInt8]) throws(Failure) -> LogArchive {
    guard Self.isDatabaseName(database)
    else { throw Failure(.usage, "\"\(displayName(database))\" is not the name of a database") }
    let place = path(ofLogs: database)
    do {
      try makeDirectory(Self.logsName, in: control)
      let logs = try control.directory(Self.logsName.span)
      try makeDirectory(database, in: logs)
      return try LogArchive(try logs.directory(database.span), path: place)
    } catch { throw .writing("make the directory", at: place, because: error) }
  }

  /// The databases that have pushed logs.
  public func databasesWithPushedLogs() throws(Failure) -> [[UInt8]] {
    do { return try control.directory(Self.logsName.span).names().filter(Self.isDatabaseName) } catch {
      if error == .noSuchEntry { return [] }
      throw .writing("read .treering/logs of", at: path, because: error)
    }
  }

  private func path(ofLogs database: [UInt8]) -> [UInt8] {
    TreePath([Self.controlName, Self.logsName, database]).bytes(below: path)
  }
}
