internal import Model
internal import Posix
internal import Settings

/// Puts the copy of an SQLite database to its file.
struct SQLiteLoader: DumpLoading {
  private let path: [UInt8]
  private let tools: Tools

  init(into target: DatabaseConfiguration, by tools: Tools) {
    path = Array((target.path ?? "").utf8)
    self.tools = tools
  }

  func command(toLookAt target: [UInt8]) -> [[UInt8]] { words("sqlite3") + [target] }

  /// The files of a database: itself, and those that belong to its last changes.
  private static let endings = ["", "-wal", "-shm", "-journal"].map { Array($0.utf8) }

  func plan(_ databases: [[UInt8]], _ options: LoadOptions) throws(DumpFailure) -> [LoadStep] {
    let (parent, name) = split(path)
    let names: [[UInt8]]
    do { names = try Directory(Descriptor.open(path: parent, [.read, .directory])).names() } catch {
      throw DumpFailure(name: tools.name, reason: "cannot use the directory \(displayName(parent)): \(error)")
    }
    var options = options
    options.newName = options.newName ?? (names.contains(name) ? nil : name)
    let present = Dictionary(
      uniqueKeysWithValues: names.map { ($0, LoadStep.State.occupied(connections: 0)) })
    let steps = options.steps(for: [name], among: present, longest: 255)
    return steps.map { step in
      LoadStep(
        database: databases.first ?? name, target: parent + [slash] + step.target, state: step.state,
        replacedName: step.replacedName)
    }
  }

  func load(
    _ steps: [LoadStep], from directory: Directory, at source: [UInt8], _ options: LoadOptions
  ) throws(DumpFailure) -> LoadResult {
    guard let step = steps.first else { return LoadResult() }
    let (parent, name) = split(step.target)
    func attempt<T>(_ what: String, body: () throws(Errno) -> T) throws(DumpFailure) -> T {
      do { return try body() } catch {
        throw DumpFailure(name: tools.name, reason: "cannot \(what) \(displayName(step.target)): \(error)")
      }
    }
    try attempt("make") { () throws(Errno) in
      let place = try Descriptor.open(path: parent, [.read, .directory])
      let new = name + Array(".new".utf8)
      try Self.copy(step.database, of: directory, to: new, in: place, like: try place.statusIfPresent(of: name.span))
      if let kept = step.replacedName {
        for ending in Self.endings.reversed() {
          let file = name + ending
          guard try place.statusIfPresent(of: file.span) != nil else { continue }
          try place.rename(file.span, to: place, as: (kept + ending).span)
        }
      }
      try place.rename(new.span, to: place, as: name.span)
      try place.synchronize()
      guard let kept = step.replacedName, !options.keepsReplaced else { return }
      for ending in Self.endings where try place.statusIfPresent(of: (kept + ending).span) != nil {
        try place.unlink((kept + ending).span)
      }
    }
    return LoadResult()
  }

  /// Copies the file durably, with the owner and the mode of the database that was there.
  private static func copy(
    _ name: [UInt8], of source: Directory, to new: [UInt8], in place: borrowing Descriptor, like old: FileStatus?
  ) throws(Errno) {
    let from = try source.descriptor.openToRead(name.span)
    let to = try place.open(new.span, [.readWrite, .create, .exclusive], mode: 0o600)
    do throws(Errno) {
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
      defer { buffer.deallocate() }
      while case let count = try from.read(into: buffer), count > 0 {
        try to.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      }
      if let old {
        if CurrentProcess.effectiveUser == 0 { try to.setOwner(user: old.user, group: old.group) }
        try to.setPermissions(UInt32(old.permissions))
      }
      try to.synchronize()
    } catch {
      try? place.unlink(new.span)
      throw error
    }
  }

  private func split(_ path: [UInt8]) -> (parent: [UInt8], name: [UInt8]) {
    let index = path.lastIndex(of: slash) ?? 0
    return (index == 0 ? [slash] : Array(path[..<index]), Array(path[(index + 1)...]))
  }
}
