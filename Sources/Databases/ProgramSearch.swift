internal import Model
internal import Posix

/// The places of the databases' programs.
public struct ProgramSearch: Sendable {
  var directories: [[UInt8]]
  /// Debian's directory with a directory for each version of PostgreSQL.
  var postgreSQL: [UInt8]
  /// A process whose namespaces the programs enter; `nil` for those of this process.
  private(set) var process: Int32?

  /// `path` has the form of the variable `PATH`.
  public init(path: [UInt8], postgreSQL: [UInt8] = Array("/usr/lib/postgresql".utf8)) {
    directories = path.split(separator: UInt8(ascii: ":")).filter { $0.first == UInt8(ascii: "/") }.map(Array.init)
    self.postgreSQL = postgreSQL
  }

  /// The same programs, inside the namespaces of a process. There, each of them has the path that it has here.
  public func entering(process: Int32) -> Self {
    var search = self
    search.process = process
    return search
  }

  /// The path of a program, or `nil` if it is not there.
  public func find(_ program: String) -> [UInt8]? { find([program]) }

  /// The path of the first of some programs that is there.
  func find(_ programs: [String]) -> [UInt8]? {
    programs.lazy.flatMap { program in directories.map { $0 + Array("/\(program)".utf8) } }.first(where: Self.isProgram)
  }

  /// The directories with the programs of a PostgreSQL version, from the oldest version on.
  func postgreSQLVersions() -> [(version: Int, directory: [UInt8])] {
    let names = try? Directory(Descriptor.open(path: postgreSQL, [.read, .directory])).names()
    return (names ?? []).compactMap { name in
      guard let version = Int(String(decoding: name, as: UTF8.self)) else { return nil }
      let directory = postgreSQL + Array("/\(version)/bin".utf8)
      return Self.isProgram(directory + Array("/pg_dump".utf8)) ? (version, directory) : nil
    }.sorted { $0.version < $1.version }
  }

  /// True if the path leads to an executable file.
  public static func isProgram(_ path: [UInt8]) -> Bool {
    guard let status = try? Descriptor.open(path: path, .pathOnly).status() else { return false }
    return status.kind == .regular && status.permissions & 0o111 != 0
  }
}
