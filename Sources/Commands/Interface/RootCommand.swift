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
      ReleaseCommand.self,
      PushCommand.self, ServeCommand.self, StatusCommand.self, ScheduleCommand.self, ConfigCommand.self,
      ImportCommand.self,
    ])

  func run() throws { throw Failure(.usage, "no command is named", hint: "see: treering --help") }
}

/// Command names that users know from other tools.
private let otherNames = [
  "archive": "snapshot", "backup": "snapshot", "create": "snapshot", "check": "verify", "scrub": "verify",
  "snapshots": "list", "delete": "rotate", "expire": "rotate", "forget": "rotate", "prune": "rotate",
  "extract": "restore", "copy": "push", "replicate": "push", "send": "push", "sync": "push", "receive": "serve",
  "compare": "diff", "configtest": "config", "info": "status", "stats": "status", "cron": "schedule",
  "history": "versions",
]

/// Refuses an unknown command. The parser itself would complain about the arguments instead.
func checkCommand(_ arguments: [String]) throws(Failure) {
  let known = RootCommand.configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
  let isHelp = arguments.first == "help"
  guard let word = isHelp ? arguments.dropFirst().first : arguments.first, !word.hasPrefix("-"), !known.contains(word)
  else { return }
  let shown = displayName(argumentBytes(word))
  let near = known.map { ($0, distance(word, $0)) }.min { $0.1 < $1.1 }
  let meant = otherNames[word] ?? near.flatMap { $0.1 <= 2 ? $0.0 : nil }
  throw Failure(
    .usage, "there is no command \"\(shown)\"", hint: meant.map { "did you mean \"\($0)\"?" } ?? "see: treering --help")
}
