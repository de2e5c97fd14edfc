internal import Catalog
public import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Copies of the small files of one repository, in a directory that only this user can change.
///
/// A copy has the bytes that the repository has, sealed, and its name has their SHA-256, with which each read compares
/// it. Nothing depends on the cache, which can be removed at any time. A copy is used only if the repository still
/// lists the file.
public final class ObjectCache: Sendable {
  /// The kinds of files that are kept. All are named by their content.
  private static let kinds: [ObjectKind] = [.keys, .snapshots, .index]
  /// More is not kept.
  private static let mostBytes: UInt64 = 1 << 30
  /// A cache that was not used for so long is removed.
  private static let unusedSeconds: Int64 = 60 * 86400
  private static let suffix = Array(".objects".utf8)

  private let directory: Directory
  /// The files in the directory, with their sizes.
  private let files: Mutex<[ObjectName: UInt64]>

  /// Opens or makes the cache at a path, whose last two components are this program's own. `nil` if that is no safe
  /// place.
  public init?(at path: [UInt8], time: Timestamp) {
    let (above, name) = splitLast(of: path)
    let (base, program) = splitLast(of: above)
    do {
      try CatalogCache.makeDirectories(above: above)
      // Only the operator's own path may have symbolic links.
      let own = try Self.openOwn(try Descriptor.open(path: base, [.read, .directory]))
      let caches = try Self.makeOwn(program, in: own)
      directory = try Self.makeOwn(name + Self.suffix, in: caches)
      files = Mutex(try Self.files(in: directory))
      try directory.descriptor.setModificationTime(time)
      Self.removeUnused(in: caches, at: time)
    } catch { return nil }
  }

  private static func makeOwn(_ name: [UInt8], in above: Directory) throws(Errno) -> Directory {
    do throws(Errno) { try above.descriptor.makeDirectory(name.span, mode: 0o700) } catch {
      guard error == .exists else { throw error }
    }
    return try openOwn(try above.descriptor.openDirectory(name.span))
  }

  /// Throws unless the directory belongs to this user, and no other one can write there.
  private static func openOwn(_ descriptor: consuming Descriptor) throws(Errno) -> Directory {
    let directory = Directory(descriptor)
    let status = try directory.descriptor.status()
    guard status.user == CurrentProcess.effectiveUser, status.permissions & 0o022 == 0 else { throw .notPermitted }
    return directory
  }

  private static func files(in directory: Directory) throws(Errno) -> [ObjectName: UInt64] {
    var files: [ObjectName: UInt64] = [:]
    for file in try directory.names() {
      if let name = name(of: file), let status = try directory.descriptor.statusIfPresent(of: file.span) {
        files[name] = status.size
      } else {
        // The leftover of a killed process.
        try directory.descriptor.unlink(file.span)
      }
    }
    return files
  }

  /// Removes the caches of repositories that this user left. A failure is not reported: the next run tries again.
  private static func removeUnused(in caches: Directory, at time: Timestamp) {
    for name in (try? caches.names()) ?? [] where name.reversed().starts(with: suffix.reversed()) {
      guard let status = try? caches.descriptor.status(of: name.span),
        time.seconds - status.modified.seconds > unusedSeconds,
        let unused = try? caches.directory(name.span)
      else { continue }
      for file in (try? unused.names()) ?? [] { try? unused.descriptor.unlink(file.span) }
      try? caches.descriptor.removeDirectory(name.span)
    }
  }

  private static func fileName(_ name: ObjectName) -> [UInt8] { Array("\(name.kind.rawValue)-\(name.id)".utf8) }

  private static func name(of file: [UInt8]) -> ObjectName? {
    for kind in kinds where file.starts(with: kind.rawValue.utf8) {
      if let id = Digest(hexadecimal: file.suffix(64)) {
        let name = ObjectName(kind, id)
        return fileName(name) == file ? name : nil
      }
    }
    return nil
  }

  /// The files of a kind of which there are copies, in the order of their IDs.
  func ids(of kind: ObjectKind) -> [Digest] {
    files.withLock { $0.keys.filter { $0.kind == kind }.map(\.id) }
      .sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
  }

  /// The bytes of a file; `nil` if there is no good copy.
  func read(_ name: ObjectName, limit: Int) -> [UInt8]? {
    guard let size = files.withLock({ $0[name] }), size <= UInt64(limit),
      let file = try? directory.descriptor.openToRead(Self.fileName(name).span),
      let bytes = try? file.readToEnd(limit: Int(size)), SHA256().digest(of: bytes) == name.id
    else { return nil }
    return bytes
  }

  /// Keeps a copy of a file, if there is room. The bytes must have the SHA-256 of the name.
  func keep(_ name: ObjectName, _ bytes: [UInt8]) {
    let size = UInt64(bytes.count)
    let hasRoom = files.withLock { files in
      guard Self.kinds.contains(name.kind), files.values.reduce(size, +) <= Self.mostBytes else { return false }
      files[name] = size
      return true
    }
    guard hasRoom else { return }
    let file = ControlFile(named: Self.fileName(name), in: directory, mode: 0o600)
    // Without the copy, the next run only asks the repository again.
    do { try file.replace(with: bytes) } catch { files.withLock { $0[name] = nil } }
  }

  /// Removes the copies of files that the repository no longer lists, or lists with another size.
  func retain(_ kind: ObjectKind, _ listed: some Sequence<Digest>, sizes: [Digest: UInt64] = [:]) {
    let listed = Set(listed)
    let gone = files.withLock { files in
      let gone = files.filter { name, size in
        name.kind == kind && (!listed.contains(name.id) || sizes[name.id].map { $0 != size } ?? false)
      }.keys
      for name in gone { files[name] = nil }
      return gone
    }
    for name in gone { try? directory.descriptor.unlink(Self.fileName(name).span) }
  }
}
