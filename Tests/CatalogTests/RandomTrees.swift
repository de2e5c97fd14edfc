import Foundation
import Model
import TestSupport

@testable import Catalog

/// A generator whose seed is printed, and taken from TREERING_TEST_SEED to repeat a failure.
func printedGenerator(_ test: String = #function) -> SeededGenerator {
  let given = ProcessInfo.processInfo.environment["TREERING_TEST_SEED"].flatMap { UInt64($0) }
  let seed = given ?? UInt64.random(in: 0 ... .max)
  print("\(test): TREERING_TEST_SEED=\(seed)")
  return SeededGenerator(seed: seed)
}

extension SeededGenerator {
  /// Any bytes that a directory may hold as a name.
  mutating func fileName() -> [UInt8] {
    while true {
      let length = Int.random(in: 0...9, using: &self) == 0 ? 255 : Int.random(in: 1...12, using: &self)
      let name = bytes(length).map { $0 == 0 || $0 == UInt8(ascii: "/") ? UInt8(ascii: "x") : $0 }
      if name != [UInt8(ascii: ".")], name != Array("..".utf8) { return name }
    }
  }

  mutating func timestamp() -> Timestamp {
    Timestamp(
      seconds: Int64.random(in: -5_000_000_000...5_000_000_000, using: &self),
      nanoseconds: UInt32.random(in: 0..<1_000_000_000, using: &self))
  }

  mutating func metadata() -> Metadata {
    Metadata(
      permissions: UInt16.random(in: 0...0o7777, using: &self), user: UInt32.random(in: 0 ... .max, using: &self),
      group: UInt32.random(in: 0 ... .max, using: &self), modified: timestamp())
  }

  mutating func hints() -> Hints {
    Hints(
      sourceInode: next(), changed: timestamp(), storedInode: next(),
      flags: StorageFlags(rawValue: UInt32.random(in: 0...31, using: &self)))
  }

  mutating func attributes() -> AttributeBlock {
    guard Int.random(in: 0...4, using: &self) == 0 else { return .empty }
    var values: [[UInt8]: [UInt8]] = [:]
    for _ in 0..<Int.random(in: 1...4, using: &self) {
      let key = Array("user.".utf8) + bytes(5).map { $0 == 0 ? 1 : $0 }
      values[key] = bytes(Int.random(in: 0...300, using: &self))
    }
    return AttributeBlock(values.map { (name: $0.key, value: $0.value) })
  }

  mutating func entry() -> NewEntry {
    let kinds: [EntryKind] = [
      .regular, .regular, .regular, .symbolicLink, .fifo, .socket, .characterDevice, .blockDevice,
    ]
    var entry = NewEntry(kind: kinds.randomElement(using: &self)!, metadata: metadata(), hints: hints())
    switch entry.kind {
    case .regular:
      entry.size = [0, 1, 4096, UInt64(Int64.max)].randomElement(using: &self)!
      entry.digest = ContentDigest(Digest(bytes(32))!, isSparse: entry.size >= 1 << 20 && Bool.random(using: &self))
    case .symbolicLink: entry.target = bytes(Int.random(in: 1...400, using: &self))
    case .characterDevice, .blockDevice: entry.device = next()
    default: break
    }
    entry.attributes = attributes()
    if Int.random(in: 0...3, using: &self) == 0 { entry.linkGroup = next() }
    return entry
  }

  /// A tree of at most `depth` levels below its root.
  mutating func tree(depth: Int, files: Int, directories: Int) -> TestDirectory {
    var names = Set<[UInt8]>()
    while names.count < files + directories { names.insert(fileName()) }
    var sorted = Array(names).shuffled(using: &self)
    var directory = TestDirectory()
    directory.metadata = metadata()
    directory.attributes = attributes()
    directory.hints = hints()
    if Int.random(in: 0...9, using: &self) == 0 { directory.flags.insert(.incomplete) }
    let below = depth == 0 ? [] : Array(sorted.prefix(directories))
    sorted.removeFirst(directories)
    directory.files = sorted.sorted { $0.lexicographicallyPrecedes($1) }.map { ($0, entry()) }
    for name in below.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
      directory.directories.append(
        (name, tree(depth: depth - 1, files: files, directories: directories)))
    }
    return directory
  }
}
