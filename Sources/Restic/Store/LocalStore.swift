public import Model
internal import Posix
public import Repository
internal import Synchronization

/// A repository in a directory of this machine, in restic's own layout.
public final class LocalStore: ObjectStore {
  public let displayName: String
  public let connections = 0
  public let showsWritesAtOnce = true
  private let path: [UInt8]
  private let root: Directory
  /// The permissions of new files and directories. As with restic, they follow those of `config`.
  private let modes: (file: UInt32, directory: UInt32)
  /// The owner of the repository, if root works in another user's; new files belong to that user.
  private let owner: (user: UInt32, group: UInt32)?
  private let temporaryNumber = Atomic<UInt64>(0)
  private static let temporarySuffix = Array("-tmp-treering".utf8)

  private init(at path: [UInt8], root: Directory, owner: FileStatus?, isForGroup: Bool) {
    let isOthers = CurrentProcess.effectiveUser == 0 && owner.map { $0.user != 0 } ?? false
    self.owner = isOthers ? owner.map { ($0.user, $0.group) } : nil
    self.path = path
    displayName = "restic:" + Model.displayName(path)
    self.root = root
    modes = isForGroup ? (0o440, 0o750) : (0o400, 0o700)
  }

  /// Opens the directory of a repository.
  public static func open(_ path: [UInt8]) throws(Failure) -> LocalStore {
    let shown = Model.displayName(path)
    do {
      let root = Directory(try Descriptor.open(path: path, [.read, .directory]))
      guard let status = try root.descriptor.statusIfPresent(of: Array("config".utf8).span) else {
        throw Failure(
          .usage, "\(shown) is not a repository of restic: it has no file config", path: path,
          hint: "is its disk mounted? A new one is made with: treering init -r restic:\(shown) --password-file FILE")
      }
      return LocalStore(at: path, root: root, owner: status, isForGroup: status.permissions & 0o040 != 0)
    } catch {
      if let failure = error as? Failure { throw failure }
      let isAbsent = (error as? Errno)?.meansAbsence == true
      throw Failure(
        .usage, "cannot open the repository \(shown): \(error)", path: path,
        hint: isAbsent ? "is its disk mounted?" : nil)
    }
  }

  /// Makes the directories of a new repository. An existing directory must be empty.
  public static func create(_ path: [UInt8]) throws(Failure) -> LocalStore {
    let shown = Model.displayName(path)
    do {
      let (parent, name) = splitLast(of: path)
      if !name.isEmpty {
        do { try Descriptor.open(path: parent, [.read, .directory]).makeDirectory(name.span, mode: 0o700) } catch {
          guard error == .exists else { throw error }
        }
      }
      let root = Directory(try Descriptor.open(path: path, [.read, .directory]))
      let present = try Directory(root.descriptor.reopenDirectory()).names()
      guard present.isEmpty else {
        let isRepository = present.contains(Array("config".utf8))
        throw Failure(
          .usage, isRepository ? "\(shown) is a repository of restic already" : "\(shown) is not empty", path: path,
          hint: isRepository ? nil : "name a new directory")
      }
      let store = LocalStore(at: path, root: root, owner: nil, isForGroup: false)
      for kind in ObjectKind.allCases where kind != .config {
        try root.descriptor.makeDirectory(Array(kind.rawValue.utf8).span, mode: store.modes.directory)
      }
      let data = try root.directory(Array("data".utf8).span)
      for first in 0..<256 { try data.descriptor.makeDirectory(Self.prefix(first).span, mode: store.modes.directory) }
      try data.descriptor.synchronize()
      try root.descriptor.synchronize()
      return store
    } catch { throw .writing("make the repository", at: path, because: error) }
  }

  private static func prefix(_ byte: Int) -> [UInt8] { [hexDigits[byte >> 4], hexDigits[byte & 15]] }

  /// The directory of a file, and its name there.
  private func place(of name: ObjectName) throws(Errno) -> (directory: Directory, name: [UInt8]) {
    if name.kind == .config { return (root, Array("config".utf8)) }
    let directory = try root.directory(Array(name.kind.rawValue.utf8).span)
    let text = Array(name.id.description.utf8)
    return (name.kind == .data ? try directory.directory(Array(text[..<2]).span) : directory, text)
  }

  private func failure(_ what: String, _ name: some CustomStringConvertible, because error: any Error) -> Failure {
    if let failure = error as? Failure { return failure }
    var failure = Failure.writing(what + " \(name) in", at: path, because: error)
    if failure.kind == .noSpace { failure.hint = "free some space on the file system of the repository" }
    return failure
  }

  public func list(_ kind: ObjectKind) throws -> [(id: Digest, byteCount: UInt64)] {
    var found: [(id: Digest, byteCount: UInt64)] = []
    do {
      try forEachDirectory(of: kind) { directory in
        for name in try directory.names() {
          guard name.count == 64, let id = Digest(hexadecimal: name),
            let status = try directory.descriptor.statusIfPresent(of: name.span), status.kind == .regular
          else { continue }
          found.append((id, status.size))
        }
      }
    } catch { throw failure("list", kind.rawValue, because: error) }
    return found
  }

  /// Calls `body` with each directory that holds files of a kind. A missing one holds none.
  private func forEachDirectory(of kind: ObjectKind, body: (Directory) throws -> Void) throws {
    let top: Directory
    do throws(Errno) { top = try root.directory(Array(kind.rawValue.utf8).span) } catch {
      if error == .noSuchEntry { return }
      throw error
    }
    guard kind == .data else { return try body(top) }
    for name in try top.names() where name.count == 2 && name.allSatisfy({ hexDigits.contains($0) }) {
      try body(try top.directory(name.span))
    }
  }

  public func byteCount(of name: ObjectName) throws -> UInt64? {
    do throws(Errno) {
      let place = try place(of: name)
      return try place.directory.descriptor.statusIfPresent(of: place.name.span)?.size
    } catch {
      if error == .noSuchEntry { return nil }
      throw failure("look at", name, because: error)
    }
  }

  public func read(_ name: ObjectName, at offset: UInt64, count: Int) throws -> [UInt8]? {
    do throws(Errno) {
      let place = try place(of: name)
      let file = try place.directory.descriptor.openToRead(place.name.span)
      let status = try file.status()
      guard status.kind == .regular else { throw Errno.invalid }
      // The count may come from a damaged header; the file's size bounds it.
      let left = status.size > offset ? status.size - offset : 0
      return try file.read(at: offset, count: Int(min(UInt64(count), left)))
    } catch {
      if error == .noSuchEntry { return nil }
      throw failure("read", name, because: error)
    }
  }

  public func write(_ name: ObjectName, _ bytes: [UInt8]) throws {
    do {
      let (target, final) = try directoryToWrite(name)
      let number = temporaryNumber.wrappingAdd(1, ordering: .relaxed).newValue
      let temporary =
        final + Array("-\(CurrentProcess.identifier)-\(number)".utf8) + Self.temporarySuffix
      do {
        let file = try target.descriptor.open(temporary.span, [.write, .create, .exclusive], mode: 0o600)
        try file.write(bytes)
        if let owner { try file.setOwner(user: owner.user, group: owner.group) }
        // exFAT and some network file systems have no permissions.
        do throws(Errno) { try file.setPermissions(modes.file) } catch {
          guard [.notPermitted, .notSupported].contains(error) else { throw error }
        }
        try file.synchronize()
        try file.close()
        try target.descriptor.rename(temporary.span, to: target.descriptor, as: final.span, replacing: true)
        try target.descriptor.synchronize()
      } catch {
        try? target.descriptor.unlink(temporary.span)
        throw error
      }
    } catch { throw failure("write", name, because: error) }
  }

  /// The place of a new file; makes a missing directory, because restic makes some only when they are needed.
  private func directoryToWrite(_ name: ObjectName) throws(Errno) -> (directory: Directory, name: [UInt8]) {
    do { return try place(of: name) } catch {
      guard error == .noSuchEntry else { throw error }
      func make(_ name: [UInt8], in parent: Directory) throws(Errno) {
        do { try parent.descriptor.makeDirectory(name.span, mode: modes.directory) } catch {
          guard error == .exists else { throw error }
          return
        }
        if let owner {
          try parent.descriptor.open(name.span, [.read, .directory]).setOwner(user: owner.user, group: owner.group)
        }
        try parent.descriptor.synchronize()
      }
      let top = Array(name.kind.rawValue.utf8)
      try make(top, in: root)
      if name.kind == .data {
        try make(Array(name.id.description.utf8.prefix(2)), in: try root.directory(top.span))
      }
      return try place(of: name)
    }
  }

  public func remove(_ name: ObjectName) throws {
    do throws(Errno) {
      let place = try place(of: name)
      try place.directory.descriptor.unlink(place.name.span)
      try place.directory.descriptor.synchronize()
    } catch {
      if error == .noSuchEntry { return }
      throw failure("remove", name, because: error)
    }
  }

  /// The age of a temporary file from which on its writer is taken for dead, in seconds.
  private static let leftoverSeconds = 86_400.0

  public func removeLeftovers() throws {
    let now = Clock.now()
    for kind in ObjectKind.allCases where kind != .config {
      do {
        try forEachDirectory(of: kind) { directory in
          for name in try directory.names() where Array(name.suffix(Self.temporarySuffix.count)) == Self.temporarySuffix
          {
            guard let status = try directory.descriptor.statusIfPresent(of: name.span),
              now - status.modified > Self.leftoverSeconds
            else { continue }
            try directory.descriptor.unlink(name.span)
          }
        }
      } catch { throw failure("clear", kind.rawValue, because: error) }
    }
  }
}
