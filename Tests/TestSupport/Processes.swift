internal import Foundation

/// What proc(5) says of the processes that run.
public enum Processes {
  /// The processes that one started, and those that they did, parents first.
  public static func descendants(of identifier: Int32) throws -> [Int32] {
    let parents = try Dictionary(uniqueKeysWithValues: identifiers().map { ($0, parent(of: $0)) })
    var found = [identifier]
    var next = 0
    while next < found.count {
      found += parents.filter { $0.value == found[next] }.map(\.key)
      next += 1
    }
    return Array(found.dropFirst())
  }

  /// Those that run the program at this path.
  public static func running(_ program: ByteString) throws -> [Int32] {
    try identifiers().filter {
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\($0)/exe")) == program.text
    }
  }

  /// Without its directory, at most 15 bytes; `nil` where the process has ended.
  public static func name(of identifier: Int32) -> String? {
    (try? String(contentsOfFile: "/proc/\(identifier)/comm", encoding: .utf8))?.trimmingCharacters(in: .newlines)
  }

  private static func parent(of identifier: Int32) -> Int32? {
    // The name, which can hold anything, stands in parentheses; the state and the parent follow.
    let text = try? String(contentsOfFile: "/proc/\(identifier)/stat", encoding: .isoLatin1)
    guard let text, let end = text.lastIndex(of: ")") else { return nil }
    return Int32(text[end...].split(separator: " ")[2])
  }

  private static func identifiers() throws -> [Int32] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }
  }
}
