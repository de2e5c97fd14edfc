internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

/// The form of an answer of `diff`.
enum DiffForm { case lines, counts, names, patches }

/// Prints the changes between two sides immediately, because there may be millions, and counts them.
final class DiffReport {
  private let from, to: any DiffSide
  private let path: TreePath?
  private let form: DiffForm
  private let common: CommonOptions
  private let writer = AnswerWriter()
  private var counts: DiffCounts
  private var isFirst = true
  private var problems: [String] = []
  /// Damage of a content that was to be shown.
  private(set) var status = ExitStatus.done
  /// False for changes that are not to be shown.
  var isWanted: (Change) -> Bool = { _ in true }

  init(from: any DiffSide, to: any DiffSide, under path: TreePath?, form: DiffForm, options common: CommonOptions) {
    (self.from, self.to, self.path, self.form, self.common) = (from, to, path, form, common)
    counts = DiffCounts(below: path, sources: from.reader.summary.placesOfSources + to.reader.summary.placesOfSources)
  }

  func run() throws {
    defer { writer.flush() }
    if common.json {
      let list = form == .counts ? "" : ",\n  \"changes\" : ["
      try writer.write("{\n  \"from\" : \"\(from.name)\",\n  \"to\" : \"\(to.name)\"\(list)")
    }
    let search = RenameSearch(from: from.reader, to: to.reader) { [unowned self] change in
      try checkForSignal()
      if isWanted(change) { try add(change) }
    }
    try search.run(under: path ?? [])
    try finish()
    writer.flush()
    if !search.isComplete, !common.quiet {
      Console.note(
        "there are more than \(grouped(UInt64(RenameSearch.limit))) differences; renamed entries may be shown "
          + "as removed and added")
    }
    for problem in problems { Console.complain(problem) }
  }

  private func shown(_ path: TreePath) -> [UInt8] {
    let labels = [from.reader.summary.label, to.reader.summary.label]
    return path.atSource(label: labels.first { $0 == path.first } ?? labels[1])
  }

  private func add(_ change: Change) throws {
    if !common.json && !common.verbose && change.kind == .directory && change.aspects == .modified
      && change.verb == .changed
    {
      return
    }
    counts.add(change)
    if common.json {
      guard form != .counts else { return }
      try writer.write(isFirst ? "\n    " : ",\n    ")
      isFirst = false
      return try writer.write(jsonText(JSONChange(change, shown: shown), isLine: true, isPart: true))
    }
    switch form {
    case .counts: break
    case .names: try writer.line(displayName(shown(change.path)))
    case .lines: try lines(of: change).forEach { try writer.line($0) }
    case .patches:
      try lines(of: change).forEach { try writer.line($0) }
      try showPatch(of: change)
    }
  }

  private func finish() throws {
    if common.json {
      let answer = DiffAnswer(counts.total, directories: form == .counts ? counts.directories(shown: shown) : nil)
      // The document was begun before the numbers were known.
      let rest = jsonText(answer).drop { $0 != "\n" }
      return try writer.line((form == .counts ? "," : isFirst ? "]," : "\n  ],") + rest)
    }
    guard form != .names, !common.quiet else { return }
    guard counts.total.changes > 0 else {
      // A program that reads the answer takes no line for no change.
      if CurrentProcess.terminalWidth(of: .output) != nil { try writer.line("no change") }
      return
    }
    if form == .counts { for line in counts.table(shown: shown) { try writer.line(line) } }
    try writer.line(counts.total.summary)
  }

  // MARK: Lines

  private func lines(of change: Change) -> [String] {
    let end = change.kind == .directory ? "/" : ""
    let size = (change.sizeAfter ?? change.sizeBefore).map { byteText($0) } ?? ""
    var line = "\(change.verb.sign(on: .output)) " + String(repeating: " ", count: max(0, 8 - size.count)) + size + "  "
    if let before = change.pathBefore { line += displayName(shown(before)) + end + " -> " }
    line += displayName(shown(change.path)) + end
    var notes = change.aspects.words.map { $0 == "content" ? $0 + change.growthText : $0 }
    if change.entriesBelow > 0 { notes.append("\(grouped(change.entriesBelow)) below") }
    if !notes.isEmpty { line += "  (\(notes.joined(separator: ", ")))" }
    guard change.aspects.contains(.accessControl), let (before, after) = change.attributes else { return [line] }
    let (old, new) = (before.accessControlLines, after.accessControlLines)
    let indent = String(repeating: " ", count: 12)
    return [line] + old.filter { !new.contains($0) }.map { "\(indent)- \($0)" }
      + new.filter { !old.contains($0) }.map { "\(indent)+ \($0)" }
  }

  // MARK: Patches

  private func showPatch(of change: Change) throws {
    let isContent = change.aspects.contains(.content) || change.verb == .added || change.verb == .removed
    guard change.kind == .regular, isContent else { return }
    let pathBefore = change.pathBefore ?? change.path
    do {
      let before = change.verb == .added ? nil : try content(from, at: pathBefore)
      let after = change.verb == .removed ? nil : try content(to, at: change.path)
      try Patch(
        before: before.map { (Array("a".utf8) + shown(pathBefore), $0) },
        after: after.map { (Array("b".utf8) + shown(change.path), $0) }
      ).write(to: writer)
    } catch let trouble as UnreadableContent {
      problems.append("\(displayName(shown(change.path))): \(trouble.reason)")
      if trouble.isDamage { status = .damaged } else if status == .done { status = .warnings }
    }
  }

  /// The content of a file; `nil` if it is too large to be shown.
  private func content(_ side: any DiffSide, at path: TreePath) throws -> PatchContent {
    guard case .file(let row, _)? = try side.reader.find(path) else { return .bytes([]) }
    return row.size > Patch.largest ? .tooLarge(row.size) : .bytes(try side.content(of: row, at: path))
  }
}

extension Change {
  /// The growth of a file whose size changed, such as " +12 KiB".
  fileprivate var growthText: String {
    guard let sizeBefore, let sizeAfter, sizeBefore != sizeAfter else { return "" }
    return " " + signedText(more: sizeAfter, less: sizeBefore)
  }
}

extension Change.Verb {
  /// The first letter of a change's line.
  var sign: String {
    switch self {
    case .added: "+"
    case .removed: "-"
    case .changed: "M"
    case .renamed: "R"
    }
  }

  /// The sign in its colour, if the stream shows colours.
  func sign(on stream: StandardStream) -> String {
    let color: Color? =
      switch self {
      case .added: .green
      case .removed: .red
      case .changed: .yellow
      case .renamed: nil
      }
    return color?.painted(sign, on: stream) ?? sign
  }
}

private struct JSONChange: Encodable {
  private let change: Change
  private let path: [UInt8]
  private let pathBefore: [UInt8]?

  init(_ change: Change, shown: (TreePath) -> [UInt8]) {
    self.change = change
    path = shown(change.path)
    pathBefore = change.pathBefore.map(shown)
  }

  func encode(to encoder: any Encoder) throws {
    try JSONPath(bytes: path).encode(to: encoder)
    let before = pathBefore.map(JSONPath.init(bytes:))
    let lists = change.aspects.contains(.accessControl) ? change.attributes : nil
    let aspects = [.changed, .renamed].contains(change.verb) ? change.aspects.words : nil
    let entriesBelow = change.verb == .renamed && change.kind == .directory ? change.entriesBelow : nil
    try encoder.encode([
      "pathBefore": before?.text, "pathBeforeBase64": before?.base64, "change": change.verb.rawValue,
      "kind": change.kind.word, "aspects": aspects, "entriesBelow": entriesBelow,
      "aclBefore": lists?.before.accessControlLines, "aclAfter": lists?.after.accessControlLines,
      "sizeBefore": change.sizeBefore, "sizeAfter": change.sizeAfter,
    ])
  }
}
