import Catalog
import Engine
import Foundation
import Model
import Posix
import TestSupport
import Testing

/// Contents in pieces of every size, with holes, cut off and gone on with: the file has the bytes, and the digest is
/// what `sha256sum` says, or that of a sparse file.
struct FileAssemblyTests {
  @Test("the content is the same, whatever the pieces in which it comes", arguments: sample(4, of: Array(1...12)))
  func anyPieces(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let directory = try TemporaryDirectory("assembly")
    let path = (directory.path / "file").text
    let tools = AssemblyTools()
    let elides = seed.isMultiple(of: 2)
    // The tools serve one file after the other, whatever became of the one before.
    for round in 0..<4 {
      var expected: [UInt8] = []
      var assembly = try FileAssembly(
        try open(path, [.readWrite, .create, .truncate]), from: 0, elidingZeros: elides, with: tools)
      let target = round == 0 ? 5 << 20 : Int.random(in: 0...5 << 20, using: &random)
      while expected.count < target {
        let count = Int.random(in: 1...([9000, 400_000, 3 << 20].randomElement(using: &random)!), using: &random)
        let isZero = Int.random(in: 0..<4, using: &random) == 0
        let piece = isZero ? [UInt8](repeating: 0, count: count) : random.bytes(count)
        if isZero, Bool.random(using: &random) {
          try assembly.appendZeros(byteCount: UInt64(count))
        } else if Bool.random(using: &random) {
          try piece.withUnsafeBytes { try assembly.append($0) }
        } else {
          var rest = piece[...]
          while !rest.isEmpty {
            let space = assembly.space(atMost: UInt64(rest.count))
            #expect((1...rest.count).contains(space.count))
            rest.withUnsafeBytes { space.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<space.count])) }
            try assembly.append(spaceFilled: space.count)
            rest = rest.dropFirst(space.count)
          }
        }
        expected += piece
        #expect(assembly.byteCount == UInt64(expected.count))
        if Int.random(in: 0..<12, using: &random) == 0 {
          // As when the connection is lost: what came stays, perhaps less of it, and goes on in a new run.
          try assembly.flush()
          expected.removeLast(Int.random(in: 0...min(expected.count, 5000), using: &random))
          let file = try open(path, [.readWrite])
          try file.setLength(UInt64(expected.count))
          assembly = try FileAssembly(file, from: UInt64(expected.count), elidingZeros: elides, with: tools)
        }
      }
      if round.isMultiple(of: 2) {
        // The last buffer full, and nothing after it.
        let rest = random.bytes((256 << 10) - expected.count % (256 << 10))
        try rest.withUnsafeBytes { try assembly.append($0) }
        expected += rest
      }
      let digest = try assembly.finish()
      #expect(try tool("cat", ["\(path)"]) == expected)
      if digest.isSparse {
        let hasher = ContentHasher()
        hasher.reset()
        expected.withUnsafeBytes { hasher.update($0) }
        #expect(elides && hasher.finish() == digest)
        // The holes arrive as holes.
        let status = try open(path, [.read]).status()
        #expect(status.blocks * 512 < status.size)
      } else {
        #expect(try String(decoding: tool("sha256sum", ["\(path)"]), as: UTF8.self).hasPrefix("\(digest.digest)"))
      }
    }
  }

  private func open(_ path: String, _ flags: OpenFlags) throws -> Descriptor {
    try Descriptor.open(path: Array(path.utf8), flags, mode: 0o600)
  }
}
