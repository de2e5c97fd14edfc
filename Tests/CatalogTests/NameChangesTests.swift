import Model
import TestSupport
import Testing

@testable import Catalog

@Suite("the inodes that a run of snapshots holds alone")
struct SnapshotRunTests {
  private typealias Holders = [[Int64]]

  /// Lost and gained names of inodes, such as `["-1", "+2"]` for one lost name of inode 1 and a gained one of inode 2.
  private func changes(_ words: String...) -> NameChanges { changes(words) }

  private func changes(_ words: [String]) -> NameChanges {
    func names(_ sign: Character) -> [UInt64: NameChanges.Names] {
      var found: [UInt64: NameChanges.Names] = [:]
      for word in words where word.first == sign {
        found[UInt64(word.dropFirst())!, default: .init(count: 0, place: StoredPlace(word))].count += 1
      }
      return found
    }
    return NameChanges(lost: names("-"), gained: names("+"))
  }

  /// The number of names in each snapshot of the run, by inode.
  private func alone(_ changes: NameChanges?...) -> [UInt64: [Int64]] {
    let run = SnapshotRun(changes: changes)
    return Dictionary(
      uniqueKeysWithValues: run.inodesHeldAlone().map { inode in
        var names = [Int64](repeating: 0, count: changes.count - 1)
        for holder in inode.holders { for index in holder.snapshots { names[index] = holder.names } }
        #expect(names[inode.snapshot] > 0, "the place is in a snapshot that has the inode")
        #expect(inode.names == names.reduce(0, +))
        return (inode.number, names)
      })
  }

  @Test("one snapshot between two others")
  func between() {
    // 1 came and went, 2 came and stays, 3 was there before and went, 4 was replaced by 1 and came back.
    #expect(alone(changes("+1", "+2", "-4"), changes("-1", "-3", "+4")) == [1: [1]])
    #expect(alone(changes(), changes()) == [:])
    // Two names of one inode.
    #expect(alone(changes("+1", "+1"), changes("-1", "-1")) == [1: [2]])
    // One of two names stays.
    #expect(alone(changes("+1", "+1"), changes("-1")) == [:])
    // Renamed and renamed back: the other name was there before.
    #expect(alone(changes("-1", "+1"), changes("-1", "+1")) == [:])
  }

  @Test("the oldest and the newest snapshot")
  func ends() {
    #expect(alone(nil, changes("-1", "+2")) == [1: [1]])
    #expect(alone(changes("-1", "+2"), nil) == [2: [1]])
    // All names of a whole chain are compared with nothing.
    #expect(alone(changes("+1", "+2", "+2"), nil) == [1: [1], 2: [2]])
    // A name less, but the inode stays: its link count will tell.
    #expect(alone(nil, changes("-1", "-1", "+1")) == [1: [1]])
  }

  @Test("runs of several snapshots count the names in each")
  func several() {
    #expect(alone(changes("+1"), changes(), changes(), changes("-1")) == [1: [1, 1, 1]])
    #expect(alone(changes("+1"), changes("-1"), changes()) == [1: [1, 0]])
    #expect(alone(changes(), changes("+1", "+1"), changes("-1"), changes("-1")) == [1: [0, 2, 1]])
    #expect(alone(nil, changes("+1"), changes("-1", "-2")) == [1: [0, 1], 2: [1, 1]])
    #expect(alone(changes("+2"), changes("+1"), nil) == [1: [0, 1], 2: [1, 1]])
    // It left for a while.
    #expect(alone(changes("+1"), changes("-1"), changes("+1"), changes("-1")) == [1: [1, 0, 1]])
    // Renamed inside the run.
    #expect(alone(changes("+1"), changes("-1", "+1"), changes("-1")) == [1: [1, 1]])
    // It was there before the run, and after it under another name.
    #expect(alone(changes(), changes("-1", "+1"), changes()) == [:])
  }

  @Test("random runs agree with sets of names")
  func random() {
    var random = SeededGenerator(seed: 11)
    for _ in 0..<2000 {
      let length = Int.random(in: 2...6, using: &random)
      // Each snapshot gives some of eight names one of five inodes; 0 is no file.
      let trees = (0..<length).map { _ in (0..<8).map { _ in UInt64.random(in: 0...5, using: &random) } }
      let between: [NameChanges?] = zip(trees, trees.dropFirst()).map { a, b in
        var words: [String] = []
        for (x, y) in zip(a, b) where x != y {
          if x != 0 { words.append("-\(x)") }
          if y != 0 { words.append("+\(y)") }
        }
        return changes(words)
      }
      let start = Int.random(in: 0..<length, using: &random)
      let end = Int.random(in: start..<length, using: &random)
      if start == 0, end == length - 1 { continue }
      let run = SnapshotRun(
        changes: [start == 0 ? nil : between[start - 1]] + between[start..<end]
          + [end == length - 1 ? nil : between[end]])
      let found = Dictionary(uniqueKeysWithValues: run.inodesHeldAlone().map { ($0.number, $0.names) })
      for inode in 1...5 as ClosedRange<UInt64> {
        let counts = trees.map { $0.count { $0 == inode } }
        let (inside, all) = (counts[start...end].reduce(0, +), counts.reduce(0, +))
        // An inode of the neighbours may be proposed, but its link count is never reached.
        let neighbours = (start > 0 ? counts[start - 1] : 0) + (end < length - 1 ? counts[end + 1] : 0)
        if inside > 0, neighbours == 0 { #expect(found[inode] == Int64(inside), "\(trees) \(start) \(end)") }
        if let names = found[inode] { #expect(names <= inside && (neighbours == 0 || names < all)) }
      }
    }
  }
}

@Suite("the names that two catalogs do not share")
struct NameChangesTests {
  private func reader(_ files: [(String, inode: UInt64)], repository: String = "r") throws -> CatalogReader {
    var below = TestDirectory()
    for (text, inode) in files {
      var entry = NewEntry.file(text)
      entry.hints.storedInode = inode
      below.files.append((name(text), entry))
    }
    var root = TestDirectory()
    root.directories = [(name("d"), below)]
    let file = try writeCatalog(root) { $0.repositoryID = Array(repository.utf8) }
    return CatalogReader(reading: try OpenCatalog(reading: file))
  }

  private func numbers(_ side: [UInt64: NameChanges.Names]) -> [UInt64: Int64] { side.mapValues(\.count) }

  @Test("a change is a lost and a gained name")
  func aChangeIsALostAndAGainedName() throws {
    let changes = try NameChanges(
      from: reader([("a", 1), ("b", 2), ("c", 3)]), to: reader([("a", 1), ("d", 3), ("e", 3)]))
    #expect(numbers(changes.lost) == [2: 1, 3: 1] && numbers(changes.gained) == [3: 2])
    #expect(!changes.mayHideOthers && changes.unknown == 0)
    #expect(changes.gained[3]?.place.path == [name("d"), name("d")])
  }

  @Test("an equal row with another inode is found by the sums")
  func anEqualRowWithAnotherInodeIsFoundByTheSums() throws {
    let changes = try NameChanges(from: reader([("a", 1), ("b", 2)]), to: reader([("a", 7), ("b", 2)]))
    #expect(numbers(changes.lost) == [1: 1] && numbers(changes.gained) == [7: 1])
    #expect(!changes.mayHideOthers)
  }

  @Test("catalogs of two repositories hide their inodes")
  func catalogsOfTwoRepositoriesHideTheirInodes() throws {
    let changes = try NameChanges(from: reader([("a", 1)]), to: reader([("a", 7)], repository: "other"))
    #expect(changes.lost.isEmpty && changes.gained.isEmpty && changes.mayHideOthers)
  }

  @Test("a missing catalog has no names")
  func aMissingCatalogHasNoNames() throws {
    let changes = try NameChanges(from: nil, to: reader([("a", 1), ("b", 0)]))
    #expect(numbers(changes.gained) == [1: 1] && changes.unknown == 1 && !changes.mayHideOthers)
  }
}

@Suite("the largest directories")
struct LargestDirectoriesTests {
  /// Directories with one file of each size.
  private func reader(_ sizes: [String: [Int]]) throws -> CatalogReader {
    func directory(_ prefix: String) -> TestDirectory {
      var made = TestDirectory()
      for (number, size) in (sizes[prefix] ?? []).enumerated() {
        made.files.append((name("file\(number)"), .file(String(repeating: "x", count: size))))
      }
      let below = sizes.keys.filter { $0.hasPrefix(prefix + "/") }.map {
        $0.dropFirst(prefix.count + 1).split(separator: "/")[0]
      }
      for child in Set(below).sorted() {
        made.directories.append((name(String(child)), directory("\(prefix)/\(child)")))
      }
      return made
    }
    return CatalogReader(reading: try OpenCatalog(reading: writeCatalog(directory(""))))
  }

  private func found(_ directories: [DirectorySize]) -> [String] {
    directories.map { $0.path.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/") }
  }

  @Test("a directory that is almost one subdirectory gives way to it")
  func aDirectoryThatIsAlmostOneSubdirectoryGivesWayToIt() throws {
    let reader = try reader(["/a/b/c": [900], "/a/b/d": [50], "/a/e": [40], "/f": [300, 200]])
    #expect(try found(largestDirectories(in: reader, below: [[]], count: 4)) == ["", "a/b/c", "f", "a/b/d"])
    #expect(try found(largestDirectories(in: reader, below: [[name("a")]], count: 9)) == ["a/b/c", "a/b/d", "a/e"])
    #expect(try largestDirectories(in: reader, below: [[name("none")]], count: 4) == [])
  }

  @Test("growth is measured against the older catalog")
  func growthIsMeasuredAgainstTheOlderCatalog() throws {
    let older = try reader(["/a/x": [500], "/b": [100], "/gone": [900]])
    let newer = try reader(["/a/x": [510], "/a/y": [200], "/b": [400], "/same": [0]])
    let growing = try largestDirectories(in: newer, since: older, below: [[name("a")], [name("b")]], count: 9)
    #expect(found(growing) == ["b", "a/y", "a/x"])
    #expect(growing.map(\.growth) == [300, 200, 10])
  }
}
