import Foundation
import Model
import Posix
import Testing

/// No name that is not a single component reaches the kernel, whichever call it is given to.
@Suite struct ComponentTests {
  typealias Call = @Sendable (Directory, [UInt8]) throws -> Void

  static let calls: [(String, Call)] = [
    ("open", { _ = try $0.descriptor.open($1.span, .read) }),
    ("open to create", { _ = try $0.descriptor.open($1.span, [.write, .create], mode: 0o600) }),
    ("openFollowing", { _ = try $0.descriptor.openFollowing($1.span, .read) }),
    ("openToRead", { _ = try $0.descriptor.openToRead($1.span) }),
    ("openDirectory", { _ = try $0.descriptor.openDirectory($1.span) }),
    ("directory", { _ = try $0.directory($1.span) }),
    ("directory of a path", { _ = try $0.directory(path: [$1]) }),
    ("status", { _ = try $0.descriptor.status(of: $1.span) }),
    ("unlink", { try $0.descriptor.unlink($1.span) }),
    ("removeDirectory", { try $0.descriptor.removeDirectory($1.span) }),
    ("makeDirectory", { try $0.descriptor.makeDirectory($1.span, mode: 0o700) }),
    ("makeNode", { try $0.descriptor.makeNode($1.span, kind: .fifo, deviceNumber: 0) }),
    ("makeSymbolicLink", { try $0.descriptor.makeSymbolicLink($1.span, to: name("t")) }),
    ("readSymbolicLink", { _ = try $0.descriptor.readSymbolicLink($1.span) }),
    (
      "link from",
      {
        let n = name("new")
        try $0.descriptor.link($1.span, to: $0.descriptor, as: n.span)
      }
    ),
    (
      "link to",
      {
        let n = name("file")
        try $0.descriptor.link(n.span, to: $0.descriptor, as: $1.span)
      }
    ),
    (
      "rename from",
      {
        let n = name("new")
        try $0.descriptor.rename($1.span, to: $0.descriptor, as: n.span)
      }
    ),
    (
      "rename to",
      {
        let n = name("file")
        try $0.descriptor.rename(n.span, to: $0.descriptor, as: $1.span, replacing: true)
      }
    ),
  ]

  static let names: [(String, [UInt8], Errno)] = [
    ("nothing", [], .invalid), (".", name("."), .invalid), ("..", name(".."), .invalid),
    ("a/b", name("file/b"), .invalid), ("/", name("/"), .invalid), ("/etc", name("/etc"), .invalid),
    ("../x", name("../x"), .invalid), ("./file", name("./file"), .invalid),
    ("file/", name("file/"), .invalid), ("a NUL inside", [102, 0, 102], .invalid),
    ("a NUL at the end", name("file\0"), .invalid), ("a NUL", [0], .invalid),
    ("256 bytes", [UInt8](repeating: 97, count: 256), .nameTooLong),
    ("65,536 bytes", [UInt8](repeating: 97, count: 65536), .nameTooLong),
  ]

  @Test("a name that is no component is refused", arguments: calls.indices)
  func refusesWhatIsNoComponent(_ index: Int) throws {
    let (call, body) = Self.calls[index]
    let scratch = try ScratchDirectory()
    try scratch.makeFile(name("file"), name("content"))
    for (what, bytes, expected) in Self.names {
      #expect(throws: expected, "\(call) of \(what)") { try body(scratch.directory, bytes) }
    }
    // And nothing was made, renamed or removed.
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["file"])
  }

  @Test(
    "every other name is taken",
    arguments: [
      name("..."), name(".x"), name("..x"), name(" "), name("-"), [0xFF], [1], name("a\nb"), name("\\"),
      [UInt8](repeating: 0xFE, count: 255),
    ])
  func takesEveryOtherName(_ bytes: [UInt8]) throws {
    let scratch = try ScratchDirectory()
    try scratch.makeFile(bytes)
    #expect(try scratch.directory.descriptor.status(of: bytes.span).kind == .regular)
    let new = name("new")
    try scratch.directory.descriptor.rename(bytes.span, to: scratch.directory.descriptor, as: new.span)
    try scratch.directory.descriptor.makeDirectory(bytes.span, mode: 0o700)
    _ = try scratch.directory.directory(bytes.span)
    try scratch.directory.descriptor.removeDirectory(bytes.span)
  }

  @Test("a link's target may be anything without a NUL")
  func aLinksTargetMayBeAnythingButHoldNoNUL() throws {
    let scratch = try ScratchDirectory()
    let bad: [UInt8] = [97, 0, 98]
    let link = name("link")
    #expect(throws: Errno.invalid) {
      try scratch.directory.descriptor.makeSymbolicLink(link.span, to: bad)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == [])
  }

  @Test("a path with a NUL is not opened")
  func aPathWithANULIsNotOpened() {
    #expect(throws: Errno.invalid) { _ = try Descriptor.open(path: name("/etc\0/passwd"), .read) }
  }
}
