import Foundation
import TestSupport

extension CommandResult {
  var text: String { outputText }
}

enum Tools {
  /// The top of the package.
  static let package = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  static func treering() throws -> String { try treeringBinary().text }

  /// Runs a program and waits for its end.
  static func run(_ program: String, _ arguments: [String], in directory: URL? = nil) throws -> CommandResult {
    try runCommand(
      ByteString(program), arguments.map { ByteString($0) }, in: directory.map { ByteString($0.path) })
  }

  /// Runs a program that must succeed.
  static func succeed(_ program: String, _ arguments: [String], in directory: URL? = nil) throws -> CommandResult {
    let ended = try run(program, arguments, in: directory)
    guard ended.status == 0 else {
      throw TestSupportError("\(program) \(arguments) ended with \(ended.status): \(ended.errorText)")
    }
    return ended
  }
}

/// A temporary directory, as a URL.
final class Scratch {
  private let directory: TemporaryDirectory
  var url: URL { URL(filePath: directory.path.text) }

  init() throws { directory = try TemporaryDirectory("manual") }

  func path(_ name: String) -> String { url.appending(path: name).path }
}
