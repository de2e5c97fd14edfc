internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

/// A checked copy of a dump in a private directory, from which it is loaded.
struct StagedDump {
  let directory: Directory
  let path: [UInt8]
  private let dump: StoredDump
  private let databases: Set<[UInt8]>
  private let store: any SnapshotStore

  /// Makes the directory. Only the named databases of a server's dump are needed.
  init(_ dump: StoredDump, databases: [[UInt8]], of store: any SnapshotStore, below parent: [UInt8]) throws {
    (self.dump, self.databases, self.store) = (dump, Set(databases), store)
    do {
      let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
      if try above.descriptor.fileSystem().lacks(bytes: dump.byteCount, inodes: 0) {
        throw Failure(
          .noSpace,
          "the copy of the dump needs \(byteText(dump.byteCount)), and \(displayName(parent)) has "
            + "\(byteText(try above.descriptor.fileSystem().bytesAvailable)) free",
          path: parent, hint: "name a directory of another file system with --work-dir")
      }
      let name = Array("treering-".utf8) + (try CurrentProcess.randomBytes(count: 12).map { 97 + $0 % 26 })
      path = parent + [slash] + name
      try above.descriptor.makeDirectory(name.span, mode: 0o700)
      directory = try above.directory(name.span)
      try directory.descriptor.dropInheritedACLs()
    } catch { throw Failure.writing("make a directory below", at: parent, because: error) }
  }

  /// Copies the files of the dump. Throws if one of them is damaged.
  func fetch(threads: Int, common: CommonOptions) throws {
    let progress = Progress()
    let monitor = ConsoleMonitor()
    var options = RestoreOptions(paths: [], destination: path, overwrite: .ifChanged, isDryRun: false, threads: threads)
    options.top = dump.place
    let parts = dump.entries.filter(\.isDirectory)
    if !parts.allSatisfy({ databases.contains($0.object) }) {
      let wanted = dump.entries.filter { !$0.isDirectory || databases.contains($0.object) }
      options.paths = wanted.map { dump.place + [$0.name] }
    }
    let line = ProgressLine(for: "fetch", of: progress, options: common)
    defer { line.stop() }
    let result = try restore(dump.snapshot, from: store, options: options, progress: progress, monitor: monitor)
    line.stop()
    if result.damaged > 0 {
      throw Failure(
        .damaged,
        "the dump of \(displayName(dump.record.name)) in \(dump.snapshot.name) is damaged; nothing was loaded",
        hint: "take another one with --in, or repair it: treering verify --repair-from REMOTE")
    }
    guard monitor.warnings.isEmpty else {
      throw Failure(.failed, "the dump could not be copied as a whole; nothing was loaded")
    }
  }

  /// Removes the copy. What cannot be removed is named.
  func remove() {
    do { try removeDump(at: path, threads: 1) } catch {
      Console.warn("this copy of a dump cannot be removed: \(error)", path: path)
    }
  }
}
