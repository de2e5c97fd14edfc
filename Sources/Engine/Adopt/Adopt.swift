internal import Catalog
public import Model
internal import Posix
public import Repository

/// A tree that rsnapshot made, such as `daily.3`.
public struct AdoptableTree: Sendable {
  /// The directory's name.
  public var name: [UInt8]
  /// The time of the tree, from its mtime.
  public var time: Timestamp
  /// Identifies the directory, even after a rename.
  var status: FileStatus
}

/// The levels in rsnapshot's manual and in Debian's configuration.
public let rsnapshotLevels = ["hourly", "daily", "weekly", "monthly", "yearly", "alpha", "beta", "gamma", "delta"]

/// Finds directories that have rsnapshot's names: a level and a number. The oldest comes first.
public func adoptableTrees(in path: [UInt8], levels: [String]) throws(Failure) -> [AdoptableTree] {
  do throws(Errno) {
    let directory = try Descriptor.open(path: path, [.read, .directory])
    var listing = DirectoryListing()
    try listing.read(directory)
    var trees: [(tree: AdoptableTree, number: Int)] = []
    for entry in listing.entries {
      let name = Array(listing.bytes[entry.range])
      guard let number = rsnapshotNumber(of: name, levels: levels) else { continue }
      let status = try directory.status(of: name.span)
      guard status.kind == .directory else { continue }
      trees.append((AdoptableTree(name: name, time: status.modified, status: status), number))
    }
    // If two trees have the same time, the higher number is the older tree.
    return trees.sorted { ($0.tree.time, -$0.number) < ($1.tree.time, -$1.number) }.map(\.tree)
  } catch { throw Failure(.usage, "cannot look for snapshots in \(displayName(path)): \(error)", path: path) }
}

/// The number in a name such as `hourly.0`; `nil` for a name of another form.
private func rsnapshotNumber(of name: [UInt8], levels: [String]) -> Int? {
  for level in levels where name.starts(with: Array("\(level).".utf8)) {
    let digits = name[(level.utf8.count + 1)...]
    let isNumber = digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    if isNumber, (1...6).contains(digits.count) { return Int(String(decoding: digits, as: UTF8.self)) }
  }
  return nil
}

public struct AdoptOptions: Sendable {
  /// The directory that holds the trees.
  public var directory: [UInt8]
  /// The directory of a tree that holds its sources.
  public var label: [UInt8]
  /// The sources that the trees may have. If empty, a tree counts as a snapshot of all sources.
  public var sources: [[UInt8]]
  /// The sources of other hosts that the trees may have, by their paths from the snapshot's root, such as `web01/etc`.
  public var hostSources: [[UInt8]]
  public var threads: ThreadCount

  public init(
    directory: [UInt8], label: [UInt8], sources: [[UInt8]], hostSources: [[UInt8]] = [], threads: ThreadCount
  ) {
    self.directory = directory
    self.label = label
    self.sources = sources
    self.hostSources = hostSources
    self.threads = threads
  }
}

/// Makes a snapshot of a tree on the repository's file system, without copying data.
///
/// The tree is read, cataloged and moved to its place. It must be newer than the newest snapshot, because snapshots
/// are in order of arrival. The caller holds the lock. Throws a `Failure`; the tree is then unchanged and in its old
/// place.
public func adopt(
  _ tree: AdoptableTree, with options: AdoptOptions, in repository: Repository, program: String,
  progress: Progress
) throws(Failure) -> Snapshot {
  do { return try catalogAndMove(tree, of: options, in: repository, program: program, counting: progress) } catch {
    throw .writing("adopt \(displayName(tree.name)) in", at: repository.path, because: error)
  }
}

private func catalogAndMove(
  _ tree: AdoptableTree, of options: AdoptOptions, in repository: Repository, program: String,
  counting progress: Progress
) throws -> Snapshot {
  try repository.publication.recover()
  let list = try repository.snapshots()
  let directory = Directory(try Descriptor.open(path: options.directory, [.read, .directory]))
  let top = try directory.directory(tree.name.span)
  let status = try top.descriptor.status()
  guard status.isSameState(as: tree.status) else {
    throw Failure(.failed, "it is another directory than a moment ago, or has changed; is rsnapshot at work?")
  }
  try check(tree, status: status, directory: directory, list: list, in: repository)
  let sources = try sources(of: top, with: options)
  let base = try list.newest.map {
    StoredTree(of: $0.name, catalog: try repository.openCatalog(of: $0.name), root: nil, in: repository)
  }
  let adoption = try repository.publication.beginAdoption(at: tree.time)
  do {
    let work = AdoptWork(
      adoption,
      files: PlacedFiles(base: base, linkedInodes: try multiplyLinkedInodes(in: top, threads: options.threads)),
      mount: status.mount, counting: progress)
    let root = WalkNode(
      AdoptDirectory(base: base?.catalog.summary.root, directory: Directory(try top.descriptor.reopenDirectory())))
    defer { root.release() }
    try walkTree(work, from: root, threads: options.threads)
    try checkForSignal()
    guard let result = root.result else { throw Failure(.failed, "the walk ended without a root") }
    var summary = CatalogSummary(root: result)
    try summary.complete(root: result, sequence: list.nextSequence, counts: progress, in: repository, program: program)
    summary.started = tree.time
    summary.finished = tree.time
    summary.label = options.label
    summary.sources = sources.own
    summary.otherSources = sources.others
    try adoption.publish(
      summary, with: FrameWriter(sink: adoption.sink), moving: tree.name, of: directory, whichWas: status)
    return Snapshot(name: adoption.name, summary: summary)
  } catch {
    adoption.giveUp()
    throw error
  }
}

/// Checks, as far as one look can, that a tree can be adopted.
///
/// Returns the obstacle, and the labels that the tree has besides its own.
public func preflightAdoption(
  of tree: AdoptableTree, with options: AdoptOptions, in repository: Repository
) throws(Failure) -> (trouble: Failure?, otherLabels: [[UInt8]]) {
  do {
    let list = try repository.snapshots()
    let directory = Directory(try Descriptor.open(path: options.directory, [.read, .directory]))
    let top = try directory.directory(tree.name.span)
    do {
      try check(tree, status: try top.descriptor.status(), directory: directory, list: list, in: repository)
      _ = try sources(of: top, with: options)
    } catch let failure as Failure { return (failure, []) }
    return (nil, try directoryNames(of: top).filter { $0 != options.label })
  } catch { throw .writing("look at \(displayName(tree.name)) for", at: repository.path, because: error) }
}

private func check(
  _ tree: AdoptableTree, status: FileStatus, directory: Directory, list: SnapshotList,
  in repository: Repository
) throws {
  if try repository.location.contains(directory.descriptor) { throw Failure(.usage, "it is in the repository already") }
  guard status.device == repository.identity.device else {
    throw Failure(
      .usage, "it is on another file system than the repository \(displayName(repository.path))", path: repository.path,
      hint: "make the repository beside it, with treering init")
  }
  if let newest = list.newest, tree.time.seconds < newest.summary.started.seconds {
    throw Failure(
      .failed,
      "it is of \(CalendarTime(seconds: tree.time.seconds).rfc3339), and older than the newest snapshot, "
        + newest.name.description,
      hint: "older ones come first: adopt them into a new repository")
  }
  guard tree.time.seconds <= Clock.now().seconds else {
    throw Failure(
      .failed, "it is from the future: its mtime is \(CalendarTime(seconds: tree.time.seconds).rfc3339)",
      hint: "set it right with touch(1)")
  }
}

/// The sources of a tree, below its label and below other labels.
///
/// Below each label: the wanted sources, and each directory beside them. Below the label of a host without wanted
/// sources: its directories, and the label itself if it has files or no directory.
private func sources(of top: Directory, with options: AdoptOptions) throws -> (own: [[UInt8]], others: [[UInt8]]) {
  let labels = try directoryNames(of: top)
  // Without a source of this machine, the trees may be of other hosts alone.
  guard labels.contains(options.label) || options.sources.isEmpty && !options.hostSources.isEmpty else {
    let names = labels.map(displayName).joined(separator: ", ")
    throw Failure(
      .failed, "it has no directory \(displayName(options.label)), but \(names.isEmpty ? "none" : names)",
      hint: "name the one that its sources are in with --label")
  }
  var (own, others): ([[UInt8]], [[UInt8]]) = ([], [])
  for label in labels {
    let directory = try top.directory(label.span)
    if label == options.label {
      own = try sources(of: directory, wanted: options.sources)
      continue
    }
    let prefix = label + [slash]
    let wanted = options.hostSources.filter { $0.starts(with: prefix) }.map { Array($0[label.count...]) }
    if !wanted.isEmpty {
      others += try sources(of: directory, wanted: wanted).map { label + $0 }
      continue
    }
    let names = try directoryNames(of: directory)
    var listing = DirectoryListing()
    try listing.read(try directory.descriptor.reopenDirectory())
    if names.count < listing.entries.count || names.isEmpty { others.append(label) }
    others += names.map { prefix + $0 }
  }
  return (own, others)
}

/// The wanted sources below a label that are there, and the directories beside them.
private func sources(of labelled: Directory, wanted: [[UInt8]]) throws -> [[UInt8]] {
  var sources: [[UInt8]] = []
  for source in wanted {
    do throws(Errno) {
      _ = try labelled.directory(path: TreePath(parsing: source))
      sources.append(source)
    } catch {
      guard error == .noSuchEntry || error == .notADirectory else { throw error }
    }
  }
  let plan = PathPlan(sources: wanted.map { TreePath(parsing: $0) })
  if !wanted.isEmpty && !plan.isSource { try addDirectories(of: labelled, at: [], beside: plan, to: &sources) }
  return sources
}

/// Adds the directories that lead to no source of the plan, beside those that do.
private func addDirectories(
  of directory: Directory, at path: TreePath, beside plan: PathPlan, to sources: inout [[UInt8]]
) throws(Errno) {
  for name in try directoryNames(of: directory) {
    let place = path + name
    if let below = plan.below(name) {
      if !below.isSource {
        try addDirectories(of: try directory.directory(name.span), at: place, beside: below, to: &sources)
      }
    } else {
      sources.append(place.absolute)
    }
  }
}

private func directoryNames(of directory: Directory) throws(Errno) -> [[UInt8]] {
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
