internal import Model
internal import Retention
internal import TOMLKit

extension Configuration {
  /// Reads a configuration; throws its first error, with its place.
  public init(text: String) throws(SettingsError) {
    let (configuration, errors) = try Self.read(text)
    if let first = errors.first { throw first }
    self = configuration
  }

  /// Reads a configuration that may have errors. Returns all that is right in it, and the errors by their places.
  ///
  /// Throws the first error of a text that is not TOML.
  public static func read(_ text: String) throws(SettingsError) -> (Configuration, errors: [SettingsError]) {
    let (table, locator) = try Locator.parse(text)
    let problems = Problems(locator: locator)
    let top = TableReader(table: table, problems: problems)
    let configuration = top.isArray("repository") ? Configuration(ofSeveral: top) : Configuration(table: top)
    let errors = problems.list.sorted { $0.place < $1.place }.map {
      SettingsError(line: $0.place.line, column: $0.place.column, message: $0.message)
    }
    return (configuration, errors)
  }

  /// The keys of a configuration but for that of the repository's path.
  static let keys = [
    "receives", "label", "change_detection", "threads", "keep_spare", "retention", "source", "guards", "hooks",
    "objectives", "metrics", "notify", "remote", "verify", "database", "audit", "sync", "wordpress", "drill", "plan",
  ]

  private init(table top: TableReader) {
    self.init()
    top.know(["repository"] + Self.keys)
    repository = top.value(for: "repository", expecting: Self.repositoryForm) { $0.string.flatMap(Self.repository) }
    read(from: top) { _ in top }
  }

  /// Reads all keys but the path. `table` returns the table that has a key.
  mutating func read(from top: TableReader, table: (_ key: String) -> TableReader) {
    receives = top.bool(for: "receives") ?? false
    if let text = top.string(for: "label") {
      if Name(text.utf8) == nil {
        top.complain(key: "label", message: "\"label\" should be the name of one directory, such as a host's name")
      }
      label = Name(text.utf8) ?? label
    }
    readShared(from: table)
    readSubjects(from: top)
    if receives { checkReceiver(by: top) }
    if let table = top.table(for: "hooks") {
      table.know(["before", "after"])
      hooksBefore = Hook.list(from: table, key: "before", required: true)
      hooksAfter = Hook.list(from: table, key: "after", required: false)
    }
    syncs = top.tables(for: "sync").map { table in
      table.know(["name", "location"])
      table.require("name")
      return Sync(name: table.words(for: "name") ?? "", location: table.words(for: "location"))
    }
    plan = top.table(for: "plan").map(PlanConfiguration.init(table:))
    if let table = top.table(for: "remote") { readRemotes(from: table) }
    checkRepository(in: top)
    drills = top.tables(for: "drill").map(DrillConfiguration.init(table:))
    checkDrills(by: top)
    readOutlets(from: top)
  }

  /// The keys that a file of several repositories may have for all of them.
  static let sharedKeys = [
    "change_detection", "threads", "keep_spare", "retention", "guards", "objectives", "audit", "verify",
  ]

  private mutating func readShared(from table: (_ key: String) -> TableReader) {
    changeDetection =
      table("change_detection").choice(for: "change_detection", words: ["ctime", "mtime", "content"]) ?? changeDetection
    threads = table("threads").integer(for: "threads", range: 1...64, expecting: "a number from 1 to 64")
    keepSpare = table("keep_spare").bool(for: "keep_spare") ?? keepSpare
    if let table = table("retention").table(for: "retention") { readRetention(from: table) }
    if let table = table("guards").table(for: "guards") {
      table.know(["gone_limit", "changed_limit"])
      goneLimit = table.share(for: "gone_limit") ?? goneLimit
      changedLimit = table.share(for: "changed_limit") ?? changedLimit
    }
    if let table = table("objectives").table(for: "objectives") {
      table.know(["rpo"])
      rpoSeconds = table.duration(for: "rpo")
    }
    if let table = table("audit").table(for: "audit") { audit = Audit(table: table) }
    if let table = table("verify").table(for: "verify") { verification = Verification(table: table) }
  }

  /// Complains of keys that do not fit a repository that others push to.
  private func checkReceiver(by top: TableReader) {
    for key in ["source", "database", "wordpress", "plan"] where top.has(key) {
      top.complain(key: key, message: "\"receives\" is for a repository without \"\(key)\"; other machines push to it")
    }
    // A client that pushes much could make all older snapshots expire.
    if retention.keepLast > 0 || retention.keepWithinSeconds != nil || minimumFree != nil {
      top.complain(
        key: "receives",
        message: "with \"receives\", [retention] cannot have keep_last, keep_within or minimum_free; name sets")
    }
  }

  /// Reads the receivers of notices and the file of the metrics.
  mutating func readOutlets(from top: TableReader) {
    if let table = top.table(for: "notify") { readNotify(from: table) }
    if let table = top.table(for: "metrics") {
      table.know(["textfile"])
      metricsTextfile = table.path(for: "textfile")
      if metricsTextfile?.hasSuffix(".prom") == false {
        table.complain(
          key: "textfile", message: "\"textfile\" should end with .prom, or the node exporter does not read it")
      }
    }
  }

  /// Reads the sources, databases and sites.
  private mutating func readSubjects(from top: TableReader) {
    sources = top.tables(for: "source").map(Source.init(table:))
    for (index, source) in sources.enumerated()
    where sources[..<index].contains(where: { $0.subject == source.subject && !source.path.isEmpty }) {
      top.problems.add(
        at: Locator.Place(line: source.line, column: 1), message: "the source \"\(source.title)\" is named twice")
    }
    for source in sources {
      guard let host = source.host, !host.name.isEmpty else { continue }
      let place = Locator.Place(line: source.line, column: 1)
      if host.label == label || host.label.bytes.elementsEqual("databases".utf8) {
        let name = displayName(host.label.bytes)
        top.problems.add(
          at: place, message: "the label \"\(name)\" belongs to other sources; give the host another \"label\"")
      }
      if let outer = sources.first(where: { $0.contains(source) }) {
        top.problems.add(at: place, message: "\"\(source.title)\" is in the source \"\(outer.title)\"; name only one")
      }
    }
    databases = top.tables(for: "database").map(DatabaseConfiguration.init(table:))
    sites = top.tables(for: "wordpress").map(WordPressConfiguration.init(table:))
    let allDatabases = databases + sites.map(\.database)
    for (index, database) in allDatabases.enumerated()
    where allDatabases[..<index].contains(where: { $0.name == database.name && !database.name.isEmpty }) {
      top.problems.add(
        at: Locator.Place(line: database.line, column: 1), message: "the database \"\(database.name)\" is named twice")
    }
  }

  private mutating func readRetention(from table: TableReader) {
    table.know(SnapshotSet.allCases.map(\.rawValue) + ["keep_last", "keep_within", "minimum_free"])
    func count(for key: String) -> Int {
      table.integer(for: key, range: 0...1_000_000, expecting: "a number from 0 on") ?? 0
    }
    retention = RetentionPolicy(
      keep: Dictionary(uniqueKeysWithValues: SnapshotSet.allCases.map { ($0, count(for: $0.rawValue)) }),
      keepLast: count(for: "keep_last"), keepWithinSeconds: table.duration(for: "keep_within"))
    let amount = "a percentage such as \"5%\", or a size such as \"20G\""
    minimumFree = table.value(for: "minimum_free", expecting: amount) { $0.string.flatMap(Quantity.minimumFree) }
    if table.problems.list.isEmpty, retention.keepsNothing {
      table.problems.add(
        at: Locator.Place(line: table.line, column: 1),
        message: "[retention] keeps nothing but the newest snapshot; name a set, such as daily = 7")
    }
  }

  private mutating func readRemotes(from table: TableReader) {
    for name in table.keys {
      if !RemoteConfiguration.isName(name) {
        table.problems.add(
          at: table.place(of: name),
          message:
            "a remote's name should be letters, digits, \"-\" and \"_\", at most \(RemoteConfiguration.longestName)")
      } else if let remote = table.table(for: name, expecting: "a table such as [remote.offsite]") {
        remotes.append(RemoteConfiguration(name: name, table: remote))
        check(remotes[remotes.count - 1], table: remote)
      }
    }
  }

  private static let repositoryForm =
    "an absolute path without \"..\", the name of a [remote], or its address"

  /// A path, an address, or a word that may be the name of a remote.
  private static func repository(_ text: String) -> String? {
    if let path = TableReader.normalPath(text) { return path }
    guard !text.hasPrefix("/"), let address = try? RemoteAddress(text) else { return nil }
    if case .local = address { return text.contains("/") ? nil : text }
    return text
  }

  /// Complains of a repository elsewhere that no remote describes, or beside which there are other remotes.
  private func checkRepository(in top: TableReader) {
    guard let repository, !repository.hasPrefix("/") else { return }
    let isName = !repository.contains { ":/".contains($0) }
    if isName, !remotes.contains(where: { $0.name == repository }) {
      top.complain(key: "repository", message: "no [remote] has the name \"\(repository)\"")
    }
    if let other = remotes.first(where: { $0.name != repository }) {
      top.complain(
        key: "repository",
        message: "\"\(other.name)\" would get nothing: without a repository here, there is one remote")
    }
  }

  /// Complains of a remote that conflicts with the rest of the configuration.
  private func check(_ remote: RemoteConfiguration, table: TableReader) {
    if let set = remote.set, retention.keep[set, default: 0] == 0 {
      let lack = "[retention] keeps no \(set.rawValue) snapshots, so none would be pushed"
      table.complain(key: "set", message: "\(lack); keep some, or name another set")
    }
    if case .local(let path) = remote.address, let repository, path == Array(repository.utf8) {
      table.complain(key: "url", message: "\"url\" is the repository itself")
    }
  }

  private mutating func readNotify(from table: TableReader) {
    table.know(["timeout", "healthchecks", "webhook", "command", "mail"])
    notifySeconds = table.duration(for: "timeout") ?? notifySeconds
    if let table = table.table(for: "healthchecks") {
      table.know(["url", "warnings"])
      healthchecks = Address(url: table.address(for: "url"))
      warningsAreSuccess = table.choice(for: "warnings", words: ["failure", "success"]) == "success"
    }
    if let table = table.table(for: "webhook") {
      table.know(["url", "headers", "on"])
      webhook = Address(
        url: table.address(for: "url"), headers: table.strings(for: "headers") ?? [], onlyFailures: table.onlyFailures()
      )
      if webhook?.headers.contains(where: { !$0.contains(":") || $0.contains("\n") || $0.contains("\r") }) == true {
        table.complain(key: "headers", message: "\"headers\" should be lines such as \"Authorization: Bearer …\"")
      }
    }
    mail = table.table(for: "mail").map(Mail.init(table:))
    if let table = table.table(for: "command") {
      table.know(["command", "timeout", "on"])
      table.require("command")
      var hook = Hook()
      hook.line = table.line
      hook.command = table.value(for: "command", expecting: Hook.form, read: Hook.command) ?? []
      hook.timeoutSeconds = table.duration(for: "timeout") ?? notifySeconds
      notifyCommand = hook
      notifyCommandOnlyFailures = table.onlyFailures()
    }
  }
}

extension TableReader {
  /// Reads a required HTTP or HTTPS address.
  func address(for key: String) -> String {
    require(key)
    return value(for: key, expecting: "an address that begins with https:// or http://", isSecret: true) { found in
      found.string.flatMap { text in
        (text.hasPrefix("https://") || text.hasPrefix("http://")) && !text.utf8.contains { $0 <= 0x20 } ? text : nil
      }
    } ?? ""
  }

  fileprivate func onlyFailures() -> Bool { choice(for: "on", words: ["always", "failure"]) == "failure" }

  /// The readers of an array's tables `[[key]]`. Complains of items that are no tables.
  func tables(for key: String) -> [TableReader] {
    items(for: key, expecting: "tables [[\(key)]]").compactMap { item in
      if item.table == nil { problems.add(at: item.place, message: "\"\(key)\" should be tables [[\(key)]]") }
      return item.table
    }
  }

  /// Reads an absolute path and normalizes it, so that paths can be compared.
  func path(for key: String) -> String? {
    value(for: key, expecting: "an absolute path without \"..\"") { $0.string.flatMap(Self.normalPath) }
  }

  /// Removes empty components, `.` and a trailing slash; `nil` if the path is not absolute or has `..`.
  static func normalPath(_ path: String) -> String? {
    guard path.hasPrefix("/"), !path.utf8.contains(0) else { return nil }
    let names = TreePath(parsing: path.utf8)
    return names.contains(Array("..".utf8)) ? nil : String(decoding: names.absolute, as: UTF8.self)
  }
}

extension Configuration.Source {
  fileprivate init(table: TableReader) {
    self.init()
    line = table.line
    table.know(
      [
        "path", "optional", "rpo", "exclude", "exclude_from", "one_file_system", "exclude_caches", "exclude_if_present",
        "exclude_nodump", "max_file_size", "freeze", "freeze_size",
      ] + Host.keys)
    host = Host(table: table)
    table.require("path")
    path = table.path(for: "path") ?? ""
    isOptional = table.bool(for: "optional") ?? false
    rpoSeconds = table.duration(for: "rpo")
    exclude = table.strings(for: "exclude", expecting: "an array of patterns, such as [\".cache/\", \"*.tmp\"]") ?? []
    excludeLines = exclude.indices.map { table.line(of: "exclude", index: $0) }
    excludeFrom = table.strings(for: "exclude_from", expecting: "an array of files") ?? []
    if excludeFrom.contains(where: { TableReader.normalPath($0) == nil }) {
      table.complain(key: "exclude_from", message: "\"exclude_from\" should be absolute paths")
    }
    excludeFrom = excludeFrom.map { TableReader.normalPath($0) ?? $0 }
    oneFileSystem = table.bool(for: "one_file_system") ?? false
    excludeCaches = table.bool(for: "exclude_caches") ?? false
    excludeIfPresent = table.strings(for: "exclude_if_present", expecting: "an array of names of files") ?? []
    if excludeIfPresent.contains(where: { Name($0.utf8) == nil }) {
      table.complain(
        key: "exclude_if_present", message: "\"exclude_if_present\" should be names of files, without a slash")
    }
    excludeNodump = table.bool(for: "exclude_nodump") ?? false
    maxFileSize = table.value(for: "max_file_size", expecting: "a size such as \"100M\"") {
      $0.string.flatMap(Quantity.bytes)
    }
    readFreeze(from: table)
  }
}

extension Configuration.Verification {
  fileprivate init(table: TableReader) {
    self.init()
    table.know(["every", "part", "limit_rate"])
    everySeconds = table.duration(for: "every") ?? everySeconds
    let form = "a part such as \"1/30\", at least 1/\(VerificationPart.mostParts)"
    parts =
      table.value(for: "part", expecting: form) { found in
        found.string.flatMap { VerificationPart($0) }.flatMap { $0.number == 1 ? $0.count : nil }
      } ?? parts
    limitRate = table.rate(for: "limit_rate")
  }
}

extension Configuration.Mail {
  fileprivate init(table: TableReader) {
    table.know(["to", "on"])
    table.require("to")
    to = table.texts(for: "to")
    on = table.choice(for: "on", words: Occasion.allCases.map(\.rawValue)).flatMap(Occasion.init) ?? on
    if to.contains(where: { !$0.contains("@") && $0.contains(" ") || $0.contains(",") || $0.hasPrefix("-") }) {
      table.complain(key: "to", message: "\"to\" should be an address such as \"ann@example.org\", or an array of such")
    }
  }
}

extension Configuration.Audit {
  fileprivate init(table: TableReader) {
    self.init()
    table.know(["location", "verify_within", "unreadable_runs", "excluded_limit", "ignore"])
    location = table.words(for: "location")
    verifyWithinSeconds = table.duration(for: "verify_within") ?? verifyWithinSeconds
    unreadableRuns =
      table.integer(for: "unreadable_runs", range: 1...100, expecting: "a number from 1 to 100") ?? unreadableRuns
    excludedLimit = table.share(for: "excluded_limit") ?? excludedLimit
    ignore = table.strings(for: "ignore", expecting: "an array of paths and ports, such as [\"/mnt/scratch\"]") ?? []
  }
}

extension Configuration.Hook {
  static let form =
    "the absolute path of a program, an array of program and arguments, or a table with \"command\""

  fileprivate static func list(from table: TableReader, key: String, required: Bool) -> [Self] {
    table.items(for: key, expecting: "an array").map { item in
      var hook = Self()
      hook.isRequired = required
      hook.line = item.place?.line ?? table.line
      if let inner = item.table {
        inner.know(["command", "timeout", "required"])
        inner.require("command")
        hook.command = inner.value(for: "command", expecting: form, read: command) ?? []
        hook.timeoutSeconds = inner.duration(for: "timeout") ?? hook.timeoutSeconds
        hook.isRequired = inner.bool(for: "required") ?? required
      } else if let words = command(from: item.value) {
        hook.command = words
      } else {
        table.problems.add(
          at: item.place, message: "a hook should be \(form), not \(TableReader.words(in: item.value))")
      }
      return hook
    }
  }

  static func command(from value: any TOMLValueConvertible) -> [String]? {
    let words = value.string.map { [$0] } ?? TableReader.strings(in: value)
    guard let words, let program = words.first, program.hasPrefix("/"),
      !words.contains(where: { $0.utf8.contains(0) })
    else { return nil }
    return words
  }
}
