internal import CTestSupport
internal import Foundation

/// What a process that ended left behind.
public struct CommandResult: Sendable {
  /// The exit status, or 128 and the number of the signal that killed it.
  public let status: Int32
  public let output: [UInt8]
  public let errors: [UInt8]

  public var outputText: String { String(decoding: output, as: UTF8.self) }
  public var errorText: String { String(decoding: errors, as: UTF8.self) }
  public var outputLines: [String] { Self.lines(outputText) }
  public var errorLines: [String] { Self.lines(errorText) }

  private static func lines(_ text: String) -> [String] {
    text.split(separator: "\n").map(String.init)
  }
}

/// The world that every process of a test sees; nothing else is inherited.
public let pinnedEnvironment = [
  "TZ": "UTC", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "COLUMNS": "80",
  // Without a place of its own, a test has no caches.
  "XDG_CACHE_HOME": "/dev/null",
  "TREERING_TEST_NAMES_AHEAD": "1",
  "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
]

/// Runs a program to its end, without a shell.
///
/// `program` is a path or a name that is looked for in the pinned `PATH`; a missing tool throws, so the
/// test that needs it fails. A process that does not end in time is killed, and that throws, too.
public func runCommand(
  _ program: ByteString, _ arguments: [ByteString], in directory: ByteString? = nil,
  environment: [String: String] = [:], input: ByteString = "/dev/null", timeoutSeconds: Double = 120
) throws -> CommandResult {
  try RunningCommand(program, arguments, in: directory, environment: environment, input: input)
    .wait(timeoutSeconds: timeoutSeconds)
}

/// Runs a tool that must succeed and returns what it printed.
@discardableResult
public func tool(
  _ program: ByteString, _ arguments: [ByteString], in directory: ByteString? = nil
) throws -> [UInt8] {
  let result = try runCommand(program, arguments, in: directory)
  guard result.status == 0 else {
    throw TestSupportError(
      "\(program) \(arguments.map(\.text).joined(separator: " ")) ended with status "
        + "\(result.status): \(result.errorText)")
  }
  return result.output
}

/// A process that was started and is watched.
public final class RunningCommand {
  public let identifier: Int32
  private let program: ByteString
  private let output: OutputFile
  private let errors: OutputFile
  private var hasEnded = false

  /// `input` is a file; without it there is nothing to read.
  public init(
    _ program: ByteString, _ arguments: [ByteString], in directory: ByteString? = nil,
    environment: [String: String] = [:], input: ByteString = "/dev/null"
  ) throws {
    self.program = program
    let words = [try Self.find(program)] + arguments
    let (output, errors) = (try OutputFile(), try OutputFile())
    (self.output, self.errors) = (output, errors)
    let standardInput = open(input.cString, O_RDONLY | O_CLOEXEC)
    guard standardInput >= 0 else { throw TestSupportError.systemCall("open", input) }
    defer { close(standardInput) }

    let pinned = pinnedEnvironment.merging(environment) { $1 }.map { ByteString("\($0)=\($1)") }
    let directory = directory?.cString
    let identifier = Self.withCStrings(words) { argv in
      Self.withCStrings(pinned) { envp in
        ts_spawn(argv, envp, directory, standardInput, output.descriptor, errors.descriptor)
      }
    }
    guard identifier >= 0 else { throw TestSupportError.systemCall("vfork", program) }
    self.identifier = identifier
  }

  deinit {
    if !hasEnded {
      kill(identifier, SIGKILL)
      var status: Int32 = 0
      waitpid(identifier, &status, 0)
    }
  }

  public func signal(_ number: Int32) { kill(identifier, number) }

  /// True once the process has stopped itself or was stopped by `SIGSTOP`.
  public func waitUntilStopped() throws {
    var status: Int32 = 0
    guard waitpid(identifier, &status, WUNTRACED) == identifier, status & 0xFF == 0x7F else {
      throw TestSupportError("\(program) ended before it could be stopped")
    }
  }

  /// What it has written to standard output up to now.
  public func outputSoFar() throws -> [UInt8] { try output.read() }

  /// Waits for the end and returns what was printed.
  public func wait(timeoutSeconds: Double = 120) throws -> CommandResult {
    let status = ts_wait(identifier, Int(timeoutSeconds * 1000))
    guard status >= 0 else { throw TestSupportError("\(program) did not end within \(timeoutSeconds) s") }
    hasEnded = true
    let code = status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + status & 0x7F
    return CommandResult(status: code, output: try output.read(), errors: try errors.read())
  }

  private static func find(_ program: ByteString) throws -> ByteString {
    if program.bytes.contains(UInt8(ascii: "/")) { return program }
    for directory in pinnedEnvironment["PATH"]!.split(separator: ":") {
      let path = ByteString(String(directory)) / program
      if access(path.cString, X_OK) == 0 { return path }
    }
    throw TestSupportError(
      "the tests need \(program): apt-get install the packages that the README names")
  }

  private static func withCStrings<R>(
    _ strings: [ByteString], _ body: ([UnsafeMutablePointer<CChar>?]) -> R
  ) -> R {
    let pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0.cString) }
    defer { pointers.forEach { free($0) } }
    return body(pointers + [nil])
  }
}

/// A file without a name that takes a standard stream: unlike a pipe it never fills up.
private final class OutputFile {
  let descriptor: Int32

  init() throws {
    let path = "/tmp/treering-output-\(UUID().uuidString)"
    descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw TestSupportError.systemCall("open", ByteString(path)) }
    unlink(path)
  }

  deinit { close(descriptor) }

  func read() throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = pread(descriptor, &buffer, buffer.count, off_t(bytes.count))
      guard count >= 0 else { throw TestSupportError.systemCall("pread", "output") }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
    }
  }
}
