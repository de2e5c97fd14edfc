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

  deinit {
    // Directories that their owner may not enter are opened up where rm alone does not get through.
    if (try? runCommand("rm", ["-rf", "--", path]))?.status != 0 {
      _ = try? runCommand("chmod", ["-R", "u+rwX", "--", path])
      _ = try? runCommand("rm", ["-rf", "--", path])
    }
  }
}
