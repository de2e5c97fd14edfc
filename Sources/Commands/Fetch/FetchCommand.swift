internal import Model
internal import Posix
internal import Settings

/// The command that fetches one source of a host.
struct FetchCommand {
  let source: Configuration.Source
  let host: Configuration.Source.Host
  let rsync: RsyncProgram
  /// The rules for `--filter`.
  let rules: [[UInt8]]
  /// True if the contents of all files are compared.
  var comparesContents = false
  /// False if no file of another tree may be linked.
  var linksFiles = true
  /// False if the host cannot send them.
  var keepsACLs = true
  var keepsAttributes = true

  /// The longest time without data.
  static let timeoutSeconds = 300
  /// The longest time of a fetch, so that no host keeps the repository locked for ever.
  static let longestSeconds: Double = 24 * 3600

  /// Options for ssh(1): it asks no questions, a dead connection ends, and no process stays behind. Options that the
  /// key `ssh` names have precedence.
  private static let sshOptions = [
    "-oBatchMode=yes", "-oConnectTimeout=30", "-oServerAliveInterval=30", "-oServerAliveCountMax=4",
    "-oControlMaster=no", "-oLogLevel=ERROR",
  ]

  /// File systems that the kernel invents, at their usual places. They stay as empty directories, as in every snapshot.
  private static let pseudoFileSystems = ["/proc", "/sys", "/dev/pts", "/dev/mqueue"]

  /// The program and its arguments. `trees` are the trees whose files may be linked; the tree is made in `directory`.
  func arguments(into tree: [UInt8], linkingTo trees: [[UInt8]]) throws(RemoteAddressError) -> [[UInt8]] {
    let kinds = "-aHS" + (keepsACLs && rsync.hasACLs ? "A" : "") + (keepsAttributes && rsync.hasAttributes ? "X" : "")
    var words = [kinds, "--numeric-ids", "--partial", "--timeout=\(Self.timeoutSeconds)"].map { Array($0.utf8) }
    if rsync.comparesNanoseconds { words.append(Array("--modify-window=-1".utf8)) }
    if comparesContents { words.append(Array("--checksum".utf8)) }
    if source.oneFileSystem { words.append(Array("--one-file-system".utf8)) }
    if let size = source.maxFileSize { words.append(Array("--max-size=\(size)".utf8)) }
    // A shell takes an escaped new line for nothing.
    if !rsync.escapesPaths || source.path.utf8.contains(UInt8(ascii: "\n")) {
      words.append(Array("--protect-args".utf8))
    }
    words += trees.map { Array("--link-dest=".utf8) + $0 }
    words += (pseudoFileSystemRules + rules).map { Array("--filter=".utf8) + $0 }
    if host.rsync != ["rsync"] {
      words.append(Array("--rsync-path=".utf8) + Array(host.rsync.map(shellQuoted).joined(separator: " ").utf8))
    }
    let shell = try remoteShell()
    words.append(Array("--rsh=".utf8) + Array(shell.joined(separator: [UInt8(ascii: " ")])))
    return [rsync.path] + words + [Array("--".utf8), address, tree + [slash]]
  }

  private var pseudoFileSystemRules: [[UInt8]] {
    let own = TreePath(parsing: source.path.utf8)
    return Self.pseudoFileSystems.compactMap { path in
      let path = TreePath(parsing: path.utf8)
      guard path.starts(with: own), path.count > own.count else { return nil }
      return Array("- ".utf8) + path.dropFirst(own.count).absolute + Array("/*".utf8)
    }
  }

  /// The program for the connection. rsync(1) adds the user, the host and the command.
  private func remoteShell() throws(RemoteAddressError) -> [[UInt8]] {
    // rsync(1) splits the command at blanks outside quotes. A doubled quote is a quote.
    let quote = UInt8(ascii: "'")
    return try Self.connection(to: host).map { word in
      [quote] + word.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote]
    }
  }

  /// The program for the connection to a host, without the user, the host and the command.
  static func connection(to host: Configuration.Source.Host) throws(RemoteAddressError) -> [[UInt8]] {
    var words = try RemoteAddress.words(of: host.ssh)
    if let port = host.port { words += [Array("-p".utf8), Array("\(port)".utf8)] }
    if splitLast(of: words[0]).name.elementsEqual("ssh".utf8) { words += sshOptions.map { Array($0.utf8) } }
    return words
  }

  /// The host and the path. A backslash takes the special meaning from a character of a pattern.
  private var address: [UInt8] {
    let name = host.name.contains(UInt8(ascii: ":")) ? Array("[".utf8) + host.name + Array("]".utf8) : host.name
    let path = source.path.utf8.flatMap { "*?[".utf8.contains($0) ? [UInt8(ascii: "\\"), $0] : [$0] }
    let directory = source.path == "/" ? path : path + [slash]
    return (host.user.map { $0 + Array("@".utf8) } ?? []) + name + Array(":".utf8) + directory
  }
}
