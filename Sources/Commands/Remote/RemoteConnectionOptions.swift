internal import ArgumentParser
internal import Model
internal import Repository
internal import Settings

struct RemoteConnectionOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The program that connects, and its options; words are split at blanks, quotes keep them together.",
      valueName: "command"))
  var ssh: String?

  @Option(
    help: ArgumentHelp(
      "The command that is run on the remote machine; \"treering serve\", unless said otherwise.", valueName: "command")
  )
  var remoteCommand: String?

  @Option(
    help: ArgumentHelp(
      "Send and fetch at most so much in a second, such as 10MB/s; with verify, read.",
      valueName: "rate"),
    transform: parsed(by: Quantity.bytesPerSecond, or: "--limit-rate takes bytes per second, such as 10MB/s"))
  var limitRate: UInt64?

  @Option(
    help: ArgumentHelp("Give up if the server does nothing for so long (5m).", valueName: "duration"),
    transform: parsed(by: Quantity.seconds, or: "--timeout takes a duration such as 5m"))
  var timeout: Int64?

  @OptionGroup var password: PasswordOptions

  /// Throws if a rate is given for a repository that is here: nothing would be slower.
  func refuseRate(for repository: [UInt8]) throws(Failure) {
    guard limitRate != nil else { return }
    throw Failure(
      .usage, "--limit-rate limits a connection, and the repository \(displayName(repository)) is here",
      path: repository, hint: "leave it out")
  }

  /// The options of a command line that gives none.
  static var none: RemoteConnectionOptions { (try? parse([])) ?? RemoteConnectionOptions() }
}

/// The way to a repository of restic's format, for commands that work on no other remote.
struct StorageOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The program that connects for sftp:, and its options; words are split at blanks, quotes keep them together.",
      valueName: "command"))
  var ssh: String?

  @Option(
    help: ArgumentHelp("Give up if the server does nothing for so long (5m).", valueName: "duration"),
    transform: parsed(by: Quantity.seconds, or: "--timeout takes a duration such as 5m"))
  var timeout: Int64?

  @OptionGroup var password: PasswordOptions

  var connection: RemoteConnectionOptions {
    var connection = RemoteConnectionOptions.none
    (connection.ssh, connection.timeout, connection.password) = (ssh, timeout, password)
    return connection
  }
}

/// The place of the password of a repository of restic's format.
struct PasswordOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The file with the password of a repository of restic's format.", valueName: "file"))
  var passwordFile: PathArgument?

  @Option(
    help: ArgumentHelp("The command that prints this password; words are split at blanks.", valueName: "command"))
  var passwordCommand: String?

  /// The options of a command line that names only a file.
  static func file(_ path: PathArgument?) -> PasswordOptions {
    var options = RemoteConnectionOptions.none.password
    options.passwordFile = path
    return options
  }

  func validate() throws {
    if passwordFile != nil, passwordCommand != nil {
      throw ValidationError("give --password-file or --password-command, not both")
    }
  }
}
