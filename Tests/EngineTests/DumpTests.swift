import Catalog
import Engine
import Foundation
import Model
import Posix
import Repository
import Retention
import TestSupport
import Testing

/// Dumps of databases as sources: a dump is any directory here. Inodes and bytes are counted by find.
struct DumpTests {
  private let world: World
  private var dumps: String { world.repositoryPath + "/.treering/dumps" }

  init() throws {
    world = try World()
    try world.run("echo file > source/file; mkdir -p repository/.treering/dumps")
  }

  private func record(_ name: String) -> DatabaseRecord {
    DatabaseRecord(
      name: Array(name.utf8), kind: Array("command".utf8), began: Timestamp(seconds: 100, nanoseconds: 1),
      ended: Timestamp(seconds: 200, nanoseconds: 2), point: Array("0/16B3748".utf8))
  }

  /// Takes a snapshot with dumps, and removes them as the program does.
  private func snapshot(
    dumping names: String..., leavingOut missing: [String] = [], in directory: String? = nil, threads: ThreadCount = 2
  ) throws -> World.Taken {
    let taken = try world.snapshot(threads: threads) { options in
      for name in names { options.add(Dump(of: record(name), in: Array("\(directory ?? dumps)/\(name)".utf8))) }
      for name in missing { options.leaveOut(record(name)) }
    }
    try world.run("rm -rf '\(directory ?? dumps)'/*")
    return taken
  }

  /// `count` tables of some 8 KiB in files whose names begin with `first`, and a table of contents.
  private func makeTables(_ count: Int, in name: String = "shop", first: Int = 3000, changed: Set<Int> = []) throws {
    let directory = Tree(ByteString("\(dumps)/\(name)"))
    try world.run("mkdir -p '\(dumps)/\(name)'")
    for table in 0..<count {
      let text = String(repeating: "row \(table)\(changed.contains(table) ? " changed" : "")\n", count: 800)
      try directory.write(ByteString("\(first + table).dat"), text)
    }
    try directory.write("toc.dat", "contents from \(first), \(UUID())")
  }

  private func tree(_ taken: World.Taken, _ path: String = "databases/shop") -> String {
    "\(world.repositoryPath)/\(taken.result.snapshot.name)/\(path)"
  }

  /// The lines of `find` about the regular files of a tree.
  private func files(_ tree: String, _ format: String) throws -> Set<String> {
    Set(try world.run("find '\(tree)' -type f -printf '\(format)\\n'").split(separator: "\n").map(String.init))
  }

  @Test("two of two hundred tables add two files and the contents")
  func twoOfTwoHundredTablesAddTwoFilesAndTheContents() throws {
    try makeTables(200)
    let first = try snapshot(dumping: "shop")
    try world.age(first.result.snapshot.name.description, to: "2026-01-01T00-00-00Z")
    let before = "\(world.repositoryPath)/2026-01-01T00-00-00Z/databases/shop"
    let old = try files(before, "%i")
    let fingerprint = try world.fingerprint(before)
    // An object was added: all the names of the directory format shift.
    try makeTables(200, first: 3001, changed: [7, 120])
    let second = try snapshot(dumping: "shop")
    let now = try files(tree(second), "%i %b %f")
    let new = now.filter { !old.contains(String($0.split(separator: " ")[0])) }
    #expect(now.count == 201 && new.count == 3)
    #expect(Set(new.map { String($0.split(separator: " ")[2]) }) == ["3008.dat", "3121.dat", "toc.dat"])
    let blocks = new.reduce(0) { $0 + Int($1.split(separator: " ")[1])! }
    #expect(blocks * 512 <= 3 * 16384)
    #expect(second.result.snapshot.summary.filesCopied == 3 && second.warnings.isEmpty)
    #expect(try world.fingerprint(before) == fingerprint)
    #expect(try world.problems(second.result.snapshot.name.description).isEmpty)
  }

  /// The stored file is not what its catalog says, and the fresh one is there.
  @Test("a damaged stored file is not linked", arguments: ["truncate -s 5", "touch -d 2020-01-01", "rm", "verified"])
  func aDamagedStoredFileIsNotLinked(_ damage: String) throws {
    try makeTables(3)
    let first = try snapshot(dumping: "shop")
    let stored = "\(tree(first))/3001.dat"
    let name = first.result.snapshot.name
    if damage == "verified" {
      try world.run("touch -r '\(stored)' time; printf X | dd of='\(stored)' conv=notrunc status=none")
      try world.run("touch -r time '\(stored)'")
      try Repository.open(Array(world.repositoryPath.utf8)).marks.add(
        .damaged, to: name, reason: "1 path", at: Timestamp(seconds: 1, nanoseconds: 0))
    } else {
      try world.run("\(damage) '\(stored)'")
    }
    try makeTables(3)
    let second = try snapshot(dumping: "shop")
    #expect(try world.problems(second.result.snapshot.name.description).isEmpty)
  }

  /// A database that was dropped, by whomever, takes its last dump with it only when the operator says so.
  @Test("the last snapshot with a lost database is held")
  func theLastSnapshotWithALostDatabaseIsHeld() throws {
    let repository = try Repository.open(Array(world.repositoryPath.utf8))
    try makeTables(2, in: "main/shop")
    try makeTables(2, in: "main/wiki")
    let first = try snapshot(dumping: "main")
    #expect(try first.warnings.isEmpty && repository.marks.all(.held).isEmpty)
    try makeTables(2, in: "main/wiki")
    let second = try snapshot(dumping: "main")
    #expect(second.warnings.count == 1 && "\(second.warnings)".contains("the database shop is in the dump no more"))
    #expect(try Array(repository.marks.all(.held).keys) == [first.result.snapshot.name])
    try makeTables(2, in: "main/wiki")
    let third = try snapshot(dumping: "main")
    #expect(try third.warnings.isEmpty && repository.marks.all(.held).count == 1)
  }

  @Test("new files are moved in with the repository's owner")
  func newFilesAreMovedInWithTheRepositorysOwner() throws {
    try makeTables(3)
    try world.run("chmod 644 '\(dumps)'/shop/*; chmod 755 '\(dumps)/shop'")
    let made = try files("\(dumps)/shop", "%i %T@ %f")
    let taken = try snapshot(dumping: "shop")
    #expect(try files(tree(taken), "%i %T@ %f") == made)
    #expect(try files(tree(taken), "%m %U %G %n") == ["600 \(geteuid()) \(getegid()) 1"])
    #expect(try world.run("stat -c %a '\(tree(taken))'") == "700\n")
    #expect(taken.result.snapshot.summary.bytesCopied > 0)
  }

  @Test("a file that others can change is copied")
  func aFileThatOthersCanChangeIsCopied() throws {
    try makeTables(3)
    try world.run("chmod 640 '\(dumps)/shop/3001.dat'; ln '\(dumps)/shop/3001.dat' elsewhere")
    let writer = open("\(dumps)/shop/3002.dat", O_WRONLY | O_APPEND)
    let made = try files("\(dumps)/shop", "%i")
    let taken = try snapshot(dumping: "shop")
    #expect(write(writer, "later", 5) == 5)
    close(writer)
    try world.run("echo later >> elsewhere")
    #expect(try files(tree(taken), "%i").intersection(made).count == 2)
    #expect(try world.run("stat -c %a elsewhere") == "640\n")
    #expect(try world.problems(taken.result.snapshot.name.description).isEmpty)
  }

  @Test("a dump on another file system is copied once")
  func aDumpOnAnotherFileSystemIsCopiedOnce() throws {
    let elsewhere = "/dev/shm/treering-\(UUID())"
    defer { _ = try? world.run("rm -rf '\(elsewhere)'") }
    try makeTables(5)
    try world.run("mkdir '\(elsewhere)'; cp -a '\(dumps)/shop' '\(elsewhere)'; chmod 640 '\(elsewhere)'/shop/*")
    let first = try snapshot(dumping: "shop", in: elsewhere)
    #expect(try files(tree(first), "%m") == ["600"])
    try world.run(
      "cp -a '\(dumps)/shop' '\(elsewhere)'; echo more >> '\(elsewhere)/shop/3001.dat'; rm -rf '\(dumps)'/*")
    let second = try snapshot(dumping: "shop", in: elsewhere)
    #expect(try files(tree(second), "%i").subtracting(files(tree(first), "%i")).count == 1)
    #expect(try world.problems(second.result.snapshot.name.description).isEmpty)
  }

  /// Many tables are empty. Each keeps an inode of its own, as in the dump.
  @Test("equal files are no hard links")
  func equalFilesAreNoHardLinks() throws {
    let make = "mkdir -p '\(dumps)/shop'; cd '\(dumps)/shop'; for i in 1 2 3 4 5; do echo . > $i.dat; done"
    try world.run(make)
    let first = try snapshot(dumping: "shop")
    try world.run("\(make); echo . > 6.dat")
    let second = try snapshot(dumping: "shop")
    #expect(try files(tree(second), "%i").count == 6)
    #expect(try files(tree(second), "%i %f").isSuperset(of: files(tree(first), "%i %f")))
  }

  @Test(
    "no guard means a dump",
    arguments: ["rm -rf shop; mkdir shop", "rm shop/3*", "for f in shop/*; do echo new >> $f; done"])
  func noGuardMeansADump(_ change: String) throws {
    try makeTables(200)
    _ = try snapshot(dumping: "shop")
    try makeTables(200)
    try world.run("cd '\(dumps)'; \(change)")
    let taken = try snapshot(dumping: "shop")
    #expect(taken.warnings.isEmpty && taken.result.snapshot.summary.otherSources == [Array("databases/shop".utf8)])
    #expect(try Repository.open(Array(world.repositoryPath.utf8)).rotationFreeze.description() == nil)
  }

  /// The name of a dump is no path of a source, and no rule of a source leaves out a part of a dump.
  @Test("a source of the same name is another source")
  func aSourceOfTheSameNameIsAnotherSource() throws {
    try makeTables(2)
    let taken = try world.snapshot { options in
      options.add(Dump(of: record("shop"), in: Array("\(dumps)/shop".utf8)))
      options.excludes.largestFile = 10
    }
    #expect(try files(tree(taken), "%f") == ["3000.dat", "3001.dat", "toc.dat"])
    let summary = taken.result.snapshot.summary
    #expect(summary.sources == [Array(world.source.utf8)] && summary.databases == [record("shop")])
  }

  @Test("a database without a dump is left out and its last dump is the base of the next")
  func aDatabaseWithoutADumpIsLeftOutAndItsLastDumpIsTheBaseOfTheNext() throws {
    try makeTables(10)
    let first = try snapshot(dumping: "shop")
    let without = try snapshot(leavingOut: ["shop"])
    var expected = record("shop")
    expected.isLeftOut = true
    #expect(without.result.snapshot.summary.databases == [expected])
    #expect(without.result.snapshot.summary.otherSources.isEmpty && without.warnings.isEmpty)
    #expect(try world.run("ls repository/latest") == "localhost\n")
    try makeTables(10)
    let third = try snapshot(dumping: "shop")
    #expect(try files(tree(third), "%i").subtracting(files(tree(first), "%i")).count == 1)
  }

  @Test("the last dump of a database never expires")
  func theLastDumpOfADatabaseNeverExpires() throws {
    for (index, hasDump) in [false, true, false, false, false].enumerated() {
      if hasDump { try makeTables(2) }
      let taken = hasDump ? try snapshot(dumping: "shop") : try snapshot(leavingOut: ["shop"])
      try world.age(taken.result.snapshot.name.description, to: "2026-01-0\(index + 1)T00-00-00Z")
    }
    let repository = try Repository.open(Array(world.repositoryPath.utf8))
    let policy = RetentionPolicy(keep: [:], keepLast: 1)
    _ = try rotate(repository, with: RotationOptions(policy: policy, keepsSpare: false, threads: 1))
    #expect(try world.names() == ["2026-01-02T00-00-00Z", "2026-01-05T00-00-00Z"])
  }

  @Test("a source may be read elsewhere")
  func aSourceMayBeReadElsewhere() throws {
    try world.run("mkdir frozen; echo frozen > frozen/file; echo live > source/file")
    let taken = try world.snapshot { $0.origins[Array(world.source.utf8)] = Array("\(world.path)/frozen".utf8) }
    #expect(try world.content(world.tree("\(taken.result.snapshot.name)")) == world.content("\(world.path)/frozen"))
  }
}
