import Foundation
import Model
import TestSupport
import Testing

@testable import Catalog

@Suite struct DigestTests {
  private func sha256(_ bytes: [UInt8]) -> String {
    let hasher = SHA256()
    hasher.update(bytes)
    return hasher.finish().description
  }

  /// FIPS 180-4 and the examples of NIST's Cryptographic Standards and Guidelines.
  @Test(
    "known vectors have their digests",
    arguments: [
      ("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
      ),
      ("a", 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ])
  func knownVectors(_ text: String, _ times: Int, _ expected: String) {
    let bytes = Array(text.utf8)
    #expect(sha256(Array([[UInt8]](repeating: bytes, count: times).joined())) == expected)
    let pieces = SHA256()
    for _ in 0..<times { pieces.update(bytes) }
    #expect(pieces.finish().description == expected)
  }

  @Test("the digests are those of sha256sum")
  func agreesWithSha256sum() throws {
    var generator = printedGenerator()
    for length in [0, 1, 31, 32, 33, 55, 56, 57, 63, 64, 65, 127, 128, 1000, 65_536, 1_000_003] {
      let bytes = generator.bytes(length)
      let theirs = String(decoding: try output(of: "sha256sum", input: bytes).prefix(64), as: UTF8.self)
      #expect(sha256(bytes) == theirs)
    }
  }

  @Test("a hasher starts over after each digest")
  func aHasherStartsOverAfterEachDigest() {
    let hasher = SHA256()
    hasher.update(name("abc"))
    let first = hasher.finish()
    hasher.update(name("abc"))
    #expect(hasher.finish() == first)
    hasher.update(name("forgotten"))
    hasher.reset()
    hasher.update(name("abc"))
    #expect(hasher.finish() == first)
    #expect(hasher.finish() == .ofNothing)
  }

  @Test("bytes make the same digest again")
  func bytesMakeTheSameDigestAgain() {
    let bytes = (0..<32).map { UInt8($0 * 7) }
    #expect(Digest(bytes)?.bytes == bytes)
    #expect(Digest(Array(bytes.dropLast())) == nil)
    #expect(Digest(bytes + [0]) == nil)
  }

  @Test("combined numbers depend on both and their order")
  func combinedNumbersDependOnBothAndTheirOrder() {
    let hasher = SHA256()
    let numbers = [hasher.combine(1, 2), hasher.combine(2, 1), hasher.combine(1, 3), hasher.combine(0, 2)]
    #expect(Set(numbers).count == 4)
    #expect(hasher.combine(1, 2) == numbers[0])
  }
}

/// What the Merkle digest of a tree covers, and what it must not.
@Suite struct TreeDigestTests {
  private func base() -> TestDirectory {
    var below = TestDirectory()
    below.files = [(name("deep"), .file("deep"))]
    var link = NewEntry.file()
    link.kind = .symbolicLink
    link.target = name("to")
    var device = NewEntry.file()
    device.kind = .blockDevice
    device.device = 8 << 32
    var grouped = NewEntry.file("grouped")
    grouped.linkGroup = 1
    var attributed = NewEntry.file("attributed")
    attributed.attributes = AttributeBlock([(name("user.a"), [1])])
    var root = TestDirectory()
    root.files = [
      (name("a"), attributed), (name("b"), device), (name("f"), .file("content")),
      (name("g"), grouped), (name("l"), link),
    ]
    root.directories = [(name("sub"), below)]
    return root
  }

  private func digest(_ tree: TestDirectory) throws -> Digest {
    try OpenCatalog(reading: try writeCatalog(tree)).summary.root.digest
  }

  @Test("hints, places and trailer do not matter")
  func hintsPlacesAndTrailerDoNotMatter() throws {
    var generator = printedGenerator()
    let expected = try digest(base())
    var other = base()
    other.hints = generator.hints()
    for index in other.files.indices { other.files[index].entry.hints = generator.hints() }
    other.directories[0].directory.hints = generator.hints()
    other.directories[0].directory.files[0].entry.hints = generator.hints()
    #expect(try digest(other) == expected)
    let elsewhere = try writeCatalog(base(), writers: 2) {
      $0.sequence = 99
      $0.label = name("other")
      $0.outcome = .warnings
    }
    #expect(try OpenCatalog(reading: elsewhere).summary.root.digest == expected)
  }

  static let edits: [(String, @Sendable (inout TestDirectory) -> Void)] = [
    ("name", { $0.files[2].name = name("e") }),
    ("kind", { $0.files[2].entry.kind = .fifo }),
    ("permissions", { $0.files[2].entry.metadata.permissions ^= 1 }),
    ("setuid", { $0.files[2].entry.metadata.permissions ^= 0o4000 }),
    ("user", { $0.files[2].entry.metadata.user += 1 }),
    ("group", { $0.files[2].entry.metadata.group += 1 }),
    (
      "user and group exchanged",
      {
        let metadata = $0.files[2].entry.metadata
        $0.files[2].entry.metadata.user = metadata.group
        $0.files[2].entry.metadata.group = metadata.user
      }
    ),
    ("mtime seconds", { $0.files[2].entry.metadata.modified.seconds += 1 }),
    ("mtime nanoseconds", { $0.files[2].entry.metadata.modified.nanoseconds += 1 }),
    ("size", { $0.files[2].entry.size += 1 }),
    ("content", { $0.files[2].entry.digest = .ofNothing }),
    ("link group added", { $0.files[2].entry.linkGroup = 5 }),
    ("link group changed", { $0.files[3].entry.linkGroup = 2 }),
    ("link group removed", { $0.files[3].entry.linkGroup = nil }),
    ("target", { $0.files[4].entry.target = name("tO") }),
    ("device major", { $0.files[1].entry.device += 1 << 32 }),
    ("device minor", { $0.files[1].entry.device += 1 }),
    ("attribute value", { $0.files[0].entry.attributes = AttributeBlock([(name("user.a"), [2])]) }),
    ("attribute name", { $0.files[0].entry.attributes = AttributeBlock([(name("user.b"), [1])]) }),
    ("attribute removed", { $0.files[0].entry.attributes = .empty }),
    ("file removed", { $0.files.remove(at: 2) }),
    ("file added", { $0.files.append((name("z"), .file())) }),
    ("own permissions", { $0.metadata.permissions ^= 1 }),
    ("own user", { $0.metadata.user += 1 }),
    ("own group", { $0.metadata.group += 1 }),
    ("own mtime", { $0.metadata.modified.nanoseconds += 1 }),
    ("own attributes", { $0.attributes = AttributeBlock([(name("user.a"), [])]) }),
    ("incomplete", { $0.flags.insert(.incomplete) }),
    ("directory's name", { $0.directories[0].name = name("suB") }),
    ("directory removed", { $0.directories = [] }),
    ("empty directory added", { $0.directories.append((name("t"), TestDirectory())) }),
    ("deep content", { $0.directories[0].directory.files[0].entry.digest = .ofNothing }),
    ("deep metadata", { $0.directories[0].directory.metadata.permissions ^= 1 }),
    (
      "file moved down",
      {
        let file = $0.files.remove(at: 2)
        $0.directories[0].directory.files.append(file)
      }
    ),
  ]

  @Test("every field of the content matters")
  func everyFieldOfTheContentMatters() throws {
    var seen = [try digest(base()): "nothing"]
    for (what, edit) in Self.edits {
      var tree = base()
      edit(&tree)
      if let same = seen.updateValue(what, forKey: try digest(tree)) {
        Issue.record("\(what) has the digest of \(same)")
      }
    }
  }

  @Test("attributes have one form whatever their order")
  func attributesHaveOneFormWhateverTheirOrder() {
    let one: (name: [UInt8], value: [UInt8]) = (name("user.a"), [1])
    let two: (name: [UInt8], value: [UInt8]) = (name("user.b"), [2])
    let a = AttributeBlock([one, two])
    let b = AttributeBlock([two, one])
    #expect(a == b)
  }
}
