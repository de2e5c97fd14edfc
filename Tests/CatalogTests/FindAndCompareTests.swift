import Model
import TestSupport
import Testing

@testable import Catalog

/// root: a (file), d/{x, y/{deep}}, l (link), wide/ with 300 directories of 40 files.
private func sampleTree() -> TestDirectory {
  var y = TestDirectory()
  y.files = [(name("deep"), .file("deep"))]
  var d = TestDirectory()
  d.files = [(name("x"), .file("x"))]
  d.directories = [(name("y"), y)]
  var link = NewEntry.file()
  link.kind = .symbolicLink
  link.target = name("a")
  var wide = TestDirectory()
  for index in 100..<400 {
    var child = TestDirectory()
    // Different metadata, so that no two are one subtree.
    child.metadata.user = UInt32(index)
    child.files = (10..<50).map { (name("f\($0)"), .file("\(index) \($0)")) }
    wide.directories.append((name("\(index)"), child))
  }
  var root = TestDirectory()
  root.files = [(name("a"), .file("a")), (name("l"), link)]
  root.directories = [(name("d"), d), (name("wide"), wide)]
  return root
}

func reader(_ file: MemoryCatalog) throws -> CatalogReader {
  CatalogReader(reading: try OpenCatalog(reading: file))
}

@Suite struct FindTests {
  private let file: MemoryCatalog
  init() throws { file = try writeCatalog(sampleTree()) }

  private func find(_ path: String) throws -> Found? {
    try reader(file).find(TreePath(path.split(separator: "/").map { Array($0.utf8) }))
  }

  @Test("the root is the empty path")
  func theRootIsTheEmptyPath() throws {
    guard case .directory(let record, let subtree)? = try find("") else {
      Issue.record("no root")
      return
    }
    #expect(record.fileCount == 2)
    #expect(subtree.digest == (try OpenCatalog(reading: file).summary.root.digest))
  }

  @Test("files are found", arguments: ["a", "l", "d/x", "d/y/deep", "wide/100/f10", "wide/399/f49"])
  func filesAreFound(_ path: String) throws {
    guard case .file(let row, let record)? = try find(path) else {
      Issue.record("\(path) is not found")
      return
    }
    let last = Array(path.split(separator: "/").last!.utf8)
    #expect(Array(record.bytes[row.name]) == last)
    #expect(row.kind == (path == "l" ? .symbolicLink : .regular))
  }

  @Test("directories are found", arguments: [("d", 1, 4), ("d/y", 1, 2), ("wide", 0, 12_301), ("wide/250", 40, 41)])
  func directoriesAreFound(_ path: String, _ files: Int, _ entries: UInt64) throws {
    guard case .directory(let record, let subtree)? = try find(path) else {
      Issue.record("\(path) is not found")
      return
    }
    #expect(record.fileCount == files)
    #expect(subtree.totals.entries == entries)
  }

  @Test(
    "what is not there is not found",
    arguments: ["b", "A", "d/z", "d/y/deep/er", "a/b", "l/x", "wide/400", "wide/250/f50", "zz/top"])
  func whatIsNotThereIsNotFound(_ path: String) throws { #expect(try find(path) == nil) }

  @Test("one reader finds in any order what each finds alone")
  func oneReaderFindsInAnyOrderWhatEachFindsAlone() throws {
    var random = SeededGenerator(seed: 30)
    let one = try reader(file)
    let paths =
      ["", "a", "l", "d", "d/x", "d/y", "d/y/deep", "d/z", "d/y/deep/er", "a/b", "zz/top", "wide"]
      + (0..<60).flatMap { ["wide/\($0 + 240)", "wide/\($0 + 240)/f\($0)"] }
    for _ in 0..<2000 {
      let path = paths.randomElement(using: &random)!
      let names = TreePath(path.split(separator: "/").map { Array($0.utf8) })
      switch (try one.find(names), try find(path)) {
      case (nil, nil): break
      case (.file(let a, let record)?, .file(let b, let other)?):
        #expect(record.hasSameContent(a, as: b, of: other), "\(path)")
      case (.directory(_, let a)?, .directory(_, let b)?):
        #expect(a.digest == b.digest && a.place == b.place, "\(path)")
      default: Issue.record("\(path) is not the same")
      }
    }
  }

  @Test("neighbours cost no reading of their parent")
  func neighboursCostNoReadingOfTheirParent() throws {
    let one = try reader(file)
    _ = try one.find([name("wide"), name("100")])
    let before = file.reads
    for index in 101..<400 { _ = try one.find([name("wide"), name("\(index)")]) }
    #expect(file.reads - before <= 2 * file.frameOffsets.count)
  }

  @Test("a path costs its depth and not the tree")
  func aPathCostsItsDepthAndNotTheTree() throws {
    let opened = try reader(file)
    let before = file.reads
    _ = try opened.find([name("d"), name("y"), name("deep")])
    // The table of frames, and a frame for each level at most.
    #expect(file.reads - before <= 2 * 5)
    #expect(file.frameOffsets.count > 10)
  }
}

/// A change in a form that can be written down.
private struct Line: Equatable, CustomStringConvertible {
  var description: String
  init(_ change: Change) {
    let path = change.path.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/")
    let sizes = "\(change.sizeBefore.map(String.init) ?? "-")→\(change.sizeAfter.map(String.init) ?? "-")"
    description =
      "\(change.verb) \(change.kind.word) \(path) [\(change.aspects.words.joined(separator: ","))] \(sizes)"
  }
}

private func changes(
  _ before: TestDirectory, _ after: TestDirectory, under path: [String] = []
) throws -> [String] {
  var lines: [String] = []
  try compareCatalogs(
    try reader(try writeCatalog(before)), right: try reader(try writeCatalog(after)),
    under: TreePath(path.map { Array($0.utf8) })
  ) { lines.append(Line($0).description) }
  return lines
}

@Suite struct CompareTests {
  private func afterEdit(_ edit: (inout TestDirectory) -> Void) throws -> [String] {
    var after = sampleTree()
    edit(&after)
    return try changes(sampleTree(), after)
  }

  @Test("equal trees differ nowhere")
  func equalTreesDifferNowhere() throws {
    #expect(try changes(sampleTree(), sampleTree()) == [])
  }

  @Test("additions, removals and changes of content are found")
  func additionsRemovalsAndChangesOfContent() throws {
    let lines = try afterEdit {
      $0.files[0].entry = .file("longer")
      $0.files.insert((name("b"), .file("new")), at: 1)
      $0.directories[0].directory.files = []
    }
    #expect(
      lines == [
        "changed file a [content] 1→6", "added file b [] -→3", "removed file d/x [] 1→-",
      ])
  }

  @Test("whole directories are reported entry by entry")
  func wholeDirectoriesAreReportedEntryByEntry() throws {
    let lines = try afterEdit { $0.directories.remove(at: 0) }
    #expect(
      lines == [
        "removed directory d [] -→-", "removed file d/x [] 1→-", "removed directory d/y [] -→-",
        "removed file d/y/deep [] 4→-",
      ])
    var after = sampleTree()
    after.directories.remove(at: 0)
    #expect(
      try changes(after, sampleTree())
        == lines.map {
          $0.replacing("removed", with: "added").replacing("1→-", with: "-→1").replacing("4→-", with: "-→4")
        })
  }

  @Test("a change of kind is a removal and an addition")
  func aChangeOfKindIsARemovalAndAnAddition() throws {
    let lines = try afterEdit {
      $0.files[0].entry.kind = .symbolicLink
      $0.files[0].entry.target = name("t")
    }
    #expect(lines == ["removed file a [] 1→-", "added symbolic link a [] -→-"])
  }

  @Test("a file that becomes a directory is a removal and an addition")
  func aFileThatBecomesADirectory() throws {
    let lines = try afterEdit {
      $0.files.remove(at: 0)
      var directory = TestDirectory()
      directory.files = [(name("in"), .file("in"))]
      $0.directories.insert((name("a"), directory), at: 0)
    }
    #expect(
      lines == ["removed file a [] 1→-", "added directory a [] -→-", "added file a/in [] -→2"])
  }

  static let aspects: [(String, @Sendable (inout TestDirectory) -> Void)] = [
    ("changed file a [mode] 1→1", { $0.files[0].entry.metadata.permissions = 0o600 }),
    ("changed file a [owner] 1→1", { $0.files[0].entry.metadata.user = 5 }),
    ("changed file a [owner] 1→1", { $0.files[0].entry.metadata.group = 5 }),
    ("changed file a [mtime] 1→1", { $0.files[0].entry.metadata.modified.nanoseconds += 1 }),
    (
      "changed file a [attributes] 1→1",
      {
        $0.files[0].entry.attributes = AttributeBlock([(name("user.x"), [1])])
      }
    ),
    ("changed file a [hard links] 1→1", { $0.files[0].entry.linkGroup = 3 }),
    ("changed file a [content] 1→1", { $0.files[0].entry.digest = .ofNothing }),
    (
      "changed file a [content,mode,mtime] 1→2",
      {
        $0.files[0].entry = .file("aa", permissions: 0o600)
        $0.files[0].entry.metadata.modified.seconds += 1
      }
    ),
    ("changed symbolic link l [target] -→-", { $0.files[1].entry.target = name("b") }),
    ("changed directory d [mode] -→-", { $0.directories[0].directory.metadata.permissions = 0o700 }),
    ("changed directory d [owner] -→-", { $0.directories[0].directory.metadata.group = 9 }),
    ("changed directory d [mtime] -→-", { $0.directories[0].directory.metadata.modified.seconds = 0 }),
    (
      "changed directory d [attributes] -→-",
      {
        $0.directories[0].directory.attributes = AttributeBlock([(name("user.x"), [1])])
      }
    ),
  ]

  @Test("every aspect is named")
  func everyAspectIsNamed() throws {
    for (expected, edit) in Self.aspects { #expect(try afterEdit(edit) == [expected]) }
  }

  @Test("device numbers are compared")
  func deviceNumbers() throws {
    var before = TestDirectory()
    var node = NewEntry.file()
    node.kind = .characterDevice
    node.device = 1 << 32 | 3
    before.files = [(name("null"), node)]
    var after = before
    after.files[0].entry.device = 1 << 32 | 5
    #expect(try changes(before, after) == ["changed character device null [device] -→-"])
  }

  @Test("hints alone are no difference")
  func hintsAloneAreNoDifference() throws {
    var generator = printedGenerator()
    let lines = try afterEdit {
      $0.hints = generator.hints()
      $0.files[0].entry.hints = generator.hints()
    }
    #expect(lines == [])
  }

  @Test("only the asked path is compared")
  func onlyTheAskedPathIsCompared() throws {
    var after = sampleTree()
    after.files[0].entry = .file("changed")
    after.directories[0].directory.files[0].entry = .file("changed")
    #expect(try changes(sampleTree(), after, under: ["d"]) == ["changed file d/x [content] 1→7"])
    #expect(try changes(sampleTree(), after, under: ["a"]) == ["changed file a [content] 1→7"])
    #expect(try changes(sampleTree(), after, under: ["d", "y"]) == [])
    #expect(try changes(sampleTree(), after, under: ["nothing"]) == [])
  }

  /// One change among 12,000 entries: what is read is the way to it on both sides.
  @Test("equal subtrees are not descended into")
  func equalSubtreesAreNotDescendedInto() throws {
    var after = sampleTree()
    after.directories[1].directory.directories[150].directory.files[7].entry = .file("changed")
    let left = try writeCatalog(sampleTree())
    let right = try writeCatalog(after)
    #expect(left.frameOffsets.count > 10)
    let (a, b) = (try reader(left), try reader(right))
    let before = left.reads + right.reads
    var count = 0
    try compareCatalogs(a, right: b) { _ in count += 1 }
    #expect(count == 1)
    // On each side the table and three levels, whose frame may need a second read.
    #expect(left.reads + right.reads - before <= 2 * 2 * 4)
  }

  /// The comparison, against one that knows nothing of digests.
  @Test("random trees differ as a naive comparison says")
  func randomTreesAgainstANaiveComparison() throws {
    var generator = printedGenerator()
    for _ in 0..<30 {
      let before = generator.tree(depth: 2, files: 6, directories: 2)
      var after = before
      for _ in 0..<Int.random(in: 0...5, using: &generator) { generator.edit(&after) }
      var found = Set<TreePath>()
      try compareCatalogs(try reader(try writeCatalog(before)), right: try reader(try writeCatalog(after))) {
        found.insert($0.path)
      }
      #expect(found == (try naiveDifferences(before, after)))
    }
  }

  private func naiveDifferences(_ a: TestDirectory, _ b: TestDirectory) throws -> Set<TreePath> {
    func table(_ tree: TestDirectory) throws -> [TreePath: FlatEntry] {
      Dictionary(
        uniqueKeysWithValues: try expectedEntries(tree).map {
          var entry = $0
          entry.hints = []
          // A directory that could not be listed has no aspect of its own to report.
          if entry.kind == .directory { entry.flags = 0 }
          return (entry.path, entry)
        })
    }
    let (before, after) = (try table(a), try table(b))
    return Set(before.keys).union(after.keys).filter { before[$0] != after[$0] }
  }
}

extension SeededGenerator {
  /// Changes, adds or removes something somewhere in a tree.
  fileprivate mutating func edit(_ tree: inout TestDirectory) {
    if !tree.directories.isEmpty, Bool.random(using: &self) {
      let index = Int.random(in: tree.directories.indices, using: &self)
      edit(&tree.directories[index].directory)
      return
    }
    switch Int.random(in: 0...4, using: &self) {
    case 0: tree.metadata = metadata()
    case 1: tree.attributes = AttributeBlock([(name("user.e"), bytes(3))])
    case 2 where !tree.files.isEmpty:
      tree.files.remove(at: Int.random(in: tree.files.indices, using: &self))
    case 3 where !tree.files.isEmpty:
      tree.files[Int.random(in: tree.files.indices, using: &self)].entry = entry()
    default:
      let new = fileName()
      guard !tree.files.contains(where: { $0.name == new }),
        !tree.directories.contains(where: { $0.name == new })
      else { return }
      tree.files.append((new, entry()))
      tree.files.sort { $0.name.lexicographicallyPrecedes($1.name) }
    }
  }
}
