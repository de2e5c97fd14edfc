internal import Model
internal import Settings

/// The host of a backup point that rsnapshot reaches with ssh(1), in the keys of `[[source]]`.
struct RsnapshotHost: Equatable {
  /// `host` or `user@host`.
  let address: String
  let ssh: String
  let rsync: [String]
  /// The path on the host, as the point has it.
  let path: String

  var name: String {
    address.utf8.lastIndex(of: UInt8(ascii: "@")).map { String(address[address.index(after: $0)...]) } ?? address
  }

  /// Throws the reason, in a sentence, if the point cannot be a source.
  ///
  /// `connection` is the program ssh(1) with its arguments.
  init(of source: String, connection: String, arguments: RsyncArguments) throws(NoHost) {
    // The path begins after the first of the colons that rsnapshot accepts.
    guard let colon = source.utf8.firstRange(of: ":".utf8)?.lowerBound, source[colon...].hasPrefix(":/")
    else { throw NoHost(why: "a source on a host needs an absolute path; write ~ and . out") }
    address = String(source[..<colon])
    path = String(source[source.index(after: colon)...])
    ssh = arguments.remoteShell ?? connection
    let program = arguments.remoteProgram ?? "rsync"
    rsync = words(of: program)
    guard program.utf8.allSatisfy({ isAlphanumeric($0) || " -_./=".utf8.contains($0) }), !rsync.isEmpty else {
      throw NoHost(why: "the shell of the host would read --rsync-path=\(program) otherwise; write it as \"rsync\"")
    }
  }

  struct NoHost: Error { let why: String }

  /// The lines of the table, without the path. `label` is the first directory in the snapshot.
  func lines(label: String) -> [String] {
    var lines = ["host = " + TOMLText.string(address)]
    if label != name { lines.append("label = " + TOMLText.string(label)) }
    if ssh != "ssh" { lines.append("ssh = " + TOMLText.string(ssh)) }
    if rsync != ["rsync"] { lines.append("rsync = " + TOMLText.array(rsync)) }
    return lines
  }
}

extension [RsnapshotConfiguration.Statement] {
  /// The program ssh(1) for a backup point, with the global arguments, or its own, or both with a plus sign.
  func connection(ofPointAt index: Int) throws(RsnapshotError) -> String {
    let program = last { $0.name == "cmd_ssh" }?.value ?? "ssh"
    var text = last { $0.name == "ssh_args" }?.value ?? ""
    for option in try self[index].pointOptions() where option.name == "ssh_args" {
      text = option.isAdded ? "\(text) \(option.value)" : option.value
    }
    return ([program == "/usr/bin/ssh" ? "ssh" : program] + words(of: text)).joined(separator: " ")
  }
}

/// A logical volume of LVM as the source of a backup point: `lvm://group/volume/path`.
struct RsnapshotVolume: Equatable {
  let group, volume, path: String

  init?(of source: String) {
    let parts = source.dropFirst("lvm://".count).split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count >= 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
    (group, volume) = (String(parts[0]), String(parts[1]))
    path = parts.count > 2 ? String(parts[2]) : ""
  }
}
