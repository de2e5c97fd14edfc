internal import Engine
internal import Model
internal import Posix
internal import Repository

/// The temporary directory of a drill, removed at its end. The next drill removes one that a killed drill left.
final class DrillPlace {
  let directory: PrivateDirectory
  /// The directory, locked as long as the drill runs; `flock(2)`.
  private let lock: SharedFile
  /// A locked directory at the usual place, with the link `elsewhere` to another parent. It leads the next drill there.
  private let record: (directory: PrivateDirectory, lock: SharedFile)?
  private static let prefix = "treering-drill-"
  private static let elsewhere = Array("elsewhere".utf8)
  private static let attempts = 10

  /// Throws if the file system of `parent` has not enough space.
  init(below parent: [UInt8], forBytes bytes: UInt64) throws {
    if parent == TableDrill.parent {
      record = nil
    } else {
      try? Self.removeLeftovers(below: TableDrill.parent)
      record = try? Self.record(of: parent)
    }
    do {
      try Self.removeLeftovers(below: parent)
      (directory, lock) = try Self.make(below: parent, forBytes: bytes)
    } catch {
      record?.directory.remove()
      throw error
    }
    // The servers trust who reaches their sockets, and restored files may be programs of root.
    if CurrentProcess.effectiveUser == 0 {
      try directory.letPass(["postgres", "mysql"].compactMap(Account.init(named:)))
    }
  }

  /// Makes a directory and locks it. Another drill may take it for a leftover in between, and remove it.
  private static func make(
    below parent: [UInt8], forBytes bytes: UInt64
  ) throws -> (directory: PrivateDirectory, lock: SharedFile) {
    var left = attempts
    while true {
      let directory = try PrivateDirectory(below: parent, forBytes: bytes, prefix: prefix)
      left -= 1
      do throws(Errno) {
        let lock = SharedFile(try Descriptor.open(path: directory.path, [.read, .directory]))
        try lock.descriptor.lockExclusively()
        _ = try Descriptor.open(path: directory.path, .pathOnly)
        return (directory, lock)
      } catch {
        guard left > 0, error == .noSuchEntry || error == .wouldBlock else {
          throw Failure.writing("lock", at: directory.path, because: error)
        }
      }
    }
  }

  private static func record(of parent: [UInt8]) throws -> (directory: PrivateDirectory, lock: SharedFile) {
    let made = try make(below: TableDrill.parent, forBytes: 0)
    try made.directory.directory.descriptor.makeSymbolicLink(elsewhere.span, to: parent)
    return made
  }

  /// Removes everything, also after a signal.
  func remove() {
    defer { record?.directory.remove() }
    guard CurrentProcess.rememberedSignal != nil else { return Self.remove(directory.path) }
    // A walk ends at a signal.
    ControlGroup.remove(named: splitLast(of: directory.path).name)
    directory.remove()
  }

  /// Leaves everything for inspection, under a name that no later drill removes. Returns the path.
  func keep() -> [UInt8]? {
    defer { record?.directory.remove() }
    let (parent, name) = splitLast(of: directory.path)
    let kept = Array("treering-kept-".utf8) + name.dropFirst(Self.prefix.utf8.count)
    do throws(Errno) {
      try directory.directory.descriptor.setPermissions(0o700)
      let above = try Descriptor.open(path: parent, [.read, .directory])
      try above.rename(name.span, to: above, as: kept.span)
      return parent + (parent.last == slash ? [] : [slash]) + kept
    } catch {
      Console.warn("this temporary directory cannot be renamed: \(error)", path: directory.path)
      return nil
    }
  }

  private static func remove(_ path: [UInt8]) {
    ControlGroup.remove(named: splitLast(of: path).name)
    do { try removeTree(at: path, threads: 2) } catch {
      Console.warn("this temporary directory cannot be removed: \(error)", path: path)
    }
  }

  /// A running drill has the lock of its directory.
  private static func removeLeftovers(below parent: [UInt8]) throws(Failure) {
    do {
      let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
      for name in try above.names() where name.starts(with: prefix.utf8) {
        guard let status = try above.descriptor.statusIfPresent(of: name.span), status.kind == .directory,
          status.metadata.user == CurrentProcess.effectiveUser, let left = try? above.directory(name.span),
          (try? left.descriptor.lockExclusively()) != nil
        else { continue }
        if let other = try? left.descriptor.readSymbolicLink(elsewhere.span), other != parent {
          // The disk may be absent.
          do { try removeLeftovers(below: other) } catch { continue }
        }
        remove(parent + [slash] + name)
      }
    } catch { throw Failure.writing("look for the rest of a killed drill below", at: parent, because: error) }
  }
}
