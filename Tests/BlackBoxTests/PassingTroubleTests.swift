import Foundation
import TestSupport
import Testing

/// Trouble that passes, or that is no fault of one file, never becomes part of a snapshot.
@Suite("Passing trouble", .waits)
struct PassingTroubleTests {
  @Test(
    "with too few descriptors nothing is published that lacks the source", arguments: [9, 11, 13, 15, 17, 19, 22, 26])
  func fewDescriptors(limit: Int) throws {
    let world = try World()
    try world.source.makeDirectory("a")
    for number in 0..<30 { try world.source.write(ByteString("a/\(number)"), "text") }
    let result = try runCommand(
      "sh",
      [
        "-c", ByteString("ulimit -n \(limit); exec \"$@\""), "sh", try treeringBinary(), "snapshot", world.source.root,
        "-r", world.repository.root,
      ])
    guard let name = try world.snapshotNames().first else {
      #expect(result.status == 3 || result.status == 2, "\(result.errorText)")
      return
    }
    #expect(result.status <= 1)
    #expect(try differences(world.source.root, world.repository.root / name / "localhost" / world.source.root) == [])
  }

  @Test("a file on which another process holds a lease is waited for")
  func lease() throws {
    let world = try World()
    try world.source.write("document", "precious")
    let script = """
      import fcntl, os, signal, sys, time
      fd = os.open(sys.argv[1], os.O_RDWR)
      def broken(*_):
          time.sleep(0.3)
          fcntl.fcntl(fd, 1024, fcntl.F_UNLCK)
      signal.signal(signal.SIGIO, broken)
      fcntl.fcntl(fd, 1024, fcntl.F_WRLCK)
      print("held", flush=True)
      time.sleep(60)
      """
    let holder = try RunningCommand("python3", ["-c", ByteString(script), world.source.root / "document"])
    defer { holder.signal(9) }
    while try holder.outputSoFar().isEmpty { try tool("sleep", ["0.02"]) }
    let snapshot = try world.snapshot()
    #expect(try world.tree(of: snapshot).text("document") == "precious")
  }

  @Test("a directory that was closed to an ordinary user has its attributes in root's next snapshot")
  func closedDirectory() throws {
    let world = try World(initialized: false)
    try Tree(world.directory.path).makeDirectory("repository")
    try tool("chown", ["65534:65534", world.repository.root])
    try world.source.makeDirectory("d", mode: 0o700)
    try world.source.write("d/f", "text")
    try world.source.setAttribute("d", "user.note", [1])
    try world.settle()
    #expect(try world.treeringAsOrdinaryUser(["init"]).status == 0)
    #expect(try world.treeringAsOrdinaryUser(["snapshot", world.source.root]).status == 1)
    try world.expectFaithful(try world.snapshot())
  }

  @Test("attributes for which the disk has no room for a moment are stored", arguments: ["f", "d"])
  func attributes(of name: ByteString) throws {
    let world = try World()
    try world.source.makeDirectory("d")
    try world.source.write("f", "text")
    try world.source.setAttribute(name, "user.note", [1])
    let stored = world.pendingTree / "localhost" / world.source.root / name
    let (result, log) = try world.snapshotWithFailingCalls(["fsetxattr:error=ENOSPC:when=1"], on: [stored])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(log.first?.contains("ENOSPC") == true)
    let tree = world.repository.root / World.timeOfFailingCalls / "localhost" / world.source.root
    #expect(try differences(world.source.root, tree) == [])
  }

  @Test("a name that a directory's listing gives twice is stored once")
  func repeatedName() throws {
    let world = try World()
    try world.source.makeDirectory("d")
    try world.source.write("d/f", "text")
    try world.source.write("g", "text")
    let work = Tree(world.directory.path)
    // glibc's syscall(2) wrapper is what reads directories: each entry of a listing is given twice.
    try work.write(
      "twice.c",
      """
      #define _GNU_SOURCE
      #include <stdarg.h>
      #include <string.h>
      #include <errno.h>
      #include <sys/syscall.h>
      static long call(long n, long a, long b, long c) {
        long r;
        __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
        if (r < 0) { errno = -r; return -1; }
        return r;
      }
      long syscall(long n, ...) {
        va_list l; va_start(l, n);
        long a = va_arg(l, long), b = va_arg(l, long), c = va_arg(l, long);
        va_end(l);
        if (n != SYS_getdents64) return call(n, a, b, c);
        long r = call(n, a, b, c / 2);
        if (r > 0) { memcpy((char *)b + r, (char *)b, r); return 2 * r; }
        return r;
      }
      """)
    try tool("cc", ["-shared", "-fPIC", "-O", "-o", work.root / "twice.so", work.root / "twice.c"])
    for round in 0..<2 {
      let result = try world.treering(
        ["snapshot", world.source.root, "--json"], environment: ["LD_PRELOAD": (work.root / "twice.so").text])
      #expect(result.status == 0, "\(result.errorText)")
      let answer: SnapshotAnswer = try result.decoded()
      #expect(answer.files == 2, "round \(round)")
      try world.expectFaithful(answer)
    }
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test(
    "a repository where names cannot be kept from replacing others: all works, and nothing is recycled by false numbers"
  )
  func bindfs() throws {
    let world = try World(initialized: false)
    let real = try Tree(making: world.directory.path / "real")
    let mount = try Tree(making: world.directory.path / "mount")
    try tool("bindfs", [real.root, mount.root])
    defer { _ = try? runCommand("umount", ["-l", mount.root]) }
    let repository = mount.root / "r"
    func run(_ arguments: [ByteString], status: Int32 = 0) throws -> CommandResult {
      let result = try world.treering(arguments + ["-r", repository], inRepository: false)
      #expect(result.status == status, "\(arguments): \(result.errorText)")
      return result
    }
    _ = try run(["init"])
    for round in 0..<4 {
      try world.source.write("f", "round \(round)")
      try world.settle()
      let answer: SnapshotAnswer = try run(["snapshot", world.source.root, "--json"]).decoded()
      #expect(try differences(world.source.root, repository / answer.name / "localhost" / world.source.root) == [])
      _ = try run(["rotate", "--keep-last", "2"])
    }
    #expect(try run(["list", "--json"]).decoded([ListAnswer].self).count == 2)
    _ = try run(["verify"])
  }
}
