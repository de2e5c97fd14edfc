internal import Model
internal import Posix
internal import Repository

/// A program of the system, such as crontab(1), that is run to its end.
struct Tool {
  private let command: [[UInt8]]
  private let input: [UInt8]

  /// The program is searched in `PATH`.
  init(_ command: [String], environment: [(name: String, value: [UInt8])] = [], input: [UInt8] = []) {
    let variables = environment.map { Array("\($0.name)=".utf8) + $0.value }
    self.command = (variables.isEmpty ? [] : [Array("env".utf8)] + variables) + command.map { Array($0.utf8) }
    self.input = input
  }

  struct Result {
    let end: ChildEnd
    let output: [UInt8]
    /// The lines on standard error.
    let errors: [[UInt8]]
  }

  private static var timeoutSeconds: Double { 60 }

  func result() throws(Failure) -> Result {
    do {
      let child = try PipedChild.start(command)
      var rest = input[...]
      while !rest.isEmpty {
        let count = try rest.withUnsafeBytes { bytes throws(Errno) in
          try child.input.writeAvailable(bytes, timeoutMilliseconds: Int32(Self.timeoutSeconds * 1000))
        }
        guard let count else { throw Errno.timedOut }
        rest = rest.dropFirst(count)
      }
      try child.closeInput()
      // Such a program prints less than a pipe holds.
      let output = try Self.read(from: child.output)
      var lines = LineBuffer()
      var errors: [[UInt8]] = []
      lines.pass(try Self.read(from: child.error)) { errors.append($0) }
      lines.finish { errors.append($0) }
      guard let end = try child.wait(timeoutSeconds: Self.timeoutSeconds) else { throw Errno.timedOut }
      return Result(end: end, output: output, errors: errors)
    } catch { throw Failure(.failed, "cannot run \(words): \(error)") }
  }

  /// Runs the program, which must succeed.
  func run() throws(Failure) {
    let result = try result()
    if result.end != .exited(0) { throw failure(of: result) }
  }

  func failure(of result: Result) -> Failure {
    let why = result.errors.last.map { ": \(displayName($0))" } ?? ""
    let end = if case .exited(let status) = result.end { "ended with status \(status)" } else { "was ended" }
    return Failure(.failed, "\(words) \(end)\(why)")
  }

  private var words: String { displayName(Array(command.joined(separator: [UInt8(ascii: " ")]))) }

  private static func read(from pipe: borrowing Descriptor) throws(Errno) -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 1)
    defer { buffer.deallocate() }
    var bytes: [UInt8] = []
    while true {
      guard let count = try pipe.readAvailable(into: buffer, timeoutMilliseconds: Int32(timeoutSeconds * 1000))
      else { throw .timedOut }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
    }
  }
}
