internal import Foundation

/// A directory of its own for one test, deleted with everything in it when the last reference goes.
public final class TemporaryDirectory: Sendable {
  public let path: ByteString

  /// Below `above`, else `TMPDIR`, else `/tmp`; others may pass through it, as ordinary users do in some tests.
  public init(_ purpose: String = "test", below above: String? = nil) throws {
    let above = above ?? ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
    var template = ByteString("\(above)/treering-\(purpose)-XXXXXX").cString
    guard mkdtemp(&template) != nil, chmod(template, 0o755) == 0 else {
      throw TestSupportError.systemCall("mkdtemp", ByteString(above))
    }
    // A snapshot shows the real name, whatever symbolic links lead to it.
    guard let real = realpath(template, nil) else {
      throw TestSupportError.systemCall("realpath", ByteString(above))
    }
    defer { free(real) }
    path = ByteString(String(cString: real))
  }

  /// Runs a script of sh(1) in the directory, which must succeed. Returns what it printed.
  @discardableResult
  public func run(_ script: String) throws -> String {
    String(decoding: try tool("sh", ["-ec", ByteString(script)], in: path), as: UTF8.self)
  }

  deinit {
    // Directories that their owner may not enter are opened up where rm alone does not get through.
    if (try? runCommand("rm", ["-rf", "--", path]))?.status != 0 {
      _ = try? runCommand("chmod", ["-R", "u+rwX", "--", path])
      _ = try? runCommand("rm", ["-rf", "--", path])
    }
  }
}

/// The output of a tool that must succeed and that is fed `input`.
public func output(of program: ByteString, _ arguments: [ByteString] = [], input: [UInt8]) throws -> [UInt8] {
  let directory = try TemporaryDirectory("input")
  try Tree(directory.path).write("input", bytes: input)
  let result = try runCommand(program, arguments, input: directory.path / "input")
  guard result.status == 0 else {
    throw TestSupportError("\(program) ended with \(result.status): \(result.errorText)")
  }
  return result.output
}
