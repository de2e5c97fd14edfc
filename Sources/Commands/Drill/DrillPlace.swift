internal import Engine
internal import Model
internal import Posix
internal import Repository

/// The temporary directory of a drill, removed at its end. The next drill removes one that a killed drill left.
final class DrillPlace {
  let directory: PrivateDirectory
  /// The directory, locked as long as the drill runs; `flock(2)`.
  private let lock: SharedFile
  private static let prefix = "treering-drill-"
  /// A directory of this age in seconds has its lock, if its drill runs.
  private static let settled: Int64 = 60

  /// Throws if the file system of `parent` has not enough space.
  init(below parent: [UInt8], forBytes bytes: UInt64) throws {
    try Self.removeLeftovers(below: parent)
    directory = try PrivateDirectory(below: parent, forBytes: bytes, prefix: Self.prefix)
    do throws(Errno) {
      lock = SharedFile(try Descriptor.open(path: directory.path, [.read, .directory]))
      try lock.descriptor.lockExclusively()
    } catch { throw Failure.writing("lock", at: directory.path, because: error) }
    // The servers trust who reaches their sockets, and restored files may be programs of root.
    if CurrentProcess.effectiveUser == 0 {
      try directory.letPass(["postgres", "mysql"].compactMap(Account.init(named:)))
    }
  }

  /// Removes everything, also after a signal.
  func remove() {
    guard CurrentProcess.rememberedSignal != nil else { return Self.remove(directory.path) }
    // A walk ends at a signal.
    ControlGroup.remove(named: splitLast(of: directory.path).name)
    directory.remove()
  }

  /// Leaves everything for inspection, under a name that no later drill removes. Returns the path.
  func keep() -> [UInt8]? {
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

  private static func removeLeftovers(below parent: [UInt8]) throws(Failure) {
    do {
      let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
      for name in try above.names() where name.starts(with: prefix.utf8) {
        guard let status = try above.descriptor.statusIfPresent(of: name.span), status.kind == .directory,
          status.metadata.user == CurrentProcess.effectiveUser,
          Clock.now().seconds - status.modified.seconds > settled
        else { continue }
        let left = try above.directory(name.span)
        // A running drill has the lock.
        guard (try? left.descriptor.lockExclusively()) != nil else { continue }
        remove(parent + [slash] + name)
      }
    } catch { throw Failure.writing("look for the rest of a killed drill below", at: parent, because: error) }
  }
}
