internal import Catalog
internal import Engine
internal import Model
internal import Repository
internal import Synchronization

/// Prints each change of a restore, and counts them.
final class ChangePrinter: Monitor {
  private let monitor: ConsoleMonitor
  private let prints: Bool
  private let keeps: Bool
  private let state = Mutex<(counts: [Change.Verb: UInt64], kept: [RestoreChange])>(([:], []))

  /// `keeps` is true for a document that names the changes.
  init(reporting monitor: ConsoleMonitor, prints: Bool, keeps: Bool) {
    self.monitor = monitor
    self.prints = prints
    self.keeps = keeps
  }

  var wantsChanges: Bool { true }

  func warn(_ warning: Warning) { monitor.warn(warning) }

  func changed(_ change: RestoreChange) {
    if prints { Console.print(change.line) }
    state.withLock {
      $0.counts[change.verb, default: 0] += 1
      if keeps { $0.kept.append(change) }
    }
  }

  var kept: [RestoreChange] { state.withLock { $0.kept } }
  var isEmpty: Bool { state.withLock { $0.counts.isEmpty } }

  /// The counts in words, such as "2 added, 1 changed".
  var text: String {
    let counts = state.withLock { $0.counts }
    let words = [(Change.Verb.added, "added"), (.changed, "changed"), (.removed, "removed")].compactMap { verb, word in
      counts[verb].map { "\(grouped($0)) \(word)" }
    }
    return words.isEmpty ? "no change" : words.joined(separator: ", ")
  }
}

extension RestoreChange {
  /// One line of a plan, such as "M /etc/fstab (content, mode)".
  fileprivate var line: String {
    var reasons = aspects.words
    if let kindBefore, let kind { reasons = ["\(kindBefore.word) becomes \(kind.word)"] }
    if verb == .changed, reasons.isEmpty { reasons = ["again"] }
    let shown = displayName(path) + (kind == .directory ? "/" : "")
    return "\(verb.sign) \(shown)" + (reasons.isEmpty ? "" : " (\(reasons.joined(separator: ", ")))")
  }
}

extension RestoreChange: Encodable {
  private enum Key: CodingKey { case change, kind, kindBefore, aspects, bytes }

  func encode(to encoder: any Encoder) throws {
    try JSONPath(bytes: path).encode(to: encoder)
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(verb.rawValue, forKey: .change)
    try container.encodeIfPresent(kind?.word, forKey: .kind)
    try container.encodeIfPresent(kindBefore?.word, forKey: .kindBefore)
    if verb == .changed { try container.encode(aspects.words, forKey: .aspects) }
    try container.encodeIfPresent(byteCount, forKey: .bytes)
  }
}
