import Foundation
import Model
import Posix
import TestSupport
import Testing

@Suite struct MetadataTests {
  @Test(
    "modification times are set to the nanosecond",
    arguments: [
      (0, 0), (0, 999_999_999), (1_700_000_000, 123_456_789), (1_700_000_000, 1), (-1, 0),
      (-1, 999_999_999), (-2_000_000_000, 500_000_000), (4_102_444_800, 7),
    ] as [(Int64, UInt32)])
  func modificationTimesToTheNanosecond(_ seconds: Int64, _ nanoseconds: UInt32) throws {
    let scratch = try ScratchDirectory()
    try scratch.makeFile(name("f"), name("x"))
    let (f, l) = (name("f"), name("l"))
    try scratch.directory.descriptor.makeSymbolicLink(l.span, to: f)
    let before = try scratch.directory.descriptor.status(of: f.span)
    for entry in [l, f] {
      let handle = try scratch.directory.descriptor.open(entry.span, .pathOnly)
      try handle.setModificationTime(
        Timestamp(seconds: seconds, nanoseconds: nanoseconds))
      let status = try scratch.directory.descriptor.status(of: entry.span)
      #expect(status.modified == Timestamp(seconds: seconds, nanoseconds: nanoseconds))
      if entry == l {
        // The link's own time was set and not its target's.
        let target = try scratch.directory.descriptor.status(of: f.span)
        #expect(target.modified == before.modified)
      }
    }
    let shown = try tool("stat", ["-c", "%.9Y", ByteString(scratch.path + "/f")])
    // stat prints a negative time as a whole and a fraction of the same sign.
    let exact = Double(seconds) + Double(nanoseconds) / 1e9
    let theirs = try #require(Double(String(decoding: shown, as: UTF8.self).trimmingCharacters(in: .newlines)))
    #expect(abs(theirs - exact) < 1e-5)
  }

  @Test("all twelve permission bits are set", arguments: [0, 0o400, 0o644, 0o1777, 0o2755, 0o4755, 0o7777] as [UInt32])
  func allTwelvePermissionBits(_ permissions: UInt32) throws {
    let scratch = try ScratchDirectory()
    try scratch.makeFile(name("f"))
    let f = name("f")
    let file = try scratch.directory.descriptor.open(f.span, .write)
    try file.setPermissions(permissions)
    #expect(try file.status().permissions == permissions)
    try file.setPermissions(0o600)
    let handle = try scratch.directory.descriptor.open(f.span, .pathOnly)
    try handle.setPermissionsOfHandle(permissions)
    #expect(try handle.status().permissions == permissions)
  }

  @Test("every kind has its status")
  func everyKindHasItsStatus() throws {
    let scratch = try ScratchDirectory()
    let directory = scratch.directory
    let names = ["f", "d", "l", "p", "s"].map(name)
    let (f, d, l, p, s) = (names[0], names[1], names[2], names[3], names[4])
    try scratch.makeFile(f, [1, 2, 3])
    try directory.descriptor.makeDirectory(d.span, mode: 0o700)
    try directory.descriptor.makeSymbolicLink(l.span, to: name("nowhere"))
    try directory.descriptor.makeNode(p.span, kind: .fifo, deviceNumber: 0)
    try directory.descriptor.makeNode(s.span, kind: .socket, deviceNumber: 0)
    let kinds = try names.map { try directory.descriptor.status(of: $0.span).kind }
    #expect(kinds == [.regular, .directory, .symbolicLink, .fifo, .socket])
    #expect(try directory.descriptor.status(of: f.span).size == 3)
    #expect(try directory.descriptor.status(of: l.span).size == 7)
  }
}

@Suite struct SymbolicLinkTests {
  @Test(
    "targets are read back byte for byte",
    arguments: [
      name("x"), name("/absolute"), name("../.."), name(" "), [0xFF, 0x0A, 0x1B],
      [UInt8](repeating: 97, count: 4095), [UInt8](repeating: 97, count: 256),
    ])
  func targetsAreReadBackByteForByte(_ target: [UInt8]) throws {
    let scratch = try ScratchDirectory()
    let link = name("link")
    try scratch.directory.descriptor.makeSymbolicLink(link.span, to: target)
    #expect(try scratch.directory.descriptor.readSymbolicLink(link.span) == target)
  }

  @Test("what is no link cannot be read")
  func whatIsNoLinkCannotBeRead() throws {
    let scratch = try ScratchDirectory()
    try scratch.makeFile(name("f"))
    let (f, none) = (name("f"), name("none"))
    #expect(throws: Errno.invalid) { _ = try scratch.directory.descriptor.readSymbolicLink(f.span) }
    #expect(throws: Errno.noSuchEntry) {
      _ = try scratch.directory.descriptor.readSymbolicLink(none.span)
    }
  }

  @Test("only the operator's paths follow links")
  func nothingButTheOperatorsPathsFollowsLinks() throws {
    let scratch = try ScratchDirectory()
    let directory = scratch.directory
    let (f, d, toFile, toDirectory) = (name("f"), name("d"), name("lf"), name("ld"))
    try scratch.makeFile(f, name("secret"))
    try directory.descriptor.makeDirectory(d.span, mode: 0o700)
    try directory.descriptor.makeSymbolicLink(toFile.span, to: f)
    try directory.descriptor.makeSymbolicLink(toDirectory.span, to: d)
    #expect(throws: Errno.symbolicLoop) { _ = try directory.descriptor.open(toFile.span, .read) }
    #expect(throws: Errno.symbolicLoop) { _ = try directory.descriptor.openToRead(toFile.span) }
    #expect(throws: Errno.symbolicLoop) {
      _ = try directory.descriptor.open(toFile.span, [.write, .truncate])
    }
    #expect(throws: Errno.notADirectory) { _ = try directory.descriptor.openDirectory(toDirectory.span) }
    #expect(throws: Errno.notADirectory) { _ = try directory.directory(path: [toDirectory]) }
    #expect(throws: Errno.exists) { try directory.descriptor.makeDirectory(toDirectory.span, mode: 0o700) }
    #expect(throws: Errno.exists) {
      _ = try directory.descriptor.open(toFile.span, [.write, .create, .exclusive], mode: 0o600)
    }
    #expect(try directory.descriptor.status(of: toFile.span).kind == .symbolicLink)
    // linkat makes another name of the link itself.
    let copy = name("copy")
    try directory.descriptor.link(toFile.span, to: directory.descriptor, as: copy.span)
    #expect(try directory.descriptor.status(of: copy.span).kind == .symbolicLink)
    #expect(try directory.descriptor.openFollowing(toFile.span, .read).status().kind == .regular)
    #expect(try directory.descriptor.status(of: f.span).size == 6)
  }
}

@Suite struct RenameTests {
  @Test("an existing name stays unless it is to be replaced")
  func anExistingNameStaysUnlessItIsToBeReplaced() throws {
    let scratch = try ScratchDirectory()
    let directory = scratch.directory
    let (a, b) = (name("a"), name("b"))
    try scratch.makeFile(a, name("from a"))
    try scratch.makeFile(b, name("b"))
    #expect(throws: Errno.exists) {
      try directory.descriptor.rename(a.span, to: directory.descriptor, as: b.span)
    }
    #expect(try directory.descriptor.status(of: a.span).size == 6)
    #expect(try directory.descriptor.status(of: b.span).size == 1)
    try directory.descriptor.rename(a.span, to: directory.descriptor, as: b.span, replacing: true)
    #expect(try directory.descriptor.status(of: b.span).size == 6)
    #expect(throws: Errno.noSuchEntry) { _ = try directory.descriptor.status(of: a.span) }
  }

  @Test("an empty directory is not replaced either")
  func anEmptyDirectoryIsNotReplacedEither() throws {
    let scratch = try ScratchDirectory()
    let directory = scratch.directory
    let (a, b) = (name("a"), name("b"))
    try directory.descriptor.makeDirectory(a.span, mode: 0o700)
    try directory.descriptor.makeDirectory(b.span, mode: 0o700)
    #expect(throws: Errno.exists) {
      try directory.descriptor.rename(a.span, to: directory.descriptor, as: b.span)
    }
  }
}

@Suite struct DataTests {
  @Test("a read at an offset gives what there is")
  func readAtGivesWhatThereIs() throws {
    let scratch = try ScratchDirectory()
    let f = name("f")
    try scratch.makeFile(f, Array(0..<100))
    let file = try scratch.directory.descriptor.open(f.span, .read)
    #expect(try file.read(at: 90, count: 50) == Array(90..<100))
    #expect(try file.read(at: 100, count: 5) == [])
    #expect(try file.read(at: 1000, count: 5) == [])
    #expect(try file.readToEnd(limit: 100) == Array(0..<100))
    #expect(throws: (any Error).self) { _ = try file.readToEnd(limit: 99) }
  }

  @Test("holes are found and made")
  func holesAreFoundAndMade() throws {
    let scratch = try ScratchDirectory()
    let f = name("f")
    let file = try scratch.directory.descriptor.open(f.span, [.readWrite, .create], mode: 0o600)
    let mebibyte: UInt64 = 1 << 20
    try file.write([1, 2, 3], at: 4 * mebibyte)
    try file.setLength(8 * mebibyte)
    let status = try file.status()
    #expect(status.hasHoles && status.size == 8 * mebibyte)
    let data = try #require(try file.seekData(from: 0))
    #expect(data > 0 && data <= 4 * mebibyte)
    let hole = try file.seekHole(from: data)
    #expect(hole > 4 * mebibyte && hole < 8 * mebibyte)
    #expect(try file.seekData(from: hole) == nil)
  }

  @Test("the lock is exclusive")
  func theLockIsExclusive() throws {
    let scratch = try ScratchDirectory()
    let f = name("f")
    try scratch.makeFile(f)
    let first = try scratch.directory.descriptor.open(f.span, .readWrite)
    let second = try scratch.directory.descriptor.open(f.span, .readWrite)
    try first.lockExclusively()
    #expect(throws: Errno.wouldBlock) { try second.lockExclusively() }
    try first.close()
    // A program that another test starts holds it, too, until its execve(2).
    var attempts = 0
    while attempts < 1000, (try? second.lockExclusively()) == nil {
      usleep(10_000)
      attempts += 1
    }
    try second.lockExclusively()
  }
}
