/// rsync's arguments that affect the stored data.
struct RsyncArguments {
  /// One argument and its statement.
  struct Word: Equatable {
    let text: [UInt8]
    let origin: RsnapshotConfiguration.Origin

    init(_ text: some Sequence<UInt8>, origin: RsnapshotConfiguration.Origin) {
      self.text = [UInt8](text)
      self.origin = origin
    }
  }

  /// One rule of rsync's filter; the first matching rule decides.
  struct Rule: Equatable {
    var pattern: [UInt8]
    var isInclude: Bool
    var origin: RsnapshotConfiguration.Origin
  }

  /// An argument without an equivalent in treering.
  struct Unknown: Equatable {
    var argument: String
    var origin: RsnapshotConfiguration.Origin
  }

  private(set) var rules: [Rule] = []
  /// Paths are stored completely, and patterns begin at the root.
  private(set) var isRelative = false
  private(set) var isOneFileSystem = false
  /// In bytes; larger files are left out.
  private(set) var maxFileSize: UInt64?
  private(set) var unknown: [Unknown] = []
  private(set) var remoteShell: String?
  /// The value of `--rsync-path`.
  private(set) var remoteProgram: String?
  private let files: RsnapshotFiles

  /// `short` has the letters after the hyphen of `rsync_short_args`.
  init(short: [Word], long: [Word], files: RsnapshotFiles) throws(RsnapshotError) {
    self.files = files
    for word in short { takeLetters(word.text[...], origin: word.origin) }
    var index = 0
    while index < long.count {
      let word = long[index]
      index += 1
      guard word.text.first == UInt8(ascii: "-") else {
        note(word, argument: "the argument \"\(Self.text(of: word.text))\", which rsync takes for a source of its own")
        continue
      }
      guard word.text.starts(with: "--".utf8) else {
        takeLetters(word.text.dropFirst(), origin: word.origin)
        continue
      }
      let halves = word.text.dropFirst(2).split(
        separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      let name = Self.text(of: halves[0])
      var value = halves.count > 1 ? Array(halves[1]) : nil
      if value == nil, Self.takesValue.contains(name), index < long.count {
        value = long[index].text
        index += 1
      }
      try take(option: name, value: value, word: word)
    }
  }

  // MARK: Options

  /// Letters that do not affect treering, or whose effect is always on.
  private static let builtInLetters = Set("avrlptgoDHAXSNUEqzyhPiIWcuJOsK46".utf8)

  /// Long options that do not affect treering, or whose effect is always on.
  private static let builtIn: Set<String> = [
    "acls", "archive", "atimes", "append-verify", "blocking-io", "block-size", "bwlimit", "checksum",
    "checksum-choice", "compress", "compress-choice", "compress-level", "contimeout", "crtimes", "debug",
    "delay-updates", "delete", "delete-after", "delete-before", "delete-delay", "delete-during", "delete-excluded",
    "delete-missing-args", "devices", "executability", "fake-super", "force", "fsync", "fuzzy", "group",
    "hard-links", "human-readable", "ignore-errors", "ignore-times", "implied-dirs", "inc-recursive", "info",
    "inplace", "ipv4", "ipv6", "itemize-changes", "keep-dirlinks", "links", "log-file", "log-file-format",
    "max-alloc", "modify-window", "motd",
    "numeric-ids", "omit-dir-times", "omit-link-times", "open-noatime", "out-format", "outbuf", "owner", "partial",
    "partial-dir", "password-file", "perms", "port", "preallocate", "progress", "protect-args", "quiet", "recursive",
    "secluded-args", "size-only", "skip-compress", "sockopts", "sparse", "specials", "stats",
    "super", "temp-dir", "timeout", "times", "trust-sender", "update", "verbose", "whole-file", "xattrs",
  ]

  /// Options whose negation excludes entries or stores others.
  private static let neededPositive: Set<String> = ["links", "recursive", "archive"]

  /// Options whose value may be the next argument.
  private static let takesValue: Set<String> = [
    "exclude", "include", "exclude-from", "include-from", "filter", "max-size", "min-size", "files-from",
    "block-size", "bwlimit", "checksum-choice", "compress-choice", "compress-level", "contimeout", "debug", "info",
    "log-file", "log-file-format", "max-alloc", "modify-window", "out-format", "partial-dir", "password-file", "port",
    "rsh", "rsync-path", "skip-compress", "sockopts", "temp-dir", "timeout", "chmod", "chown", "usermap", "groupmap",
    "backup-dir", "suffix", "compare-dest", "copy-dest", "link-dest", "max-delete", "iconv", "address", "outbuf",
    "remote-option", "stop-after", "stop-at",
  ]

  private mutating func takeLetters(_ letters: ArraySlice<UInt8>, origin: RsnapshotConfiguration.Origin) {
    for letter in letters {
      switch letter {
      case UInt8(ascii: "x"): isOneFileSystem = true
      case UInt8(ascii: "R"): isRelative = true
      case _ where Self.builtInLetters.contains(letter): break
      default: unknown.append(Unknown(argument: "-" + Self.text(of: [letter]), origin: origin))
      }
    }
  }

  private mutating func take(option name: String, value: [UInt8]?, word: Word) throws(RsnapshotError) {
    let negated = name.hasPrefix("no-") ? String(name.dropFirst(3)) : nil
    switch name {
    case "relative": isRelative = true
    case "no-relative", "no-R": isRelative = false
    case "one-file-system": isOneFileSystem = true
    case "no-one-file-system", "no-x": isOneFileSystem = false
    case "exclude", "include": addOld(value ?? [], isInclude: name == "include", origin: word.origin)
    case "exclude-from", "include-from": try addFile(value ?? [], isInclude: name == "include-from", word: word)
    case "filter":
      if !addFilter(value ?? [], origin: word.origin) { note(word, argument: "--filter=\(Self.text(of: value ?? []))") }
    case "max-size":
      maxFileSize = Self.size(in: Self.text(of: value ?? []))
      if maxFileSize == nil { note(word, argument: "--max-size=\(Self.text(of: value ?? []))") }
    case "rsh": remoteShell = Self.text(of: value ?? [])
    case "rsync-path": remoteProgram = Self.text(of: value ?? [])
    case _ where Self.builtIn.contains(name): break
    case _ where negated.map({ Self.builtIn.contains($0) && !Self.neededPositive.contains($0) }) ?? false: break
    default: note(word, argument: Self.text(of: word.text))
    }
  }

  private mutating func note(_ word: Word, argument: String) {
    unknown.append(Unknown(argument: argument, origin: word.origin))
  }

  private static func text(of bytes: some Collection<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

  /// The bytes of a size in rsync's form. The number may have a fraction. The unit is a power of 1000 if only a B
  /// follows it, else of 1024. The suffixes `+1` and `-1` add or subtract one byte.
  static func size(in text: String) -> UInt64? {
    var rest = text[...]
    var adjustment = 0.0
    for (suffix, bytes) in [("+1", 1.0), ("-1", -1.0)] where rest.hasSuffix(suffix) {
      adjustment = bytes
      rest = rest.dropLast(2)
      break
    }
    let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    let unit = rest.dropFirst(digits.count).uppercased()
    let exponents = ["": 0, "B": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5]
    guard let number = Double(digits), let exponent = exponents[String(unit.prefix(1))],
      ["", "B", "IB"].contains(unit.dropFirst())
    else { return nil }
    let base = unit.count == 2 ? 1000.0 : 1024.0
    var bytes = number
    for _ in 0..<exponent { bytes *= base }
    bytes += adjustment
    return bytes >= 0 && bytes < 9e18 ? UInt64(bytes) : nil
  }

  // MARK: Rules

  /// Adds a rule from `--exclude`, `--include` or their files. A prefix of `- ` or `+ ` decides the kind instead; `!`
  /// alone clears the earlier rules.
  private mutating func addOld(_ text: [UInt8], isInclude: Bool, origin: RsnapshotConfiguration.Origin) {
    if text == [UInt8(ascii: "!")] {
      rules = []
    } else if text.starts(with: "- ".utf8) || text.starts(with: "+ ".utf8) {
      add(text.dropFirst(2), isInclude: text[0] == UInt8(ascii: "+"), origin: origin)
    } else {
      add(text[...], isInclude: isInclude, origin: origin)
    }
  }

  private mutating func add(_ pattern: ArraySlice<UInt8>, isInclude: Bool, origin: RsnapshotConfiguration.Origin) {
    if !pattern.isEmpty { rules.append(Rule(pattern: Array(pattern), isInclude: isInclude, origin: origin)) }
  }

  /// False if the text is not a plain rule with a pattern.
  private mutating func addFilter(_ text: [UInt8], origin: RsnapshotConfiguration.Origin) -> Bool {
    for (word, isInclude) in [("-", false), ("+", true), ("exclude", false), ("include", true)] {
      let rest = text.dropFirst(word.utf8.count)
      if text.starts(with: word.utf8), rest.first == UInt8(ascii: " ") || rest.first == UInt8(ascii: "_") {
        add(rest.dropFirst(), isInclude: isInclude, origin: origin)
        return true
      }
    }
    if text == [UInt8(ascii: "!")] || text == Array("clear".utf8) {
      rules = []
      return true
    }
    return false
  }

  private mutating func addFile(_ path: [UInt8], isInclude: Bool, word: Word) throws(RsnapshotError) {
    guard path != [UInt8(ascii: "-")] else { return note(word, argument: Self.text(of: word.text)) }
    let name = files.name(path)
    let content: [UInt8]
    do { content = try files.read(path) } catch {
      throw RsnapshotError(at: word.origin, message: "cannot read \(name): \(error)")
    }
    let isEnd = { (byte: UInt8) in byte == newline || byte == UInt8(ascii: "\r") }
    var number = 0
    for whole in content.split(separator: newline, omittingEmptySubsequences: false) {
      number += 1
      for line in whole.split(whereSeparator: isEnd) {
        guard let first = line.first, first != UInt8(ascii: ";"), first != UInt8(ascii: "#") else { continue }
        let place = RsnapshotConfiguration.Origin(file: name, line: number, text: "")
        guard let text = String(validating: line, as: UTF8.self), !line.contains(0)
        else { throw RsnapshotError(at: place, message: "the line is not UTF-8") }
        addOld(
          Array(line), isInclude: isInclude, origin: RsnapshotConfiguration.Origin(file: name, line: number, text: text)
        )
      }
    }
  }
}
