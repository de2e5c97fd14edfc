internal import Model

/// An audit for a person: the sum, then the findings by topic.
struct AuditPage {
  private let audit: Audit
  private let facts: AuditFacts

  init(of audit: Audit, from facts: AuditFacts) { (self.audit, self.facts) = (audit, facts) }

  var lines: [String] {
    let short = audit.short.count
    var lines = [
      "\(facts.repository): "
        + (audit.isWell ? "nothing falls short" : "\(counted(short, "finding falls", plural: "findings fall")) short"),
      "\(counted(audit.copies.count, "copy", plural: "copies")) of 3, "
        + "\(counted(audit.media, "medium", plural: "media")) of 2, \(audit.offSite.count) of 1 elsewhere",
    ]
    for topic in Finding.Topic.allCases {
      let findings = audit.findings.filter { $0.topic == topic }
      if findings.isEmpty { continue }
      lines += ["", topic.title]
      lines += findings.flatMap(self.lines)
    }
    if !facts.notMeasured.isEmpty {
      lines += ["", "NOT MEASURED"]
      lines += facts.notMeasured.flatMap {
        wrapped($0.fact, first: "? ", next: "  ") + wrapped($0.remedy, first: "  -> ", next: "     ")
      }
    }
    return lines
  }

  private func lines(of finding: Finding) -> [String] {
    let sign =
      switch finding.state {
      case .well: "  "
      case .short: "! "
      case .unknown: "? "
      }
    let age = finding.time.map { ", \(durationText(Double(max(0, facts.now - $0)))) ago" } ?? ""
    return wrapped("\(finding.fact) (\(finding.source)\(age))", first: sign, next: "  ")
      + (finding.remedy.map { wrapped($0, first: "  -> ", next: "     ") } ?? [])
  }
}

extension Finding.Topic {
  fileprivate var title: String {
    switch self {
    case .copies: "COPIES"
    case .media: "MEDIA"
    case .offSite: "ELSEWHERE"
    case .objectives: "OBJECTIVES"
    case .automation: "AUTOMATION"
    case .plan: "RECOVERY PLAN"
    case .blindSpots: "BLIND SPOTS"
    }
  }
}

/// The document of `audit --json`.
struct AuditAnswer: Encodable {
  struct Line: Encodable {
    let topic: Finding.Topic
    let state: Finding.State
    let fact, source: String
    let time, remedy: String?
  }

  /// A copy, with the facts about it. A value that was not measured is absent.
  struct Place: Encodable {
    let name: String
    let kind: String
    let host: String?
    let disks: [String]
    let location: String?
    let newest: String?
    let filesBehind: UInt64?
    let bytesBehind: UInt64?
    let verifiedSince: String?
    let verifiedSnapshots: Int?
    let unverifiedSnapshots: Int?
    let verifiedBy: String?
    let isEncrypted: Bool?
    let keyTested: String?
    let absence: String?

    init(_ copy: AuditFacts.Copy) {
      func text(_ time: Int64?) -> String? { time.map { CalendarTime(seconds: $0).rfc3339 } }
      (name, kind, host, location) = (copy.name, copy.kind.rawValue, copy.host, copy.location)
      disks = copy.disks.sorted()
      (newest, verifiedSince, keyTested) = (text(copy.newest), text(copy.verified), text(copy.keyTested))
      (filesBehind, bytesBehind) = (copy.behind?.files, copy.behind?.bytes)
      (verifiedSnapshots, verifiedBy) = (copy.verifiedSnapshots, copy.verifiedBy)
      unverifiedSnapshots = copy.verified.map { _ in copy.unverified }
      isEncrypted = copy.kind == .remote ? copy.isEncrypted : nil
      absence = copy.absence
    }
  }

  let repository: String
  let time: String
  let isWell: Bool
  /// The names of the copies that count.
  let copies: [String]
  let media: Int
  /// The names of the copies elsewhere.
  let offSite: [String]
  let findings: [Line]
  /// All copies, also those that do not count.
  let places: [Place]
  let notMeasured: [AuditFacts.NotMeasured]

  init(of audit: Audit, from facts: AuditFacts, at now: Timestamp) {
    repository = facts.repository
    time = now.rfc3339
    isWell = audit.isWell
    (copies, media, offSite) = (audit.copies, audit.media, audit.offSite)
    findings = audit.findings.map { finding in
      Line(
        topic: finding.topic, state: finding.state, fact: finding.fact, source: finding.source,
        time: finding.time.map { CalendarTime(seconds: $0).rfc3339 }, remedy: finding.remedy)
    }
    places = facts.copies.map(Place.init)
    notMeasured = facts.notMeasured
  }
}
