internal import Databases
internal import Engine
internal import Model
internal import Patterns
internal import Posix
internal import Repository
internal import Settings
internal import Synchronization

/// A site that a run reads.
struct MaintainedSite {
  let path: [UInt8]
  /// True if the site is in its maintenance mode meanwhile.
  let isMaintained: Bool
  /// The source that has the site's directory.
  let source: [UInt8]
  /// The directories with the site's content that are not below its path.
  let directories: [[UInt8]]

  /// The directories that must be read before the site leaves the mode.
  var places: [[UInt8]] { [path] + directories }
}

extension ConfigurationFile {
  /// The sites by the names of their databases.
  var maintainedSites: [[UInt8]: MaintainedSite] {
    let pairs = sites.map { configured in
      let site = configured.settings
      let path = Array(site.path.utf8)
      let found = try? configured.site.get()
      let source = sources.around(path).map { Array($0.path.utf8) } ?? path
      return (
        Array(site.database.name.utf8),
        MaintainedSite(
          path: path, isMaintained: site.hasMaintenance && found != nil, source: source,
          directories: found?.directories ?? [])
      )
    }
    return Dictionary(pairs) { first, _ in first }
  }
}

extension SnapshotOptions {
  /// Has a site leave its maintenance mode when all of it was read. The file of the mode is no part of the site.
  mutating func maintain(_ site: MaintainedSite, by maintenance: SiteMaintenance) {
    for place in site.places {
      let before = onRead[place]
      onRead[place] = {
        before?()
        maintenance.noteRead(place, of: site.path)
      }
    }
    let names = TreePath(parsing: site.path).dropFirst(TreePath(parsing: site.source).count)
    let place = names.map { "/" + Configuration.pattern(of: $0) }.joined()
    excludesOfSource[site.source, default: Excludes()].patterns
      .add(Array("\(place)/.maintenance".utf8), origin: "the maintenance mode")
  }
}

/// The maintenance modes of a run: each from just before the dump of its site until the site's files were read.
final class SiteMaintenance: Sendable {
  private struct State {
    /// The sites that are in the mode, by path, with the moment of `Clock.monotonic`.
    var entered: [[UInt8]: Timestamp] = [:]
    /// The directories that are still to be read, by the site's path.
    var unread: [[UInt8]: Set<[UInt8]>] = [:]
    var warnings: [Warning] = []
  }

  private let state = Mutex(State())
  private let repository: [UInt8]

  init(of repository: Repository) { self.repository = repository.id }

  private func mode(of path: [UInt8]) -> MaintenanceMode { MaintenanceMode(ofSiteAt: path, repository: repository) }

  /// Takes the sites out of the mode in which a killed run left them.
  func clear(_ paths: [[UInt8]]) { for path in paths { end(path, isLeftover: true) } }

  /// Enters the mode of a site. A site that cannot enter it is read without it, with a warning. False if it is not in
  /// the mode by this run.
  func begin(_ site: MaintainedSite) -> Bool {
    let path = site.path
    do throws(DumpFailure) {
      guard try mode(of: path).enter(at: Clock.now()) else {
        warn(at: path, "WordPress is in its maintenance mode already: its own update may be at work")
        return false
      }
      state.withLock { ($0.entered[path], $0.unread[path]) = (Clock.monotonic(), Set(site.places)) }
      return true
    } catch {
      warn(at: path, error.message)
      return false
    }
  }

  /// Leaves the mode of a site once all of its directories were read.
  func noteRead(_ place: [UInt8], of path: [UInt8]) {
    let isDone = state.withLock { state in
      state.unread[path]?.remove(place)
      return state.unread[path]?.isEmpty == true
    }
    if isDone { end(path) }
  }

  /// Leaves the mode of a site, if the run has entered it.
  func end(_ path: [UInt8], isLeftover: Bool = false) {
    let start = state.withLock { $0.entered.removeValue(forKey: path) }
    guard start != nil || isLeftover else { return }
    do throws(DumpFailure) { try mode(of: path).leave() } catch {
      warn(at: path, error.message + (error.hint.map { "; \($0)" } ?? ""))
    }
    guard let start, Clock.monotonic() - start > MaintenanceMode.longestSeconds else { return }
    warn(at: path, "WordPress left its maintenance mode after ten minutes, before all of the site was read")
  }

  /// Leaves all modes, and returns the warnings since the last call.
  func endAll() -> [Warning] {
    for path in state.withLock({ Array($0.entered.keys) }) { end(path) }
    return state.withLock { state in
      defer { state.warnings = [] }
      return state.warnings
    }
  }

  private func warn(at path: [UInt8], _ message: String) {
    state.withLock { $0.warnings.append(Warning(path: path, message: message)) }
  }
}
