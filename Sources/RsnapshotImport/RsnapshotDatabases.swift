internal import Model
internal import Settings

/// The tables `[[database]]` for the dumps of a `backup_script`, whose text is read and never run.
struct RsnapshotDatabases {
  private let files: RsnapshotFiles
  private var names: Set<String> = []

  init(files: RsnapshotFiles) { self.files = files }

  private static let programs = ["mysqldump", "mariadb-dump", "pg_dump", "pg_dumpall"]
  /// Commands that only prepare or pack a dump.
  private static let helpers: Set<String> = [
    "set", "umask", "cd", "echo", "printf", "exit", "true", ":", "chmod", "chown", "mkdir", "rm", "mv", "gzip", "bzip2",
    "xz", "zstd", "pigz", "cat", "tee", "date", "sync", "test", "[", "logger", "trap", "export", "for", "done", "fi",
    "else", "case", "esac", "}",
  ]

  /// The lines for a statement: tables, and notes about what cannot be translated surely. `nil` if the script dumps no
  /// database.
  mutating func lines(for statement: RsnapshotConfiguration.Statement, notes: inout RsnapshotNotes) -> [String]? {
    guard let (commands, place) = script(of: statement.value),
      commands.contains(where: { Self.programs.contains(DumpCommand($0)?.program ?? "") })
    else { return nil }
    var lines: [String] = []
    for command in commands {
      let dump = DumpCommand(command)
      func lost(_ why: String) -> [String] {
        // A value may be a secret.
        let program = dump?.program ?? String(command.program.prefix { $0 != "=" })
        var origin = statement.origin
        if let place { origin = .init(file: place, line: command.line, text: program) }
        return notes.add(origin, why: why)
      }
      guard let dump, Self.programs.contains(dump.program) else {
        let isPassword = command.words.contains { $0.text.hasPrefix("PGPASSWORD=") || $0.text.hasPrefix("MYSQL_PWD=") }
        if isPassword {
          lines += lost("put the password into a file with mode 0600, and name it as password_file")
        } else if let program = dump?.program, !Self.helpers.contains(program) {
          lines += lost("treering does not run it; if it is needed, let it run as a hook")
        }
        continue
      }
      let shown = place.map { "\($0):\(command.line)" } ?? statement.origin.place
      switch dump.table(named: { newName(for: statement, kind: $0) }) {
      case .unsure(let why): lines += lost("\(why); write a [[database]] for it")
      case .table(let table, let unknown, let hasPassword):
        lines += TOMLText.comment("\(statement.origin.place): backup_script; \(shown): \(dump.program)")
        for option in unknown { lines += lost("treering has nothing for \(option) of \(dump.program)") }
        if hasPassword { lines += lost("put the password into the file that password_file names, with mode 0600") }
        lines += table
      }
    }
    return lines
  }

  /// The commands of the script that a statement names, or of the statement itself, with the place of the script.
  private func script(of text: String) -> (commands: [ShellCommand], place: String?)? {
    let own = shellCommands(in: text)
    guard own.count == 1, let first = own[0].words.first, first.isLiteral else { return nil }
    if Self.programs.contains(own[0].program) { return (own, nil) }
    if ["sh", "bash", "dash"].contains(own[0].program), own[0].words.count == 3, own[0].words[1].text == "-c" {
      return (shellCommands(in: own[0].words[2].text), nil)
    }
    guard isAbsolute(first.text), let bytes = try? files.read(Array(first.text.utf8)),
      let script = String(validating: bytes, as: UTF8.self), isShell(script)
    else { return nil }
    return (shellCommands(in: script), files.name(Array(first.text.utf8)))
  }

  private func isShell(_ script: String) -> Bool {
    let first = script.split(separator: "\n", maxSplits: 1).first ?? ""
    return first.hasPrefix("#!") && first.split(whereSeparator: { " /".contains($0) }).contains { $0.hasSuffix("sh") }
  }

  private mutating func newName(for statement: RsnapshotConfiguration.Statement, kind: String) -> String {
    let last = cleanComponents(of: statement.values.dropFirst().first ?? "").last ?? ""
    let wanted = RemoteConfiguration.isName(last) ? String(last.prefix(56)) : kind
    var name = wanted
    var number = 2
    while !names.insert(name).inserted {
      name = "\(wanted)-\(number)"
      number += 1
    }
    return name
  }
}

/// A command that makes a dump, and the account that it runs as.
private struct DumpCommand {
  private let command: ShellCommand
  private let user: String?
  private var hasPassword = false
  /// The first variable that the command sets, of those that may change the dump.
  private var variable: String?

  var program: String { command.program }

  enum Answer {
    case table([String], unknown: [String], hasPassword: Bool)
    case unsure(String)
  }

  /// Variables that change no dump.
  private static let plainVariables: Set = ["PATH", "LANG", "LC_ALL", "TMPDIR", "HOME"]

  /// Looks behind the programs that change the account, and behind words such as `if`. `nil` for assignments alone.
  init?(_ found: ShellCommand) {
    var command = found
    var user: String?
    while let first = command.words.first {
      var rest = command.words.dropFirst()
      switch command.program {
      case "sudo", "runuser":
        while let word = rest.first, word.text.hasPrefix("-") {
          rest = rest.dropFirst()
          if word.text == "--" { break }
          if word.text == "-u", let name = rest.popFirst() { user = name.text }
        }
      case "su":
        guard let at = rest.firstIndex(where: { $0.text == "-c" }), at + 1 < rest.endIndex else { return nil }
        user = rest[..<at].first { !$0.text.hasPrefix("-") }?.text ?? "root"
        let inner = shellCommands(in: rest[at + 1].text, line: command.line)
        guard rest[at + 1].isLiteral, inner.count == 1 else { return nil }
        rest = inner[0].words[...]
      case "if", "then", "do", "while", "until", "!", "{", "elif": break
      case "nice", "ionice", "env", "time", "exec":
        while let word = rest.first, word.text.hasPrefix("-") || Int(word.text) != nil {
          _ = word
          rest = rest.dropFirst()
        }
      default:
        guard let end = first.text.firstIndex(of: "="), !first.text.hasPrefix("-") else {
          self.command = command
          self.user = user
          return
        }
        let name = String(first.text[..<end])
        if ["PGPASSWORD", "MYSQL_PWD"].contains(name) {
          hasPassword = true
        } else if !Self.plainVariables.contains(name) {
          variable = name
        }
      }
      command.words = Array(rest)
    }
    return nil
  }

  // MARK: Options

  private static let shortValues: [String: [Character: String]] = [
    "mysql": ["u": "user", "h": "host", "P": "port", "S": "socket"],
    "postgresql": [
      "U": "user", "h": "host", "p": "port", "d": "dbname", "f": "", "F": "", "n": "schema", "T": "exclude-table",
      "Z": "", "t": "?",
      "j": "jobs", "E": "", "l": "",
    ],
  ]
  /// Options that treering has by itself, or that change only the form of the dump.
  private static let harmless: Set<String> = [
    "single-transaction", "quick", "opt", "routines", "events", "triggers", "hex-blob", "lock-tables",
    "skip-lock-tables", "lock-all-tables", "add-drop-table", "add-drop-database", "flush-logs", "flush-privileges",
    "default-character-set", "no-tablespaces", "comments", "skip-comments", "extended-insert", "skip-extended-insert",
    "complete-insert", "master-data", "source-data", "dump-date", "skip-dump-date", "max-allowed-packet", "verbose",
    "compress", "no-password", "format", "file", "blobs", "clean", "create", "if-exists", "encoding",
    "lock-wait-timeout",
    "set-gtid-purged", "column-statistics", "all-databases",
  ]
  private static let harmlessShort: [String: Set<Character>] = [
    "mysql": ["q", "e", "l", "R", "E", "F", "A", "C", "v", "c", "x"], "postgresql": ["w", "b", "c", "C", "v", "W"],
  ]

  /// The table, without a word that only the shell could know.
  func table(named name: (String) -> String) -> Answer {
    let kind = program.hasPrefix("pg_") ? "postgresql" : "mysql"
    if let variable { return .unsure("it sets \(variable)") }
    var parts = Parts(kind: kind)
    parts.hasPassword = hasPassword
    var words: [ShellWord] = []
    for word in command.words.dropFirst() {
      // The dump goes elsewhere now.
      if word.text.drop(while: { $0.isNumber || $0 == "&" }).first == ">" {
        if word.text.last == ">" { words.append(ShellWord(text: ">")) }
      } else if words.last?.text == ">" {
        words.removeLast()
      } else {
        words.append(word)
      }
    }
    words.removeAll { $0.text == ">" }
    guard words.allSatisfy(\.isLiteral), user?.contains("$") != true
    else { return .unsure("only the shell knows the words of this command") }
    var rest = words.map(\.text)[...]
    while let word = rest.popFirst() {
      if word.hasPrefix("--"), word.count > 2 {
        let halves = word.dropFirst(2).split(separator: "=", maxSplits: 1).map(String.init)
        parts.take(halves[0], value: halves.count > 1 ? halves[1] : nil, of: word, rest: &rest)
      } else if word.hasPrefix("-"), word.count > 1 {
        parts.takeShort(word, names: Self.shortValues[kind]!, rest: &rest)
      } else {
        parts.positional.append(word)
      }
    }
    return parts.answer(program: program, user: user, name: name(kind))
  }

  private struct Parts {
    let kind: String
    var values: [String: [String]] = [:]
    var positional: [String] = []
    var unknown: [String] = []
    var hasPassword = false
    var takesNames = false

    init(kind: String) { self.kind = kind }

    mutating func take(_ name: String, value: String?, of word: String, rest: inout ArraySlice<String>) {
      let known = [
        "user", "username", "host", "port", "socket", "dbname", "schema", "exclude-table", "ignore-table", "jobs",
      ]
      if known.contains(name) {
        guard let value = value ?? rest.popFirst() else { return }
        values[name == "username" ? "user" : name == "ignore-table" ? "exclude-table" : name, default: []].append(value)
      } else if name == "password" {
        hasPassword = hasPassword || kind == "mysql"
      } else if name == "databases" {
        takesNames = true
      } else if !DumpCommand.harmless.contains(name) {
        // A value may be a secret.
        unknown.append("--\(name)")
      }
    }

    mutating func takeShort(_ word: String, names: [Character: String], rest: inout ArraySlice<String>) {
      var letters = word.dropFirst()
      while let letter = letters.popFirst() {
        if letter == "p", kind == "mysql" {
          hasPassword = true
          return
        }
        if letter == "B", kind == "mysql" {
          takesNames = true
        } else if let name = names[letter] {
          let value = letters.isEmpty ? rest.popFirst() : String(letters)
          if name == "?" { unknown.append("-\(letter)") }
          if let value, !name.isEmpty { values[name, default: []].append(value) }
          return
        } else if !DumpCommand.harmlessShort[kind]!.contains(letter) {
          unknown.append("-\(letter)")
        }
      }
    }

    func answer(program: String, user: String?, name: String) -> Answer {
      var lines = ["[[database]]", "name = " + TOMLText.string(name), "kind = \"\(kind)\""]
      func add(_ key: String, _ value: String?) {
        if let value { lines.append("\(key) = " + TOMLText.string(value)) }
      }
      var databases = (values["dbname"] ?? []) + positional
      if kind == "mysql" {
        let isAll = positional.isEmpty
        if !takesNames, positional.count > 1 { return .unsure("it dumps only some tables of \(positional[0])") }
        if isAll { databases = [] }
      } else if program == "pg_dump" {
        guard databases.count == 1, !databases[0].contains("="), !databases[0].contains("://")
        else { return .unsure("its database is not one name") }
      } else {
        databases = []
      }
      add("user", user)
      if !databases.isEmpty { lines.append("databases = " + TOMLText.array(databases)) }
      if kind == "postgresql", let host = values["host"]?.last, host.hasPrefix("/") {
        add("socket", host)
      } else if let host = values["host"]?.last, host != "localhost" {
        add("host", host)
      }
      add("socket", values["socket"]?.last)
      for (key, option) in [("port", "port"), ("jobs", "jobs")] {
        guard let text = values[option]?.last else { continue }
        guard let number = Int(text) else { return .unsure("its \(option) is no number") }
        lines.append("\(key) = \(number)")
      }
      add("role", values["user"]?.last)
      for (key, option) in [("schemas", "schema"), ("exclude_tables", "exclude-table")] {
        if let found = values[option] { lines.append("\(key) = " + TOMLText.array(found)) }
      }
      if hasPassword { add("password_file", "/etc/treering/\(name).password") }
      return .table(lines, unknown: unknown, hasPassword: hasPassword)
    }
  }
}
