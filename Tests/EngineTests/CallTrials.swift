import Catalog
import Engine
import Foundation
import Model
import Posix
import Repository
import TestSupport
import Testing

/// The bodies of the tests that trace calls; each runs in a process of its own.
struct CallTrials {
  /// True where every snapshot after the first is made of a spare.
  var recycling = false

  // MARK: Costs

  private func callsOfAnUnchangedTree(files: Int, threads: Int) throws -> [SystemCall: Int] {
    let world = try World(recycling: recycling)
    try world.run("cd source; for d in 0 1 2 3 4 5 6 7 8 9; do mkdir d$d; done")
    for index in 0..<files {
      try Data("\(index)".utf8).write(
        to: URL(fileURLWithPath: "\(world.source)/d\(index % 10)/file\(index)"))
    }
    world.settle()
    _ = try world.snapshot()
    try world.age(try world.names()[0], to: "2020-01-01T00-00-00Z")
    if recycling { try world.provideSpare(of: "2020-01-01T00-00-00Z") }
    var taken: World.Taken?
    let calls = try SystemCallTrace.record { taken = try world.snapshot(threads: ThreadCount(threads)) }
    #expect(taken?.result.snapshot.summary.filesLinked == UInt64(files))
    #expect(taken?.result.snapshot.summary.filesCopied == 0)
    return calls
  }

  func anUnchangedFileCostsOneLookAndOneLink(_ threads: Int) throws {
    let with = try callsOfAnUnchangedTree(files: 1000, threads: threads)
    let without = try callsOfAnUnchangedTree(files: 0, threads: threads)
    var more: [SystemCall: Int] = [:]
    for call in SystemCall.allCases {
      let difference = with[call, default: 0] - without[call, default: 0]
      if difference != 0 { more[call] = difference }
    }
    // The catalogs of both runs are larger; everything else is the same.
    more[.pread] = nil
    more[.pwrite] = nil
    // The directories above the source are everybody's, and may have changed meanwhile.
    more[.listxattr] = nil
    // Each change of one costs a recycled directory its time, which is read back.
    let corrections = more[.utimensat, default: 0]
    if abs(corrections) <= 2 {
      more[.utimensat] = nil
      if recycling { more[.statx, default: 0] -= corrections }
    }
    #expect(more == (recycling ? [.statx: 1000] : [.statx: 1000, .linkat: 1000]), "\(more)")
  }

  func anUnchangedFileIsNeverRead() throws {
    let calls = try callsOfAnUnchangedTree(files: 100, threads: 1)
    // The one write is the lock's.
    #expect(calls[.read] == nil && calls[.write] == 1 && calls[.getxattr] == nil, "\(calls)")
    // The source's file system before, the repository's after.
    #expect(calls[.syncfs] == 2, "\(calls)")
  }

  // MARK: Failures

  private static let base = "2020-01-01T00-00-00Z"

  /// A repository with one snapshot, and a source that has changed in every way since.
  private func changedWorld() throws -> World {
    let world = try World(recycling: recycling)
    try world.run(
      """
      cd source
      printf kept > a; printf old > big; printf same > ctime; printf gone > gone
      printf linked > h1; ln h1 h2; ln -s a l; ln -s a changed-link; mkfifo p
      printf attributes > x; setfattr -n user.x -v value x
      mkdir sub sub/deeper empty; printf x > sub/x; printf y > sub/deeper/y
      """)
    world.settle()
    _ = try world.snapshot()
    try world.age(try world.names()[0], to: Self.base)
    try world.run(
      """
      cd source
      head -c 600000 /dev/urandom > big; head -c 300000 /dev/urandom > new; rm gone
      chmod --reference=a ctime; ln -sfn b changed-link; mkdir made; printf m > made/m; ln made/m made/n
      setfattr -n user.x -v other x; mkfifo made/p; printf z > sub/deeper/z; chmod 700 empty
      truncate -s 1M made/hole; printf end >> made/hole
      """)
    world.settle()
    return world
  }

  private func openDescriptors() throws -> Int {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
  }

  private func expectComplete(_ world: World, _ taken: World.Taken, _ what: String) throws {
    let name = taken.result.snapshot.name.description
    let difference = try world.content(world.tree(name)).difference(from: try world.content(world.source))
    #expect(difference.isEmpty, "\(what): \(difference)")
    #expect(taken.result.snapshot.summary.outcome == .complete, "\(what)")
  }

  /// Runs with one call failing and checks what must hold whatever call it was; returns how it ended.
  @discardableResult
  private func takeWithFailure(
    _ world: World, _ call: SystemCall, _ nth: Int, _ error: Errno
  ) throws -> Result<World.Taken, Failure>? {
    let what = "\(error) at \(call.rawValue) number \(nth)"
    try world.keepOnly(Self.base)
    let baseTree = "\(world.repositoryPath)/\(Self.base)"
    let before = try world.fingerprint(baseTree)
    let sourceBefore = try world.fingerprint(world.source)
    var outcome: Result<World.Taken, Failure>?
    _ = SystemCallTrace.record(failing: [call: (nth, error)]) {
      do { outcome = .success(try world.snapshot()) } catch let failure as Failure {
        outcome = .failure(failure)
      } catch { Issue.record("\(what): \(type(of: error)) is no Failure: \(error)") }
    }
    #expect(try world.fingerprint(baseTree) == before, "\(what): the older snapshot")
    #expect(try world.fingerprint(world.source) == sourceBefore, "\(what): the source")

    let names = try world.names()
    switch outcome {
    case .failure(let failure):
      #expect(names == [Self.base], "\(what): published although it failed: \(failure)")
      #expect(try world.list().damaged.isEmpty, "\(what)")
      #expect(!failure.message.isEmpty && !failure.message.contains("Errno("), "\(what)")
    case .success(let taken):
      #expect(names.count == 2 && names.first == Self.base, "\(what)")
      try expectNothingSilent(world, taken, what)
      try world.age(taken.result.snapshot.name.description, to: "2020-01-02T00-00-00Z")
    case nil: break
    }
    // The next run is none the worse.
    let next = try world.snapshot()
    try expectComplete(world, next, "\(what): the next run")
    #expect(try world.fingerprint(baseTree) == before, "\(what): the older snapshot after the next run")
    #expect(
      try world.run("ls -A repository/.treering/pending repository/.treering/trash | grep -v : || true")
        .trimmingCharacters(in: .newlines) == "", "\(what): left behind")
    return outcome
  }

  /// Whatever differs between source and snapshot is named in a warning, and the outcome says so.
  private func expectNothingSilent(_ world: World, _ taken: World.Taken, _ what: String) throws {
    let summary = taken.result.snapshot.summary
    // Trouble with what is on its way out, and with links, is the run's and not the snapshot's.
    let own = taken.warnings.count - taken.troubles(in: world).count
    #expect(summary.outcome == (own == 0 ? .complete : .warnings), "\(what): \(taken.warnings)")
    #expect(summary.warnings == UInt64(own), "\(what): \(taken.warnings)")
    let tree = world.tree(taken.result.snapshot.name.description)
    let difference = try world.content(tree).difference(from: try world.content(world.source))
    if !difference.isEmpty {
      #expect(!taken.warnings.isEmpty, "\(what): silently different: \(difference)")
    }
    // Every change is a line about a path at or below one that a warning names.
    let warned = taken.warnedPaths.map { "./" + $0.dropFirst(world.source.count + 1) }
    for change in difference {
      let line =
        switch change {
        case .insert(_, let line, _), .remove(_, let line, _): line
        }
      guard let start = line.range(of: "./") else { continue }
      let named = line[start.lowerBound...]
      #expect(warned.contains { named.hasPrefix($0) || $0 == "./" }, "\(what): \(line), warned of \(warned)")
    }
  }

  private func calls(_ world: World) throws -> [SystemCall: Int] {
    try world.keepOnly(Self.base)
    return try SystemCallTrace.record { _ = try world.snapshot() }
  }

  func withoutAFailureTheSnapshotIsTheSource() throws {
    let world = try changedWorld()
    try expectComplete(world, try world.snapshot(), "no failure")
  }

  /// One call of every kind, at every place, fails: the run fails whole or warns, and never lies.
  func anInputOutputErrorAnywhere(_ call: SystemCall) throws {
    let world = try changedWorld()
    for nth in places(try calls(world)[call, default: 0]) {
      try takeWithFailure(world, call, nth, .inputOutput)
    }
  }

  func aDumpIsWholeOrLeftOut() throws {
    let world = try World()
    try world.run("echo file > source/file")
    func dump(changed: Bool) throws -> Dump {
      try world.run(
        "rm -rf dump; mkdir -p dump/more; cd dump; for i in 1 2 3; do echo $i > $i; echo \(changed) $i > more/$i; done")
      let record = DatabaseRecord(name: Array("shop".utf8), kind: [], began: Clock.now(), ended: Clock.now())
      return Dump(of: record, in: Array("\(world.path)/dump".utf8))
    }
    let first = try dump(changed: false)
    _ = try world.snapshot { $0.add(first) }
    try world.age(try world.names()[0], to: Self.base)
    var outcomes: Set<Bool> = []
    for call: SystemCall in [.openat, .statx, .read, .getdents64, .linkat, .listxattr, .fchmod, .fcntl, .fsync] {
      for nth in stride(from: 1, through: 60, by: isExhaustive ? 1 : 4) {
        try world.keepOnly(Self.base)
        let second = try dump(changed: true)
        let content = try world.run("cd dump; find . -type f | sort | xargs sha256sum")
        var taken: World.Taken?
        _ = SystemCallTrace.record(failing: [call: (nth, .inputOutput)]) {
          taken = try? world.snapshot { $0.add(second) }
        }
        guard let summary = taken?.result.snapshot.summary, let name = taken?.result.snapshot.name else { continue }
        outcomes.insert(summary.otherSources.isEmpty)
        #expect(summary.databases.map(\.isLeftOut) == [summary.otherSources.isEmpty])
        if summary.otherSources.isEmpty {
          #expect(!taken!.warnings.isEmpty && summary.outcome == .complete, "\(call) number \(nth)")
          #expect(try world.run("ls repository/\(name)") == "localhost\n")
        } else {
          let stored = try world.run("cd repository/\(name)/databases/shop; find . -type f | sort | xargs sha256sum")
          #expect(stored == content, "\(call) number \(nth)")
        }
      }
    }
    #expect(outcomes == [true, false])
  }

  /// The calls of a kind that fail, one in each trial: the first and last, or with `isExhaustive` many of them.
  private func places(_ count: Int) -> [Int] {
    let some = isExhaustive ? 12 : 1
    return count <= 2 * some ? Array(1..<count + 1) : Array(1...some) + Array((count - some + 1)...count)
  }

  func withoutRoomNothingIsPublishedAndTheStatusSaysWhy(_ call: SystemCall) throws {
    let world = try changedWorld()
    for error in [Errno.noSpace, .overQuota] {
      for nth in places(try calls(world)[call, default: 0]) {
        // The first is of the source's file system, whose want of room is not the repository's.
        if call == .syncfs && nth == 1 { continue }
        let outcome = try takeWithFailure(world, call, nth, error)
        // What follows publication takes nothing back.
        if case .success(let taken) = outcome, let trouble = taken.trouble {
          #expect(trouble.kind == .noSpace, "\(call.rawValue) number \(nth): \(trouble)")
          continue
        }
        if case .success(let taken) = outcome, !taken.troubles(in: world).isEmpty { continue }
        // Where there is room all the same, the directory can take no more names: a warning, or a copy for a link.
        if error == .noSpace, [.mkdirat, .linkat, .symlinkat, .mknodat].contains(call), case .success = outcome {
          continue
        }
        guard case .failure(let failure)? = outcome else {
          Issue.record("\(error) at \(call.rawValue) number \(nth) did not end the run")
          continue
        }
        #expect(failure.kind == .noSpace, "\(call.rawValue) number \(nth): \(failure)")
      }
    }
  }

  func aFileWithTooManyLinksIsCopied() throws {
    let world = try changedWorld()
    let count = try calls(world)[.linkat, default: 0]
    let copied = try expectSuccess(world, try takeWithFailure(world, .getrandom, 1, .inputOutput))
      .result.snapshot.summary.filesCopied
    // The first tries out whether the repository's file system has hard links at all.
    for nth in 2...count {
      let taken = try expectSuccess(world, try takeWithFailure(world, .linkat, nth, .tooManyLinks))
      #expect(taken.result.snapshot.summary.outcome == .complete, "linkat number \(nth)")
      // Only one call fails here: a second try, after the content was compared, succeeds.
      let now = taken.result.snapshot.summary.filesCopied
      #expect((copied...copied + 1).contains(now), "linkat number \(nth): \(now) copied, not \(copied)")
    }
  }

  /// A stored file with as many links as its file system allows: copied once, and the copy is what later
  /// snapshots link to.
  func afterTooManyLinksTheCopyIsLinked() throws {
    let world = try World(recycling: recycling)
    try world.run("printf x > source/a; mkdir links")
    world.settle()
    _ = try world.snapshot()
    try world.age(try world.names()[0], to: Self.base)
    let stored = world.tree(Self.base) + "/a"
    var isFull = false
    for index in 0..<66_000 where !isFull {
      isFull = link(stored, "\(world.path)/links/\(index)") != 0
    }
    // ext4 allows 65,000; other file systems allow any number that a test can make.
    guard isFull else { return }
    let second = try world.snapshot()
    #expect(second.result.snapshot.summary.filesCopied == 1 && second.warnings.isEmpty)
    try world.age(second.result.snapshot.name.description, to: "2020-01-02T00-00-00Z")
    let third = try world.snapshot()
    #expect(third.result.snapshot.summary.filesLinked == 1)
    let inodes = try world.names().map { try world.run("stat -c %i '\(world.tree($0))/a'") }
    #expect(inodes[0] != inodes[1] && inodes[1] == inodes[2], "\(inodes)")
    try expectComplete(world, third, "third")
  }

  private func expectSuccess(
    _ world: World, _ outcome: Result<World.Taken, Failure>?
  ) throws -> World.Taken { try #require(outcome).get() }

  func aFileThatCannotBeReadIsNamedAndTheRestIsPublished() throws {
    let world = try changedWorld()
    for nth in 1...(try calls(world)[.read, default: 0]) {
      let taken = try expectSuccess(world, try takeWithFailure(world, .read, nth, .inputOutput))
      // A file that was only read to be compared is read once more.
      #expect(taken.warnings.count <= 1, "read number \(nth)")
      for warning in taken.warnings { #expect(warning.message == "cannot be read: Input/output error") }
    }
  }

  func aFailedRunLeavesNoDescriptorOpen() throws {
    let world = try changedWorld()
    // The first failure may also be what the runtime opens its own descriptors for.
    try takeWithFailure(world, .mkdirat, 1, .noSpace)
    let before = try openDescriptors()
    for nth in [1, 3] {
      try takeWithFailure(world, .mkdirat, nth, .noSpace)
      let now = try openDescriptors()
      #expect(now == before, "\(now - before) more after mkdirat number \(nth)")
    }
  }

  func aFailedSyncPublishesNothing() throws {
    let world = try changedWorld()
    for error in [Errno.inputOutput, .noSpace] {
      let outcome = try takeWithFailure(world, .syncfs, 2, error)
      guard case .failure(let failure)? = outcome else {
        Issue.record("published although the disk did not confirm it")
        continue
      }
      #expect(failure.kind == (error == .noSpace ? .noSpace : .failed))
    }
  }

  /// Values that the repository's file system refuses are in the catalog alone: no damage, and no reason to copy.
  func aRefusedValueIsNoDamage(_ call: SystemCall) throws {
    let world = try World(recycling: recycling)
    try world.run("cd source; printf x > a; chmod 755 a; mkdir d; printf y > d/b; ln -s a l; mkfifo p; chown 1:1 *")
    world.settle()
    _ = try world.snapshot()
    try world.age(try world.names()[0], to: Self.base)
    try world.run("cd source; chmod 4711 a; chmod 1770 d; touch -d 2001-01-01 d/b; chown -h 2:2 a d d/b l p")
    world.settle()
    var published = 0
    for nth in 1...(try calls(world)[call, default: 1]) {
      try world.keepOnly(Self.base)
      var taken: World.Taken?
      _ = SystemCallTrace.record(failing: [call: (nth, .notPermitted)]) { taken = try? world.snapshot() }
      guard let taken, taken.warnings.isEmpty else { continue }
      published += 1
      let name = taken.result.snapshot.name.description
      #expect(try world.problems(name) == [], "\(call.rawValue) number \(nth)")
      try world.age(name, to: "2020-01-02T00-00-00Z")
      let next = try world.snapshot()
      #expect(next.result.snapshot.summary.filesCopied == 0, "\(call.rawValue) number \(nth)")
      #expect(try world.problems(next.result.snapshot.name.description) == [], "\(call.rawValue) number \(nth)")
    }
    #expect(published >= 4)
  }
}
