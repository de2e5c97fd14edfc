internal import Databases
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// A site of the configuration, with what its own file says, or the reason that this is unknown.
struct ConfiguredSite {
  let settings: WordPressConfiguration
  let site: Result<WordPressSite, DumpFailure>

  init(_ settings: WordPressConfiguration) {
    self.settings = settings
    site = Result { () throws(DumpFailure) in try WordPressSite(reading: settings) }
  }

  /// The database to dump, as far as it is known.
  var database: DatabaseConfiguration { (try? site.get())?.database ?? settings.database }
}

extension Configuration {
  /// All sources: those that the configuration names, the repositories of pgBackRest, and those of the sites. What lies in a source already is no other
  /// one.
  func localSources(with sites: [ConfiguredSite]) -> [Source] {
    var all = sources.filter { $0.host == nil }
    for database in databases where database.kind == .pgbackrest {
      guard let path = database.path, all.around(Array(path.utf8)) == nil else { continue }
      all.append(Source(path: path, line: database.line))
    }
    for site in sites where !site.settings.path.isEmpty {
      let settings = site.settings
      let line = settings.database.line
      if all.around(Array(settings.path.utf8)) == nil {
        all.append(
          Source(path: settings.path, line: line, exclude: settings.exclude, excludeLines: settings.excludeLines))
      }
      for directory in (try? site.site.get())?.directories ?? [] where all.around(directory) == nil {
        all.append(Source(path: String(decoding: directory, as: UTF8.self), line: line))
      }
    }
    // A file alone is its directory without everything else.
    let trees = all
    for site in sites {
      guard let file = (try? site.site.get())?.fileElsewhere, trees.around(file) == nil else { continue }
      let names = TreePath(parsing: file)
      let (path, name) = (String(decoding: names.dropLast().absolute, as: UTF8.self), names.last!)
      let index = all.firstIndex { $0.path == path } ?? all.endIndex
      if index == all.endIndex { all.append(Source(path: path, line: site.settings.database.line, exclude: ["/*"])) }
      all[index].exclude.append("!/" + Self.pattern(of: name))
      all[index].excludeLines = all[index].exclude.map { _ in site.settings.database.line }
    }
    return all
  }

  /// A pattern of gitignore(5) that only this name matches.
  static func pattern(of name: [UInt8]) -> String {
    let escaped = name.flatMap { "\\*?[ ".utf8.contains($0) ? [UInt8(ascii: "\\"), $0] : [$0] }
    return String(decoding: escaped, as: UTF8.self)
  }
}

extension Configuration.Source {
  fileprivate init(path: String, line: Int, exclude: [String] = [], excludeLines: [Int]? = nil) {
    self.init()
    (self.path, self.line, self.exclude) = (path, line, exclude)
    self.excludeLines = excludeLines ?? exclude.map { _ in line }
  }
}

extension [Configuration.Source] {
  /// The innermost source that a path lies in.
  func around(_ path: [UInt8]) -> Configuration.Source? {
    filter { TreePath(parsing: path).starts(with: TreePath(parsing: $0.path.utf8)) }
      .max { $0.path.utf8.count < $1.path.utf8.count }
  }
}

extension ConfigurationFile {
  /// The links of a site whose content is in no source, as warnings.
  func warnings(ofLinksIn site: WordPressSite) -> [String] {
    site.links.filter { sources.around($0.target) == nil }.map {
      "\(displayName($0.path)) is a link to \(displayName($0.target)), which is in no source; add a [[source]]"
    }
  }
}
