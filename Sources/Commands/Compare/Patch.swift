internal import Engine
internal import Model
internal import Posix
internal import Repository

enum PatchContent {
  case bytes([UInt8])
  case tooLarge(UInt64)
}

/// The differences of two text files, by diff(1).
struct Patch {
  typealias Side = (label: [UInt8], content: PatchContent)
  /// The largest file that is compared, in bytes.
  static let largest: UInt64 = 1 << 20
  /// As git does, a content with a zero among its first bytes counts as no text.
  private static var examined: Int { 8000 }

  /// `nil` for a file that is not there.
  let before: Side?
  let after: Side?

  func write(to writer: AnswerWriter) throws {
    let sides = [before, after]
    let names = sides.compactMap { $0.map { displayName($0.label) } }.joined(separator: " and ")
    var contents: [[UInt8]] = []
    for side in sides {
      switch side?.content {
      case .bytes(let bytes)?: contents.append(bytes)
      case nil: contents.append([])
      case .tooLarge?: return try writer.line("Large files, not compared: \(names)")
      }
    }
    if contents[0] == contents[1] { return }
    if contents.contains(where: { $0.prefix(Self.examined).contains(0) }) {
      return try writer.line("Binary files differ: \(names)")
    }
    try writer.write(try difference(of: contents))
  }

  private func difference(of contents: [[UInt8]]) throws -> [UInt8] {
    // Files in memory have no names that another user could use.
    let one = try Descriptor.memoryFile()
    let other = try Descriptor.memoryFile()
    try one.write(contents[0])
    try other.write(contents[1])
    let none = Array("/dev/null".utf8)
    let labels = [before, after].flatMap {
      [Array("--label".utf8), $0.map { Array(displayName($0.label).utf8) } ?? none]
    }
    let command = [Array("diff".utf8), Array("-a".utf8), Array("-u".utf8)] + labels
    let child: PipedChild
    do throws(Errno) { child = try PipedChild.start(command + [one.pathForChild, other.pathForChild]) } catch {
      throw Failure(.failed, "cannot start diff: \(error)", hint: "install diffutils, or leave out --patch")
    }
    try child.closeInput()
    let text = try Self.readAll(child.output)
    let end = try child.wait(timeoutSeconds: 10)
    guard end == .exited(1) else {
      let reason = displayName(try Self.readAll(child.error).prefix(500))
      throw Failure(.failed, "diff did not compare \(labels.map { displayName($0) }.last ?? ""): \(reason)")
    }
    return text
  }

  private static func readAll(_ pipe: borrowing Descriptor) throws -> [UInt8] {
    var text: [UInt8] = []
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 1)
    defer { buffer.deallocate() }
    while true {
      try checkForSignal()
      guard let count = try pipe.readAvailable(into: buffer, timeoutMilliseconds: 200) else { continue }
      if count == 0 { return text }
      text += buffer[..<count]
    }
  }
}
