import Databases
import Foundation
import Model
import Posix
import Settings
import TestSupport
import Testing

/// The answer to a dump, and the directory that it was made in.
struct Trial {
  let directory: TemporaryDirectory
  let result: Result<DatabaseDump, DumpFailure>

  /// Reads `table`, the lines of a table `[[database]]`, and makes the dump, below `above`.
  init(_ table: String, path: String? = nil, postgreSQL: ByteString? = nil, below above: String? = nil) throws {
    directory = try TemporaryDirectory("dump", below: above)
    try tool("chmod", ["700", directory.path])
    let database = try Configuration(text: "[[database]]\nname = \"shop\"\n" + table).databases[0]
    let place = Directory(try Descriptor.open(path: directory.path.bytes, [.read, .directory]))
    let search = Array((path ?? pinnedEnvironment["PATH"]!).utf8)
    let programs =
      postgreSQL.map { ProgramSearch(path: search, postgreSQL: $0.bytes) } ?? ProgramSearch(path: search)
    do throws(DumpFailure) {
      result = .success(try Dumper(of: database, programs: programs).dump(into: place, at: directory.path.bytes))
    } catch { result = .failure(error) }
  }

  var dump: DatabaseDump { get throws { try result.get() } }

  var failure: DumpFailure {
    get throws {
      guard case .failure(let failure) = result else { throw TestSupportError("the dump did not fail") }
      return failure
    }
  }

  var tree: Tree { Tree(directory.path) }

  /// The paths of all files, sorted.
  func files() throws -> [String] {
    let found = try tool("find", [".", "-type", "f", "-printf", "%P\\n"], in: directory.path)
    return String(decoding: found, as: UTF8.self).split(separator: "\n").map(String.init).sorted()
  }

  func text(_ path: ByteString) throws -> String {
    String(decoding: try tool("cat", [directory.path / path]), as: UTF8.self)
  }

  /// The contents of all files, as sha256sum(1) prints them, without the tables of contents, which have the time.
  func digests() throws -> Set<String> {
    let output = try tool(
      "sh", ["-c", "find . -type f ! -name toc.dat | xargs -d '\\n' sha256sum | cut -c1-64"], in: directory.path)
    return Set(String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init))
  }

  /// No other account can read a file.
  func expectPrivate() throws {
    let odd = try tool("find", [directory.path, "-perm", "/077"])
    #expect(String(decoding: odd, as: UTF8.self) == "")
  }
}
