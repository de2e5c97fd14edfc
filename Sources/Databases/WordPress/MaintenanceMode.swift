public import Model
internal import Posix

/// The maintenance mode of one WordPress site: its own file `.maintenance`.
///
/// WordPress leaves this mode by itself when the time in the file is ten minutes old. A file of another program, such as
/// WordPress's own update, is never changed.
public struct MaintenanceMode: Sendable {
  private let path, mark: [UInt8]
  private static let name = Array(".maintenance".utf8)
  private static let longestText = 4096

  /// The time for which WordPress believes the file.
  public static let longestSeconds = 600.0

  /// `repository` distinguishes the files of runs that may be at work on one site.
  public init(ofSiteAt path: [UInt8], repository: [UInt8]) {
    self.path = path
    mark = Array("treering ".utf8) + repository
  }

  /// Enters the mode; false if the site is in it already, because of another program.
  public func enter(at time: Timestamp) throws(DumpFailure) -> Bool {
    do throws(Errno) {
      try leaveMode()
      let site = try Descriptor.open(path: path, [.read, .directory])
      if try site.statusIfPresent(of: Self.name.span) != nil { return false }
      // The file gets its name when it is whole.
      let unnamed = Self.name + [UInt8(ascii: "-")] + mark.filter { $0 != UInt8(ascii: " ") }
      do throws(Errno) { try site.unlink(unnamed.span) } catch { if !error.meansAbsence { throw error } }
      let file = try site.open(unnamed.span, [.write, .create, .exclusive], mode: 0o600)
      let owner = try site.status()
      if owner.user != CurrentProcess.effectiveUser { try file.setOwner(user: owner.user, group: owner.group) }
      try file.setPermissions(0o644)
      try file.write(Array("<?php $upgrading = \(time.seconds); // ".utf8) + mark + [10])
      do throws(Errno) { try site.rename(unnamed.span, to: site, as: Self.name.span) } catch {
        try site.unlink(unnamed.span)
        if error == .exists { return false }
        throw error
      }
      return true
    } catch { throw failure("enter", because: error) }
  }

  /// Leaves the mode. Removes the file only if it is one of this repository's runs.
  public func leave() throws(DumpFailure) {
    do { try leaveMode() } catch { throw failure("leave", because: error) }
  }

  private func leaveMode() throws(Errno) {
    do throws(Errno) {
      let site = try Descriptor.open(path: path, [.read, .directory])
      guard try site.statusIfPresent(of: Self.name.span)?.kind == .regular else { return }
      let file = try site.openToRead(Self.name.span)
      guard try file.status().size <= Self.longestText else { return }
      let text = try file.readAll(limit: Self.longestText)
      guard text.indices.contains(where: { text[$0...].starts(with: mark) }) else { return }
      try site.unlink(Self.name.span)
    } catch { if !error.meansAbsence { throw error } }
  }

  private func failure(_ verb: String, because error: Errno) -> DumpFailure {
    DumpFailure(
      name: displayName(path), reason: "cannot \(verb) the maintenance mode of \(displayName(path)): \(error)",
      hint: verb == "leave" ? "remove \(displayName(path))/.maintenance; WordPress ignores it after ten minutes" : nil)
  }
}
