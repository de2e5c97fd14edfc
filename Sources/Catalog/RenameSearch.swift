public import Model

/// Compares two snapshots by their catalogs, and finds the entries that have another path than before.
///
/// An entry was renamed if its inode is the same, or its content. A directory was renamed if all or half of its entries
/// are the same; its other differences follow at the new path. Without entries that only one snapshot has, nothing is
/// kept in memory. The search takes at most `limit` such entries, of some 200 bytes each.
public final class RenameSearch {
  /// The most entries that are compared with each other.
  public static let limit = 500_000
  /// The most rounds; a directory that was renamed in a renamed one takes another round.
  private static var rounds: Int { 64 }

  private let left, right: CatalogReader
  private let report: (Change) throws -> Void
  private let hasher = SHA256()
  private var lone: [LoneEntry] = []
  /// The indexes of the first snapshot's lone entries.
  private var byInode = NumberLists<UInt64>()
  private var byContent = NumberLists<ContentKey>()
  /// The differences in renamed directories, by the number of the new name.
  private var inside: [Int: [Piece]] = [:]
  private var pieceCount = 0
  /// Lone entries that were not compared yet.
  private var waiting: (before: [Int], after: [Int]) = ([], [])
  /// Renamed directories whose entries were not compared yet.
  private var renamed: [Int] = []
  /// Old paths in renamed directories whose entries were found elsewhere.
  private var takenPaths: Set<TreePath> = []
  /// False if there were too many differences to find all renames.
  public private(set) var isComplete = true

  /// A difference that waits for its report.
  private enum Piece {
    case changed(Change)
    case lone(Int)
  }

  private struct TooMany: Error {}

  public init(from left: CatalogReader, to right: CatalogReader, report: @escaping (Change) throws -> Void) {
    (self.left, self.right, self.report) = (left, right, report)
  }

  /// Compares what is at and below a path, and reports the differences in the order of `forEachDifference`.
  ///
  /// A rename is reported at its new path.
  public func run(under path: TreePath = []) throws {
    do {
      var pieces: [Piece] = []
      try collect(at: path, before: path) { piece in
        if case .changed(let change) = piece, lone.isEmpty {
          pieceCount = 0
          return try report(change)
        }
        pieces.append(piece)
        if isComplete, pieceCount <= Self.limit { return }
        try emit(pieces)
        (pieces, lone, waiting, isComplete) = ([], [], ([], []), false)
      }
      if isComplete { try search() }
      try emit(pieces)
    } catch let failure as LeftCatalogError { throw failure.error }
  }

  // MARK: Differences

  /// Compares two directories without entering those that only one side has.
  private func collect(at path: TreePath, before pathBefore: TreePath, keep: (Piece) throws -> Void) throws {
    func isBoth(_ entries: Pair<Found, Found>) -> Bool { if case .both = entries { true } else { false } }
    let isRenamed = path != pathBefore
    try forEachDifference(from: left, at: pathBefore, to: right, under: path, entering: { pair, _ in isBoth(pair) }) {
      entries, place in
      let (before, after) = entries.sides
      if let before, let after, before.kind == after.kind {
        // The rename itself was reported.
        if isRenamed, place.path == path { return }
        return try Change.each(of: entries, at: place.path) {
          pieceCount += 1
          try keep(.changed($0))
        }
      }
      let name = Array(place.name)
      if let before {
        let directory = pathBefore + place.directory.dropFirst(path.count)
        if !isRenamed || !isTaken(directory + name, isBefore: true) {
          try keep(add(before, in: isRenamed ? directory : place.directory, named: name, isBefore: true))
        }
      }
      if let after { try keep(add(after, in: place.directory, named: name, isBefore: false)) }
    }
  }

  private func add(_ entry: Found, in directory: TreePath, named name: [UInt8], isBefore: Bool) -> Piece {
    pieceCount += 1
    let number = append(entry, in: directory, named: name, isBefore: isBefore, parent: nil)
    if isBefore { waiting.before.append(number) } else { waiting.after.append(number) }
    return .lone(number)
  }

  private func append(
    _ entry: Found, in directory: TreePath, named name: [UInt8], isBefore: Bool, parent: Int?
  ) -> Int {
    lone.append(LoneEntry(entry, in: directory, named: name, isBefore: isBefore, parent: parent, hasher: hasher))
    lone[lone.count - 1].below = lone.count..<lone.count
    return lone.count - 1
  }

  // MARK: The search

  private func search() throws {
    var closed: [Int] = []
    var files: [Int] = []
    for _ in 0..<Self.rounds {
      let (before, after) = waiting
      waiting = ([], [])
      for number in before { index(entry: number) }
      closed += before.filter { lone[$0].kind == .directory }
      // Whole directories first: they need not be read.
      for number in after where lone[number].kind == .directory { try matchDirectory(entry: number) }
      let unmatched = after.filter { lone[$0].match == nil }
      if !unmatched.isEmpty {
        for number in closed { try expand(entry: number) }
        closed = []
      }
      let hasFree = lone.contains { $0.isBefore && $0.isFree }
      for number in unmatched {
        if hasFree, lone[number].kind == .directory {
          try matchDirectory(entry: number, byEntries: true)
          try expand(entry: number)
        }
        files += ([number] + Array(lone[number].below)).filter { lone[$0].kind != .directory }
      }
      let pairs = renamed
      renamed = []
      for number in pairs { try compareInside(entry: number) }
      if waiting.before.isEmpty, waiting.after.isEmpty { break }
    }
    // An inode tells more than a content, which several files may have.
    for number in files {
      let entry = lone[number]
      if let same = free(sameInodeAs: entry).first(where: { lone[$0].isProbably(entry) }) { pair(same, with: number) }
    }
    for number in files where lone[number].match == nil {
      if let same = sameContent(as: lone[number]) { pair(same, with: number) }
    }
  }

  private func index(entry number: Int) {
    let entry = lone[number]
    if entry.inode != 0 { byInode.add(number: number, for: entry.inode) }
    byContent.add(number: number, for: entry.key)
  }

  /// Adds the entries below a lone directory. Directories of the second snapshot that have a match are not entered.
  private func expand(entry number: Int) throws {
    let entry = lone[number]
    let path = entry.path
    guard entry.isFree, !entry.isExpanded else { return }
    let end = UInt64(lone.count).addingSaturated(entry.subtree?.totals.entries ?? 0)
    guard end <= UInt64(Self.limit) else { return isComplete = false }
    // The lone directories on the way down.
    var parents = [number]
    let first = lone.count
    try forEachDifference(
      from: entry.isBefore ? left : nil, to: entry.isBefore ? nil : right, under: path,
      entering: { !isTaken($1.path, isBefore: entry.isBefore) && lone[parents.last!].match == nil }
    ) { entries, place in
      let depth = place.path.count - path.count
      if depth == 0 || isTaken(place.path, isBefore: entry.isBefore) { return }
      guard UInt64(lone.count) < end else { throw CatalogError("a directory has more entries than its parent names") }
      parents.removeLast(parents.count - depth)
      let found = (entries.sides.left ?? entries.sides.right)!
      let below = append(
        found, in: place.directory, named: Array(place.name), isBefore: entry.isBefore, parent: parents.last!)
      if entry.isBefore { index(entry: below) }
      if found.kind == .directory {
        parents.append(below)
        if !entry.isBefore { try matchDirectory(entry: below, byEntries: true) }
      }
    }
    for below in (first..<lone.count).reversed() {
      lone[below].isExpanded = lone[below].match == nil
      guard let parent = lone[below].parent, parent != number else { continue }
      lone[parent].below = parent + 1..<max(lone[parent].below.upperBound, lone[below].below.upperBound)
    }
    lone[number].below = first..<lone.count
    lone[number].isExpanded = true
  }

  /// Compares the entries of a renamed directory.
  private func compareInside(entry number: Int) throws {
    guard let match = lone[number].match, lone[number].key != lone[match].key else { return }
    let (count, known) = (lone.count, waiting)
    var pieces: [Piece] = []
    do {
      try collect(at: lone[number].path, before: lone[match].path) { piece in
        if pieceCount > Self.limit { throw TooMany() }
        pieces.append(piece)
      }
      inside[number] = pieces
    } catch is TooMany {
      lone.removeLast(lone.count - count)
      (waiting, isComplete) = (known, false)
    }
  }

  // MARK: Matches

  /// True if an entry of a renamed directory was found elsewhere, with all that is below it.
  private func isTaken(_ path: @autoclosure () -> TreePath, isBefore: Bool) -> Bool {
    isBefore && !takenPaths.isEmpty && takenPaths.contains(path())
  }

  private func pair(_ before: Int, with after: Int) {
    lone[before].match = after
    lone[after].match = before
    guard lone[after].kind == .directory else { return }
    renamed.append(after)
    var below = lone[before].below
    while let number = below.first {
      lone[number].isBelowMatch = true
      // Entries below an older match are no longer here.
      if lone[number].match != nil { takenPaths.insert(lone[number].path) }
      below =
        (lone[number].match == nil ? number + 1 : max(number + 1, lone[number].below.upperBound))..<below.upperBound
    }
  }

  private func free(sameInodeAs entry: LoneEntry) -> [Int] {
    entry.inode == 0 ? [] : byInode.candidates(for: entry.inode) { lone[$0].isFree }
  }

  /// The best of the entries with the same content: the same inode, then the same name.
  private func sameContent(as entry: LoneEntry) -> Int? {
    let candidates = byContent.candidates(for: entry.key) { lone[$0].isFree }
    let known = candidates.first { entry.inode != 0 && lone[$0].inode == entry.inode }
    let named = candidates.first { lone[$0].name == entry.name }
    return known ?? named ?? (entry.isPlain ? nil : candidates.first)
  }

  /// Finds the old name of a directory by all that is below it, by its inode, or by its entries.
  private func matchDirectory(entry number: Int, byEntries: Bool = false) throws {
    let entry = lone[number]
    guard entry.match == nil else { return }
    if let same = sameContent(as: entry) { return pair(same, with: number) }
    for candidate in free(sameInodeAs: entry)
    where try lone[candidate].kind == .directory && isSimilar(lone[candidate], to: entry) {
      return pair(candidate, with: number)
    }
    guard byEntries, let origin = try commonDirectory(of: entry), try isSimilar(lone[origin], to: entry) else { return }
    pair(origin, with: number)
  }

  /// The lone directory that had most of the first entries of another one.
  private func commonDirectory(of entry: LoneEntry) throws -> Int? {
    guard let subtree = entry.subtree else { return nil }
    let record = try right.record(at: subtree.place, for: subtree.digest)
    var (counts, sample): ([Int: Int], Int) = ([:], 0)
    func count(_ found: Found, named name: Range<Int>) {
      let below = LoneEntry(
        found, in: [], named: Array(record.bytes[name]), isBefore: false, parent: nil, hasher: hasher)
      sample += 1
      if let parent = sameContent(as: below).flatMap({ lone[$0].parent }), lone[parent].isFree {
        counts[parent, default: 0] += 1
      }
    }
    var files = try FileCursor(of: record)
    while sample < Self.sampleCount, let row = files.current {
      if row.kind == .regular, row.size > 0 { count(.file(row, of: record), named: row.name) }
      try files.advance()
    }
    while files.current != nil { try files.advance() }
    for row in try files.directories().prefix(Self.sampleCount - sample) {
      let child = try right.record(at: row.place, for: row.digest)
      count(.directory(child, Subtree(row)), named: row.name)
    }
    guard let best = counts.max(by: { ($0.value, $1.key) < ($1.value, $0.key) }), best.value * 2 > sample
    else { return nil }
    return best.key
  }

  private static var sampleCount: Int { 32 }

  /// True if at least half of the entries of two directories are the same.
  private func isSimilar(_ before: LoneEntry, to after: LoneEntry) throws -> Bool {
    guard let a = before.subtree, let b = after.subtree else { return false }
    let (one, other) = (try left.record(at: a.place, for: a.digest), try right.record(at: b.place, for: b.digest))
    // The comparison must not cost more than the smaller one is worth.
    let sizes = [one.content.count, other.content.count]
    guard sizes.min()! >= sizes.max()! / 4 else { return false }
    var (same, counts) = (0, (before: 0, after: 0))
    var merge = try RecordMerge(one, other)
    while let files = try merge.nextFile() {
      switch files {
      case .left: counts.before += 1
      case .right: counts.after += 1
      case .both(let a, let b):
        counts = (counts.before + 1, counts.after + 1)
        if a.kind == b.kind, a.size == b.size, a.digest == b.digest { same += 1 }
      }
    }
    while let rows = try merge.nextDirectory() {
      switch rows {
      case .left: counts.before += 1
      case .right: counts.after += 1
      case .both:
        counts = (counts.before + 1, counts.after + 1)
        same += 1
      }
    }
    return same > 0 && same * 2 >= max(counts.before, counts.after)
  }

  // MARK: The report

  private enum Work {
    case pieces(ArraySlice<Piece>)
    case entries(Range<Int>)
  }

  private func emit(_ pieces: [Piece]) throws {
    // The stack is explicit because a hostile catalog may have any number of directories in one another.
    var waiting = [Work.pieces(pieces[...])]
    while let next = waiting.popLast() {
      switch next {
      case .pieces(var rest):
        guard let piece = rest.popFirst() else { continue }
        waiting.append(.pieces(rest))
        switch piece {
        case .changed(let change): try report(change)
        case .lone(let number): waiting += try emit(entry: number)
        }
      case .entries(let range):
        guard let number = range.first else { continue }
        waiting.append(.entries(max(number + 1, lone[number].below.upperBound)..<range.upperBound))
        waiting += try emit(entry: number)
      }
    }
  }

  /// Reports a lone entry, and returns what follows it.
  private func emit(entry number: Int) throws -> [Work] {
    let entry = lone[number]
    if let match = entry.match {
      // A rename is reported at its new path.
      return entry.isBefore ? [] : try emitRename(of: lone[match], to: number)
    }
    if entry.kind == .directory, !entry.isExpanded {
      try forEachDifference(
        from: entry.isBefore ? left : nil, to: entry.isBefore ? nil : right, under: entry.path,
        entering: { !isTaken($1.path, isBefore: entry.isBefore) }
      ) { entries, place in
        if isTaken(place.path, isBefore: entry.isBefore) { return }
        try Change.each(of: entries, at: place.path, report: report)
      }
      return []
    }
    try report(Change(entry.isBefore ? .removed : .added, at: entry.path, kind: entry.kind, size: entry.byteCount))
    return [.entries(entry.below)]
  }

  private func emitRename(of before: LoneEntry, to number: Int) throws -> [Work] {
    let after = lone[number]
    let (path, pathBefore) = (after.path, before.path)
    guard let old = try left.find(pathBefore), let new = try right.find(path)
    else { throw CatalogError("an entry is in its directory's record, and cannot be found there") }
    try report(Change(renamedFrom: pathBefore, to: path, from: old, to: new))
    if after.kind != .directory || before.key == after.key { return [] }
    if let pieces = inside[number] { return [.pieces(pieces[...])] }
    func former(_ place: EntryPlace) -> TreePath { pathBefore + place.path.dropFirst(path.count) }
    func isElsewhere(_ entries: Pair<Found, Found>, at former: TreePath) -> Bool {
      if case .left = entries { isTaken(former, isBefore: true) } else { false }
    }
    try forEachDifference(
      from: left, at: pathBefore, to: right, under: path, entering: { !isElsewhere($0, at: former($1)) }
    ) { entries, place in
      if place.path == path { return }
      let former = former(place)
      if isElsewhere(entries, at: former) { return }
      try Change.each(of: entries, at: place.path, pathBefore: former, report: report)
    }
    return []
  }
}
