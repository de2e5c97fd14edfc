internal import Model
internal import TOMLKit

/// A rehearsed recovery: one table `[[drill]]`.
public struct DrillConfiguration: Sendable, Equatable {
  /// A time of the week at which runs start the drill.
  public struct QuietHour: Sendable, Equatable {
    /// From 0 for Sunday; `nil` for every day.
    public var weekday: Int?
    /// Since midnight, in local time.
    public var minutes: Int

    public init(weekday: Int?, minutes: Int) { (self.weekday, self.minutes) = (weekday, minutes) }
  }

  /// The bounds of the programs of a drill.
  public struct Limits: Sendable, Equatable {
    /// In bytes.
    public var memory: UInt64 = 4 << 30
    public var processes = 1024
    /// From the first program to the last check.
    public var seconds: Int64 = 600
  }

  /// Letters, digits, `-` and `_`.
  public var name = ""
  /// The longest time between two drills; `nil` if runs never start it.
  public var everySeconds: Int64?
  /// `nil` for any hour.
  public var quietHour: QuietHour?
  /// The absolute paths to restore.
  public var paths: [String] = []
  /// The names of the databases to restore.
  public var databases: [String] = []
  /// The name of a remote; `nil` for the repository.
  public var remote: String?
  /// The program that runs until the end of the drill, and its arguments.
  public var start: [String] = []
  /// The programs that must succeed.
  public var checks: [[String]] = []
  /// The page that must answer, and a text that it must have.
  public var http: String?
  public var contains: String?
  /// The statement whose answer is the time of the newest data; `nil` for the newest modification time.
  public var fresh: String?
  /// The greatest age of the data.
  public var freshWithinSeconds: Int64?
  /// The recovery time objective.
  public var rtoSeconds: Int64?
  /// The directory with the system whose programs are used; `nil` for this machine's.
  public var base: String?
  /// The command that makes such a directory for each drill; empty for none.
  public var baseCommand: [String] = []
  /// The word of the command that stands for the directory.
  public static let baseWord = "{}"
  public var limits = Limits()
  /// The address of the drill's own check at Healthchecks.
  public var healthchecks: String?
  /// The line number in the file, from 1.
  public var line = 0

  public init() {}
}

extension DrillConfiguration {
  /// The words that the command line takes for itself, and the name of a drill without a table.
  private static let reserved = ["list", "show", "sample"]
  private static let databasePrefix = "database:"

  init(table: TableReader) {
    self.init()
    line = table.line
    table.know([
      "name", "every", "at", "restore", "from", "start", "check", "http", "contains", "fresh", "fresh_within", "rto",
      "base", "limits", "healthchecks",
    ])
    for key in ["name", "restore"] { table.require(key) }
    name =
      table.value(for: "name", expecting: "letters, digits, \"-\" and \"_\", and not list, show or sample") { found in
        found.string.flatMap { RemoteConfiguration.isName($0) && !Self.reserved.contains($0) ? $0 : nil }
      } ?? ""
    everySeconds = table.duration(for: "every")
    quietHour = table.value(for: "at", expecting: "a local time such as \"04:00\" or \"Sun 04:00\"") {
      $0.string.flatMap(QuietHour.init)
    }
    if quietHour != nil, everySeconds == nil { table.complain(key: "at", message: "\"at\" needs \"every\"") }
    readRestore(from: table)
    remote = table.string(for: "from").flatMap { $0 == "local" ? nil : $0 }
    readProof(from: table)
    rtoSeconds = table.duration(for: "rto")
    readBase(from: table)
    if let inner = table.table(for: "limits") { limits = Limits(table: inner) }
    healthchecks = table.has("healthchecks") ? table.address(for: "healthchecks") : nil
  }

  private mutating func readBase(from table: TableReader) {
    let form = "an absolute path, or a command with the word \"\(Self.baseWord)\" for a new directory"
    let words: [String] =
      table.value(for: "base", expecting: form) { found in
        if let path = found.string { return TableReader.normalPath(path).map { [$0] } }
        let command = Configuration.Hook.command(from: found) ?? []
        return command.contains(Self.baseWord) ? command : nil
      } ?? []
    if words.count == 1 { base = words[0] } else { baseCommand = words }
  }

  private mutating func readRestore(from table: TableReader) {
    let form = "an array of absolute paths and of databases such as \"database:shop\", at least one"
    let words =
      table.value(for: "restore", expecting: form) { found in
        TableReader.strings(in: found).flatMap { words in
          words.isEmpty || words.contains { Self.databaseName($0) == nil && TableReader.normalPath($0) == nil }
            ? nil : words
        }
      } ?? []
    databases = words.compactMap(Self.databaseName)
    paths = words.filter { Self.databaseName($0) == nil }.compactMap(TableReader.normalPath)
    if Set(databases).count < databases.count {
      table.complain(key: "restore", message: "\"restore\" names a database twice")
    }
  }

  private static func databaseName(_ word: String) -> String? {
    guard word.hasPrefix(databasePrefix) else { return nil }
    let name = String(word.dropFirst(databasePrefix.count))
    return RemoteConfiguration.isName(name) ? name : nil
  }

  private mutating func readProof(from table: TableReader) {
    start = table.value(for: "start", expecting: Configuration.Hook.form, read: Configuration.Hook.command) ?? []
    let form = "an array of commands, such as [[\"/usr/bin/test\", \"-s\", \"/var/www/index.php\"]]"
    checks =
      table.value(for: "check", expecting: form) { found in
        found.array.flatMap { array in
          let commands = array.compactMap { $0.array.flatMap { Configuration.Hook.command(from: $0) } }
          return commands.count == array.count && !commands.isEmpty ? commands : nil
        }
      } ?? []
    http = table.value(for: "http", expecting: "an address such as \"http://127.0.0.1:8080/\"") { found in
      found.string.flatMap { $0.hasPrefix("http://") && !$0.utf8.contains { $0 <= 0x20 } ? $0 : nil }
    }
    contains = table.words(for: "contains")
    if contains != nil, http == nil { table.complain(key: "contains", message: "\"contains\" needs \"http\"") }
    if !start.isEmpty, checks.isEmpty, http == nil {
      table.complain(key: "start", message: "\"start\" needs \"check\" or \"http\", which tell whether it works")
    }
    fresh = table.string(for: "fresh")
    if fresh != nil, databases.isEmpty {
      table.complain(key: "fresh", message: "\"fresh\" needs a database in \"restore\"")
    }
    freshWithinSeconds = table.duration(for: "fresh_within")
  }
}

extension DrillConfiguration.Limits {
  fileprivate init(table: TableReader) {
    self.init()
    table.know(["memory", "processes", "time"])
    memory =
      table.value(for: "memory", expecting: "a size such as \"2G\", at least 16M") { found in
        found.string.flatMap(Quantity.bytes).flatMap { $0 >= 16 << 20 ? $0 : nil }
      } ?? memory
    processes =
      table.integer(for: "processes", range: 8...1_000_000, expecting: "a number from 8 to 1000000") ?? processes
    seconds = table.duration(for: "time") ?? seconds
  }
}

extension DrillConfiguration.QuietHour {
  private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]

  /// Parses `04:00` or `Sun 04:00`.
  init?(_ text: String) {
    let words = text.split(separator: " ", omittingEmptySubsequences: false)
    guard let clock = words.last, words.count <= 2 else { return nil }
    let numbers = clock.split(separator: ":", omittingEmptySubsequences: false)
    guard clock.utf8.count == 5, numbers.count == 2, clock.utf8.allSatisfy({ isDigit($0) || $0 == UInt8(ascii: ":") }),
      let hour = Int(numbers[0]), let minute = Int(numbers[1]), hour < 24, minute < 60
    else { return nil }
    weekday = nil
    minutes = hour * 60 + minute
    if words.count == 2 {
      guard let number = Self.weekdays.firstIndex(of: String(words[0])) else { return nil }
      weekday = number
    }
  }
}

extension Configuration {
  /// Complains of drills with the same name, and of remotes and databases that the file does not have.
  func checkDrills(by top: TableReader) {
    let known = databases.map(\.name) + sites.map(\.database.name)
    for (index, drill) in drills.enumerated() where !drill.name.isEmpty {
      func complain(_ message: String) {
        top.problems.add(at: Locator.Place(line: drill.line, column: 1), message: message)
      }
      if drills[..<index].contains(where: { $0.name == drill.name }) {
        complain("the drill \"\(drill.name)\" is named twice")
      }
      if let remote = drill.remote, !remotes.contains(where: { $0.name == remote }) {
        complain("the drill \"\(drill.name)\" restores from \"\(remote)\", and there is no [remote.\(remote)]")
      }
      for name in drill.databases where !known.contains(name) {
        complain("the drill \"\(drill.name)\" restores the database \"\(name)\", and no table has this name")
      }
    }
  }
}
