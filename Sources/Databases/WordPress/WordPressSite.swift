internal import Model
public import Posix
public import Settings

/// A WordPress site: its database and its files, as its own configuration names them. No PHP is run.
///
/// The site's file may belong to another user, so it is believed no further than this user would be: the programs run as
/// that user, and it names no directory outside the site.
public struct WordPressSite: Sendable {
  public let settings: WordPressConfiguration
  /// The database to dump.
  public let database: DatabaseConfiguration
  /// The site's directories that are not below its path, such as `WP_CONTENT_DIR`.
  public private(set) var directories: [[UInt8]] = []
  /// The site's file if it is not below its path.
  public let fileElsewhere: [UInt8]?
  /// The file with the site's constants.
  private let config: [UInt8]
  /// The symbolic links for which a source has a link and no content, with the directories that they lead to.
  public private(set) var links: [(path: [UInt8], target: [UInt8])] = []

  /// Reads the site's file.
  public init(reading settings: WordPressConfiguration) throws(DumpFailure) {
    self.settings = settings
    let name = settings.database.name
    let file = try SiteFile(of: settings)
    let constants = try SiteConstants(in: file, of: settings)
    database = try constants.database()
    let root = Array(settings.path.utf8)
    let roots = [root, (try? CurrentProcess.realPath(root)) ?? root]
    fileElsewhere = file.flatMap { file in roots.contains { isBelow($0, file.path) } ? nil : file.path }
    config = file?.path ?? ([SiteFile.name] as TreePath).bytes(below: root)
    directories = []
    for directory in try constants.directories() {
      if roots.contains(where: { isBelow($0, directory.path) }) { continue }
      if let file = directory.namedBy, !file.isTrusted {
        throw DumpFailure(
          name: name,
          reason: "\(file.shown) names \(displayName(directory.path)) as \(directory.constant), and others than "
            + "root can change this file",
          hint: "if that is right, name the directory as \"content\", or add a [[source]] and chown the file to root")
      }
      if !directories.contains(directory.path) { directories.append(directory.path) }
    }
    links = Self.links(at: try constants.contentDirectory())
  }

  private var paths: SitePaths { SitePaths(path: Array(settings.path.utf8), config: config, directories: directories) }

  /// Writes the paths of the site beside its dump.
  public func writePaths(into directory: Directory) throws(DumpFailure) {
    do { try paths.write(into: directory) } catch {
      throw DumpFailure(name: database.name, reason: "cannot write \(displayName(SitePaths.name)): \(error)")
    }
  }

  /// Links in place of the directories that WordPress writes to.
  private static func links(at content: [UInt8]) -> [(path: [UInt8], target: [UInt8])] {
    [content, content + Array("/uploads".utf8)].compactMap { path in
      let name = splitLast(of: path).name
      guard let above = try? Descriptor.open(path: parent(of: path), [.pathOnly, .directory]),
        let status = try? above.status(of: name.span), status.kind == .symbolicLink,
        let target = try? CurrentProcess.realPath(path)
      else { return nil }
      return (path, target)
    }
  }
}

/// True for a path that is another one, or below it.
func isBelow(_ above: [UInt8], _ path: [UInt8]) -> Bool {
  TreePath(parsing: path).starts(with: TreePath(parsing: above))
}

/// The directory that has an entry.
func parent(of path: [UInt8]) -> [UInt8] { TreePath(parsing: path).dropLast().absolute }

struct SiteFile {
  let path, text: [UInt8]
  /// The name of the account that owns it; `nil` for this process's own.
  let owner: String?
  /// True if no user but this one and root can change it.
  let isTrusted: Bool

  var shown: String { displayName(path) }

  private static let longestText = 1 << 20
  static let name = Array("wp-config.php".utf8)

  /// Finds the file where WordPress looks for it, or where the configuration says. `nil` if there is none.
  init?(of settings: WordPressConfiguration) throws(DumpFailure) {
    let name = settings.database.name
    do throws(Errno) {
      guard let place = try Self.place(for: settings) else { return nil }
      path = place
      let file = try Self.open(place, isNamed: settings.config != nil)
      let status = try file.status()
      guard status.kind == .regular, status.size <= Self.longestText else { throw .invalid }
      text = try file.readAll(limit: Self.longestText)
      let user = CurrentProcess.effectiveUser
      let mayGroupWrite = status.permissions & 0o020 != 0 && status.group != 0
      let hasACL = try file.hasAccessACL()
      isTrusted =
        (status.user == 0 || status.user == user) && status.permissions & 0o002 == 0 && !mayGroupWrite
        && !hasACL
      owner = status.user == user ? nil : accountName(ofUser: status.user)
    } catch {
      let hint =
        error == .symbolicLoop
        ? "it is a symbolic link; name the file that it leads to as \"config\"" : "name the right file as \"config\""
      let shown = settings.config ?? settings.path + "/wp-config.php"
      throw DumpFailure(
        name: name,
        reason: error == .invalid ? "\(shown) is no file of at most 1 MiB" : "cannot read \(shown): \(error)",
        hint: hint)
    }
  }

  /// The path of the file; `nil` if there is none.
  private static func place(for settings: WordPressConfiguration) throws(Errno) -> [UInt8]? {
    if let config = settings.config { return Array(config.utf8) }
    let path = Array(settings.path.utf8)
    let site = try Descriptor.open(path: path, [.pathOnly, .directory])
    if try site.statusIfPresent(of: name.span) != nil { return (TreePath(parsing: path) + name).absolute }
    // WordPress also looks one directory higher, unless that is another installation.
    let above = try Descriptor.open(path: parent(of: path), [.pathOnly, .directory])
    let isInstallation = try above.statusIfPresent(of: Array("wp-settings.php".utf8).span) != nil
    if isInstallation { return nil }
    return try above.statusIfPresent(of: name.span) != nil ? (TreePath(parsing: path).dropLast() + name).absolute : nil
  }

  /// Only the operator's path may be a link: the owner of the site's own file may be any user.
  private static func open(_ path: [UInt8], isNamed: Bool) throws(Errno) -> Descriptor {
    if isNamed { return try Descriptor.openNamed(path) }
    return try Descriptor.open(path: parent(of: path), [.pathOnly, .directory]).openToRead(name.span)
  }
}

/// The constants of a site: those of its file, and those that the operator gave in their place.
private struct SiteConstants {
  private let settings: WordPressConfiguration
  private let file: SiteFile?
  private let constants: PHPConstants
  /// The site's own file, and its directories: it includes the operator's file, and may set what that one leaves out.
  private var own: (file: SiteFile, constants: PHPConstants)?

  private static let directoryNames = ["WP_CONTENT_DIR", "WP_PLUGIN_DIR", "WPMU_PLUGIN_DIR"]

  init(in file: SiteFile?, of settings: WordPressConfiguration) throws(DumpFailure) {
    (self.settings, self.file) = (settings, file)
    func read(_ file: SiteFile?, _ names: [String]) -> PHPConstants {
      let path = file.map { parent(of: $0.path) } ?? []
      let root = Array(settings.path.utf8)
      return PHPConstants(
        in: file?.text ?? [], names: Set(names), directory: (try? CurrentProcess.realPath(path)) ?? path,
        given: ["ABSPATH": ((try? CurrentProcess.realPath(root)) ?? root) + [slash]])
    }
    constants = read(file, ["DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "$table_prefix"] + Self.directoryNames)
    guard settings.config != nil else { return }
    var others = settings
    others.config = nil
    if let file = try? SiteFile(of: others) { own = (file, read(file, Self.directoryNames)) }
  }

  private func failure(_ reason: String, hint: String) -> DumpFailure {
    DumpFailure(name: settings.database.name, reason: reason, hint: hint)
  }

  /// The file that sets a constant, with all of its constants.
  private func place(of name: String) -> (file: SiteFile?, constants: PHPConstants) {
    if constants.values[name] == nil, let own, own.constants.values[name] != nil { return own }
    return (file, constants)
  }

  /// The text of a constant. `key` is that of the table for its replacement.
  private func text(_ name: String, key: String) throws(DumpFailure) -> String {
    let (file, constants) = place(of: name)
    let shown = file?.shown ?? "wp-config.php"
    switch constants.values[name] {
    case .known(let bytes)?:
      guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(where: { $0 < 0x20 || $0 == 0x7F })
      else {
        throw failure(
          "\(name) in \(shown) has control characters, or is not UTF-8", hint: "give \"\(key)\" in [[wordpress]]")
      }
      return text
    case .computed(let line)?:
      throw failure(
        "\(shown):\(line): only PHP could tell the value of \(name), and treering runs no PHP",
        hint: "give \"\(key)\" in [[wordpress]]")
    case nil:
      guard let file else {
        throw failure(
          "there is no wp-config.php in \(settings.path), nor one directory higher",
          hint: "name the site's file as \"config\", or give \"\(key)\" in [[wordpress]]")
      }
      let inclusion = constants.inclusionLine.map { "; line \($0) includes another file" } ?? ""
      throw failure(
        "\(file.shown) does not set \(name)\(inclusion)",
        hint: "name the file that does as \"config\", or give \"\(key)\" in [[wordpress]]")
    }
  }

  // MARK: The database

  func database() throws(DumpFailure) -> DatabaseConfiguration {
    var database = settings.database
    var name = database.databases?.first ?? ""
    if name.isEmpty { name = try text("DB_NAME", key: "database") }
    database.databases = [name]
    if database.role == nil { database.role = try text("DB_USER", key: "role") }
    if database.passwordFile == nil { database.password = Array(try text("DB_PASSWORD", key: "password_file").utf8) }
    if database.host == nil, database.socket == nil {
      let port = database.port
      try connect(&database, to: try text("DB_HOST", key: "host"))
      database.port = port ?? database.port
    }
    database.excludeTables = settings.excludeTables.map { "\(name).\($0)" }
    if settings.wantsPrefixOnly {
      database.tablePrefix = settings.tablePrefix
      if settings.tablePrefix == nil { database.tablePrefix = try text("$table_prefix", key: "table_prefix") }
    }
    database.user = try account()
    return database
  }

  /// Reads `DB_HOST` as WordPress does: a host with a port or the path of a socket behind it.
  private func connect(_ database: inout DatabaseConfiguration, to host: String) throws(DumpFailure) {
    var address = host
    if let range = address.firstRange(of: ":/") {
      database.socket = String(address[address.index(after: range.lowerBound)...])
      address = String(address[..<range.lowerBound])
    }
    var port = ""
    if address.filter({ $0 == ":" }).count > 1 {
      let parts = address.split(separator: "]", maxSplits: 1, omittingEmptySubsequences: false)
      address = parts[0].filter { $0 != "[" }
      port = parts.count > 1 ? String(parts[1].dropFirst()) : ""
    } else {
      let parts = address.split(separator: ":", omittingEmptySubsequences: false)
      address = parts.first.map(String.init) ?? ""
      port = parts.count > 1 ? String(parts[1]) : ""
    }
    guard address.utf8.allSatisfy({ isAlphanumeric($0) || "-._:".utf8.contains($0) }), !address.hasPrefix("-"),
      port.isEmpty || UInt16(port) ?? 0 > 0
    else {
      throw failure("DB_HOST in \(file?.shown ?? "") is no host", hint: "give \"host\" and \"port\" in [[wordpress]]")
    }
    // For PHP, too, the name localhost means the socket.
    guard database.socket == nil, !address.isEmpty, address != "localhost" else { return }
    database.host = address
    database.port = UInt16(port).map(Int.init)
  }

  /// The account that runs the programs: root reads nothing for a server that another user may have named.
  private func account() throws(DumpFailure) -> String? {
    guard settings.database.user == nil, CurrentProcess.effectiveUser == 0, let file
    else { return settings.database.user }
    if let owner = file.owner { return owner }
    guard file.isTrusted else {
      throw failure(
        "\(file.shown) can be changed by others than root",
        hint: "chmod go-w it, or name an account for the database's programs as \"user\"")
    }
    return nil
  }

  // MARK: The files

  /// The directories that the site's constants name, and the files that do so; `nil` for one that the operator named.
  func directories() throws(DumpFailure) -> [(path: [UInt8], constant: String, namedBy: SiteFile?)] {
    var found: [(path: [UInt8], constant: String, namedBy: SiteFile?)] = []
    for name in Self.directoryNames {
      let (file, constants) = place(of: name)
      if name == "WP_CONTENT_DIR", let content = settings.content {
        found.append((Array(content.utf8), name, nil))
      } else if constants.values[name] != nil {
        found.append((try path(name), name, file))
      }
    }
    return found
  }

  func contentDirectory() throws(DumpFailure) -> [UInt8] {
    if let content = settings.content { return Array(content.utf8) }
    if place(of: "WP_CONTENT_DIR").constants.values["WP_CONTENT_DIR"] != nil { return try path("WP_CONTENT_DIR") }
    return Array("\(settings.path)/wp-content".utf8)
  }

  private func path(_ name: String) throws(DumpFailure) -> [UInt8] {
    let text = try text(name, key: "content")
    let path = TreePath(parsing: text.utf8)
    guard text.hasPrefix("/"), !path.isEmpty, !path.contains(Array("..".utf8)) else {
      throw failure(
        "\(name) in \(place(of: name).file?.shown ?? "") is no absolute path", hint: "give \"content\" in [[wordpress]]"
      )
    }
    return path.absolute
  }
}
