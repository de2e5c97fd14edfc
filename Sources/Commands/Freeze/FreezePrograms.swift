internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Repository

/// Runs the programs that make and remove frozen snapshots.
struct FreezePrograms {
  /// The time limit of one program.
  private static let longestSeconds = 600.0
  /// cron(8) gives a path without these directories.
  private static let systemDirectories = ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"

  private let search: ProgramSearch
  private let environment: [[UInt8]]

  init() {
    let path = (CurrentProcess.environment("PATH") ?? []) + Array(Self.systemDirectories.utf8)
    search = ProgramSearch(path: path)
    environment =
      CurrentProcess.inheritedEnvironment(without: ["PATH", "LC_ALL"]) + [Array("PATH=".utf8) + path]
      + [Array("LC_ALL=C.UTF-8".utf8)]
  }

  /// The words of a command, with the path of its program.
  func words(_ name: String, of package: String, _ arguments: [[UInt8]]) throws(Failure) -> [[UInt8]] {
    if let path = search.find(name) { return [path] + arguments }
    throw Failure(.failed, "the program \(name) is missing", hint: "install it: Debian's package is \(package)")
  }

  /// Runs a program that must succeed. Returns the lines of its output.
  ///
  /// A program that cleans up finishes even if this process is told to end.
  func run(_ words: [[UInt8]], cleansUp: Bool = false) throws(Failure) -> [[UInt8]] {
    var program = ChildProgram(words, environment: environment, timeoutSeconds: Self.longestSeconds)
    program.startsAtRoot = true
    program.finishes = cleansUp
    // A program of the operator may leave a server running.
    program.endsGroup = false
    var (output, errors): ([[UInt8]], [[UInt8]]) = ([], [])
    let end = ProgramEnd(of: program, onErrorLine: { errors.append($0) }) { output.append($0) }
    guard end != .ended(.exited(0)) else { return output }
    if !cleansUp { try checkForSignal() }
    let why = errors.last.map { ": \(displayName($0))" } ?? ""
    throw Failure(.failed, "\(displayName(words[0])) \(end)\(why)")
  }

  /// A program that runs while the value lives, even if this process is told to end.
  func start(_ words: [[UInt8]]) -> BackgroundProgram {
    var program = ChildProgram(words, environment: environment, timeoutSeconds: .infinity)
    program.startsAtRoot = true
    program.finishes = true
    return BackgroundProgram(program)
  }
}

/// The bytes of some texts, for a program's arguments.
func words(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }
