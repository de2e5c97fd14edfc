internal import ArgumentParser
internal import Settings

/// The options for the connection to a remote.
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
      "Send at most so much in a second, such as 10MB/s; what is fetched is not limited.", valueName: "rate"),
    transform: { text in
      guard let bytes = Quantity.bytesPerSecond(of: text) else {
        throw ValidationError("--limit-rate takes bytes per second, such as 10MB/s")
      }
      return bytes
    })
  var limitRate: UInt64?

  @Option(
    help: ArgumentHelp("Give up if the server does nothing for so long (5m).", valueName: "duration"),
    transform: { text in
      guard let seconds = Quantity.seconds(of: text), seconds > 0 else {
        throw ValidationError("--timeout takes a duration such as 5m")
      }
      return seconds
    })
  var timeout: Int64?
}

extension RemoteConnectionOptions {
  /// The options of a command line that gives none.
  static var none: RemoteConnectionOptions { (try? parse([])) ?? RemoteConnectionOptions() }
}
