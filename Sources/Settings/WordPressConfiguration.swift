internal import Model

/// A WordPress site: one table `[[wordpress]]`. Its files are sources, and its database is dumped.
public struct WordPressConfiguration: Sendable, Equatable {
  /// The directory of WordPress itself (`ABSPATH`).
  public var path = ""
  /// The file with the site's constants; `nil` for the `wp-config.php` that WordPress finds.
  public var config: String?
  /// The directory with uploads, themes and plugins (`WP_CONTENT_DIR`); `nil` for that of the file.
  public var content: String?
  /// The beginning of the names of the site's tables; `nil` for that of the file.
  public var tablePrefix: String?
  /// Only tables with the prefix are dumped.
  public var wantsPrefixOnly = false
  /// Tables that are not dumped.
  public var excludeTables: [String] = []
  /// Patterns of gitignore(5) for the files.
  public var exclude: [String] = []
  /// The line number of each pattern in `exclude`.
  public var excludeLines: [Int] = []
  /// WordPress is in its maintenance mode while the site is read.
  public var hasMaintenance = false
  /// The database as far as this table describes it. The site's file has the rest.
  public var database = DatabaseConfiguration()

  public init() {}
}

extension WordPressConfiguration {
  init(table: TableReader) {
    self.init()
    table.know(
      DatabaseConfiguration.wordPressKeys + [
        "name", "path", "config", "content", "table_prefix", "prefix_only", "exclude_tables", "exclude", "maintenance",
      ])
    table.require("path")
    path = table.path(for: "path") ?? ""
    config = table.path(for: "config")
    content = table.path(for: "content")
    tablePrefix = table.word(for: "table_prefix")
    wantsPrefixOnly = table.bool(for: "prefix_only") ?? false
    excludeTables = table.patterns(for: "exclude_tables")
    exclude = table.strings(for: "exclude", expecting: "an array of patterns, such as [\"wp-content/cache/\"]") ?? []
    excludeLines = exclude.indices.map { table.line(of: "exclude", index: $0) }
    hasMaintenance = table.bool(for: "maintenance") ?? false
    database = DatabaseConfiguration(wordPress: table)
    let last = path.split(separator: "/").last.map(String.init) ?? ""
    database.name = table.name(for: "name") ?? (RemoteConfiguration.isName(last) ? last : "")
    if database.name.isEmpty, !path.isEmpty, !table.has("name") {
      table.complain(
        key: "path",
        message: "\"\(last)\" is no name for a dump; give one of letters, digits, \"-\" and \"_\" as \"name\"")
    }
  }
}
