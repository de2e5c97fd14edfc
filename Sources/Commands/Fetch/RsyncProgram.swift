internal import Databases
internal import Model
internal import Posix
internal import Repository

/// The rsync(1) of this machine.
struct RsyncProgram {
  let path: [UInt8]
  var hasACLs = true
  var hasAttributes = true
  /// True if it compares the nanoseconds of times.
  var comparesNanoseconds = true
  /// True if it escapes the path for the shell on the host by itself.
  var escapesPaths = true

  /// The reason that it cannot be kept from other files than those of the repository.
  var unconfined: Errno?

  /// Finds the program by `PATH`, and asks it for its version. It runs as it later does in the repository.
  static func find(for repository: Repository) throws(Failure) -> RsyncProgram {
    guard let path = ProgramSearch.ofEnvironment.find("rsync") else {
      throw Failure(.failed, "rsync is not installed here", hint: "install it: Debian's package is rsync")
    }
    var program = ChildProgram([path, Array("--version".utf8)], environment: environment, timeoutSeconds: 30)
    program.startsAtRoot = true
    var text: [UInt8] = []
    var unconfined: Errno?
    do {
      program.writable = (try CurrentProcess.realPath(repository.path), [])
      do throws(Errno) { _ = try program.run { bytes throws(Errno) in text += bytes } } catch {
        (unconfined, program.writable) = (error, nil)
        _ = try program.run { bytes throws(Errno) in text += bytes }
      }
    } catch { throw Failure(.failed, "cannot start \(displayName(path)): \(error)") }
    if let unconfined, CurrentProcess.effectiveUser == 0 {
      throw Failure(
        .failed, "rsync cannot be kept from other files here: \(unconfined)",
        hint: "it needs Linux 5.14 or newer, and the right to use mount_namespaces(7)")
    }
    var found = RsyncProgram(path: path, versionText: String(decoding: text, as: UTF8.self))
    found.unconfined = unconfined
    return found
  }

  init(path: [UInt8], versionText text: String) {
    self.path = path
    hasACLs = !text.contains("no ACLs")
    hasAttributes = !text.contains("no xattrs")
    let words = text.split(whereSeparator: \.isWhitespace)
    let number = words.firstIndex(of: "version").map { words[words.index(after: $0)] } ?? ""
    let version = number.split(separator: ".").map { Int($0.prefix(while: \.isNumber)) ?? 0 }
    comparesNanoseconds = !version.lexicographicallyPrecedes([3, 1, 3])
    escapesPaths = !version.lexicographicallyPrecedes([3, 2, 4])
  }

  /// The environment of this process. No variable changes the meaning of the options, and no program asks for a
  /// password on a terminal.
  static var environment: [[UInt8]] {
    let own: [(String, String)] = [
      ("LC_ALL", "C"), ("SSH_ASKPASS", "/bin/false"), ("SSH_ASKPASS_REQUIRE", "force"),
    ]
    return CurrentProcess.inheritedEnvironment(without: Set(own.map(\.0))).filter {
      !$0.starts(with: Array("RSYNC_".utf8))
    } + own.map { Array("\($0.0)=\($0.1)".utf8) }
  }
}
