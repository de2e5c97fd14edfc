import TestSupport
import Testing

/// A source, a repository and the program, in a temporary directory of their own.
///
/// Every run of the program goes through here, and every run is followed by a proof that the snapshots
/// which were there before it are what they were.
final class World {
  let directory: TemporaryDirectory
  /// What is backed up unless a test says otherwise.
  let source: Tree
  /// The directory of the repository.
  let repository: Tree
  private let program: ByteString
  /// The directory for the caches of all programs.
  var cache: ByteString { directory.path / "cache" }
  /// False where the proof would take longer than the test, or paths are longer than its tools can take.
  var provesOlderUnchanged = true

  init(_ purpose: String = "test", initialized: Bool = true) throws {
    directory = try TemporaryDirectory(purpose)
    program = try treeringBinary()
    source = try Tree(making: directory.path / "source")
    repository = Tree(directory.path / "repository")
    if initialized {
      let made = try runCommand(program, ["init", repository.root])
      guard made.status == 0 else { throw TestSupportError("init failed: \(made.errorText)") }
    }
  }

  // MARK: Running

  /// Runs `treering`; with `inRepository` the option `-r` is added.
  @discardableResult
  func treering(
    _ arguments: [ByteString], inRepository: Bool = true, environment: [String: String] = [:],
    at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    if inRepository && arguments.first == "snapshot" { try provideSpare() }
    let before = try fingerprints()
    let result = try runCommand(
      program, arguments + (inRepository ? ["-r", repository.root] : []),
      in: directory.path, environment: ["XDG_CACHE_HOME": cache.text].merging(environment) { $1 })
    // What expires is gone, and may be.
    let expected =
      ["rotate", "delete"].contains(arguments.first) ? before.filter { repository.exists($0.key) } : before
    try expectUnchanged(expected, at: location)
    return result
  }

  /// True where every snapshot after the first shall be made of a spare: all that holds of a snapshot must hold
  /// of a recycled one.
  private static let recycles = environmentVariable("TREERING_TEST_RECYCLING") != nil

  /// Puts the oldest snapshot's names into the spare, as if such a snapshot had expired.
  private func provideSpare() throws {
    let spare = Tree(repository.root / ".treering" / "spare")
    guard Self.recycles, repository.exists(".treering/spare"), try spare.names().isEmpty,
      let oldest = try snapshotNames().first
    else { return }
    _ = try runCommand("cp", ["-al", repository.root / oldest, spare.root / "2001-01-01T00-00-00Z"])
  }

  /// Starts `treering` and does not wait for it.
  func start(_ arguments: [ByteString]) throws -> RunningCommand {
    if arguments.first == "snapshot" { try provideSpare() }
    return try RunningCommand(program, arguments + ["-r", repository.root], in: directory.path)
  }

  /// Runs `treering` as a user who is nobody special: 65534, without groups and capabilities.
  func treeringAsOrdinaryUser(_ arguments: [ByteString]) throws -> CommandResult {
    // The build directory need not be open to others.
    let copy = directory.path / "treering"
    if !Tree(directory.path).exists("treering") {
      try tool("install", ["-m", "755", program, copy])
    }
    return try runCommand(
      "setpriv",
      ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", copy]
        + arguments + ["-r", repository.root], in: directory.path)
  }

  /// Takes a snapshot, which must end with `status`, and returns its answer.
  @discardableResult
  func snapshot(
    of sources: [ByteString]? = nil, _ options: [ByteString] = [], status: Int32 = 0,
    at location: SourceLocation = #_sourceLocation
  ) throws -> SnapshotAnswer {
    let result = try treering(
      ["snapshot"] + (sources ?? [source.root]) + ["--json"] + options, at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return try result.decoded()
  }

  // MARK: Looking

  /// Where a snapshot has the source, or another absolute path.
  func tree(of snapshot: SnapshotAnswer, _ path: ByteString? = nil) -> Tree {
    Tree(repository.root / snapshot.name / "localhost" / (path ?? source.root))
  }

  /// The dated directories, by name.
  func snapshotNames() throws -> [ByteString] {
    try repository.names().filter { $0.hasPrefix("20") && $0.bytes.last == UInt8(ascii: "Z") }
  }

  /// Requires that the published tree is the source by every oracle.
  func expectFaithful(
    _ snapshot: SnapshotAnswer, _ path: ByteString? = nil,
    at location: SourceLocation = #_sourceLocation
  ) throws {
    let different = try differences(path ?? source.root, tree(of: snapshot, path).root)
    #expect(different == [], sourceLocation: location)
  }

  func fingerprints() throws -> [ByteString: Fingerprint] {
    guard provesOlderUnchanged, repository.exists("") else { return [:] }
    var prints: [ByteString: Fingerprint] = [:]
    for name in try snapshotNames() { prints[name] = try Fingerprint(repository.root / name) }
    return prints
  }

  func expectUnchanged(
    _ before: [ByteString: Fingerprint], at location: SourceLocation = #_sourceLocation
  ) throws {
    for (name, fingerprint) in before.sorted(by: { $0.key < $1.key }) {
      guard repository.exists(name) else {
        Issue.record("the snapshot \(name) is gone", sourceLocation: location)
        continue
      }
      let now = try Fingerprint(repository.root / name)
      #expect(
        fingerprint.differences(to: now) == [], "the older snapshot \(name) has changed",
        sourceLocation: location)
    }
  }

  /// Waits until what was written is older than the clock tick in which a change could go unseen.
  func settle() throws { try tool("sleep", ["0.03"]) }

  // MARK: Refusals

  /// Runs `treering`, which must refuse with one line on standard error and change nothing on disk.
  @discardableResult
  func expectRefusal(
    _ arguments: [ByteString], status: Int32, inRepository: Bool = true, naming: String = "",
    mayExplainUsage: Bool = false, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    if inRepository && arguments.first == "snapshot" { try provideSpare() }
    let before = try Fingerprint(directory.path)
    let result = try treering(arguments, inRepository: inRepository, at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    #expect(result.outputText == "", sourceLocation: location)
    #expect(result.errorText.contains(naming), "\(result.errorText)", sourceLocation: location)
    if mayExplainUsage {
      #expect(!result.errorLines.isEmpty, sourceLocation: location)
    } else {
      #expect(result.errorLines.count == 1, "\(result.errorText)", sourceLocation: location)
      #expect(result.errorText.hasPrefix("treering: "), sourceLocation: location)
    }
    #expect(before.differences(to: try Fingerprint(directory.path)) == [], sourceLocation: location)
    return result
  }
}
