internal import TOMLKit

/// The configuration of a backup host: tables `[[repository]]`, and settings for all of them.
extension Configuration {
  init(ofSeveral top: TableReader) {
    self.init()
    for key in top.keys where Self.keys.contains(key) && !Self.sharedKeys.contains(key) && !Self.outlets.contains(key) {
      top.problems.add(
        at: top.place(of: key), message: "\"\(key)\" belongs to one of the tables [[repository]]: give it there")
    }
    top.know(["repository", "hosts"] + Self.keys)
    if let table = top.table(for: "hosts") { hosts = Hosts(table: table) }
    readOutlets(from: top)
    if mail?.on == .weekly {
      top.complain(
        key: "notify", message: "a mail of all repositories is sent after a \"failure\" or \"always\", not \"weekly\"")
    }
    let tables = top.tables(for: "repository")
    repositories = tables.map { NamedConfiguration(table: $0, shared: top) }
    if repositories.isEmpty { top.complain(key: "repository", message: "\"repository\" names none") }
    for (index, table) in tables.enumerated() {
      let (here, earlier) = (repositories[index], repositories[..<index])
      if earlier.contains(where: { $0.name == here.name && !here.name.isEmpty }) {
        table.complain(key: "name", message: "the repository \"\(here.name)\" is named twice")
      }
      if let path = here.settings.repository, earlier.contains(where: { $0.settings.repository == path }) {
        table.complain(key: "path", message: "the repository \(path) is there twice")
      }
    }
  }

  private static let outlets = ["notify", "metrics"]
}

extension Configuration.NamedConfiguration {
  fileprivate init(table: TableReader, shared: TableReader) {
    line = table.line
    table.know(["name", "path"] + Configuration.keys)
    table.require("name")
    table.require("path")
    name =
      table.value(for: "name", expecting: "a host's name: letters, digits, \"_\", and within it \"-\" and \".\"") {
        found in
        found.string.flatMap { Self.isName($0) ? $0 : nil }
      } ?? ""
    settings.repository = table.path(for: "path")
    settings.read(from: table) { key in table.has(key) ? table : shared }
  }

  /// The name is a word that no path, no address and no option can be.
  private static func isName(_ text: String) -> Bool {
    RemoteConfiguration.isName(text.replacing(".", with: "")) && !["-", "."].contains(text.first)
  }
}

extension Configuration.Hosts {
  fileprivate init(table: TableReader) {
    table.know(["at_once", "max_load", "stagger", "timeout"])
    atOnce = table.integer(for: "at_once", range: 1...64, expecting: "a number from 1 to 64") ?? atOnce
    maxLoad = table.value(for: "max_load", expecting: "a number above 0, such as 4.0") { found in
      (found.double ?? found.int.map(Double.init)).flatMap { $0 > 0 ? $0 : nil }
    }
    staggerSeconds = table.duration(for: "stagger") ?? staggerSeconds
    timeoutSeconds = table.duration(for: "timeout") ?? timeoutSeconds
  }
}
