internal import Model
internal import Settings

/// The known parameters, with checks of their values.
extension RsnapshotConfiguration.Statement {
  /// Parameters that treering does not need, or whose work it always does.
  static let unneeded: Set<String> = [
    "config_version", "no_create_root", "cmd_rsync", "cmd_ssh", "cmd_cp", "cmd_rm", "cmd_logger", "cmd_du",
    "cmd_rsnapshot_diff", "linux_lvm_cmd_lvcreate", "linux_lvm_cmd_lvremove", "linux_lvm_cmd_mount",
    "linux_lvm_cmd_umount", "linux_lvm_snapshotsize", "linux_lvm_snapshotname", "linux_lvm_vgpath",
    "linux_lvm_mountpath", "link_dest", "sync_first", "verbose", "loglevel", "logfile", "lockfile",
    "stop_on_stale_lockfile", "use_lazy_deletes", "rsync_numtries", "ssh_args", "du_args",
  ]

  private static let others = [
    "snapshot_root", "include_conf", "retain", "interval", "backup", "backup_script", "backup_exec", "cmd_preexec",
    "cmd_postexec", "one_fs", "include", "exclude", "include_file", "exclude_file", "rsync_short_args",
    "rsync_long_args",
  ]

  /// Reserved names: commands of rsnapshot, which no level can have.
  private static let reserved: Set<String> = [
    "archive", "check-config-version", "configtest", "diff", "delete", "du", "get-latest-snapshot", "help", "history",
    "list", "print-config", "restore", "rollback", "sync", "upgrade-config-file", "version",
  ]

  /// Throws an error that rsnapshot would report; `earlier` has the preceding statements.
  func check(after earlier: [Self]) throws(RsnapshotError) {
    switch name {
    case "config_version": try require(value == "1.2", expected: "1.2")
    case "snapshot_root":
      if RsnapshotSource.remote(of: value) != nil { throw error("\"snapshot_root\" should be a local path") }
      try requirePath()
    case "lockfile", "logfile", "include_file", "exclude_file": try requirePath()
    case "sync_first", "no_create_root": try require(value == "0" || value == "1", expected: "0 or 1")
    case "link_dest", "one_fs", "stop_on_stale_lockfile", "use_lazy_deletes":
      try require(Self.boolean(from: value) != nil, expected: "0 or 1")
    case _ where name.hasPrefix("cmd_") && Self.isKnown(name), "linux_lvm_cmd_lvcreate", "linux_lvm_cmd_lvremove",
      "linux_lvm_cmd_mount", "linux_lvm_cmd_umount":
      try require(isAbsolute(value) && !climbs(words(of: value)[0]), expected: "the absolute path of a program")
    case "retain", "interval": try checkLevel()
    case "backup": try checkPoint(after: earlier)
    case "backup_script": try checkScript(after: earlier)
    case "backup_exec":
      if values.count > 1, !["optional", "required"].contains(values[1]) {
        throw error("after the command \"optional\" or \"required\" should stand, not \"\(values[1])\"")
      }
    case "rsync_short_args":
      try require(Self.isShortArguments(value), expected: "letters after one hyphen, such as -a")
    case "rsync_long_args", "include", "exclude": _ = try longArguments(of: value)
    case "ssh_args":
      if earlier.contains(where: { $0.name == name }) { throw error("\"ssh_args\" should be there once") }
    case "verbose", "loglevel":
      try require(["1", "2", "3", "4", "5"].contains(value), expected: "a number from 1 to 5")
    case "rsync_numtries": try require(Self.isNumber(value), expected: "a number from 0 on")
    default:
      guard !Self.isKnown(name) else { return }
      guard let first = words(of: name).first, name.utf8.first.map(isBlank) == false
      else { throw error("the line begins with a blank, and no statement stands right above it") }
      if first != name, Self.isKnown(first) { throw error("a tab should follow \"\(first)\"; spaces separate nothing") }
      let near = (Self.others + Self.unneeded.sorted()).map { ($0, distance(from: name, to: $0)) }.min { $0.1 < $1.1 }
      throw error("unknown parameter \"\(name)\"" + (near.map { $0.1 <= 2 ? "; did you mean \"\($0.0)\"?" : "" } ?? ""))
    }
  }

  private static func isKnown(_ name: String) -> Bool { unneeded.contains(name) || others.contains(name) }

  private func require(_ isRight: Bool, expected: String) throws(RsnapshotError) {
    if !isRight { throw error("\"\(name)\" should be \(expected), not \"\(value)\"") }
  }

  private func requirePath() throws(RsnapshotError) {
    try require(isAbsolute(value) && !climbs(value), expected: "an absolute path without \"..\"")
  }

  private func checkLevel() throws(RsnapshotError) {
    let isWord = value.utf8.allSatisfy(Self.isWordByte) && !value.isEmpty
    try require(isWord && !Self.reserved.contains(value), expected: "the name of a level, of letters and digits")
    let number = values.count > 1 ? values[1] : ""
    guard Self.isNumber(number), number.utf8.contains(where: { $0 != UInt8(ascii: "0") }) else {
      throw error(
        "\"\(name)\" should have a number from 1 on after \"\(value)\"" + (number.isEmpty ? "" : ", not \"\(number)\""))
    }
  }

  private func checkPoint(after earlier: [Self]) throws(RsnapshotError) {
    try checkDestination(after: earlier)
    guard !climbs(value) else { throw error("the path \"\(value)\" should be without \"..\"") }
    let needed: [String]
    switch RsnapshotSource.remote(of: value) {
    case .shell: needed = ["cmd_ssh"]
    case .volume: needed = Self.unneeded.filter { $0.hasPrefix("linux_lvm_") }.sorted()
    case .server: needed = []
    case nil:
      try require(isAbsolute(value), expected: "an absolute path, or one on another host")
      needed = []
    }
    for parameter in needed where !earlier.contains(where: { $0.name == parameter }) {
      throw error("\"\(parameter)\" should be said before \"\(value)\"")
    }
    _ = try pointOptions()
  }

  private func checkScript(after earlier: [Self]) throws(RsnapshotError) {
    try require(isAbsolute(value) && !climbs(words(of: value)[0]), expected: "the absolute path of a program")
    try checkDestination(after: earlier)
  }

  private func checkDestination(after earlier: [Self]) throws(RsnapshotError) {
    guard earlier.contains(where: { $0.name == "snapshot_root" })
    else { throw error("\"snapshot_root\" should be said before \"\(name)\"") }
    guard values.count > 1, let first = values[1].utf8.first
    else { throw error("after \"\(value)\" and a tab the destination should stand, such as localhost/") }
    guard first != slash, !isBlank(first), !climbs(values[1])
    else { throw error("the destination should be a relative path without \"..\", not \"\(values[1])\"") }
  }

  func error(_ message: String) -> RsnapshotError { RsnapshotError(at: origin, message: message) }

  // MARK: Values

  static func boolean(from value: String) -> Bool? {
    guard isNumber(value), let number = Int(value), number == 0 || number == 1 else { return nil }
    return number == 1
  }

  static func isNumber(_ value: String) -> Bool { !value.isEmpty && value.utf8.allSatisfy(isDigit) }

  static func isShortArguments(_ value: String) -> Bool {
    value.utf8.count > 1 && value.utf8.first == UInt8(ascii: "-") && value.utf8.dropFirst().allSatisfy(isWordByte)
  }

  private static func isWordByte(_ byte: UInt8) -> Bool { isAlphanumeric(byte) || byte == UInt8(ascii: "_") }
}

func isAbsolute(_ path: String) -> Bool { path.utf8.first == slash }

/// True if rsnapshot considers that the path leads up.
func climbs(_ path: String) -> Bool {
  let bytes = Array(path.utf8)
  return bytes.contains(Array("/..".utf8)) || bytes.contains(Array("../".utf8))
}
