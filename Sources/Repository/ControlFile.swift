internal import Model
public import Posix

/// A small file of `.treering`. It is read as a whole, and replaced atomically and durably.
public struct ControlFile {
  let directory: Directory
  let name: [UInt8]
  private let mode: UInt32
  private let owner: ControlOwner?

  /// Without an owner, the file belongs to the user of this process.
  public init(named name: [UInt8], in directory: Directory, mode: UInt32) {
    self.init(named: name, in: directory, mode: mode, owner: nil)
  }

  init(named name: [UInt8], in directory: Directory, mode: UInt32 = 0o600, owner: ControlOwner?) {
    (self.directory, self.name, self.mode, self.owner) = (directory, name, mode, owner)
  }

  /// The whole content, at most `limit` bytes. `nil` if there is no such file.
  public func read(limit: Int) throws(Errno) -> [UInt8]? {
    guard let file = try open() else { return nil }
    return try file.readToEnd(limit: limit)
  }

  /// Opens the file to read a part of it. `nil` if there is no such file.
  public func open() throws(Errno) -> Descriptor? {
    do { return try directory.descriptor.openToRead(name.span) } catch {
      if error == .noSuchEntry { return nil }
      throw error
    }
  }

  /// Replaces the content. After a crash, the file has either the old or the new content.
  public func replace(with content: [UInt8]) throws(Errno) {
    let file = try make()
    try file.write(content)
    try publish(file)
  }

  /// Replaces the content by the bytes that `write` writes.
  public func replace(_ write: (SharedFile) throws -> Void) throws {
    let file = SharedFile(try make())
    try write(file)
    try publish(file.descriptor)
  }

  private var temporary: [UInt8] { name + Array(".new".utf8) }

  private func make() throws(Errno) -> Descriptor {
    // An existing file or link of this name is neither opened nor followed.
    do { try directory.descriptor.unlink(temporary.span) } catch { guard error == .noSuchEntry else { throw error } }
    let file = try directory.descriptor.open(temporary.span, [.write, .create, .exclusive], mode: mode)
    try owner?.give(file)
    return file
  }

  private func publish(_ file: borrowing Descriptor) throws(Errno) {
    try file.synchronize()
    try directory.descriptor.rename(temporary.span, to: directory.descriptor, as: name.span, replacing: true)
    try directory.descriptor.synchronize()
  }

  /// Removes the file. Returns false if there is none.
  public func remove() throws(Errno) -> Bool {
    do {
      try directory.descriptor.unlink(name.span)
      try directory.descriptor.synchronize()
      return true
    } catch {
      if error == .noSuchEntry { return false }
      throw error
    }
  }
}

/// The owner of `.treering` and of all entries in it, whichever user ran the command.
struct ControlOwner {
  let user, group: UInt32

  /// True if root works in another user's repository.
  private var isOther: Bool { CurrentProcess.effectiveUser == 0 && user != 0 }

  /// Gives an entry that root created to the owner, who must be able to continue with it.
  func give(_ made: borrowing Descriptor) throws(Errno) {
    guard isOther else { return }
    do { try made.setOwner(user: user, group: group) } catch {
      // A file system that maps owners gives all files the same owner, so the error does not matter.
      guard error.meansNoPermission || error == .invalid else { throw error }
    }
  }

  /// Refuses a file that root must not write. An ordinary user may have made it a hard link to a file of root.
  func check(_ existing: borrowing Descriptor) throws(Errno) {
    guard isOther else { return }
    let status = try existing.status()
    guard status.kind == .regular, status.linkCount == 1, status.user == user || status.user == 0
    else { throw .notPermitted }
  }
}

extension Repository {
  /// The owner of `.treering`, who must be able to read all that treering itself makes.
  public var ownerNumbers: (user: UInt32, group: UInt32) { (owner.user, owner.group) }

  /// A small file of `.treering`, or of a directory in it.
  func file(named name: [UInt8], in directory: Directory? = nil) -> ControlFile {
    ControlFile(named: name, in: directory ?? control, owner: owner)
  }

  func replace(_ file: ControlFile, with text: String) throws(Failure) {
    do { try file.replace(with: Array(text.utf8)) } catch {
      throw .writing("write .treering/\(displayName(file.name)) of", at: path, because: error)
    }
  }

  /// Opens a file of `.treering` for writing, and creates it if it is missing.
  func openFile(_ name: [UInt8], in directory: Directory, flags: OpenFlags) throws(Errno) -> Descriptor {
    if !flags.contains(.exclusive) {
      do throws(Errno) {
        let file = try directory.descriptor.open(name.span, flags.union(.nonBlocking))
        try owner.check(file)
        return file
      } catch { guard error == .noSuchEntry else { throw error } }
    }
    let file = try directory.descriptor.open(name.span, flags.union([.create, .exclusive]), mode: 0o600)
    try owner.give(file)
    return file
  }

  /// Creates a directory of `.treering`, or a set's directory of links, if it is missing.
  func makeDirectory(_ name: [UInt8], in directory: Directory, mode: UInt32 = 0o700) throws(Errno) {
    do { try directory.descriptor.makeDirectory(name.span, mode: mode) } catch {
      guard error == .exists else { throw error }
      return
    }
    try owner.give(try directory.descriptor.openDirectory(name.span))
  }

  // Each use opens the directory again, because a listing moves its position.
  var catalogs: Directory { get throws(Failure) { try directory(named: Self.catalogsName) } }
  var pending: Directory { get throws(Failure) { try directory(named: Self.pendingName) } }
  var spare: Directory { get throws(Failure) { try directory(named: Self.spareName) } }
  /// The directory of the trees to delete.
  public var trash: Directory { get throws(Failure) { try directory(named: Self.trashName) } }

  private func directory(named name: [UInt8]) throws(Failure) -> Directory {
    do { return try control.directory(name.span) } catch {
      throw Failure(.failed, "cannot open \(displayName(path))/.treering/\(displayName(name)): \(error)", path: path)
    }
  }
}
