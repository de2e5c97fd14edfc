internal import ArgumentParser
internal import Posix
internal import Repository

/// What every subcommand takes.
struct CommonOptions: ParsableArguments {
  @Option(
    name: [.customShort("r"), .long],
    help: ArgumentHelp(
      "The repository; without it the environment variable TREERING_REPOSITORY.",
      valueName: "dir"))
  var repository: PathArgument?

  @Flag(help: "Print the answer as JSON.")
  var json = false

  @Flag(name: .shortAndLong, help: "Print nothing but what is wrong.")
  var quiet = false

  @Flag(name: .shortAndLong, help: "Print more.")
  var verbose = false

  func repositoryPath() throws(Failure) -> [UInt8] {
    if let repository { return repository.bytes }
    if let path = Posix.Process.environment("TREERING_REPOSITORY"), !path.isEmpty {
      return path
    }
    throw Failure(
      .usage, "no repository is named",
      hint: "give --repository DIR, or set TREERING_REPOSITORY")
  }

  func openRepository() throws(Failure) -> Repository { try Repository.open(try repositoryPath()) }
}

/// How many threads do blocking calls.
struct ThreadOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Threads that work at once; the number of processors, at most 8, unless said otherwise.",
      valueName: "n"))
  var threads: Int?

  func validate() throws {
    if let threads, !(1...64).contains(threads) {
      throw ValidationError("--threads takes a number from 1 to 64")
    }
  }

  var count: Int { threads ?? min(8, processorCount()) }
}

/// Reads the value of an option that takes one of a few words.
func oneOf<Value: RawRepresentable & CaseIterable>(
  _ option: String
) -> @Sendable (String) throws -> Value where Value.RawValue == String {
  { text in
    if let value = Value(rawValue: text) { return value }
    let words = Value.allCases.map(\.rawValue)
    let list = words.dropLast().joined(separator: ", ") + " or " + words.last!
    throw ValidationError("\(option) takes \(list)")
  }
}
