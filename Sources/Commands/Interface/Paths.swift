internal import Model
internal import Posix
internal import Repository

/// An absolute path without `.`, `..` and empty components.
///
/// Symbolic links are not resolved, except before a `..`: there only the kernel knows the meaning of the path.
func absolutePath(of path: [UInt8]) throws(Failure) -> [UInt8] {
  if path.isEmpty { throw Failure(.usage, "a path is empty") }
  do {
    var absolute = path
    if path.first != slash { absolute = try CurrentProcess.workingDirectory() + [slash] + path }
    var names = TreePath(parsing: absolute)
    if let last = names.lastIndex(of: Array("..".utf8)) {
      let real = try CurrentProcess.realPath(names.prefix(last + 1).absolute)
      names = TreePath(parsing: real) + names.dropFirst(last + 1)
    }
    return names.absolute
  } catch { throw Failure(.usage, "cannot find \(displayName(path)): \(error)", path: path) }
}
