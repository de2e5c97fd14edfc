internal import ArgumentParser
internal import Model
internal import Repository
internal import Settings

struct RootCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "treering", abstract: "Dated snapshots of directory trees that store only what changed.",
    discussion: """
      Every snapshot is a complete-looking directory of plain files: browse it with ls, copy from it \
      with cp. An unchanged file is a hard link to the snapshot before.

      A first session:
        treering init /backup
        treering snapshot /home /etc --repository /backup
        treering list --repository /backup
        treering restore latest /etc/fstab --to /tmp/restored --repository /backup

      The repository may also be named by the environment variable TREERING_REPOSITORY. \
      Exit status: 0 done; 1 done with warnings; 2 wrong usage; 3 failed; 4 refused; 5 locked; \
      6 damage found; 7 remote failed; 8 no space; 129, 130, 143 interrupted. See treering(1).
      """,
    version: Treering.version,
    subcommands: [
      InitCommand.self, SnapshotCommand.self, RunCommand.self, ListCommand.self, FindCommand.self, LsCommand.self,
      CatCommand.self, ExportCommand.self, RestoreCommand.self,
      DiffCommand.self, VersionsCommand.self, VerifyCommand.self, RotateCommand.self, HoldCommand.self,
      ReleaseCommand.self, DeleteCommand.self, UsageCommand.self,
      PushCommand.self, KeyCommand.self, ServeCommand.self, WalCommand.self, DatabaseCommand.self, StatusCommand.self,
      AuditCommand.self, DrillCommand.self, RecoveryPlanCommand.self, ReportCommand.self,
      ScheduleCommand.self, ConfigCommand.self, ImportCommand.self,
    ])

  func run() throws { throw Failure(.usage, "no command is named", hint: "see: treering --help") }
}

/// Command names that users know from other tools, each with the commands of treering that come nearest.
private let otherNames: [String: [String]] = [
  "archive": ["snapshot", "export"], "tar": ["export"], "backup": ["snapshot", "run"], "create": ["snapshot", "init"],
  "save": ["snapshot"],
  "check": ["verify", "config check"], "scrub": ["verify"], "fsck": ["verify"], "repair": ["verify --repair-from"],
  "snapshots": ["list"], "catalog": ["list", "ls"], "browse": ["ls"], "tree": ["ls"],
  "rm": ["delete"], "remove": ["delete"], "space": ["usage"],
  "expire": ["rotate"], "forget": ["rotate", "delete"], "prune": ["rotate", "delete"], "thin": ["rotate", "delete"],
  "extract": ["restore"], "recover": ["restore"], "undelete": ["restore"], "dump": ["database list", "cat"],
  "load": ["database restore"], "pitr": ["database restore"], "db": ["database"], "show": ["cat", "ls"],
  "copy": ["push"], "replicate": ["push"], "send": ["push"], "sync": ["push"], "mirror": ["push"], "upload": ["push"],
  "receive": ["serve"], "compare": ["diff"], "changes": ["diff"], "configtest": ["config check"],
  "locate": ["find"], "search": ["find"], "grep": ["find"], "history": ["versions"], "log": ["list", "status"],
  "rehearse": ["drill"], "plan": ["recovery-plan"], "disaster": ["recovery-plan"], "runbook": ["recovery-plan"],
  "test": ["drill", "verify"],
  "info": ["status"], "chart": ["report"], "month": ["report"], "3-2-1": ["audit"], "stats": ["usage", "status"],
  "du": ["usage", "status"], "size": ["usage", "status"],
  "cron": ["schedule"], "timer": ["schedule"], "install": ["schedule --install"], "unlock": ["status"],
  "pin": ["hold"], "passwd": ["key change"], "password": ["key"], "keys": ["key list"], "keep": ["hold"],
  "tag": ["hold"], "migrate": ["import"], "convert": ["import"],
]

/// Moves common options that precede the command's name behind it.
func commandFirst(_ arguments: [String]) -> [String] {
  let named = ["-r", "--repository", "-c", "--config"]
  var count = 0
  while count < arguments.count, arguments[count].hasPrefix("-") {
    let word = arguments[count]
    if named.contains(word) {
      count += 2
    } else if ["--json", "-q", "--quiet", "-v", "--verbose"].contains(word)
      || ["--repository=", "--config="].contains(where: word.hasPrefix)
    {
      count += 1
    } else {
      return arguments
    }
  }
  guard count > 0, count < arguments.count else { return count == 0 ? arguments : [] }
  return [arguments[count]] + arguments[..<count] + arguments[(count + 1)...]
}

/// Puts the time of `--at` in the place of the snapshot, for the commands that begin with one.
func snapshotFirst(_ arguments: [String]) -> [String] {
  let name = "--at"
  guard let command = arguments.first, ["ls", "cat", "export", "restore", "diff"].contains(command),
    let place = arguments.prefix(while: { $0 != "--" }).firstIndex(where: { $0 == name || $0.hasPrefix(name + "=") })
  else { return arguments }
  var rest = arguments.dropFirst()
  let word = rest.remove(at: place)
  if word != name { return [command, String(word.dropFirst(name.count + 1))] + rest }
  guard place < rest.endIndex else { return arguments }
  let time = rest.remove(at: place)
  return [command, time] + rest
}

/// Gives `--hold` of `snapshot` an empty reason if a source, an option or nothing follows.
func holdWithReason(_ arguments: [String]) -> [String] {
  guard arguments.first == "snapshot",
    let place = arguments.prefix(while: { $0 != "--" }).firstIndex(of: "--hold"),
    arguments.count == place + 1 || ["-", "/", "."].contains(where: arguments[place + 1].hasPrefix)
  else { return arguments }
  return arguments[..<place] + ["--hold", ""] + arguments[(place + 1)...]
}

/// The sentence about the first option that the command does not have; `nil` if it has them all.
///
/// The parser checks what the options mean together before it complains about a mistyped one.
func unknownOptionSentence(in arguments: [String]) -> String? {
  let commands = RootCommand.configuration.subcommands
  guard let command = commands.first(where: { $0.configuration.commandName == arguments.first }),
    command.configuration.subcommands.isEmpty
  else { return nil }
  let help = RootCommand.helpMessage(for: command)
  let known = help.matches(of: /--[a-z][a-z-]*/).map { String($0.output) }
  let options = arguments.prefix { $0 != "--" }.filter { $0.hasPrefix("--") }.map { String($0.prefix { $0 != "=" }) }
  guard let unknown = options.first(where: { !known.contains($0) }) else { return nil }
  let near = known.map { ($0, distance(from: unknown, to: $0)) }.min { $0.1 < $1.1 }
  return "Unknown option '\(displayName(argumentBytes(unknown)))'"
    + (near.flatMap { $0.1 <= 3 ? ". Did you mean '\($0.0)'?" : nil } ?? "")
}

/// Refuses an unknown command. The parser itself would complain about the arguments instead.
func checkCommand(_ arguments: [String]) throws(Failure) {
  let known = RootCommand.configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
  let isHelp = arguments.first == "help"
  guard let word = isHelp ? arguments.dropFirst().first : arguments.first, !word.hasPrefix("-"), !known.contains(word)
  else { return }
  let shown = displayName(argumentBytes(word))
  if word == "mount" {
    throw Failure(
      .usage, "there is no command \"mount\"",
      hint: "a snapshot is a directory of the repository: look at it with ls, cp or a file manager")
  }
  // A name may stand for a command that this version lacks.
  var meant = (otherNames[word] ?? []).filter { name in known.contains { name.split(separator: " ")[0] == $0 } }
  if meant.isEmpty, let near = known.map({ ($0, distance(from: word, to: $0)) }).min(by: { $0.1 < $1.1 }), near.1 <= 2 {
    meant = [near.0]
  }
  let words = meant.map { "\"\($0)\"" }.joined(separator: " or ")
  throw Failure(
    .usage, "there is no command \"\(shown)\"",
    hint: words.isEmpty ? "see: treering --help" : "did you mean \(words)?")
}
