internal import ArgumentParser
internal import Repository

struct ImportCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Come from rsnapshot: translate its configuration, adopt its snapshots.",
    discussion: """
      rsnapshot reads an rsnapshot.conf and prints a commented treering.toml. What has no equivalent is marked in \
      it, and then the exit status is 1. Nothing is changed.

      snapshots adopts the trees of rsnapshot in a directory, such as hourly.0 and daily.3, the oldest first: \
      each is read once and cataloged, and moved into the repository, which must be on the same file system. \
      Nothing is copied, and the next snapshot is linked to the newest of them.

      Examples:
        treering import rsnapshot /etc/rsnapshot.conf > /etc/treering/treering.toml
        treering import snapshots /var/cache/rsnapshot --dry-run
        treering import snapshots /var/cache/rsnapshot
      """)

  enum Action: String, CaseIterable, Sendable { case rsnapshot, snapshots }

  @Argument(
    help: ArgumentHelp("rsnapshot or snapshots.", valueName: "action"), completion: .words(of: Action.self),
    transform: oneOf(for: "import"))
  var action: Action

  @Argument(help: ArgumentHelp("The rsnapshot.conf; the directory with the trees.", valueName: "path"))
  var path: PathArgument

  @Option(
    help: ArgumentHelp(
      "Of snapshots: the directory inside each tree that the sources are in; localhost.", valueName: "name"))
  var label: String?

  @Option(help: ArgumentHelp("Of snapshots: a further level that trees are named by.", valueName: "name"))
  var level: [String] = []

  @Flag(name: [.customShort("n"), .long], help: "Of snapshots: only show what would be adopted.")
  var dryRun = false

  @OptionGroup var threads: ThreadOption
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    switch action {
    case .rsnapshot:
      guard label == nil, level.isEmpty, !dryRun
      else { throw Failure(.usage, "--label, --level and --dry-run go with import snapshots") }
      return try ConfigurationImport(path: path.bytes, common: common).execute()
    case .snapshots:
      return try SnapshotImport(
        directory: absolutePath(of: path.bytes), label: label.map(checkedLabel), levels: level, isDry: dryRun,
        threads: threads.count, common: common
      ).execute()
    }
  }
}
