import Foundation
import TestSupport
import Testing

/// treering.1 and the page of each command against what the program says of itself.
@Suite struct CommandPageTests {
  private let page: ManualPage
  private let treering: String

  init() throws {
    page = try ManualPage("treering.1")
    treering = try Tools.treering()
  }

  /// The entries of one block of `help`, such as OPTIONS, without their explanations.
  private func help(_ block: String, _ command: String?) throws -> [String] {
    let text = try Tools.succeed(treering, ["help"] + (command.map { [$0] } ?? [])).text
    var isInside = false
    var entries: [String] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.isEmpty {
        isInside = false
      } else if line == "\(block):" {
        isInside = true
      } else if isInside, let match = line.firstMatch(of: /^  (\S+(?: \S+)*)/) {
        entries.append(String(match.1))
      }
    }
    return entries
  }

  private func commands() throws -> [String] { try help("SUBCOMMANDS", nil) }

  private func page(of command: String) throws -> ManualPage { try ManualPage("treering-\(command).1") }

  @Test("every subcommand is described and no other")
  func everySubcommandIsDescribedAndNoOther() throws {
    let commands = try commands()
    #expect(commands.count >= 6)
    let described = ManualPage.items(try page.section("COMMANDS")).map { $0.head.dropFirst("Cm ".count) }
    #expect(described.last == "help")
    #expect(described.dropLast().map(String.init) == commands)
    let pages = try FileManager.default.contentsOfDirectory(atPath: Tools.package.appending(path: "man").path)
    #expect(Set(pages.compactMap { $0.wholeMatch(of: /treering-(.+)\.1/).map { String($0.1) } }) == Set(commands))
  }

  /// The list of commands and the page of each give its purpose in the same words.
  @Test("purposes agree")
  func purposesAgree() throws {
    for item in ManualPage.items(try page.section("COMMANDS")).dropLast() {
      let name = try page(of: String(item.head.dropFirst("Cm ".count))).section("NAME")
      let purpose = try #require(name.last?.dropFirst(".Nd ".count))
      #expect(item.body == [purpose.prefix(1).uppercased() + purpose.dropFirst() + "."])
    }
  }

  @Test("every option is described and no other")
  func everyOptionIsDescribedAndNoOther() throws {
    let common = ManualPage.options(try page.section("OPTIONS"))
    #expect(common.count >= 6)
    for command in try commands() {
      let own = try page(of: command).section("OPTIONS")
      // `serve` speaks with a program, and has only what stands on its own page.
      let shared = command == "serve" ? common.filter { $0.contains("--help") || $0.contains("--version") } : common
      let described = shared.union(ManualPage.options(own))
      let offered = Set(try help("OPTIONS", command))
      #expect(described == offered, "\(command): \(described.symmetricDifference(offered).sorted())")
    }
    #expect(Set(try help("OPTIONS", nil)).isSubset(of: common))
  }

  /// The synopsis names each option in one of its spellings, and each argument.
  @Test("the synopsis agrees with the help")
  func synopsisAgreesWithHelp() throws {
    for command in try commands() {
      let lines = try page(of: command).section("SYNOPSIS")
      #expect(lines.prefix(2) == [".Nm treering", ".Cm \(command)"])
      var flags: Set<String> = []
      var arguments: [String] = []
      for line in lines.dropFirst(2) {
        let words = line.split(separator: " ").map(String.init)
        for (index, word) in words.enumerated() where index + 1 < words.count {
          let next = words[index + 1]
          if word == "Fl" || word == ".Fl" {
            // `Fl qv` is two flags.
            if next.hasPrefix("-") {
              flags.insert("-" + next)
            } else {
              next.forEach { flags.insert("-\($0)") }
            }
          } else if word == "Ar" || word == ".Ar", !words.contains("Fl"), !words.contains(".Fl") {
            arguments.append("<\(next)>")
          }
        }
      }
      for option in try help("OPTIONS", command) {
        let spellings = option.split(separator: ",").map {
          $0.split(separator: " ").first.map(String.init) ?? ""
        }
        if spellings.contains("--version") || spellings.contains("--help") { continue }
        let used = spellings.filter { flags.contains($0) }
        #expect(used.count == 1, "\(command): \(option)")
        used.forEach { flags.remove($0) }
      }
      #expect(flags.isEmpty, "\(command) has no \(flags)")
      #expect(arguments == (try help("ARGUMENTS", command)), "\(command)")
    }
  }

  @Test("mandoc finds nothing to warn of")
  func mandocFindsNothingToWarnOf() throws {
    let directory = Tools.package.appending(path: "man").path
    let pages = try FileManager.default.contentsOfDirectory(atPath: directory)
    let ended = try Tools.run(
      "mandoc", ["-T", "lint", "-W", "warning"] + pages.sorted().map { "\(directory)/\($0)" })
    #expect(ended.status == 0)
    #expect(ended.text == "")
  }

  @Test("sections stand in the usual order")
  func sectionsStandInTheUsualOrder() throws {
    #expect(
      page.titles == [
        "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "JSON", "ENVIRONMENT", "FILES",
        "EXIT STATUS", "EXAMPLES", "DIAGNOSTICS", "SEE ALSO", "CAVEATS",
      ])
    let usual = [
      "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "NOTES", "JSON", "SEE ALSO",
    ]
    for command in try commands() {
      let titles = try page(of: command).titles
      #expect(titles == usual.filter(titles.contains))
      #expect(Set(titles).isSuperset(of: ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"]))
    }
  }

  // MARK: Exit statuses

  @Test("exit statuses are those of the table in the code")
  func exitStatusesAreThoseOfTheTableInTheCode() throws {
    let table = try String(
      contentsOf: Tools.package.appending(path: "Sources/Commands/Interface/ExitStatus.swift"),
      encoding: .utf8)
    let inCode = Set(
      table.matches(of: /static let \w+ = ExitStatus\(code: (\d+)\)/).compactMap { Int($0.1) })
    #expect(inCode.isSuperset(of: [0, 1, 2, 3, 5, 6, 8]))
    #expect(table.contains("ExitStatus(code: 128 + signal)"))

    var inPage: Set<Int> = []
    var reserved: Set<Int> = []
    for item in ManualPage.items(try page.section("EXIT STATUS")) {
      for number in item.head.split(separator: ",") {
        let status = try #require(Int(number.trimmingCharacters(in: .whitespaces)))
        #expect(inPage.insert(status).inserted, "\(status) is there twice")
        if item.body.contains(where: { $0.hasPrefix("Reserved:") }) { reserved.insert(status) }
      }
    }
    let signals: Set = [SIGHUP, SIGINT, SIGTERM].reduce(into: Set<Int>()) { $0.insert(128 + Int($1)) }
    #expect(inPage.filter { $0 >= 128 } == signals)
    #expect(inPage.isSuperset(of: inCode), "in the code alone: \(inCode.subtracting(inPage))")
    // The page may announce a status that the code does not have yet; it must say so.
    let ahead = inPage.filter { $0 < 128 }.subtracting(inCode)
    #expect(ahead.isSubset(of: reserved), "in the page alone: \(ahead)")
    #expect(reserved.contains(4) == !(try sources(mention: "Failure(.refused")))
  }

  private func sources(mention text: String) throws -> Bool {
    let directory = Tools.package.appending(path: "Sources")
    guard let files = FileManager.default.enumerator(at: directory, includingPropertiesForKeys: nil)
    else { throw TestSupportError("the sources are missing") }
    // A call may begin a new line after the parenthesis.
    for case let file as URL in files where file.pathExtension == "swift" {
      let code = try String(contentsOf: file, encoding: .utf8).filter { !$0.isWhitespace }
      if code.contains(text) { return true }
    }
    return false
  }

  // MARK: JSON

  /// Every key of every document is named on the page of its command.
  @Test("every JSON key is described")
  func everyJSONKeyIsDescribed() throws {
    let scratch = try Scratch()
    let source = scratch.url.appending(path: "source")
    try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
    try Data("one".utf8).write(to: source.appending(path: "file"))
    let odd = try Tools.run(
      "/bin/sh", ["-c", "touch \"$(printf 'odd\\377')\""], in: source)
    #expect(odd.status == 0)
    let repository = ["--repository", scratch.path("repository"), "--json"]
    func answer(_ command: String, _ arguments: [String], status: Int32 = 0) throws -> Any {
      let ended = try Tools.run(treering, [command] + arguments + repository)
      #expect(ended.status == status, "\(command): \(ended.errorText)")
      return try JSONSerialization.jsonObject(with: Data(ended.output))
    }
    var documents: [String: Any] = [:]
    documents["init"] = try answer("init", [])
    _ = try answer("snapshot", [source.path])
    try Data("two and more".utf8).write(to: source.appending(path: "file"))
    let removed = try Tools.run(
      "/bin/sh", ["-c", "mkdir d; mv odd* \"d/other$(printf '\\377')\"; setfacl -m u:1:r d/other*"], in: source)
    #expect(removed.status == 0)
    documents["snapshot"] = try answer("snapshot", [source.path])
    documents["list"] = try answer("list", [])
    let destination = scratch.path("destination")
    _ = try answer("restore", ["latest", "--to", destination])
    documents["restore"] = try answer("restore", ["latest", "--to", destination, "--overwrite", "always", "-n"])
    let listed = try #require((documents["list"] as? [String: Any])?["snapshots"] as? [[String: Any]])
    let first = try #require(listed.first?["name"] as? String)
    documents["diff"] = [
      try answer("diff", [first, "latest"]), try answer("diff", [first, "latest", "--stat"]),
      try answer("diff", [first, "--live"]),
    ]
    documents["delete"] = try answer("delete", ["--dry-run", first])
    documents["usage"] = try answer("usage", [first])
    let stored = scratch.path("repository/\(first)/localhost\(source.path)")
    let damaged = try Tools.run("/bin/sh", ["-c", "rm odd*; printf x > new"], in: URL(filePath: stored))
    #expect(damaged.status == 0)
    documents["verify"] = try answer("verify", [], status: 6)
    let configuration = scratch.url.appending(path: "treering.toml")
    try Data("[[source]]\npath = \"\(source.path)\"\n[hooks]\nafter = [\"/bin/false\"]\n".utf8).write(to: configuration)
    // The process's own mask may be anything: other tests share it.
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: configuration.path)
    let made = try Tools.run("/bin/sh", ["-c", "sqlite3 notes.db 'CREATE TABLE t (i)'"], in: scratch.url)
    #expect(made.status == 0)
    let database = scratch.url.appending(path: "database.toml")
    let table = "[[database]]\nname = \"notes\"\nkind = \"sqlite\"\npath = \"\(scratch.path("notes.db"))\"\n"
    let rehearsal = "[[drill]]\nname = \"notes\"\nrestore = [\"database:notes\"]\nrto = \"1h\"\nfresh_within = \"1h\"\n"
    try Data((table + rehearsal + "check = [[\"/bin/false\"]]\nlimits = { time = \"1s\" }\n").utf8).write(to: database)
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: database.path)
    _ = try answer("run", ["--now", "-c", database.path])
    documents["database"] = [
      try answer("database", ["list"]),
      try answer("database", ["restore", "notes", "--into", scratch.path("notes.db"), "--replace", "-n"]),
    ]
    documents["run"] = try answer("run", ["--now", "-c", configuration.path], status: 1)
    let audited = "repository = \"\(scratch.path("repository"))\"\n[[source]]\npath = \"\(source.path)\"\n"
    try Data(audited.utf8).write(to: configuration)
    documents["audit"] = try answer("audit", ["-c", configuration.path], status: 1)
    documents["recovery-plan"] = try [[], ["--tested-by", "Ann"]].map {
      try answer("recovery-plan", $0 + ["-c", configuration.path])
    }
    documents["report"] = try answer("report", ["-c", configuration.path])
    documents["drill"] = [
      try answer("drill", ["-c", database.path]),
      try answer("drill", ["notes", "-c", database.path], status: 3),
      try answer("drill", ["list", "-c", database.path]),
    ]
    let archived = try Tools.run("/bin/sh", ["-c", "mkdir -m 700 logs; echo > 00000002.history"], in: scratch.url)
    #expect(archived.status == 0)
    documents["wal"] = try [
      ["push", scratch.path("00000002.history")], ["fetch", "00000002.history", scratch.path("back")],
    ].map { words in
      let ended = try Tools.succeed(treering, ["wal"] + words + ["--archive", scratch.path("logs"), "--json"])
      return try JSONSerialization.jsonObject(with: Data(ended.output))
    }
    let other = scratch.path("other")
    #expect(try Tools.run(treering, ["init", other]).status == 0)
    let password = scratch.path("password")
    let written = try Tools.run("/bin/sh", ["-c", "umask 077; echo secret > password"], in: scratch.url)
    #expect(written.status == 0)
    let encrypted = ["-r", "restic:" + scratch.path("encrypted"), "--password-file", password, "--json"]
    #expect(try Tools.run(treering, ["init"] + encrypted).status == 0)
    documents["key"] = try [["list"], ["export"], ["add", "--new-password-file", password]].map { arguments in
      let ended = try Tools.run(treering, ["key"] + arguments + encrypted)
      #expect(ended.status == 0, "\(ended.errorText)")
      return try JSONSerialization.jsonObject(with: Data(ended.output))
    }
    let logs = scratch.url.appending(path: "logs.toml")
    let remote = "[remote.other]\nurl = \"\(other)\"\n"
    try Data(
      "\(remote)[[database]]\nname = \"a\"\nkind = \"postgresql\"\nmode = \"physical\"\narchive = \"\(scratch.path("logs"))\"\n"
        .utf8
    )
    .write(to: logs)
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: logs.path)
    documents["push"] = [try answer("push", [other]), try answer("push", ["other", "--logs", "-c", logs.path])]
    documents["versions"] = try answer("versions", [source.appending(path: "file").path])
    // These print a document for each entry.
    for (command, arguments) in [("find", ["file"]), ("ls", ["latest", source.path])] {
      let ended = try Tools.run(treering, [command] + arguments + repository)
      documents[command] = try ended.text.split(separator: "\n").map {
        try JSONSerialization.jsonObject(with: Data($0.utf8))
      }
    }
    documents["status"] = try answer("status", [], status: 1)
    documents["schedule"] = [try answer("schedule", ["--cron"]), try answer("schedule", ["--remove", "--dry-run"])]
    documents["config"] = try answer("config", ["check", "-c", configuration.path])
    let foreign = scratch.url.appending(path: "rsnapshot.conf")
    let statements = [
      "config_version\t1.2", "snapshot_root\t/r", "cmd_rsync\t/usr/bin/rsync", "retain\tdaily\t7",
      "backup\trsync://host/module\thost/",
    ]
    try Data((statements.joined(separator: "\n") + "\n").utf8).write(to: foreign)
    let translated = try answer("import", ["rsnapshot", foreign.path], status: 1)
    documents["rotate"] = try answer("rotate", ["--dry-run", "--minimum-free", "100%"], status: 8)
    documents["hold"] = try answer("hold", ["latest"])
    documents["release"] = try answer("release", [])
    let trees = scratch.url.appending(path: "trees")
    try FileManager.default.createDirectory(
      at: trees.appending(path: "daily.0/localhost/etc"), withIntermediateDirectories: true)
    let adopted = try answer("import", ["snapshots", trees.path])
    try FileManager.default.createDirectory(at: trees.appending(path: "daily.1"), withIntermediateDirectories: true)
    documents["import"] = [translated, adopted, try answer("import", ["snapshots", trees.path], status: 3)]

    for command in try commands() where !["serve", "cat", "export"].contains(command) {
      let document = try #require(documents[command])
      let lines = try page(of: command).section("JSON")
      let words = Set(lines.flatMap { $0.split { " ,;".contains($0) }.map(String.init) })
      // treering.1 describes the key that every document has.
      let keys = Self.keys(of: document).subtracting(["version"])
      #expect(!keys.isEmpty)
      #expect(keys.isSubset(of: words), "\(command): \(keys.subtracting(words))")
    }
  }

  private static func keys(of document: Any) -> Set<String> {
    if let object = document as? [String: Any] {
      return object.reduce(into: Set(object.keys)) { $0.formUnion(keys(of: $1.value)) }
    }
    if let array = document as? [Any] {
      return array.reduce(into: []) { $0.formUnion(keys(of: $1)) }
    }
    return []
  }
}
