internal import Model
internal import Posix
internal import Settings

/// Runs the programs of one dump, as its account, within one time limit.
struct Tools {
  let name: String
  let programs: ProgramSearch
  /// `nil` for the account of this process.
  let account: Account?
  private let home: [UInt8]
  private let timeoutSeconds: Int64
  private let start = Clock.monotonic()

  /// The output of a program that succeeded.
  struct Result {
    var output: [UInt8] = []
    /// The last lines of its errors.
    var errors: [[UInt8]] = []
  }

  /// The options of one run.
  struct Setting {
    var variables: [(name: String, value: [UInt8])] = []
    /// A directory that the program reaches as `directoryPath`.
    var directory: Directory?
    var secret: SharedFile?
    /// The file with the input, from its position on.
    var input: SharedFile?
    /// Ends the program once it is set.
    var stop: StopFlag?
    /// The program cleans up: an interruption of the run does not end it, and it has a time limit of its own.
    var cleansUp = false
    /// The file for the output; without it, the output is in the result or goes to `onOutput`.
    var output: SharedFile?
    /// The program stays in the network namespace of this thread.
    var keepsNetwork = false
  }

  static let directoryPath = "/dev/fd/4"
  private static let keptLines = 20
  private static let cleaningSeconds = 60.0
  /// The answers that are kept are lists of names.
  private static let longestOutput = 256 << 20

  init(of database: DatabaseConfiguration, programs: ProgramSearch) throws(DumpFailure) {
    name = database.name
    self.programs = programs
    timeoutSeconds = database.timeoutSeconds
    let current = Account.current()
    home = current?.home ?? Array("/".utf8)
    guard let user = database.user, user != current?.name else {
      account = nil
      return
    }
    guard let account = Account(named: user)
    else { throw DumpFailure(name: name, reason: "there is no account \"\(user)\"", hint: "correct \"user\"") }
    guard CurrentProcess.effectiveUser == 0 else {
      throw DumpFailure(
        name: name, reason: "only root can run programs as \"\(user)\"", hint: "run as root, or leave \"user\" out")
    }
    self.account = account
  }

  /// The path of a program that must be there.
  func find(_ names: String..., package: String) throws(DumpFailure) -> [UInt8] {
    if let path = programs.find(names) { return path }
    throw DumpFailure(
      name: name, reason: "the program \(names[0]) is missing", hint: "install it: Debian's package is \(package)")
  }

  /// Runs a program that must succeed. `onOutput` gets its output, which the result then lacks.
  func run(
    _ words: [[UInt8]], _ setting: Setting = Setting(),
    onOutput: ((UnsafeRawBufferPointer) throws(Errno) -> Void)? = nil
  ) throws(DumpFailure) -> Result {
    var (result, end) = (Result(), ChildEnd.exited(0))
    let tool = displayName(words[0].split(separator: slash).last ?? [])
    do {
      end = try child(words, setting: setting).run { bytes throws(Errno) in
        if let onOutput { return try onOutput(bytes) }
        result.output += bytes
        if result.output.count > Self.longestOutput { throw Errno.fileTooLarge }
      } onErrorLine: { line in
        result.errors.append(line)
        if result.errors.count > 1000 { result.errors.removeFirst(900) }
      }
    } catch {
      // The output was refused, or the program cannot be started.
      throw DumpFailure(
        name: name, reason: "\(tool) failed: \(error)", lastLines: lines(result.errors),
        hint: error == .noSpace ? Self.noSpaceHint : nil)
    }
    if let reason = reason(end, of: tool) {
      throw DumpFailure(
        name: name, reason: reason, lastLines: lines(result.errors), hint: hint(end, errors: result.errors),
        isInterrupted: end == .interrupted)
    }
    return result
  }

  private func child(_ words: [[UInt8]], setting: Setting) -> ChildProgram {
    let path = programs.directories.joined(separator: [UInt8(ascii: ":")])
    var variables: [(name: String, value: [UInt8])] = [
      ("PATH", Array(path)), ("HOME", account?.home ?? home), ("LANG", Array("C.UTF-8".utf8)),
    ]
    if let user = account?.name { variables.append(("USER", Array(user.utf8))) }
    var child = ChildProgram(
      programs.process.map { entering(process: $0, setting: setting) + words } ?? words,
      environment: (variables + setting.variables).map { Array("\($0.name)=".utf8) + $0.value },
      timeoutSeconds: setting.cleansUp
        ? Self.cleaningSeconds : max(0, Double(timeoutSeconds) - (Clock.monotonic() - start)))
    child.finishes = setting.cleansUp
    child.account = programs.process == nil ? account : nil
    child.startsAtRoot = true
    child.directory = setting.directory
    child.secret = setting.secret
    child.input = setting.input
    child.stop = setting.stop
    child.output = setting.output
    return child
  }

  /// The words before those of a program that runs in the namespaces of a process.
  ///
  /// The program of root gets the account, without any capability. An ordinary user is the root of the user namespace,
  /// and the program gets one of its own, in which it is that user again.
  private func entering(process: Int32, setting: Setting) -> [[UInt8]] {
    let namespaces = ["--mount", "--uts", "--ipc", "--pid"] + (setting.keepsNetwork ? [] : ["--net"])
    guard CurrentProcess.effectiveUser == 0 else {
      let users = [
        "--map-user=\(CurrentProcess.effectiveUser)", "--map-group=\(CurrentProcess.effectiveGroup)",
      ]
      let words =
        ["/usr/bin/nsenter", "--target", "\(process)", "--user", "--preserve-credentials"] + namespaces
        + ["--", "/usr/bin/unshare", "--user"] + users + ["--", "/usr/bin/setpriv", "--no-new-privs", "--"]
      return words.map { Array($0.utf8) }
    }
    let identity = account.map { ["--reuid", "\($0.user)", "--regid", "\($0.group)", "--clear-groups"] } ?? []
    let limits = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    let words =
      ["/usr/bin/nsenter", "--target", "\(process)"] + namespaces + ["--", "/usr/bin/setpriv"] + identity + limits
    return (words + ["--"]).map { Array($0.utf8) }
  }

  private func reason(_ end: ChildEnd, of tool: String) -> String? {
    switch end {
    case .exited(0): nil
    case .exited(let status): "\(tool) ended with status \(status)"
    case .signalled(let signal): "\(tool) was ended by signal \(signal)"
    case .timedOut: "\(tool) did not end within the \(timeoutSeconds) seconds of \"timeout\" and was stopped"
    case .interrupted: "\(tool) was stopped, because the run was interrupted"
    }
  }

  static let noSpaceHint = "free some space, or name another file system's directory as \"directory\""

  private func hint(_ end: ChildEnd, errors: [[UInt8]]) -> String? {
    if end == .timedOut {
      return "another session may hold a lock that it waits for, or the time is too short: see \"timeout\""
    }
    let isFull = errors.suffix(Self.keptLines).contains {
      firstIndex(of: Array("No space left on device".utf8), in: $0) != nil
    }
    return isFull ? Self.noSpaceHint : nil
  }

  /// Some programs indent the lines that explain an error.
  private func lines(_ errors: [[UInt8]]) -> [String] {
    errors.suffix(Self.keptLines).map { displayName(Array($0.drop { $0 == 32 || $0 == 9 })) }
  }
}
