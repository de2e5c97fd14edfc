internal import Posix

/// A file that gets its name only when it is whole and durable.
struct TemporaryFile {
  let name: [UInt8]
  private let directory: Directory

  init(named name: [UInt8], in directory: Directory) { (self.name, self.directory) = (name, directory) }

  /// Writes the file anew, makes it durable, and lets `publish` rename or remove it. Nothing of it stays after an error.
  func write<R>(body: (SharedFile) throws -> R, publish: () throws(Errno) -> Void) throws -> R {
    // The leftover of a killed process. No link of this name is followed.
    try remove()
    let file = SharedFile(try directory.descriptor.open(name.span, [.readWrite, .create, .exclusive], mode: 0o600))
    do {
      let result = try body(file)
      try file.descriptor.synchronize()
      try publish()
      try directory.descriptor.synchronize()
      return result
    } catch {
      try? remove()
      throw error
    }
  }

  func remove() throws(Errno) {
    do { try directory.descriptor.unlink(name.span) } catch { guard error == .noSuchEntry else { throw error } }
  }
}
