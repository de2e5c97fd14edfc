internal import Model
internal import Posix
internal import Settings

/// The directory and the name of an SQLite database, reached by root without trust in other users.
///
/// SQLite follows links, and makes files beside the database. So root must not open a database that another user can
/// exchange for a link. sqlite3(1) then runs as that user.
struct SQLiteFile {
  let directory: Directory
  let name: [UInt8]
  /// `nil` if the directory has no such entry.
  let status: FileStatus?
  /// The configured account, or else the first user, beside root, who could change the path; `nil` for this process's.
  let controller: Account?

  /// The most links of root, and names `..`, that a path may have.
  private static let mostSteps = 100

  /// Opens the directory. `account` is that of the operator's choice; `nil` with a choice means root.
  init(of database: DatabaseConfiguration, at path: [UInt8], for account: Account?) throws(DumpFailure) {
    var found: Walk
    do throws(Errno) {
      let trustsPath = CurrentProcess.effectiveUser != 0 || database.user != nil && account == nil
      found = trustsPath ? try Walk(following: path) : try Self.walk(to: path)
      found.controller = account ?? found.controller
    } catch {
      throw DumpFailure(
        name: database.name, reason: "cannot find the database \(displayName(path)): \(error)",
        hint: error == .symbolicLoop ? "a link of another user is not followed; name the file that it leads to" : nil)
    }
    if found.controller == nil, let open = found.openDirectory {
      throw DumpFailure(
        name: database.name, reason: "others than root can change the entries of \(displayName(open))",
        hint: "chmod go-w it, or name the account that may read the database as \"user\"")
    }
    (directory, name, status, controller) = (found.directory, found.name, found.status, found.controller)
  }

  private static func walk(to path: [UInt8]) throws(Errno) -> Walk {
    var path = TreePath(parsing: path)
    for _ in 0..<mostSteps {
      let walk = try Walk(to: path)
      guard let resolved = walk.resolved else { return walk }
      path = resolved
    }
    throw .symbolicLoop
  }
}

/// One way from the root to a file.
private struct Walk {
  var directory: Directory
  var name: [UInt8] = []
  var status: FileStatus?
  var controller: Account?
  /// The first directory in which others may exchange entries of root.
  var openDirectory: [UInt8]?
  /// The path without its first link, which is root's, or its first `..`; `nil` if there is neither.
  var resolved: TreePath?

  init(following path: [UInt8]) throws(Errno) {
    let path = TreePath(parsing: path)
    directory = Directory(try Descriptor.open(path: path.dropLast().absolute, [.read, .directory]))
    name = path.last ?? []
    status = try? directory.descriptor.openFollowing(name.span, .pathOnly).status()
  }

  /// Follows no link of another user. Each link of root is read on its own, because others can follow it.
  init(to path: TreePath) throws(Errno) {
    directory = Directory(try Descriptor.open(path: [slash], [.read, .directory]))
    for (index, component) in path.enumerated() {
      let isLast = index == path.count - 1
      name = component
      if component.elementsEqual("..".utf8) {
        resolved = TreePath(path.prefix(max(index - 1, 0)) + path.dropFirst(index + 1))
        return
      }
      status = try directory.descriptor.statusIfPresent(of: component.span)
      guard var found = status else {
        if isLast { return }
        throw .noSuchEntry
      }
      if found.kind == .symbolicLink {
        guard controller == nil, openDirectory == nil, found.user == 0 else { throw .symbolicLoop }
        let target = try directory.descriptor.readSymbolicLink(component.span)
        let start = target.first == slash ? TreePath() : path.prefix(index)
        resolved = TreePath(start + TreePath(parsing: target) + path.dropFirst(index + 1))
        return
      }
      if !isLast {
        directory = try directory.directory(component.span)
        found = try directory.descriptor.status()
        let (othersMayWrite, sticky): (UInt32, UInt32) = (0o022, 0o1000)
        if found.permissions & othersMayWrite != 0, found.permissions & sticky == 0, openDirectory == nil {
          openDirectory = path.prefix(index + 1).absolute
        }
      }
      if found.user != 0, controller == nil {
        controller = Account(named: accountName(ofUser: found.user)) ?? Account(user: found.user, group: found.group)
      }
    }
  }
}
