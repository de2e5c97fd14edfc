internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Prints each change of a restore, and counts them.
final class ChangePrinter: Monitor {
  private struct State {
    var counts: [Change.Verb: UInt64] = [:]
    var kept: [RestoreChange] = []
    /// The changes that were shown.
    var shown: Set<ConfirmedChange> = []
  }

  private let monitor: ConsoleMonitor
  private let stream: StandardStream?
  private let keeps: Bool
  /// The plan that was confirmed; its lines are not printed again.
  private let plan: ChangePrinter?
  private let state = Mutex(State())

  /// `stream` gets the lines. `keeps` is true for a document that names the changes.
  init(reporting monitor: ConsoleMonitor, to stream: StandardStream?, keeps: Bool, after plan: ChangePrinter? = nil) {
    (self.monitor, self.stream, self.keeps, self.plan) = (monitor, stream, keeps, plan)
  }

  /// True for a change that the operator has seen.
  func hasShown(_ change: RestoreChange) -> Bool { state.withLock { $0.shown.contains(ConfirmedChange(change)) } }

  var wantsChanges: Bool { true }

  func warn(_ warning: Warning) { monitor.warn(warning) }

  func changed(_ change: RestoreChange) {
    if let stream, plan?.hasShown(change) != true { Console.write(change.line(on: stream) + "\n", to: stream) }
    state.withLock {
      if stream != nil { $0.shown.insert(ConfirmedChange(change)) }
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

/// A change as the operator confirms it. It does not stand for one of an entry that has changed since.
private struct ConfirmedChange: Hashable {
  let verb: Change.Verb
  let path: [UInt8]
  let aspects: ChangedAspects
  let present: PresentEntry?

  init(_ change: RestoreChange) {
    (verb, path, aspects, present) = (change.verb, change.path, change.aspects, change.present)
  }
}

extension RestoreChange {
  /// One line of a plan, such as "M /etc/fstab (content, mode)".
  fileprivate func line(on stream: StandardStream) -> String {
    var reasons = aspects.words
    if let kindBefore, let kind { reasons = ["\(kindBefore.word) becomes \(kind.word)"] }
    if verb == .changed, reasons.isEmpty { reasons = ["as before"] }
    let shown = displayName(path) + (kind == .directory ? "/" : "")
    return "\(verb.sign(on: stream)) \(shown)" + (reasons.isEmpty ? "" : " (\(reasons.joined(separator: ", ")))")
  }
}

extension RestoreChange: Encodable {
  func encode(to encoder: any Encoder) throws {
    try JSONPath(bytes: path).encode(to: encoder)
    try encoder.encode([
      "change": verb.rawValue, "kind": kind?.word, "kindBefore": kindBefore?.word,
      "aspects": verb == .changed ? aspects.words : nil, "bytes": byteCount,
    ])
  }
}
