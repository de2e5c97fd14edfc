internal import Model
internal import Posix
public import Repository
internal import Synchronization

/// A source that a snapshot leaves out, and the reason.
public struct AbsentSource: Sendable {
  public var path: [UInt8]
  /// The words that follow the path in a message.
  public var reason: String
  /// True if the source exists, but a guard refused it or it cannot be read. No option excuses that.
  public var isThere = false
}

/// A guard refused one source; the other sources can go on without it.
struct SourceRefusal: Error {
  let path: [UInt8]
  let failure: Failure
}

extension SnapshotOptions {
  /// The sources that are absent.
  ///
  /// An optional source is also absent if its directory is empty, like a mount point without its disk. Throws if the
  /// process lacks descriptors or memory to find this out.
  public func absentSources() throws(Failure) -> [AbsentSource] {
    var absent: [AbsentSource] = []
    for path in sources {
      if let reason = unfrozen[path] {
        absent.append(AbsentSource(path: path, reason: "is left out: it cannot be frozen: \(reason)", isThere: true))
        continue
      }
      do throws(Errno) {
        let directory: Descriptor
        switch hosts[path] {
        case .awaited, .kept: continue
        case .absent(let reason, let isThere):
          absent.append(AbsentSource(path: path, reason: reason, isThere: isThere))
          continue
        case .fetched(let tree): directory = try tree.open()
        case nil: directory = try Descriptor.open(path: origin(of: path), [.read, .directory])
        }
        guard optionalSources.contains(path) else { continue }
        var listing = DirectoryListing()
        try listing.read(directory)
        if listing.entries.isEmpty { absent.append(AbsentSource(path: path, reason: "is left out: it is empty")) }
      } catch {
        if error.isShortage {
          throw Failure(.failed, "cannot read the source \(displayName(path)): \(error)", path: path)
        }
        absent.append(
          AbsentSource(
            path: path, reason: "is left out: it cannot be read: \(error)",
            isThere: !Self.isMissing(origin(of: path), because: error)))
      }
    }
    return absent
  }

  /// True if an error on opening a source's directory shows that no entry has its name.
  ///
  /// Other errors come from an existing entry: a failing disk, a file in its place, missing rights.
  private static func isMissing(_ path: [UInt8], because error: Errno) -> Bool {
    if error == .noSuchEntry { return true }
    guard error == .notADirectory else { return false }
    do throws(Errno) {
      _ = try Descriptor.open(path: path, .pathOnly)
      return false
    } catch { return error == .noSuchEntry || error == .notADirectory }
  }
}

/// Passes each warning on once: a run that begins again without one source meets the same troubles.
public final class OnceMonitor: Monitor {
  private let monitor: any Monitor
  private let said = Mutex<Set<[UInt8]>>([])
  /// The number of remembered messages. Beyond it, a warning may come twice.
  private static let longest = 10_000

  public init(monitor: any Monitor) { self.monitor = monitor }

  public var wantsExcluded: Bool { monitor.wantsExcluded }

  public func note(_ shortcoming: String) { if isNew(Array(shortcoming.utf8)) { monitor.note(shortcoming) } }

  public func warn(_ warning: Warning) {
    if isNew(warning.path + [0] + Array(warning.message.utf8)) { monitor.warn(warning) }
  }

  public func excluded(_ path: [UInt8], by rule: String) { monitor.excluded(path, by: rule) }

  private func isNew(_ text: [UInt8]) -> Bool { said.withLock { $0.count >= Self.longest || $0.insert(text).inserted } }
}
