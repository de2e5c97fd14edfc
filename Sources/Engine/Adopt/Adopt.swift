public import Catalog
internal import Posix
public import Repository

/// A tree of rsnapshot's, such as `daily.3`.
public struct AdoptableTree: Sendable {
  /// The directory's name.
  public var name: [UInt8]
  /// When it was made, by its mtime.
  public var time: Timestamp
}

/// Finds directories named as rsnapshot names its snapshots, a level and a number, the oldest first.
public func adoptableTrees(in path: [UInt8]) throws(Failure) -> [AdoptableTree] {
  do throws(Errno) {
    let directory = try Descriptor.open(path: path, [.read, .directory])
    var listing = DirectoryListing()
    try listing.read(directory)
    var trees: [(tree: AdoptableTree, number: Int)] = []
    for entry in listing.entries {
      let name = Array(listing.bytes[entry.range])
      guard let number = rsnapshotNumber(name) else { continue }
      let status = try directory.status(of: name.span)
      if status.kind == .directory { trees.append((AdoptableTree(name: name, time: status.modified), number)) }
    }
    // Of two of one moment, that with the higher number is the older.
    return trees.sorted { ($0.tree.time, -$0.number) < ($1.tree.time, -$1.number) }.map(\.tree)
  } catch { throw Failure(.usage, "cannot look for snapshots in \(displayName(path)): \(error)") }
}

/// The number in a name such as `hourly.0`; `nil` for a name of another form.
private func rsnapshotNumber(_ name: [UInt8]) -> Int? {
  guard let dot = name.lastIndex(of: UInt8(ascii: ".")), dot > 0 else { return nil }
  let level = name[..<dot]
  let digits = name[(dot + 1)...]
  func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
  func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }
  guard level.allSatisfy({ isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }),
    // Neither `_delete.1234`, which is on its way out, nor a version such as `python3.11`.
    level.first != UInt8(ascii: "_"), !isDigit(level.last!), (1...6).contains(digits.count), digits.allSatisfy(isDigit)
  else { return nil }
  return Int(String(decoding: digits, as: UTF8.self))
}

public struct AdoptOptions: Sendable {
  /// The directory that the trees are in.
  public var directory: [UInt8]
  /// The label, where it isn't the only directory of a tree, or `localhost`.
  public var label: [UInt8]?
  /// What the trees may be of; without those that a tree has, the directories below its label.
  public var sources: [[UInt8]]
  public var threads: Int

  public init(directory: [UInt8], label: [UInt8]? = nil, sources: [[UInt8]] = [], threads: Int) {
    self.directory = directory
    self.label = label
    self.sources = sources
    self.threads = threads
  }
}

/// Makes a snapshot of a tree that lies on the repository's file system, without copying anything: it is read,
/// cataloged, and moved to its place. The caller holds the lock.
///
/// Throws a `Failure`; the tree is where it was, and as it was, then. It must be newer than the newest snapshot,
/// because snapshots are in the order in which they came.
public func adopt(
  _ tree: AdoptableTree, _ options: AdoptOptions, in repository: Repository, program: String,
  progress: Progress
) throws(Failure) -> Snapshot {
  do { return try catalogAndMove(tree, options, repository, program, progress) } catch let failure as Failure {
    throw failure
  } catch {
    throw .writing("adopt \(displayName(tree.name)) in", repository.path, error)
  }
}

private func catalogAndMove(
  _ tree: AdoptableTree, _ options: AdoptOptions, _ repository: Repository, _ program: String,
  _ progress: Progress
) throws -> Snapshot {
  try repository.recover()
  let list = try repository.snapshots()
  let directory = Directory(try Descriptor.open(path: options.directory, [.read, .directory]))
  let top = try directory.directory(tree.name.span)
  let status = try top.descriptor.status()
  try check(tree, status, directory, list, repository)
  let label = try label(of: top, options)
  let sources = try sources(below: label, of: top, options)
  let base = try list.newest.map {
    StoredTree($0.name, try repository.openCatalog($0.name), nil, in: repository)
  }
  let adoption = try repository.beginAdoption(at: tree.time)
  do {
    let work = AdoptWork(
      adoption, base: base, several: try inodesWithSeveralNames(in: top, threads: options.threads),
      device: status.device, progress)
    let root = AdoptNode(
      parent: nil, name: [], base: base?.catalog.summary.root,
      directory: Directory(try top.descriptor.reopenDirectory()))
    try walkTree(work, from: root, threads: options.threads)
    try checkForSignal()
    guard let result = root.result else { throw Failure(.failed, "the walk ended without a root") }
    var summary = CatalogSummary(root: result)
    summary.sequence = list.nextSequence
    summary.started = tree.time
    summary.finished = tree.time
    summary.files = progress.files.value
    summary.directories = progress.directories.value
    summary.label = label
    summary.sources = sources
    summary.repositoryID = repository.id
    summary.fileSystemID = try repository.root.descriptor.fileSystem().id
    summary.program = Array(program.utf8)
    try adoption.publish(
      summary, FrameWriter(sink: adoption.sink), moving: tree.name, of: directory, holding: top)
    return Snapshot(name: adoption.name, summary: summary)
  } catch {
    adoption.giveUp()
    throw error
  }
}

private func check(
  _ tree: AdoptableTree, _ status: FileStatus, _ directory: Directory, _ list: SnapshotList,
  _ repository: Repository
) throws {
  if try repository.contains(directory.descriptor) {
    throw Failure(.usage, "it is in the repository already")
  }
  guard status.device == repository.identity.device else {
    throw Failure(
      .usage, "it is on another file system than the repository \(displayName(repository.path))",
      hint: "make the repository beside it, with treering init")
  }
  if let newest = list.newest, tree.time.seconds < newest.summary.started.seconds {
    throw Failure(
      .failed,
      "it is of \(CalendarTime(seconds: tree.time.seconds).rfc3339), and older than the newest snapshot, \(newest.name)",
      hint: "older ones come first: adopt them into a new repository")
  }
  guard tree.time.seconds <= Clock.now().seconds else {
    throw Failure(
      .failed, "it is from the future: its mtime is \(CalendarTime(seconds: tree.time.seconds).rfc3339)",
      hint: "set it right with touch(1)")
  }
}

private func label(of top: Directory, _ options: AdoptOptions) throws -> [UInt8] {
  let names = try directoryNames(top)
  if let label = options.label {
    guard names.contains(label) else {
      throw Failure(.failed, "it has no directory \(displayName(label)), the label")
    }
    return label
  }
  let usual = Array("localhost".utf8)
  if names.contains(usual) { return usual }
  if names.count == 1 { return names[0] }
  if names.isEmpty { throw Failure(.failed, "it has no directory") }
  throw Failure(
    .usage, "it has \(names.count) directories and none of them is localhost",
    hint: "say with --label which is the label")
}

private func sources(below label: [UInt8], of top: Directory, _ options: AdoptOptions) throws -> [[UInt8]] {
  let slash = UInt8(ascii: "/")
  let named = options.sources.filter { source in
    (try? top.directory(path: [label] + source.split(separator: slash).map(Array.init))) != nil
  }
  return named.isEmpty ? try directoryNames(try top.directory(label.span)).map { [slash] + $0 } : named
}

private func directoryNames(_ directory: Directory) throws(Errno) -> [[UInt8]] {
  var listing = DirectoryListing()
  try listing.read(try directory.descriptor.reopenDirectory())
  var names: [[UInt8]] = []
  for entry in listing.entries {
    let name = Array(listing.bytes[entry.range])
    let kind = entry.isSurelyDirectory ? .directory : try directory.descriptor.status(of: name.span).kind
    if kind == .directory { names.append(name) }
  }
  return names
}
