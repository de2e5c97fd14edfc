internal import Model
internal import Posix
internal import Repository

/// The components of a path, without empty ones and `.`.
func components(of path: [UInt8]) -> [[UInt8]] {
  path.split(separator: slash).map(Array.init).filter { $0 != [UInt8(ascii: ".")] }
}

/// An absolute path without `.`, `..` and empty components.
///
/// Symbolic links are not resolved, except before a `..`: there only the kernel knows the meaning of the path.
func absolutePath(of path: [UInt8]) throws(Failure) -> [UInt8] {
  if path.isEmpty { throw Failure(.usage, "a path is empty") }
  do {
    var absolute = path
    if path.first != slash { absolute = try CurrentProcess.workingDirectory() + [slash] + path }
    var names = components(of: absolute)
    if let last = names.lastIndex(of: Array("..".utf8)) {
      let real = try CurrentProcess.realPath([slash] + Array(names[...last].joined(separator: [slash])))
      names = components(of: real) + names[(last + 1)...]
    }
    return [slash] + Array(names.joined(separator: [slash]))
  } catch { throw Failure(.usage, "cannot find \(displayName(path)): \(error)", path: path) }
}

/// The different places that are not below another one.
func outermost(of places: [[[UInt8]]]) -> [[[UInt8]]] {
  var outermost: [[[UInt8]]] = []
  // A path is followed by all that are below it.
  for place in places.sorted(by: { $0.lexicographicallyPrecedes($1) { $0.lexicographicallyPrecedes($1) } }) {
    if let last = outermost.last, place.starts(with: last) { continue }
    outermost.append(place)
  }
  return outermost
}
