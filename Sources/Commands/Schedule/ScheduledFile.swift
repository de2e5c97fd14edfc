internal import Model
internal import Posix
internal import Repository

/// A file that `schedule` installs, and the present file of its name.
struct ScheduledFile {
  let path: [UInt8]
  private let file: ControlFile
  let exists: Bool
  /// The present content; `nil` if there is no file, or something else.
  let content: [UInt8]?

  init(at path: [UInt8]) throws(Failure) {
    self.path = path
    file = try controlFile(at: path)
    do throws(Errno) {
      content = try file.read(limit: 1 << 16)
      exists = content != nil
    } catch {
      content = nil
      exists = true
    }
  }

  /// Refuses to change a file that is not from `schedule`, or that was edited.
  func checkUnedited() throws(Failure) {
    guard exists, !(content.map(MarkedText.isUnedited) ?? false) else { return }
    throw Failure(
      .refused, "\(displayName(path)) is not from treering schedule, or was edited, and stays as it is",
      hint: "move it away first")
  }

  func replace(with content: [UInt8]) throws(Failure) {
    do { try file.replace(with: content) } catch { throw .writing("write", at: path, because: error) }
  }

  func remove() throws(Failure) {
    do { _ = try file.remove() } catch { throw .writing("remove", at: path, because: error) }
  }
}

private func controlFile(at path: [UInt8]) throws(Failure) -> ControlFile {
  let (parent, name) = splitLast(of: path)
  do {
    return ControlFile(named: name, in: Directory(try Descriptor.open(path: parent, [.read, .directory])), mode: 0o644)
  } catch { throw .writing("open the directory", at: parent, because: error) }
}

/// Makes a directory and those above it, as far as they are missing.
func makeDirectories(to path: [UInt8]) throws(Failure) {
  do {
    var parent = try Descriptor.open(path: [slash], .pathOnly)
    for name in TreePath(parsing: path) {
      do { try parent.makeDirectory(name.span, mode: 0o755) } catch { guard error == .exists else { throw error } }
      parent = try parent.openFollowing(name.span, [.pathOnly, .directory])
    }
  } catch { throw .writing("make the directory", at: path, because: error) }
}
