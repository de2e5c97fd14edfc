internal import Catalog
internal import Posix
public import Repository
internal import Synchronization

/// A source that a snapshot leaves out, and why.
public struct AbsentSource: Sendable {
  public var path: [UInt8]
  /// What a person reads after the path.
  public var reason: String
  /// True where it is there, but a guard refused it or it cannot be read: nothing excuses that.
  public var isThere = false
}

/// A guard refused one source; the others can go on without it.
struct SourceRefusal: Error {
  let path: [UInt8]
  let failure: Failure
}

extension SnapshotOptions {
  /// The sources that are not there. An optional one is also absent where its directory is empty, as a mount point is
  /// without its disk.
  ///
  /// Throws where this cannot be found out because the process lacks descriptors or memory.
  public func absentSources() throws(Failure) -> [AbsentSource] {
    var absent: [AbsentSource] = []
    for path in sources {
      do throws(Errno) {
        let directory = try Descriptor.open(path: path, [.read, .directory])
        guard optionalSources.contains(path) else { continue }
        var listing = DirectoryListing()
        try listing.read(directory)
        if listing.entries.isEmpty { absent.append(AbsentSource(path: path, reason: "is left out: it is empty")) }
      } catch {
        if error.isShortage { throw Failure(.failed, "cannot read the source \(displayName(path)): \(error)") }
        absent.append(
          AbsentSource(
            path: path, reason: "is left out: it cannot be read: \(error)", isThere: !Self.isMissing(path, error)))
      }
    }
    return absent
  }

  /// True where an error on opening a source's directory shows that nothing has its name. Others come from what is there:
  /// a failing disk, a file in its place, rights.
  private static func isMissing(_ path: [UInt8], _ error: Errno) -> Bool {
    if error == .noSuchEntry { return true }
    guard error == .notADirectory else { return false }
    do throws(Errno) {
      _ = try Descriptor.open(path: path, .pathOnly)
      return false
    } catch { return error == .noSuchEntry || error == .notADirectory }
  }
}

/// Passes each warning on once: a run that begins again without one of its sources meets the same troubles.
final class OnceMonitor: Monitor {
  private let monitor: any Monitor
  private let said = Mutex<Set<[UInt8]>>([])
  /// Beyond so many a warning may come twice.
  private static let longest = 10_000

  init(_ monitor: any Monitor) { self.monitor = monitor }

  var wantsExcluded: Bool { monitor.wantsExcluded }

  func note(_ shortcoming: String) {
    if isNew(Array(shortcoming.utf8)) { monitor.note(shortcoming) }
  }

  func warn(_ warning: Warning) {
    if isNew(warning.path + [0] + Array(warning.message.utf8)) { monitor.warn(warning) }
  }

  func excluded(_ path: [UInt8], _ rule: String) { monitor.excluded(path, rule) }

  private func isNew(_ text: [UInt8]) -> Bool {
    said.withLock { $0.count >= Self.longest || $0.insert(text).inserted }
  }
}
