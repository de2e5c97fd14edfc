internal import Model
internal import Posix
internal import Settings

/// Puts the copy of an SQLite database to its file.
struct SQLiteLoader: DumpLoading {
  private let path: [UInt8]
  private let target: DatabaseConfiguration
  private let tools: Tools

  init(into target: DatabaseConfiguration, by tools: Tools) {
    path = Array((target.path ?? "").utf8)
    (self.target, self.tools) = (target, tools)
  }

  func command(toLookAt target: [UInt8]) -> [[UInt8]] { words("sqlite3") + [target] }

  /// The files of a database: itself, and those that belong to its last changes.
  private static let endings = ["", "-wal", "-shm", "-journal"].map { Array($0.utf8) }

  func plan(_ databases: [[UInt8]], _ options: LoadOptions) throws(DumpFailure) -> [LoadStep] {
    let (parent, name) = split(path)
    let file = try SQLiteFile(of: target, at: path, for: tools.account)
    let names: [[UInt8]]
    do { names = try file.directory.names() } catch {
      throw DumpFailure(name: tools.name, reason: "cannot use the directory \(displayName(parent)): \(error)")
    }
    var options = options
    options.newName = options.newName ?? (names.contains(name) ? nil : name)
    let wanted = options.newName ?? name
    let users = names.contains(wanted) ? Self.programCount(using: parent + [slash] + wanted) : 0
    let present = Dictionary(
      uniqueKeysWithValues: names.map { ($0, LoadStep.State.occupied(connections: $0 == wanted ? users : 0)) })
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
    let name = split(step.target).name
    let file = try SQLiteFile(of: target, at: step.target, for: tools.account)
    func attempt<T>(_ what: String, body: () throws(Errno) -> T) throws(DumpFailure) -> T {
      do { return try body() } catch {
        throw DumpFailure(name: tools.name, reason: "cannot \(what) \(displayName(step.target)): \(error)")
      }
    }
    try attempt("make") { () throws(Errno) in
      let place = try file.directory.descriptor.duplicate()
      let new = name + Array(".treering-new".utf8)
      // The leftover of a killed load.
      if try place.statusIfPresent(of: new.span) != nil { try place.unlink(new.span) }
      let old = try place.statusIfPresent(of: name.span)
      let owner = old.map { ($0.user, $0.group) } ?? file.controller.map { ($0.user, $0.group) }
      try Self.copy(step.database, of: directory, to: new, in: place, owner: owner, permissions: old?.permissions)
      try Self.exchange(new, with: name, keptAs: step.replacedName, in: place)
      guard let kept = step.replacedName, !options.keepsReplaced else { return }
      for ending in Self.endings where try place.statusIfPresent(of: (kept + ending).span) != nil {
        try place.unlink((kept + ending).span)
      }
    }
    return LoadResult()
  }

  /// Gives the new file the name, and the present files another. After a failure all is as before.
  private static func exchange(
    _ new: [UInt8], with name: [UInt8], keptAs kept: [UInt8]?, in place: borrowing Descriptor
  ) throws(Errno) {
    var moved: [[UInt8]] = []
    do throws(Errno) {
      if let kept {
        for ending in endings.reversed() where try place.statusIfPresent(of: (name + ending).span) != nil {
          try place.rename((name + ending).span, to: place, as: (kept + ending).span)
          moved.append(ending)
        }
      }
      try place.rename(new.span, to: place, as: name.span)
      try place.synchronize()
    } catch {
      if let kept {
        for ending in moved { try? place.rename((kept + ending).span, to: place, as: (name + ending).span) }
      }
      try? place.unlink(new.span)
      throw error
    }
  }

  /// The number of other programs of this machine that have the file open, as far as this user may see.
  static func programCount(using path: [UInt8]) -> Int {
    guard let file = try? Descriptor.open(path: path, .pathOnly).status(),
      let processes = try? Directory(Descriptor.open(path: Array("/proc".utf8), [.read, .directory])).names()
    else { return 0 }
    let own = Array("\(CurrentProcess.identifier)".utf8)
    return processes.filter { process in
      guard process != own, process.allSatisfy(isDigit) else { return false }
      let place = Array("/proc/".utf8) + process + Array("/fd".utf8)
      let open = (try? Directory(Descriptor.open(path: place, [.read, .directory])).names()) ?? []
      return open.contains { number in
        (try? Descriptor.open(path: place + [slash] + number, .pathOnly).status())?.isSameInode(as: file) == true
      }
    }.count
  }

  /// Copies the file durably, with the owner and the mode of the database that was there.
  private static func copy(
    _ name: [UInt8], of source: Directory, to new: [UInt8], in place: borrowing Descriptor,
    owner: (user: UInt32, group: UInt32)?, permissions: UInt32?
  ) throws(Errno) {
    let from = try source.descriptor.openToRead(name.span)
    let to = try place.open(new.span, [.readWrite, .create, .exclusive], mode: 0o600)
    do throws(Errno) {
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
      defer { buffer.deallocate() }
      while case let count = try from.read(into: buffer), count > 0 {
        try to.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      }
      if let owner, CurrentProcess.effectiveUser == 0 { try to.setOwner(user: owner.user, group: owner.group) }
      if let permissions { try to.setPermissions(permissions) }
      try to.synchronize()
    } catch {
      try? place.unlink(new.span)
      throw error
    }
  }

  private func split(_ path: [UInt8]) -> (parent: [UInt8], name: [UInt8]) {
    let path = TreePath(parsing: path)
    return (path.dropLast().absolute, path.last ?? [])
  }
}
