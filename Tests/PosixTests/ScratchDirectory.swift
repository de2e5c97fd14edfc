import Foundation
import Posix
import TestSupport

/// A directory of its own for one test; removed with its last reference.
final class ScratchDirectory: Sendable {
  private let temporary: TemporaryDirectory
  let directory: Directory
  var path: String { temporary.path.text }

  init(below parent: String? = nil) throws {
    temporary = try TemporaryDirectory("posix", below: parent)
    directory = Directory(try Descriptor.open(path: temporary.path.bytes, [.read, .directory]))
  }

  func makeFile(_ name: [UInt8], _ content: [UInt8] = []) throws {
    let file = try directory.descriptor.open(name.span, [.write, .create, .exclusive], mode: 0o644)
    try file.write(content)
    try file.close()
  }
}

func name(_ text: String) -> [UInt8] { Array(text.utf8) }
