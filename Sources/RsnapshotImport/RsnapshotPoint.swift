internal import Model
internal import Settings

/// The kind of a backup point's source.
enum RsnapshotSource {
  /// The location of a source that is not a local directory.
  enum Remote { case shell, server, volume }

  /// `nil` for a local path or an empty one.
  static func remote(of source: String) -> Remote? {
    let bytes = Array(source.utf8)
    if bytes.first == slash || bytes.first.map(isBlank) ?? true { return nil }
    if bytes.starts(with: "lvm://".utf8) { return .volume }
    if bytes.starts(with: "rsync://".utf8) { return .server }
    if !bytes.contains(Array("://".utf8)), let last = bytes.last, !isBlank(last) {
      // A host, a colon, and a path from the root, from the home directory or from the shell's initial directory.
      for path in [":/", ":~/", ":./"] where bytes.contains(Array(path.utf8)) { return .shell }
    }
    return bytes.prefix { $0 != slash }.contains(Array("::".utf8)) ? .server : nil
  }
}

/// One option in a backup point's last field.
struct RsnapshotPointOption: Equatable {
  var name, value: String
  /// True for an option with a plus sign: it adds to other values.
  var isAdded: Bool
}

extension RsnapshotConfiguration.Statement {
  private static let unchecked = [
    "ssh_args", "linux_lvm_vgpath", "linux_lvm_snapshotname", "linux_lvm_snapshotsize", "linux_lvm_mountpath",
  ]

  /// A backup point's own options; throws if rsnapshot would reject one.
  func pointOptions() throws(RsnapshotError) -> [RsnapshotPointOption] {
    guard values.count > 2, !values[2].isEmpty else { return [] }
    var options: [RsnapshotPointOption] = []
    for pair in values[2].utf8.split(separator: UInt8(ascii: ",")) {
      let isAdded = pair.first == UInt8(ascii: "+")
      let halves = Array(pair.dropFirst(isAdded ? 1 : 0)).split(
        separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard halves.count == 2 else {
        throw error(
          "options should be NAME=VALUE, separated by commas, not \"\(String(decoding: pair, as: UTF8.self))\""
        )
      }
      let option = RsnapshotPointOption(
        name: String(decoding: halves[0].filter { !isBlank($0) }, as: UTF8.self),
        value: String(decoding: trimmed(halves[1]), as: UTF8.self), isAdded: isAdded)
      try check(option)
      options.append(option)
    }
    return options
  }

  private func check(_ option: RsnapshotPointOption) throws(RsnapshotError) {
    let isRight: Bool
    let expected: String
    switch option.name {
    case "one_fs":
      (isRight, expected) = (Self.boolean(from: option.value) != nil && !option.isAdded, "0 or 1")
    case "rsync_short_args":
      (isRight, expected) = (Self.isShortArguments(option.value), "letters after one hyphen, such as -a")
    case "include_file", "exclude_file":
      (isRight, expected) = (isAbsolute(option.value) && !climbs(option.value), "an absolute path without \"..\"")
    case "rsync_long_args", "include", "exclude":
      _ = try longArguments(of: option.value)
      return
    case _ where Self.unchecked.contains(option.name): return
    default:
      throw error("\"\(option.name)\" is no option of a backup point")
    }
    if !isRight { throw error("\"\(option.name)\" should be \(expected), not \"\(option.value)\"") }
  }

  /// Splits arguments for rsync at white space outside quotes; quotes do not nest.
  func longArguments(of text: String) throws(RsnapshotError) -> [RsyncArguments.Word] {
    var words: [[UInt8]] = [[]]
    var quote: UInt8?
    for byte in text.utf8 {
      let isQuote = byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"")
      if isQuote, let open = quote {
        guard byte == open else { throw error("quotes in quotes are not allowed") }
        quote = nil
      } else if isQuote {
        quote = byte
      } else if isBlank(byte), quote == nil {
        words.append([])
      } else {
        words[words.count - 1].append(byte)
      }
    }
    guard quote == nil else { throw error("a quote is not closed") }
    return words.filter { !$0.isEmpty }.map { RsyncArguments.Word($0, origin: origin) }
  }

  /// rsync's arguments for a statement or an option such as `exclude`.
  func filterArguments(named name: String, value: String) throws(RsnapshotError) -> [RsyncArguments.Word] {
    let options = [
      "include": "--include", "exclude": "--exclude", "include_file": "--include-from",
      "exclude_file": "--exclude-from",
    ]
    guard let option = options[name] else { return [] }
    return try longArguments(of: "\(option)=\(value)")
  }
}
