import TestSupport

extension Tree {
  /// One of everything that a tree can hold, in every combination that has its own code path.
  func makeEverything() throws {
    try makeFiles()
    try makeDirectories()
    try makeSpecials()
    try makeHardLinks()
    try makeAttributes()
    try setTimes()
  }

  private func makeFiles() throws {
    try write("empty", "")
    try write("one-byte", "x")
    try write("text", "the quick brown fox\n", mode: 0o640)
    // Larger than any buffer, and not a multiple of one.
    try write("large", bytes: (0..<700_001).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) })
    try write("unreadable", "for root alone", mode: 0o000)
    try write("setuid", "#!/bin/true\n", mode: 0o4755)
    try write("setgid", "#!/bin/true\n", mode: 0o2755)
    try write("all-bits", "", mode: 0o7777)
    try write("of-others", "owned by number", mode: 0o4750)
    try setOwner("of-others", user: 54_321, group: 4_000_000_000)
    try setMode("of-others", 0o4750)
    try write("hole-in-the-middle", "begin")
    try overwrite("hole-in-the-middle", at: 1 << 20, bytes: Array("end".utf8))
    try write("hole-at-the-end", "begin")
    try truncate("hole-at-the-end", to: 3 << 20)
    try write("only-a-hole", "")
    try truncate("only-a-hole", to: 1 << 20)
  }

  private func makeDirectories() throws {
    try makeDirectory("empty-directory")
    try makeDirectory("sticky", mode: 0o1777)
    try makeDirectory("setgid-directory", mode: 0o2770)
    try setOwner("setgid-directory", user: 1, group: 60_001)
    try setMode("setgid-directory", 0o2770)
    try write("setgid-directory/inherits-the-group", "text")
    try makeDirectory("closed", mode: 0o700)
    try write("closed/inside", "text")
    try setMode("closed", 0o000)
    try makeDirectory("read-only")
    try write("read-only/inside", "text")
    try setMode("read-only", 0o555)
    try makeDirectory("a")
    try makeDirectory("a/b")
    try makeDirectory("a/b/c")
    try write("a/b/c/deep", "text")
  }

  private func makeSpecials() throws {
    try makeSymbolicLink("link-to-file", to: "text")
    try makeSymbolicLink("link-to-directory", to: "a/b")
    try makeSymbolicLink("link-dangling", to: "/no/such/thing")
    try makeSymbolicLink("link-to-itself", to: "link-to-itself")
    try makeSymbolicLink("link-long", to: ByteString(String(repeating: "x/", count: 2_000) + "end"))
    try makeSymbolicLink("link-odd", to: ByteString([0xFF, 0x0A, 0x20, 0x5C]))
    try setOwner("link-odd", user: 77, group: 88)
    try makeFIFO("fifo", mode: 0o620)
    try setOwner("fifo", user: 5, group: 6)
    try makeSocket("socket", mode: 0o711)
    try makeDevice("character-device", isBlock: false, major: 1, minor: 3, mode: 0o666)
    try makeDevice("block-device", isBlock: true, major: 259, minor: 70_000, mode: 0o640)
    try makeDevice("whiteout", isBlock: false, major: 0, minor: 0, mode: 0o600)
  }

  private func makeHardLinks() throws {
    try write("linked", "one inode")
    try link("linked", as: "linked-too")
    try link("linked", as: "a/linked-deeper")
    try link("linked", as: "a/b/c/linked-deepest")
    try write("a/pair", "another")
    try link("a/pair", as: "a/pair-too")
    // The same content twice is two inodes.
    try write("a/twin", "another")
  }

  private func makeAttributes() throws {
    try write("attributes", "text")
    try setAttribute("attributes", "user.note", Array("hello".utf8))
    try setAttribute("attributes", "user.empty", [])
    try setAttribute("attributes", "user.binary", [0, 0xFF, 10, 0])
    try setAttribute("attributes", "trusted.mark", [1])
    try setAttribute("a", "user.note", Array("on a directory".utf8))
    try setAttribute("a", "trusted.mark", [2])
    try setAttribute("link-to-file", "trusted.mark", [3])
    try write("acl", "text", mode: 0o640)
    try setACL("acl", "u:1234:rw,g:5678:r,u:0:rwx,m::r")
    try makeDirectory("acl-directory", mode: 0o750)
    try setACL("acl-directory", "u:1234:rwx,d:u:4321:rwx,d:g:99:rx,d:o::-")
    try write("acl-directory/inherits", "text")
    try makeDirectory("acl-directory/inherits-too")
    try makeFIFO("acl-directory/fifo")
    try write("read-only-attributes", "text", mode: 0o444)
    try setAttribute("read-only-attributes", "user.note", [1])
    try write("capable", "#!/bin/true\n", mode: 0o755)
    try tool("setcap", ["cap_net_raw,cap_setuid+ep", root / "capable"])
  }

  private func setTimes() throws {
    try setTime("text", seconds: 1_600_000_000, nanoseconds: 123_456_789)
    try setTime("one-byte", seconds: 1, nanoseconds: 1)
    try setTime("empty", seconds: -86_400, nanoseconds: 999_999_999)
    try setTime("large", seconds: 4_102_444_800)
    try setTime("link-dangling", seconds: 1_500_000_000, nanoseconds: 5)
    try setTime("fifo", seconds: 1_400_000_000, nanoseconds: 6)
    try setTime("character-device", seconds: 1_300_000_000, nanoseconds: 7)
    try setTime("capable", seconds: 1_250_000_000, nanoseconds: 1)
    try setTime("linked", seconds: 1_200_000_000, nanoseconds: 8)
    try setTime("a/b/c", seconds: 1_100_000_000, nanoseconds: 9)
    try setTime("empty-directory", seconds: 1_000_000_000, nanoseconds: 10)
    try setTime("closed", seconds: 900_000_000, nanoseconds: 11)
    try setTime("acl-directory", seconds: 800_000_000, nanoseconds: 12)
  }
}
