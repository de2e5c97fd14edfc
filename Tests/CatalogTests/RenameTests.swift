import Model
import TestSupport
import Testing

@testable import Catalog

@Suite struct RenameTests {
  private func changes(
    _ before: TestDirectory, _ after: TestDirectory, under path: TreePath = []
  ) throws -> [Change] {
    var changes: [Change] = []
    let search = RenameSearch(
      from: try reader(try writeCatalog(before)), to: try reader(try writeCatalog(after))
    ) { changes.append($0) }
    try search.run(under: path)
    #expect(search.isComplete)
    return changes
  }

  private func lines(_ before: TestDirectory, _ after: TestDirectory) throws -> [String] {
    func text(_ path: TreePath) -> String { path.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/") }
    return try changes(before, after).map { change in
      let before = change.pathBefore.map { text($0) + " " } ?? ""
      let below = change.entriesBelow > 0 ? " \(change.entriesBelow)" : ""
      return "\(change.verb) \(before)\(text(change.path))\(below)"
    }
  }

  private func file(_ text: String, inode: UInt64) -> NewEntry {
    var entry = NewEntry.file(text)
    entry.hints.sourceInode = inode
    return entry
  }

  private func directory(_ files: [(String, NewEntry)], inode: UInt64 = 0) -> TestDirectory {
    var directory = TestDirectory()
    directory.hints.sourceInode = inode
    directory.files = files.map { (name($0.0), $0.1) }
    return directory
  }

  private func tree(_ directories: [(String, TestDirectory)], files: [(String, NewEntry)] = []) -> TestDirectory {
    var tree = directory(files)
    tree.directories = directories.map { (name($0.0), $0.1) }
    return tree
  }

  @Test("renames are found by inode and by content")
  func byInodeAndByContent() throws {
    let text = String(repeating: "text ", count: 20)
    let before = directory([("a", file("same", inode: 1)), ("b", file(text + "t", inode: 2))])
    #expect(try lines(before, directory([("c", file("same", inode: 9))])) == ["removed b", "renamed a c"])
    #expect(try lines(before, directory([("c", file(text + "tale", inode: 2))])) == ["removed a", "renamed b c"])
    // The inode was given to another file.
    #expect(try lines(before, directory([("c", file("x", inode: 2))])) == ["removed a", "removed b", "added c"])
    // The inode goes before the content.
    let twins = directory([("a", file("same", inode: 1)), ("b", file("same", inode: 2))])
    let after = directory([("c", file("same", inode: 2)), ("d", file("same", inode: 1))])
    #expect(try lines(twins, after) == ["renamed b c", "renamed a d"])
    // A copy that stays is no rename.
    #expect(
      try lines(twins, directory([("a", file("same", inode: 1)), ("c", file("same", inode: 3))])) == ["renamed b c"])
    #expect(
      try lines(
        directory([("a", file("same", inode: 1))]),
        directory([("a", file("same", inode: 1)), ("c", file("same", inode: 3))])) == ["added c"])
    // An empty file tells nothing but its name.
    #expect(
      try lines(directory([("a", file("", inode: 1))]), directory([("c", file("", inode: 3))])) == [
        "removed a", "added c",
      ])
  }

  @Test("a renamed directory is one line")
  func aDirectoryIsOneLine() throws {
    let files = (0..<100).map { ("f\($0 + 100)", file("\($0)", inode: UInt64($0) + 10)) }
    let before = tree([("old", directory(files, inode: 5))])
    #expect(try lines(before, tree([("new", directory(files, inode: 5))])) == ["renamed old new 100"])
    // Without any inodes, with a changed, a new and a removed file inside.
    var other = files.map { ($0.0, file(String(decoding: $0.1.digest.fileName, as: UTF8.self), inode: 0)) }
    for index in files.indices {
      other[index].1 = files[index].1
      other[index].1.hints.sourceInode = 0
    }
    other[3].1 = file("other", inode: 0)
    other[4].0 = "f104a"
    other.removeLast()
    other.append(("g", file("completely new", inode: 0)))
    #expect(
      try lines(tree([("old", directory(files))]), tree([("new", directory(other))])) == [
        "renamed old new 100", "changed new/f103", "renamed old/f104 new/f104a", "removed old/f199", "added new/g",
      ])
    // It moved into a new directory.
    #expect(
      try lines(
        tree([("old", directory(files, inode: 5))]),
        tree([("above", tree([("new", directory(files, inode: 5))]))])) == ["added above", "renamed old above/new 100"])
  }

  @Test("what left a directory before its own rename is not removed, too")
  func takenBelowARemovedDirectory() throws {
    func files(_ name: String, _ count: Int) -> [(String, NewEntry)] {
      (10..<10 + count).map { ("\($0)\(name)", file("\(name) \($0)", inode: 0)) }
    }
    let moved = directory(files("moved", 5))
    let old = tree(
      [("c", tree([("s", tree([("d", moved)], files: files("old", 9)))], files: files("kept", 20)))])
    let new = tree([
      ("a", tree([("other", tree([("d", moved)], files: files("new", 9)))])), ("n", directory(files("kept", 20))),
    ])
    let found = try lines(old, new)
    #expect(found.contains("renamed c/s/d a/other/d 5") && found.contains("renamed c n 20"), "\(found)")
    #expect(found.contains("removed c/s") && found.filter { $0.hasPrefix("removed c/s/") }.count == 9, "\(found)")
  }

  /// The reported changes lead from the first tree's paths to the second's, whatever was moved.
  @Test("random moves are found", arguments: [false, true])
  func randomMoves(hasInodes: Bool) throws {
    var generator = printedGenerator()
    for _ in 0..<60 {
      let before = generator.tree(depth: 3, files: 5, directories: 3)
      var after = before
      for _ in 0..<Int.random(in: 1...6, using: &generator) { generator.move(in: &after) }
      let changes = try changes(
        hasInodes ? before : before.withoutInodes, hasInodes ? after : after.withoutInodes)
      let (old, new) = (try expectedEntries(before), try expectedEntries(after))
      let kinds = Dictionary(uniqueKeysWithValues: old.map { ($0.path, $0.kind) })
      let renames = changes.compactMap { change in change.pathBefore.map { ($0, change.path) } }
        .sorted { $0.0.count > $1.0.count }
      let removed = Set(changes.filter { $0.verb == .removed }.map(\.path))
      let added = Set(changes.filter { $0.verb == .added }.map(\.path))
      var arrived = added
      for entry in old where !removed.contains(entry.path) {
        let rename = renames.first { entry.path.starts(with: $0.0) }
        let path = rename.map { $0.1 + entry.path.dropFirst($0.0.count) } ?? entry.path
        #expect(arrived.insert(path).inserted)
      }
      #expect(arrived == Set(new.map(\.path)))
      for change in changes where change.verb == .renamed { #expect(kinds[change.pathBefore!] == change.kind) }
    }
  }

  @Test("many equal files are no quadratic work")
  func manyEqualFilesAreNoQuadraticWork() throws {
    let count = 20_000
    let before = directory((0..<count).map { ("a\($0 + 100_000)", file("same", inode: 0)) })
    let after = directory((0..<count).map { ("b\($0 + 100_000)", file("same", inode: 0)) })
    let found = try changes(before, after)
    #expect(found.count == count && found.allSatisfy { $0.verb == .renamed })
  }
}

extension TestDirectory {
  /// As a pushed catalog is: it has no hints.
  fileprivate var withoutInodes: TestDirectory {
    var copy = self
    copy.hints = .none
    for index in files.indices { copy.files[index].entry.hints = .none }
    for index in directories.indices { copy.directories[index].directory = directories[index].directory.withoutInodes }
    return copy
  }
}

extension SeededGenerator {
  /// Takes something out of a tree, and puts it back elsewhere under the same or another name.
  fileprivate mutating func move(in tree: inout TestDirectory) {
    guard let (name, something) = take(from: &tree) else { return }
    var taken = something
    if case .file(var entry) = taken, entry.kind == .regular, Int.random(in: 0...3, using: &self) == 0 {
      entry = .file("changed \(next())")
      taken = .file(entry)
    }
    let isRenamed = Bool.random(using: &self)
    let newName = isRenamed ? fileName() : name
    put(taken, named: newName, into: &tree)
  }

  private enum Taken {
    case file(NewEntry)
    case directory(TestDirectory)
  }

  private mutating func take(from tree: inout TestDirectory) -> ([UInt8], Taken)? {
    if !tree.directories.isEmpty, Int.random(in: 0...2, using: &self) > 0 {
      let index = Int.random(in: tree.directories.indices, using: &self)
      if let below = take(from: &tree.directories[index].directory) { return below }
    }
    if !tree.directories.isEmpty, Bool.random(using: &self) {
      let taken = tree.directories.remove(at: Int.random(in: tree.directories.indices, using: &self))
      return (taken.name, .directory(taken.directory))
    }
    if tree.files.isEmpty { return nil }
    let taken = tree.files.remove(at: Int.random(in: tree.files.indices, using: &self))
    return (taken.name, .file(taken.entry))
  }

  private mutating func put(_ taken: Taken, named name: [UInt8], into tree: inout TestDirectory) {
    if !tree.directories.isEmpty, Int.random(in: 0...2, using: &self) > 0 {
      let index = Int.random(in: tree.directories.indices, using: &self)
      return put(taken, named: name, into: &tree.directories[index].directory)
    }
    guard !tree.files.contains(where: { $0.name == name }), !tree.directories.contains(where: { $0.name == name })
    else {
      return
    }
    switch taken {
    case .file(let entry):
      let index = tree.files.firstIndex { name.lexicographicallyPrecedes($0.name) } ?? tree.files.count
      tree.files.insert((name, entry), at: index)
    case .directory(let directory):
      let index = tree.directories.firstIndex { name.lexicographicallyPrecedes($0.name) } ?? tree.directories.count
      tree.directories.insert((name, directory), at: index)
    }
  }
}
