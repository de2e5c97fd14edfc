internal import Model
internal import Posix
internal import Settings

/// A directory of a dump, with files that the account of the tools makes.
struct DumpDirectory {
  let directory: Directory
  let path: [UInt8]
  private let account: Account?
  private let name: String
  /// The size of the newest dump, if there is one.
  var lastBytes: UInt64?

  init(_ directory: Directory, path: [UInt8], account: Account?, name: String) {
    (self.directory, self.path, self.account, self.name) = (directory, path, account, name)
  }

  /// The space that a dump may need, never less than the database without all that the last dump had.
  ///
  /// A server's databases have indexes and free space, and a dump has neither. So the last dump, with a margin, is a
  /// closer estimate.
  static func neededBytes(serverBytes: UInt64, lastBytes: UInt64?) -> UInt64 {
    guard let lastBytes, lastBytes < serverBytes else { return serverBytes }
    return max(serverBytes - lastBytes, min(serverBytes, lastBytes + lastBytes / 4 + 64 << 20))
  }

  /// Throws if the file system has less space than the dump may need.
  func checkSpace(forBytes serverBytes: UInt64) throws(DumpFailure) {
    let needed = Self.neededBytes(serverBytes: serverBytes, lastBytes: lastBytes)
    let system = try attempt("look at") { () throws(Errno) in try directory.descriptor.fileSystem() }
    guard system.lacks(bytes: needed, inodes: 0) else { return }
    throw DumpFailure(
      name: name,
      reason: "the dump needs about \(byteText(needed)), and \(displayName(path)) has "
        + "\(byteText(system.bytesAvailable)) free",
      hint: Tools.noSpaceHint)
  }

  /// Makes a directory for an object of the database, which may have any name.
  func makeDirectory(for object: [UInt8], reserved: Set<String> = []) throws(DumpFailure) -> DumpDirectory {
    let name = fileName(for: object, reserved: reserved)
    let path = path + [slash] + name
    let made = try attempt("make the directory", at: path) { () throws(Errno) in
      try directory.descriptor.makeDirectory(name.span, mode: 0o700)
      return try directory.directory(name.span)
    }
    return DumpDirectory(made, path: path, account: account, name: self.name)
  }

  func openDirectory(of object: [UInt8], reserved: Set<String> = []) throws(DumpFailure) -> DumpDirectory {
    let name = fileName(for: object, reserved: reserved)
    let path = path + [slash] + name
    let found = try attempt("open", at: path) { () throws(Errno) in try directory.directory(name.span) }
    return DumpDirectory(found, path: path, account: account, name: self.name)
  }

  /// Gives the directory and its files to the account of the tools.
  func giveAll() throws(DumpFailure) {
    guard let account else { return }
    try attempt("change the owner of files in") { () throws(Errno) in
      for name in try directory.names() {
        try directory.descriptor.open(name.span, .read).setOwner(user: account.user, group: account.group)
      }
    }
    try give()
  }

  /// Makes a file that this process owns.
  func makeFile(_ name: [UInt8]) throws(DumpFailure) -> SharedFile {
    try attempt("make", at: path + [slash] + name) { () throws(Errno) in
      SharedFile(try directory.descriptor.open(name.span, [.readWrite, .create, .exclusive], mode: 0o600))
    }
  }

  /// Lets the account of the tools make files here.
  func give() throws(DumpFailure) {
    guard let account else { return }
    try attempt("change the owner of") { () throws(Errno) in
      try directory.descriptor.setOwner(user: account.user, group: account.group)
    }
  }

  /// Does something with the directory, or an entry of it; an error becomes a failure.
  @discardableResult
  func attempt<Value>(
    _ what: String, at path: [UInt8]? = nil, body: () throws(Errno) -> Value
  ) throws(DumpFailure) -> Value {
    do { return try body() } catch {
      throw DumpFailure(name: name, reason: "cannot \(what) \(displayName(path ?? self.path)): \(error)")
    }
  }
}

/// The name of the file or directory for an object. Bytes that a name cannot have become `%XX` (RFC 3986): `/`, `%`, a
/// dot at the start, and control bytes. The first byte of a
/// `reserved` name, which another file has, is written so, too.
func fileName(for object: [UInt8], reserved: Set<String> = []) -> [UInt8] {
  let isReserved = reserved.contains { object.elementsEqual($0.utf8) }
  let first = percentEncoded(object.prefix(1)) { isReserved || $0 == UInt8(ascii: ".") || mustBeEncoded($0) }
  return first + percentEncoded(object.dropFirst(), isEncoded: mustBeEncoded)
}

/// The object whose file or directory in a dump has this name.
public func objectName(ofFile name: [UInt8]) -> [UInt8] { percentDecoded(name[...]) ?? name }

private func mustBeEncoded(_ byte: UInt8) -> Bool {
  byte == slash || byte == UInt8(ascii: "%") || byte < 0x20 || byte == 0x7F
}

/// The bytes with some of them as `%XX`.
func percentEncoded(_ bytes: some Sequence<UInt8>, isEncoded: (UInt8) -> Bool) -> [UInt8] {
  bytes.flatMap { byte -> [UInt8] in
    guard isEncoded(byte) else { return [byte] }
    return [UInt8(ascii: "%")] + [byte >> 4, byte & 15].map { $0 < 10 ? 48 + $0 : 55 + $0 }
  }
}
