internal import Model
internal import Posix
internal import Repository

/// A new directory of this user for temporary files, with a name that cannot be guessed.
struct PrivateDirectory {
  let directory: Directory
  let path: [UInt8]

  /// Throws if the file system of `parent` has not enough space for `bytes`.
  init(below parent: [UInt8], forBytes bytes: UInt64, prefix: String = "treering-") throws {
    do {
      let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
      let system = try above.descriptor.fileSystem()
      if system.lacks(bytes: bytes, inodes: 0) {
        throw Failure(
          .noSpace,
          "a copy of \(byteText(bytes)) is needed, and \(displayName(parent)) has "
            + "\(byteText(system.bytesAvailable)) free",
          path: parent, hint: "name a directory of another file system with --work-dir")
      }
      let name = Array(prefix.utf8) + (try CurrentProcess.randomBytes(count: 12).map { 97 + $0 % 26 })
      path = parent + [slash] + name
      try above.descriptor.makeDirectory(name.span, mode: 0o700)
      directory = try above.directory(name.span)
      try directory.descriptor.dropInheritedACLs()
    } catch { throw Failure.writing("make a directory below", at: parent, because: error) }
  }

  private init(_ directory: Directory, path: [UInt8]) { (self.directory, self.path) = (directory, path) }

  func path(of name: String) -> [UInt8] { path + [slash] + Array(name.utf8) }

  /// A directory in it that something else has made.
  func open(_ name: String) throws(Failure) -> PrivateDirectory {
    do { return PrivateDirectory(try directory.directory(Array(name.utf8).span), path: path(of: name)) } catch {
      throw .writing("open", at: path(of: name), because: error)
    }
  }

  func make(_ name: String) throws(Failure) -> PrivateDirectory {
    do { try directory.descriptor.makeDirectory(Array(name.utf8).span, mode: 0o700) } catch {
      throw .writing("make", at: path(of: name), because: error)
    }
    return try open(name)
  }

  /// Lets other accounts pass through, to directories of their own.
  func letPass() throws(Failure) {
    do { try directory.descriptor.setPermissions(0o711) } catch { throw .writing("open", at: path, because: error) }
  }

  /// Lets some accounts alone pass through, to directories of their own, by an ACL; acl(5).
  func letPass(_ accounts: [Account]) throws(Failure) {
    func entry(_ tag: UInt16, _ permissions: UInt16, of id: UInt32 = .max) -> [UInt8] {
      [tag, permissions].flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
        + (0..<4).map { UInt8(truncatingIfNeeded: id >> ($0 * 8)) }
    }
    let users = accounts.sorted { $0.user < $1.user }.flatMap { entry(0x02, 1, of: $0.user) }
    let value = [2, 0, 0, 0] + entry(0x01, 7) + users + entry(0x04, 0) + entry(0x10, 1) + entry(0x20, 0)
    do {
      try directory.descriptor.setExtendedAttribute(
        ExtendedAttribute(name: Array("system.posix_acl_access".utf8), value: value))
    } catch {
      throw Failure(
        .failed, "\(displayName(path)) cannot be opened to the accounts of servers alone: \(error)", path: path,
        hint: "name a directory of a file system with ACLs with --work-dir")
    }
  }

  /// Lets other accounts see the files.
  func openToAll() throws(Failure) {
    do { try directory.descriptor.setPermissions(0o755) } catch { throw .writing("open", at: path, because: error) }
  }

  /// Removes it with its content, also after a signal. A failure is named.
  func remove() {
    do throws(Errno) {
      try directory.removeContent()
      let (parent, name) = splitLast(of: path)
      try Descriptor.open(path: parent, [.read, .directory]).removeDirectory(name.span)
    } catch {
      Console.warn("this temporary directory cannot be removed: \(error)", path: path)
    }
  }
}

extension Directory {
  /// Removes all entries, of so many levels, also after a signal. Throws at a mount, and leaves its content.
  func removeContent(levels: Int = 256) throws(Errno) {
    let mount = try descriptor.status().mount
    for name in try names() {
      let status = try descriptor.status(of: name.span)
      guard status.mount == mount else { throw .busy }
      if status.kind == .directory {
        guard levels > 0 else { throw .invalid }
        try directory(name.span).removeContent(levels: levels - 1)
        try descriptor.removeDirectory(name.span)
      } else {
        try descriptor.unlink(name.span)
      }
    }
  }
}
