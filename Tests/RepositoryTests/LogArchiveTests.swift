import Catalog
import Foundation
import Model
import Posix
import TestSupport
import Testing

@testable import Repository

/// A directory with two archives, and another place for sources.
private struct Scratch {
  private let directory: TemporaryDirectory
  private let tree: Tree
  let (archive, other): (String, String)

  init() throws {
    directory = try TemporaryDirectory("logs")
    tree = Tree(directory.path)
    (archive, other) = ("\(directory.path)/archive", "\(directory.path)/other")
    for name: ByteString in ["archive", "other"] { try tree.makeDirectory(name, mode: 0o700) }
  }

  func file(_ content: [UInt8]) throws -> SharedFile {
    try tree.write("source", bytes: content)
    return SharedFile(try Descriptor.open(path: (directory.path / "source").bytes, .read))
  }

  func write(_ content: [UInt8], to name: ByteString) throws { try tree.write(name, bytes: content) }
  func bytes(_ name: ByteString) throws -> [UInt8] { try tool("cat", [tree.root / name]) }
  func run(_ script: String) throws -> String {
    String(decoding: try tool("sh", ["-ec", ByteString(script)]), as: UTF8.self)
  }
}

@Suite struct LogArchiveTests {
  private let scratch: Scratch
  private var archive: LogArchive { get throws { try LogArchive(at: Array(scratch.archive.utf8)) } }

  init() throws { scratch = try Scratch() }

  private static let name = Array("000000010000000000000003".utf8)

  private func plain(_ name: [UInt8] = name) throws -> [UInt8]? {
    var bytes: [UInt8] = []
    return try archive.read(name) { bytes += $0 } ? bytes : nil
  }

  @Test("a log comes back", arguments: [0, 1, 100_000, 16 << 20])
  func aLogComesBack(byteCount: Int) throws {
    let content = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
    #expect(try archive.store(scratch.file(content), as: Self.name) == .stored)
    #expect(try plain() == content)
    #expect(try archive.names() == [Self.name])
    #expect(
      try archive.facts(of: Self.name) == LogFacts(byteCount: UInt64(byteCount), digest: SHA256().digest(of: content)))
    // zstd(1) knows nothing of the digest.
    #expect(
      try scratch.run("zstd -dcq \(scratch.archive)/*.zst | sha256sum").hasPrefix("\(SHA256().digest(of: content))"))
    #expect(try scratch.run("ls -A \(scratch.archive)") == ".lock\n000000010000000000000003.zst\n")
  }

  @Test("the same again is accepted and other content is refused")
  func theSameAgainIsAcceptedAndOtherContentIsRefused()
    throws
  {
    #expect(try archive.store(scratch.file([1, 2, 3]), as: Self.name) == .stored)
    #expect(try archive.store(scratch.file([1, 2, 3]), as: Self.name) == .present)
    let failure = try #require(throws: Failure.self) { try archive.store(scratch.file([1, 2, 4]), as: Self.name) }
    #expect(failure.kind == .refused)
    #expect(failure.message.hasSuffix("has another 000000010000000000000003 already"))
    #expect(try plain() == [1, 2, 3])
  }

  @Test("no changed byte changes the content")
  func noChangedByteChangesTheContent() throws {
    let content = Array("the content of a log".utf8)
    _ = try archive.store(scratch.file(content), as: Self.name)
    let path: ByteString = "archive/000000010000000000000003.zst"
    let stored = try scratch.bytes(path)
    for place in stored.indices {
      var changed = stored
      changed[place] ^= 1
      try scratch.write(changed, to: path)
      // The head of a frame has a bit or two without a meaning, such as the size of the window.
      if let read = try? plain() {
        #expect(read == content && place < 8, "\(place)")
        continue
      }
      // A copy that is not certain must not count as one.
      #expect(throws: Failure.self) { try archive.store(scratch.file(content), as: Self.name) }
    }
    for count in stored.indices {
      try scratch.write(Array(stored[..<count]), to: path)
      #expect(throws: Failure.self) { try plain() }
    }
    try scratch.write(stored + [0], to: path)
    #expect(throws: Failure.self) { try plain() }
  }

  @Test("a log that is not there is no error")
  func aLogThatIsNotThereIsNoError() throws {
    #expect(try plain() == nil)
    #expect(try archive.facts(of: Self.name) == nil)
    try archive.remove([Self.name])
  }

  @Test(
    "other names are refused",
    arguments: ["", ".", "..", ".new", "a/b", "a b", "-a", "\u{e9}", "a\0", String(repeating: "a", count: 201)])
  func otherNamesAreRefused(name: String) throws {
    #expect(!LogArchive.isName(Array(name.utf8)))
    let failure = try #require(throws: Failure.self) { try archive.store(scratch.file([1]), as: Array(name.utf8)) }
    #expect(failure.kind == .usage)
    #expect(throws: Failure.self) { try plain(Array(name.utf8)) }
  }

  @Test("stored files move between archives and are verified")
  func storedFilesMoveBetweenArchivesAndAreVerified()
    throws
  {
    _ = try archive.store(scratch.file(Array(repeating: 7, count: 1 << 20)), as: Self.name)
    var stored: [UInt8] = []
    #expect(try archive.readStored(Self.name) { stored += $0 })
    let other = try LogArchive(at: Array(scratch.other.utf8))
    func receive(_ bytes: [UInt8]) throws -> LogArchive.Outcome {
      try other.storeAsStored(Self.name) { sink in try bytes.withUnsafeBytes { try sink($0) } }
    }
    #expect(throws: Failure.self) { try receive(Array(stored.dropLast())) }
    #expect(throws: Failure.self) { try receive(stored.dropLast() + [stored.last! ^ 1]) }
    #expect(try other.names() == [])
    #expect(try receive(stored) == .stored)
    #expect(try receive(stored) == .present)
    #expect(
      try scratch.run("cmp \(scratch.archive)/*.zst \(scratch.other)/*.zst && ls -A \(scratch.other)")
        == ".lock\n000000010000000000000003.zst\n")
  }

  @Test("an archive that others may enter is refused")
  func anArchiveThatOthersMayEnterIsRefused() throws {
    _ = try scratch.run("chmod 750 \(scratch.archive)")
    let failure = try #require(throws: Failure.self) { try archive }
    #expect(failure.kind == .refused)
    #expect(failure.hint == "make it private: chmod 700 \(scratch.archive)")
  }

  @Test("a missing archive is not made")
  func aMissingArchiveIsNotMade() throws {
    _ = try scratch.run("rmdir \(scratch.archive)")
    #expect(throws: Failure.self) { try archive }
    #expect(throws: Failure.self) { try LogArchive(at: Array(scratch.archive.utf8)) }
  }

  @Test("leftovers are replaced and foreign files stay")
  func leftoversAreReplacedAndForeignFilesStay() throws {
    try scratch.write([1, 2, 3], to: "archive/.new")
    try scratch.write([1, 2, 3], to: "archive/README")
    #expect(try archive.store(scratch.file([9]), as: Self.name) == .stored)
    #expect(try plain() == [9])
    #expect(try archive.names() == [Self.name])
    try archive.remove([Self.name, Array("other".utf8)])
    #expect(try scratch.run("ls -A \(scratch.archive)") == ".lock\nREADME\n")
  }

  @Test("one writer at a time")
  func oneWriterAtATime() throws {
    _ = try archive.store(scratch.file([1]), as: Self.name)
    let lock = try Descriptor.open(path: Array("\(scratch.archive)/.lock".utf8), .readWrite)
    // A program that another test starts holds the lock of the first store, too, until its execve(2).
    var attempts = 0
    while attempts < 1000, (try? lock.lockExclusively()) == nil {
      usleep(10_000)
      attempts += 1
    }
    let failure = try #require(throws: Failure.self) {
      try archive.store(scratch.file([1]), as: Self.name, waitingSeconds: 0.1)
    }
    #expect(failure.kind == .locked)
  }
}
