internal import ArgumentParser
internal import Engine
internal import Model
internal import Patterns
internal import Posix
internal import Repository
internal import Settings

struct CommonOptions: ParsableArguments {
  @Option(
    name: [.customShort("r"), .long],
    help: ArgumentHelp(
      "The repository, or its name in the configuration; else the environment variable TREERING_REPOSITORY, else the configuration's.",
      valueName: "dir"),
    completion: .remote)
  var repository: PathArgument?

  @Option(
    name: [.customShort("c"), .long],
    help: ArgumentHelp(
      "The configuration; /etc/treering/treering.toml, for a user ~/.config/treering/treering.toml.",
      valueName: "file"))
  var config: PathArgument?

  @Flag(help: "Print the answer as JSON.")
  var json = false

  @Flag(name: .shortAndLong, help: "Print nothing but what is wrong.")
  var quiet = false

  @Flag(name: .shortAndLong, help: "Print more.")
  var verbose = false

  func repositoryPath() throws(Failure) -> [UInt8] {
    if let named = namedRepository { return try pathOfRepository(named: named) ?? named }
    if config != nil, let path = try configuration()?.repositoryPath { return path }
    if let path = CurrentProcess.environment("TREERING_REPOSITORY"), !path.isEmpty { return path }
    if let path = try configuration()?.repositoryPath { return path }
    throw Failure(
      .usage, "no repository is named",
      hint: "give --repository DIR, set TREERING_REPOSITORY, or name it in the configuration")
  }

  /// True if the answer of a command that cron may run is wanted: on a terminal, or with `--verbose`.
  var speaks: Bool { verbose || CurrentProcess.terminalWidth(of: .output) != nil && !quiet }

  /// Prints an answer: the document with `--json`, else the lines. Without `isWanted`, only `--quiet` suppresses them.
  func answer(_ document: some Encodable, isWanted: Bool? = nil, lines: @autoclosure () -> [String]) {
    if json {
      Console.print(jsonText(document))
    } else if isWanted ?? !quiet {
      for line in lines() { Console.print(line) }
    }
  }

  func openRepository() throws(Failure) -> Repository {
    let path = try repositoryPath()
    if let remote = try remote(named: path)?.remote {
      return try Repository.open(Self.localPath(of: remote.address, named: path))
    }
    return try Repository.open(try localRepositoryPath())
  }

  /// The path of the repository, for a command that works only on a local one.
  func localRepositoryPath() throws(Failure) -> [UInt8] {
    let path = try repositoryPath()
    return try Self.localPath(of: Self.address(of: path), named: path)
  }

  private static func localPath(of address: RemoteAddress, named path: [UInt8]) throws(Failure) -> [UInt8] {
    switch address {
    case .local(let local): return local
    case .restic, .storage:
      throw Failure(
        .usage, "this does not work on \(displayName(path)), which is a repository of restic's format", path: path,
        hint: "see treering-restic(7)")
    case .ssh(let user, let host, let port, let there):
      let target = (user.map { displayName($0) + "@" } ?? "") + displayName(host)
      throw Failure(
        .usage, "this works only on a repository that is here, and not on \(displayName(path))", path: path,
        hint: "run it there: ssh \(port.map { "-p \($0) " } ?? "")\(target) treering \(Treering.command) … -r "
          + displayName(there))
    }
  }
}

/// The number of threads for blocking calls.
struct ThreadOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Threads that work at once; one for each processor, and more while they wait for the disk, unless said otherwise.",
      valueName: "n"))
  var threads: Int?

  func validate() throws {
    if let threads, !(1...64).contains(threads) { throw ValidationError("--threads takes a number from 1 to 64") }
  }

  var count: ThreadCount { ThreadCount(chosen: threads) }
}

/// The options of the commands by which snapshots expire.
struct ExpiryOptions: ParsableArguments {
  @Flag(name: [.customShort("n"), .long], help: "Only show what would be done.")
  var dryRun = false

  @OptionGroup var threads: ThreadOption
  @OptionGroup var common: CommonOptions
}

/// The rules for excluded entries.
struct ExcludeOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Leave out what matches a pattern of gitignore(5).", valueName: "pattern"))
  var exclude: [PathArgument] = []

  @Option(help: ArgumentHelp("Leave out what matches a pattern in a file, one a line.", valueName: "file"))
  var excludeFrom: [PathArgument] = []

  @Flag(name: [.customShort("x"), .long], help: "Leave out other file systems mounted below a source.")
  var oneFileSystem = false

  @Flag(help: "Leave out the content of directories that are marked by a CACHEDIR.TAG.")
  var excludeCaches = false

  @Option(
    help: ArgumentHelp("Leave out the content of directories that hold such a file, but for that.", valueName: "file"))
  var excludeIfPresent: [PathArgument] = []

  @Flag(help: "Leave out what has the attribute d of chattr(1).")
  var excludeNodump = false

  @Option(
    help: ArgumentHelp("Leave out larger files: bytes, or with K, M, G or T.", valueName: "size"),
    transform: parsed(by: Quantity.bytes, or: "--max-file-size takes a size such as 100M"))
  var maxFileSize: UInt64?

  /// True if the command line gives none of the options.
  var areEmpty: Bool {
    exclude.isEmpty && excludeFrom.isEmpty && !oneFileSystem && !excludeCaches && excludeIfPresent.isEmpty
      && !excludeNodump && maxFileSize == nil
  }

  /// The excludes of all options. Patterns from files come first, so that those of the command line override them.
  func excludes() throws(Failure) -> Excludes {
    var excludes = Excludes()
    for file in excludeFrom { try excludes.add(patternsIn: file.bytes) }
    for pattern in exclude { excludes.patterns.add(pattern.bytes, origin: "--exclude") }
    excludes.isOneFileSystem = oneFileSystem
    excludes.caches = excludeCaches
    for name in excludeIfPresent {
      guard Name(name.bytes) != nil
      else { throw Failure(.usage, "--exclude-if-present takes the name of a file, without a slash") }
      excludes.ifPresent.append(name.bytes)
    }
    excludes.largestFile = maxFileSize
    excludes.noDump = excludeNodump
    return excludes
  }
}

/// The limits that mark a run as a possible disaster.
struct GuardOptions: ParsableArguments {
  @Flag(
    help: ArgumentHelp(
      "Publish although the source is empty, on another file system, or has lost most of its entries, "
        + "and hold no rotation."))
  var acceptChanges = false

  @Option(
    help: ArgumentHelp("Refuse where more than this share of a source's entries is gone (50%).", valueName: "percent"),
    transform: percentage(for: "--gone-limit"))
  var goneLimit: Double?

  @Option(
    help: ArgumentHelp(
      "Hold rotation where more than this share of a source's files has other content (50%).", valueName: "percent"),
    transform: percentage(for: "--changed-limit"))
  var changedLimit: Double?

  /// The limits of the command line; `others` has those that it does not give.
  func limits(or others: GuardLimits) -> GuardLimits {
    GuardLimits(gone: goneLimit ?? others.gone, changed: changedLimit ?? others.changed, acceptsChanges: acceptChanges)
  }
}
