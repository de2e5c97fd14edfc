internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

struct RecoveryPlanCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "recovery-plan", abstract: "Write the document for the bad day: what to do, from each copy, in order.",
    discussion: """
      Writes the way back from each copy to each source and database, with exact commands for a fresh Debian. The \
      configuration's table [plan] has the owner's words: the order, the contacts, and the places of the keys. With that \
      table, runs keep the document as RECOVERY.md in each snapshot, and at the top of each repository of treering. It \
      has no secret.

      Examples:
        treering recovery-plan | less
        treering recovery-plan --html plan.html && lp plan.html && treering recovery-plan --printed
        treering recovery-plan --tested-by 'Ann Miller'
      """)

  @Flag(help: "Print the document as Markdown; that is done unless another option is given.")
  var markdown = false

  @Option(
    help: ArgumentHelp(
      "Write the document to this file, as HTML for paper. If qrencode is installed, addresses have QR codes.",
      valueName: "file"), completion: .file(extensions: ["html"]))
  var html: PathArgument?

  @Flag(help: "Record that the present document was printed.")
  var printed = false

  @Option(help: ArgumentHelp("Record that this person carried out the present document.", valueName: "name"))
  var testedBy: String?

  @OptionGroup var common: CommonOptions

  func validate() throws {
    let count = [markdown, html != nil, printed, testedBy != nil].count { $0 }
    if count > 1 { throw ValidationError("--markdown, --html, --printed and --tested-by exclude each other") }
    if testedBy?.isEmpty == true { throw ValidationError("--tested-by takes a name") }
  }

  func execute() throws -> ExitStatus {
    let file = try common.requiredConfiguration()
    let repository = try common.openRepository()
    let now = Clock.now()
    let facts = try AuditCollection(of: repository, configuration: file, at: now).planFacts()
    let document = PlanDocument(of: facts)
    if printed || testedBy != nil {
      let line = PlanRecord(
        time: now.rfc3339, event: printed ? .printed : .tested,
        by: testedBy.map { displayName(argumentBytes($0)) }, digest: document.digest)
      try repository.history.append(line)
      common.answer(
        PlanAnswer(document, of: facts),
        lines: ["recorded: the plan was \(printed ? "printed" : "tested by \(line.by ?? "")")"])
    } else if let html {
      let path = try absolutePath(of: html.bytes)
      try replaceFile(at: path, with: document.html(picture: Self.picture), mode: 0o600)
      common.answer(PlanAnswer(document, of: facts), isWanted: common.speaks, lines: ["wrote \(displayName(path))"])
    } else if common.json {
      common.answer(PlanAnswer(document, of: facts), lines: [])
    } else {
      Console.write(document.markdown, to: .output)
    }
    return .done
  }

  /// The QR code of an address; `nil` without qrencode(1).
  private static func picture(of address: String) -> String? {
    let command = ["qrencode", "--type=SVG", "--inline", "--rle", "--margin=2", "--output=-", "--", address]
    guard let result = try? Tool(command).result(), result.end == .exited(0) else { return nil }
    let svg = String(decoding: result.output, as: UTF8.self)
    guard let start = svg.firstRange(of: "<svg") else { return nil }
    return "<svg role=\"img\" aria-label=\"QR code of the address\"" + svg[start.upperBound...]
  }
}

/// The document of `recovery-plan --json`.
private struct PlanAnswer: Encodable {
  struct Record: Encodable {
    let time: String
    let by: String?
    /// True if the document is still the same.
    let isCurrent: Bool
  }

  let host, repository, time, digest: String
  let printed, tested: Record?
  let sections: [PlanDocument.Section]

  init(_ document: PlanDocument, of facts: PlanFacts) {
    let digest = document.digest
    func record(_ record: PlanFacts.Record) -> Record {
      Record(time: CalendarTime(seconds: record.time).rfc3339, by: record.by, isCurrent: record.digest == digest)
    }
    (host, repository) = (facts.host, facts.repository)
    time = CalendarTime(seconds: facts.now).rfc3339
    self.digest = digest
    printed = facts.printed.map(record)
    tested = facts.tested.map(record)
    sections = document.sections
  }
}
