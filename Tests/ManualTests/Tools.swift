import Foundation

/// What a child process said and how it ended.
struct Ended {
  var status: Int32
  var output: Data
  var errors: Data

  var text: String { String(decoding: output, as: UTF8.self) }
  var errorText: String { String(decoding: errors, as: UTF8.self) }
}

/// Why a test cannot even begin: a missing peer is a failure, never a reason to skip.
struct Unable: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

enum Tools {
  /// The top of the package.
  static let package = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// The binary that was built together with this test.
  static func treering() throws -> String {
    var directories = [Bundle.main.bundleURL, Bundle.main.bundleURL.deletingLastPathComponent()]
    if let program = CommandLine.arguments.first {
      directories.append(URL(filePath: program).deletingLastPathComponent())
    }
    for directory in directories {
      let path = directory.appending(path: "treering").path
      var isDirectory: ObjCBool = false
      if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory),
        !isDirectory.boolValue, FileManager.default.isExecutableFile(atPath: path)
      {
        return path
      }
    }
    throw Unable("no treering binary in \(directories.map(\.path)); run: swift build")
  }

  static func find(_ name: String) throws -> String {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    for directory in path.split(separator: ":") {
      let candidate = "\(directory)/\(name)"
      if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
    }
    throw Unable("\(name) is not installed, and this test cannot do without it")
  }

  /// Runs a program in a pinned world and waits for its end.
  static func run(
    _ program: String, _ arguments: [String], in directory: URL? = nil
  ) throws -> Ended {
    let process = Process()
    process.executableURL = URL(filePath: program)
    process.arguments = arguments
    process.currentDirectoryURL = directory
    process.environment = [
      "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin",
      "LC_ALL": "C", "TZ": "UTC", "HOME": "/nonexistent",
    ]
    process.standardInput = FileHandle.nullDevice
    let output = Pipe()
    process.standardOutput = output
    // A file and not a second pipe: nobody has to read both at once.
    let errors = FileManager.default.temporaryDirectory.appending(
      path: "treering-errors-\(UUID().uuidString)")
    try Data().write(to: errors)
    defer { try? FileManager.default.removeItem(at: errors) }
    process.standardError = try FileHandle(forWritingTo: errors)
    try process.run()
    let data = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return Ended(
      status: process.terminationStatus, output: data, errors: try Data(contentsOf: errors))
  }

  /// Runs a program that must succeed.
  static func succeed(
    _ program: String, _ arguments: [String], in directory: URL? = nil
  ) throws -> Ended {
    let ended = try run(program, arguments, in: directory)
    guard ended.status == 0 else {
      throw Unable("\(program) \(arguments) ended with \(ended.status): \(ended.errorText)")
    }
    return ended
  }
}

/// A directory that goes away with its last reference.
final class Scratch {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.resolvingSymlinksInPath()
      .appending(path: "treering-manual-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { _ = try? Tools.run("/bin/rm", ["-rf", url.path]) }

  func path(_ name: String) -> String { url.appending(path: name).path }
}
