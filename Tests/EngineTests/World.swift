import Catalog
import Engine
import Foundation
import Model
import Posix
import Repository
import Synchronization
import TestSupport
import Testing

/// A source, a repository, and what can be asked of them; removed with its last reference.
final class World: Sendable {
  private let directory: TemporaryDirectory
  var path: String { directory.path.text }
  var source: String { path + "/source" }
  var repositoryPath: String { path + "/repository" }

  /// True where snapshots after the first are made of a spare.
  let recycles: Bool

  init(recycling: Bool = false) throws {
    recycles = recycling
    CurrentProcess.clearCreationMask()
    directory = try TemporaryDirectory("engine")
    try directory.run("mkdir source")
    _ = try Repository.initialize(Array(repositoryPath.utf8), at: Clock.now())
  }

  struct Taken {
    var result: SnapshotResult
    /// What went wrong with the trash.
    var trouble: Failure?
    var warnings: [Warning]
    /// Warnings about the repository and not about the source.
    func troubles(in world: World) -> [Warning] {
      warnings.filter { $0.path.starts(with: Array(world.repositoryPath.utf8)) }
    }
    var warnedPaths: Set<String> { Set(warnings.map { String(decoding: $0.path, as: UTF8.self) }) }
  }

  private final class Listener: Monitor {
    let warnings = Mutex<[Warning]>([])
    func warn(_ warning: Warning) { warnings.withLock { $0.append(warning) } }
  }

  /// Takes a snapshot with one thread, so that the n-th call is always the same.
  func snapshot(threads: ThreadCount = 1, options change: (inout SnapshotOptions) -> Void = { _ in }) throws -> Taken {
    let repository = try Repository.open(Array(repositoryPath.utf8))
    let listener = Listener()
    var options = SnapshotOptions(sources: [Array(source.utf8)], threads: threads)
    change(&options)
    let result = try locked(repository) {
      try takeSnapshot(of: options, in: repository, program: "test", progress: Progress(), monitor: listener)
    }
    var trouble: Failure?
    // As the command does it.
    do { try emptyTrash(of: repository, threads: threads) } catch { trouble = error }
    return Taken(result: result, trouble: trouble, warnings: listener.warnings.withLock { $0 })
  }

  /// A process that another test has just forked holds the locks of this one until it begins its program.
  private func locked<Result>(_ repository: Repository, _ body: () throws -> Result) throws -> Result {
    for _ in 0..<100 {
      do { return try repository.withLock(for: "test", at: Clock.now()) { try body() } } catch let failure as Failure
        where failure.kind == .locked
      {
        usleep(50_000)
      }
    }
    return try repository.withLock(for: "test", at: Clock.now()) { try body() }
  }

  /// What differs between a snapshot and its catalog, in words.
  func problems(_ name: String) throws -> [String] {
    let repository = try Repository.open(Array(repositoryPath.utf8))
    let found = Mutex<[String]>([])
    _ = try repository.verify(
      [try #require(SnapshotName(Array(name.utf8)))], options: VerifyOptions(threads: 1), progress: Progress()
    ) {
      let line = "\(String(decoding: $0.path, as: UTF8.self)): \($0.message)"
      found.withLock { $0.append(line) }
    }
    return found.withLock { $0 }
  }

  func list() throws -> SnapshotList { try Repository.open(Array(repositoryPath.utf8)).snapshots() }

  func names() throws -> [String] { try list().snapshots.map { $0.name.description } }

  @discardableResult
  func run(_ script: String) throws -> String { try directory.run(script) }

  /// Long enough that no change of now can share a time stamp with what is read later.
  func settle() { CurrentProcess.sleep(milliseconds: 60) }

  /// All that must never change of a tree, by a walk that is not ours.
  func fingerprint(_ tree: String) throws -> Fingerprint { try Fingerprint(ByteString(tree)) }

  /// Names, kinds, modes, owners, times, targets, attributes and content: equal for a source and its snapshot.
  func content(_ tree: String) throws -> [String] {
    try run(
      """
      cd '\(tree)'
      find . -printf '%p %y %m %U %G %T@ %l\\n' | sort
      find . -type f -print0 | sort -z | xargs -0r sha256sum
      getfattr -R -P -h -d -m - . 2>/dev/null || true
      """
    ).split(separator: "\n").map(String.init)
  }

  /// Where the source stands in a snapshot.
  func tree(_ snapshot: String) -> String { "\(repositoryPath)/\(snapshot)/localhost\(source)" }

  /// Gives a snapshot a name of long ago, so that the next one need not wait for a second to pass.
  func age(_ name: String, to new: String) throws {
    try run(
      """
      cd repository; mv \(name) \(new); mv .treering/catalogs/\(name).catalog .treering/catalogs/\(new).catalog
      ln -sfn \(new) latest
      """)
  }

  /// Removes every snapshot but one.
  func keepOnly(_ name: String) throws {
    try run(
      """
      cd repository
      for d in 2*; do [ "$d" = \(name) ] || rm -rf "$d"; done
      for c in .treering/catalogs/*; do [ "$c" = .treering/catalogs/\(name).catalog ] || rm -f "$c"; done
      rm -rf .treering/pending/* .treering/trash/* .treering/spare/* *ly; ln -sfn \(name) latest
      """)
    if recycles { try provideSpare(of: name) }
  }

  /// Makes the spare an old snapshot with the names and inodes of another, and some of its own.
  func provideSpare(of name: String) throws {
    try run(
      """
      cd repository/.treering/spare
      cp -al ../../\(name) 2001-01-01T00-00-00Z
      find 2001-01-01T00-00-00Z -type d -name sub -execdir sh -c 'mkdir -m 0 {}/old; echo o > {}/stray' ';'
      """)
  }
}
