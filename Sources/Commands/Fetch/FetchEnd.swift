internal import Model
internal import Posix
internal import Repository

/// The end of rsync(1), in the words of this program.
struct FetchEnd {
  enum Result: Equatable {
    /// All is there, or all but what the warnings name.
    case fetched
    /// The directory or the host is not there.
    case absent
    case failed
    /// The repository's disk is full.
    case noSpace
    /// rsync(1) on the host lacks an option.
    case lacksACLs, lacksAttributes
    /// rsync on the host is so old that files can be linked to one tree alone.
    case linksToOneTree
    /// A stored link is where the host now has a directory, so that rsync left files out.
    case meetsLink
  }

  let result: Result
  /// The reason, if there is no tree; a clause.
  private(set) var reason = ""
  private(set) var hint: String?
  /// The entries that are not in the tree, or not as on the host.
  private(set) var warnings: [Warning] = []
  /// The entries that were removed on the host in the meantime.
  private(set) var vanished: [Warning] = []

  /// The reason and the hint.
  var sentence: String { reason + (hint.map { "; \($0)" } ?? "") }

  /// The number of entries that are named.
  private static let mostNamed = 1000

  /// `root` is the source as a path of the snapshot, `path` its path on the host, `tree` the directory of the tree.
  ///
  /// `droppedCount` lines more are not in `lines`.
  init(of end: ChildEnd, lines: [[UInt8]], droppedCount: Int = 0, root: [UInt8], path: [UInt8], tree: [UInt8]) {
    var texts = lines.map { String(decoding: $0, as: UTF8.self) }
    func says(_ words: String) -> Bool { texts.contains { $0.contains(words) } }
    let original = Self.original(of: texts)
    switch end {
    case .exited(0): result = .fetched
    case .exited(23) where says("change_dir \"") && says("failed: No such file or directory"):
      (result, reason) = (.absent, "it is not there on the host")
      return
    case .exited where texts.contains(where: Self.isDiskFull):
      (result, reason) = (.noSpace, "the repository's disk is full")
    case .exited(23) where says("[generator]") && says("Too many levels of symbolic links (40)"):
      (result, reason) = (.meetsLink, original)
    case .exited(23), .exited(24): result = .fetched
    case .exited(1...4) where Self.lacks("--acls", "ACLs are not supported").contains(where: says):
      (result, reason) = (.lacksACLs, original)
    case .exited(1...4) where Self.lacks("--xattrs", "extended attributes are not supported").contains(where: says):
      (result, reason) = (.lacksAttributes, original)
    case .exited(2) where says("Using more than one --link-dest option requires"):
      (result, reason) = (.linksToOneTree, original)
    case .exited(1...4) where Self.lies.contains(where: says):
      (result, reason) = (.failed, "the host sent an impossible list of files (\(original))")
    case .exited(let found):
      // ssh, or the shell on the host, says what it is. rsync may only see that no answer comes.
      let isMissing = texts.contains { line in
        !line.hasPrefix("rsync") && Self.missing.contains { line.hasSuffix($0) }
      }
      let isRefused = texts.contains { $0.hasPrefix("ssh: ") } || Self.refusals.contains(where: says)
      let status = found == 12 ? isRefused ? 255 : isMissing ? 127 : found : found
      let isAway = status == 255 && Self.absences.contains(where: says)
      result = isAway ? .absent : .failed
      reason =
        (isAway ? "the host cannot be reached" : Self.sentence(status)) + (original.isEmpty ? "" : " (\(original))")
      hint = Self.hint(for: status, says: says)
    case .signalled(let signal): (result, reason) = (.failed, "rsync was ended by signal \(signal)")
    case .timedOut: (result, reason) = (.failed, "it took longer than \(Int(FetchCommand.longestSeconds / 3600)) hours")
    case .interrupted: (result, reason) = (.failed, "it was interrupted")
    }
    guard result == .fetched else { return }
    // A banner of sshd, or the text of a shell's start, is no trouble of the source.
    if end == .exited(0) { texts.removeAll { !$0.hasPrefix("rsync") && !$0.hasPrefix("file has vanished") } }
    let root = TreePath(parsing: root)
    readEntries(
      texts, droppedCount: droppedCount, root: root, path: TreePath(parsing: path), tree: TreePath(parsing: tree))
    if end == .exited(23), warnings.isEmpty {
      warnings.append(Warning(path: root.relative, message: "is not as on the host; rsync does not say why"))
    }
  }

  private static func isDiskFull(_ line: String) -> Bool {
    line.hasSuffix("No space left on device (28)") && !line.contains("[sender]")
  }

  /// The words of rsync(1) about names and entries that no honest host sends.
  private static let lies = ["ABORTING due to", "ERROR: rejecting "]

  /// The words of shells about a program that is not there.
  private static let missing = ["command not found", ": not found", ": No such file or directory"]

  /// The words of rsync(1) about an option that the host lacks: because it was built so, or is old.
  private static func lacks(_ option: String, _ words: String) -> [String] {
    [words, "\(option) requires protocol 30 or higher"]
  }

  /// The words of ssh(1) about a host that is not there.
  private static let absences = [
    "Connection refused", "No route to host", "Connection timed out", "Network is unreachable", "Host is down",
    "Could not resolve hostname", "Operation timed out",
  ]

  /// The words of ssh(1) about a host that does not let it in.
  private static let refusals = ["Permission denied (publickey", "Host key verification failed"]

  private static func sentence(_ status: Int32) -> String {
    switch status {
    case 1: "rsync on the host does not know an option"
    case 2: "the two versions of rsync do not understand each other"
    case 3: "rsync on the host cannot read the directory"
    case 4, 6: "rsync on the host cannot do it"
    case 5, 10, 12, 35: "the connection broke, or the host's answer was not that of rsync"
    case 11: "a file could not be read or written"
    case 20: "rsync was interrupted"
    case 13, 14, 21, 22: "rsync failed"
    case 25: "rsync reached a limit"
    case 30: "no data came for \(FetchCommand.timeoutSeconds) s"
    case 124, 125, 126: "rsync cannot be run on the host"
    case 127: "rsync is not installed on the host"
    case 255: "ssh could not connect, or lost the connection"
    default: "rsync ended with status \(status)"
    }
  }

  private static func hint(for status: Int32, says: (String) -> Bool) -> String? {
    if says("Host key verification failed") { return "connect once by hand, and accept the host's key" }
    if says("sudo: ") { return "allow rsync for this user in sudoers(5), without a password" }
    if says("Permission denied (publickey") { return "add the key of this machine to the host's authorized_keys" }
    return status == 127 ? "install rsync there" : nil
  }

  /// The line that says most. The last one only repeats the status.
  private static func original(of texts: [String]) -> String {
    let telling = texts.filter { !$0.contains("(see previous errors)") && !$0.hasPrefix("rsync error: ") }
    let noise = ["connection unexpectedly closed", "Warning: Permanently added"]
    let best = telling.last { line in !noise.contains { line.contains($0) } } ?? telling.last ?? texts.last ?? ""
    return String(best.prefix(300))
  }

  // MARK: Single entries

  private mutating func readEntries(
    _ texts: [String], droppedCount: Int, root: TreePath, path: TreePath, tree: TreePath
  ) {
    var unnamedCount = droppedCount
    for text in texts {
      if text.hasPrefix("rsync error: ") || text.hasPrefix("rsync warning: ") || text.hasPrefix("IO error encountered")
      {
        continue
      }
      guard warnings.count < Self.mostNamed else {
        unnamedCount += 1
        continue
      }
      guard let named = Self.quoted(in: text) else {
        warnings.append(Warning(path: root.relative, message: "rsync says: \(text)"))
        continue
      }
      var place = TreePath(parsing: Self.unescaped(named))
      place = root + place.dropFirst(place.starts(with: tree) ? tree.count : place.starts(with: path) ? path.count : 0)
      if text.hasPrefix("file has vanished: ") {
        vanished.append(Warning(path: place.relative, message: "was removed on the host while it was fetched"))
      } else {
        let reason = text.split(separator: ": ").last.map { ": \($0)" } ?? ""
        warnings.append(Warning(path: place.relative, message: "is not as on the host\(reason); rsync says: \(text)"))
      }
    }
    if unnamedCount > 0 {
      warnings.append(Warning(path: root.relative, message: "has \(unnamedCount) more messages of rsync"))
    }
  }

  /// The text between the first quote and the last one.
  private static func quoted(in text: String) -> Substring? {
    guard let first = text.firstIndex(of: "\""), let last = text.lastIndex(of: "\""), first < last else { return nil }
    let inner = text[text.index(after: first)..<last]
    // A message may name two paths.
    return inner.split(separator: "\" -> \"", maxSplits: 1).first ?? inner
  }

  /// The bytes of a name, in which rsync(1) writes `\#` and three octal digits for a byte.
  private static func unescaped(_ text: Substring) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      let digits = rest.dropFirst().prefix(3)
      if byte == UInt8(ascii: "\\"), rest.first == UInt8(ascii: "#"), digits.count == 3,
        let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(value)
        rest = rest.dropFirst(4)
      } else {
        bytes.append(byte)
      }
    }
    return bytes
  }
}

extension TreePath {
  fileprivate static func + (path: TreePath, rest: TreePath) -> TreePath { TreePath(Array(path) + Array(rest)) }
}
