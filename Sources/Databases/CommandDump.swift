internal import Model
internal import Posix
internal import Settings

/// The output of a program, which is the dump.
struct CommandDump {
  private let database: DatabaseConfiguration
  private let tools: Tools

  init(of database: DatabaseConfiguration, by tools: Tools) { (self.database, self.tools) = (database, tools) }

  func check() throws(DumpFailure) {
    let program = Array(database.command[0].utf8)
    guard ProgramSearch.isProgram(program)
    else { throw DumpFailure(name: tools.name, reason: "\(displayName(program)) is missing, or is no program") }
  }

  func make(into target: DumpDirectory) throws(DumpFailure) -> DumpResult {
    try check()
    let name = Array((database.file ?? "").utf8)
    let setting = Tools.Setting(output: try target.makeFile(name))
    _ = try tools.run(database.command.map { Array($0.utf8) }, setting)
    let size = try target.attempt("read", at: target.path + [slash] + name) { () throws(Errno) in
      try target.directory.descriptor.status(of: name.span).size
    }
    if size == 0 { throw DumpFailure(name: tools.name, reason: "\(database.command[0]) printed nothing") }
    return DumpResult()
  }
}
