import Foundation
import TestSupport
import Testing

/// Sources in frozen snapshots of a real btrfs.
@Suite("freeze", .waits)
struct FreezeTests {
  /// Writes ever larger numbers into one file and then into the other, durably, until the test ends.
  private func writer(_ first: ByteString, _ second: ByteString) throws -> RunningCommand {
    let text = """
      import os, sys
      files = [os.open(path, os.O_WRONLY | os.O_CREAT) for path in sys.argv[1:]]
      for number in range(10**9):
          for file in files:
              os.pwrite(file, b'%010d' % number, 0)
              os.fsync(file)
      """
    return try RunningCommand("python3", ["-c", ByteString(text), first, second])
  }

  @Test("a snapshot shows one instant of two files that a program writes meanwhile")
  func instant() throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    for number in 0..<1500 { try source.write(ByteString("file\(number)"), "\(number)") }
    let writer = try writer(source.root / "a", source.root / "z")
    defer { writer.signal(SIGKILL) }
    while !source.exists("z") { try test.world.settle() }
    /// How much older the file is that the walk reads first.
    func difference() throws -> Int {
      let tree = test.world.tree(of: try test.snapshot(), source.root)
      let (a, z) = (try #require(Int(tree.text("a"))), try #require(Int(tree.text("z"))))
      return z - a
    }
    try test.configure([FreezeWorld.table(source.root, "")])
    #expect(try difference() > 0, "without the key, the files are of different times")
    try test.configure([FreezeWorld.table(source.root)])
    for _ in 0..<2 { #expect(try (-1...0).contains(difference())) }
    try test.expectNothingLeft(["data"])
  }

  @Test("unchanged files are not read, and a moved one is found, although each frozen snapshot is another device")
  func unchanged() throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    try source.makeEverything()
    try source.write("large", bytes: [UInt8](repeating: 7, count: 300_000))
    try test.configure([FreezeWorld.table(source.root)])
    try test.world.settle()
    let first = try test.snapshot()
    try test.world.expectFaithful(first, source.root)
    let second = try test.snapshot()
    #expect(second.bytesRead == 0 && second.filesCopied == 0)
    try source.rename("large", to: "moved")
    // The rename has changed its ctime.
    try test.world.settle()
    #expect(try test.snapshot().filesMoved == 1)
    // The same holds from and to the live file system.
    try test.configure([FreezeWorld.table(source.root, "")])
    #expect(try test.snapshot().bytesRead == 0)
    try test.expectNothingLeft(["data"])
    let live = try test.run(["diff", "latest", "--live"])
    #expect(live.status == 0 && live.outputText == "", "\(live.errorText)")
  }

  @Test("a change within the clock tick of the frozen snapshot is found by the next")
  func racy() throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    // The program freezes nothing, and changes the file as if it had been changed just after the freeze.
    try test.makeProgram(
      "freezer",
      """
      [ $1 = make ] || exit 0
      mkdir -p "${3%/*}/copy"
      echo before >"$3/file"
      cp -a "$3/file" "${3%/*}/copy/"
      echo "${3%/*}/copy"
      """)
    try test.configure([FreezeWorld.table(source.root, "freeze = [\"\(test.programs.root)/freezer\"]")])
    try source.write("file", "x")
    let first = try test.snapshot()
    #expect(try test.world.tree(of: first, source.root).text("file") == "before\n")
    // A file that is newer than the moment before the freeze is read again.
    #expect(try test.snapshot().bytesRead > 0)
  }

  @Test("sources of one subvolume share one frozen snapshot, and other mounts below are read as they are")
  func shared() throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    for name in ["one", "two", "two/inner", "one/mounted"] as [ByteString] { try source.makeDirectory(name) }
    try source.write("one/file", "1")
    try source.write("two/inner/file", "2")
    let memory = try Tree(making: test.world.directory.path / "memory")
    try memory.write("live", "3")
    let mount = try Mount(memory.root, boundTo: source.root / "one/mounted")
    defer { withExtendedLifetime(mount) {} }
    try test.makeProgram("btrfs", "echo \"$1 $2\" >>$log\nexec /usr/bin/btrfs \"$@\"")
    try test.configure([
      FreezeWorld.table(source.root / "one"), FreezeWorld.table(source.root / "two"),
      FreezeWorld.table(source.root / "two/inner", ""),
    ])
    let answer = try test.snapshot()
    let tree = test.world.tree(of: answer, source.root)
    #expect(try tree.text("one/file") == "1" && tree.text("two/inner/file") == "2")
    #expect(try tree.text("one/mounted/live") == "3")
    #expect(try test.log == ["subvolume snapshot", "subvolume delete"])
    try test.expectNothingLeft(["data"])
  }

  @Test("another file system below that cannot be shown is named, unless it is left out")
  func lackingMount() throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    try source.makeDirectory("mounted")
    let mount = try Mount(test.world.source.root, boundTo: source.root / "mounted")
    defer { withExtendedLifetime(mount) {} }
    try test.makeProgram("mount", "case \"$*\" in */data/mounted*) exit 32 ;; esac\nexec /usr/bin/mount \"$@\"")
    try test.configure([FreezeWorld.table(source.root)])
    let warned = try test.snapshot(status: 1)
    #expect(warned.warningsNamed.map(\.path) == ["\(source.root)/mounted"])
    try test.configure([FreezeWorld.table(source.root) + "\nexclude = [\"/mounted/\"]"])
    try test.snapshot()
  }

  @Test("a subvolume inside is named, unless it is left out, and is saved with a table of its own")
  func nested() throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    let inner = try test.subvolume("data/inner")
    try source.write("file", "1")
    try inner.makeDirectory("deep")
    try inner.write("deep/file", "2")
    try inner.makeDirectory("mounted")
    let mount = try Mount(source.root, boundTo: inner.root / "mounted")
    defer { withExtendedLifetime(mount) {} }
    try test.configure([FreezeWorld.table(source.root)])
    let warned = try test.snapshot(status: 1)
    #expect(warned.warningsNamed.map(\.path) == ["\(inner.root)"])
    #expect(warned.warningsNamed[0].message.contains("subvolume of its own"))
    #expect(try test.world.tree(of: warned, inner.root).names() == [])
    try test.configure([FreezeWorld.table(source.root) + "\nexclude = [\"/inner/\"]"])
    try test.snapshot()
    for freeze in ["freeze = \"btrfs\"", ""] {
      for place in ["deep", ""] as [ByteString] {
        let other = place == "" ? inner.root : inner.root / place
        try test.configure([FreezeWorld.table(source.root), FreezeWorld.table(other, freeze)])
        let saved = try test.snapshot()
        #expect(try test.world.tree(of: saved, inner.root).text("deep/file") == "2")
      }
    }
    try test.expectNothingLeft(["data", "data/inner"])
  }

  @Test("the top of a file system can be a source, and the repository in it is left out")
  func top() throws {
    let test = try FreezeWorld()
    let source = test.disk.tree
    try source.write("file", "1")
    let repository = source.root / "repository"
    #expect(try runCommand(try treeringBinary(), ["init", repository]).status == 0)
    try test.configure([FreezeWorld.table(source.root)], repository: repository)
    let before = try tool("stat", ["-c", "%y", source.root])
    for _ in 0..<2 {
      let result = try test.run(["snapshot", "--json"])
      #expect(result.status == 0, "\(result.errorText)")
      let answer = try result.decoded(SnapshotAnswer.self)
      #expect(answer.directoriesSkipped == 1)
      let tree = Tree(repository / answer.name / "localhost" / source.root)
      #expect(try tree.names().sorted() == ["file", "repository"] && tree.names("repository") == [])
    }
    #expect(try tool("stat", ["-c", "%y", source.root]) == before, "the times of the source are its own")
    #expect(try test.subvolumes() == [])
  }

  @Test("no other process sees the frozen snapshot, and no other user can enter it")
  func hidden() throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    let other = try test.subvolume("other")
    try source.write("file", "1")
    // It is called after the first source was frozen.
    try test.makeProgram(
      "freezer",
      """
      [ $1 = make ] || exit 0
      cat /proc/self/mountinfo >"\(test.programs.root)/mounts"
      stat -c %a%U \(test.disk.tree.root)/.treering-* >>$log
      echo "$3"
      """)
    try test.configure([
      FreezeWorld.table(source.root),
      FreezeWorld.table(other.root, "freeze = [\"\(test.programs.root)/freezer\"]"),
    ])
    try test.snapshot()
    let mounts = try test.programs.text("mounts")
    #expect(!mounts.contains("/.treering-") && !mounts.contains("/run/treering"), "\(mounts)")
    #expect(try test.log == ["700root"])
    try test.expectNothingLeft(["data", "other"])
  }

  @Test(
    "a run that is interrupted or killed leaves nothing that the next run does not remove",
    arguments: [SIGTERM, SIGKILL])
  func interrupted(signal: Int32) throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    let other = try test.subvolume("other")
    try source.write("file", "1")
    try test.makeProgram("freezer", "echo \"$1 $2 $3\" >>$log\n[ $1 = remove ] || sleep 60")
    let freezer = "freeze = [\"\(test.programs.root)/freezer\"]"
    try test.configure([FreezeWorld.table(source.root), FreezeWorld.table(other.root, freezer)])
    // A snapshot of somebody else is not touched.
    try tool("btrfs", ["-q", "subvolume", "snapshot", source.root, test.disk.tree.root / "treering-mine"])
    let running = try test.start(["run"])
    while try test.log.isEmpty { try test.world.settle() }
    #expect(try test.subvolumes().count == 4)
    running.signal(signal)
    if signal == SIGKILL {
      _ = try? running.wait()
      let record = try test.world.repository.text(".treering/frozen").split(separator: "\n")
      #expect(record.count == 2 && record.allSatisfy { $0.contains("treering-") })
      #expect(try test.subvolumes().count == 4)
      try test.configure([FreezeWorld.table(source.root, ""), FreezeWorld.table(other.root, freezer)])
      try test.makeProgram("freezer", "echo \"$1 $2 $3\" >>$log\necho $3")
      let next = try test.run(["run", "--now"])
      #expect(next.status == 0, "\(next.errorText)")
    } else {
      #expect(try running.wait().status == 143)
    }
    try test.expectNothingLeft(["data", "other", "treering-mine"])
    let calls = try test.log.map { $0.split(separator: " ") }
    #expect(calls[1][0] == "remove" && calls[1][1...] == calls[0][1...], "what was begun is removed by its name")
  }

  @Test("a source that cannot be frozen is left out with its reason, and the others are saved")
  func refused() throws {
    let test = try FreezeWorld("ext4", mebibytes: 64)
    let source = test.disk.tree
    test.world.provesOlderUnchanged = false
    try source.write("file", "1")
    try test.world.source.write("file", "2")
    try test.makeProgram("freezer", "echo \"$1\" >>$log\n[ $1 = remove ] || { echo no room >&2; exit 3; }")
    let program = "[\"\(test.programs.root)/freezer\"]"
    let reasons = [
      ("\"btrfs\"", "its file system is ext4, and not btrfs"),
      ("\"zfs\"", "the program zfs is missing; install it: Debian's package is zfsutils-linux"),
      ("\"lvm\"", "the program lvs is missing; install it: Debian's package is lvm2"),
      (program, "ended with status 3: no room"),
    ]
    for (freeze, reason) in reasons {
      try test.configure([
        FreezeWorld.table(source.root, "freeze = \(freeze)"), FreezeWorld.table(test.world.source.root, ""),
      ])
      let answer = try test.snapshot(status: 1)
      #expect(answer.warningsNamed.map(\.path) == ["\(source.root)"])
      #expect(answer.warningsNamed[0].message.contains("it cannot be frozen: "), "\(answer.warningsNamed)")
      #expect(answer.warningsNamed[0].message.contains(reason), "\(answer.warningsNamed)")
      #expect(try test.world.tree(of: answer).text("file") == "2")
    }
    #expect(try test.log == ["make", "remove"])
    try test.configure([FreezeWorld.table(source.root)])
    let alone = try test.run(["run"])
    #expect(alone.status == 3 && alone.errorText.contains("not btrfs"), "\(alone.errorText)")
    // A removal that fails is tried again by the next run.
    try test.makeProgram("freezer", "[ $1 = make ] && echo $3")
    try test.configure([FreezeWorld.table(source.root, "freeze = \(program)")])
    let staying = try test.run(["run", "--now"])
    #expect(staying.status == 1 && staying.errorText.contains("the next run tries again"), "\(staying.errorText)")
    try test.makeProgram("freezer", "echo $3")
    #expect(try test.run(["run", "--now"]).status == 0)
    #expect(!test.world.repository.exists(".treering/frozen"))
  }

  @Test("a source of the configuration that is named is frozen, too, and a directory in it is not")
  func named() throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    try source.makeDirectory("inner")
    try source.write("inner/file", "1")
    try test.makeProgram("btrfs", "echo \"$1 $2\" >>$log\nexec /usr/bin/btrfs \"$@\"")
    try test.configure([FreezeWorld.table(source.root)])
    let inner = try test.run(["snapshot", source.root / "inner"])
    #expect(try inner.status == 0 && test.log.isEmpty, "\(inner.errorText)")
    let result = try test.run(["snapshot", source.root + "/", "--json", "--accept-changes"])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try test.log == ["subvolume snapshot", "subvolume delete"])
    #expect(try test.world.tree(of: result.decoded(), source.root).text("inner/file") == "1")
    try test.expectNothingLeft(["data"])
  }

  @Test("an optional source that is absent is not frozen")
  func absent() throws {
    let test = try FreezeWorld()
    let source = try test.subvolume("data")
    try source.write("file", "1")
    try test.configure([
      FreezeWorld.table(source.root), FreezeWorld.table(test.disk.tree.root / "gone") + "\noptional = true",
    ])
    #expect(try test.snapshot().warnings == 0)
  }
}
