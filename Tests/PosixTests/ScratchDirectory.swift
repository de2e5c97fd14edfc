import Foundation
import Posix

/// A directory of its own for one test; removed with its last reference.
final class ScratchDirectory: Sendable {
  let path: String
  let directory: Directory

  init() throws {
    path =
      FileManager.default.temporaryDirectory
      .appendingPathComponent("treering-posix-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    directory = Directory(try Descriptor.open(path: Array(path.utf8), [.read, .directory]))
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func makeFile(_ name: [UInt8], _ content: [UInt8] = []) throws {
    let file = try directory.descriptor.open(name.span, [.write, .create, .exclusive], mode: 0o644)
    try file.write(content)
    try file.close()
  }
}

func name(_ text: String) -> [UInt8] { Array(text.utf8) }

/// The output of a program of the system in the C locale, fed `input`.
func output(of program: String, _ arguments: [String] = [], input: Data = Data()) throws -> Data {
  let process = Foundation.Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = ["LC_ALL=C", program] + arguments
  let file = FileManager.default.temporaryDirectory
    .appendingPathComponent("treering-input-\(UUID().uuidString)")
  try input.write(to: file)
  defer { try? FileManager.default.removeItem(at: file) }
  process.standardInput = try FileHandle(forReadingFrom: file)
  let pipe = Pipe()
  process.standardOutput = pipe
  try process.run()
  let data = pipe.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  guard process.terminationStatus == 0 else { throw CocoaError(.executableLoad) }
  return data
}
