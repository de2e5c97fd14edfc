internal import Model
internal import Settings

/// The judgement of facts by the 3-2-1 rule and the owner's objectives. It is a pure function.
///
/// The rule: three copies of the data, the original included, on two media, with one elsewhere. A copy counts only if it
/// is new enough, complete, verified and undamaged.
struct Audit {
  let findings: [Finding]
  /// The names of the copies that count, the original first.
  let copies: [String]
  /// The number of different media below these copies.
  let media: Int
  /// The names of the copies elsewhere.
  let offSite: [String]

  var short: [Finding] { findings.filter { $0.state == .short } }
  /// True if nothing falls short.
  var isWell: Bool { short.isEmpty }

  init(of facts: AuditFacts) {
    let judge = CopyJudge(facts: facts)
    let copies = facts.copies.map(judge.judge)
    let counted = zip(facts.copies, copies).filter { $0.1.counts }.map(\.0)
    let media = Self.media(below: counted)
    let offSite = counted.filter { judge.isElsewhere($0) == true }
    self.copies = counted.map(\.name)
    self.media = media.count
    self.offSite = offSite.map(\.name)
    findings =
      copies.map(\.finding) + [judge.sum(of: counted)] + judge.media(below: counted, are: media)
      + judge.offSite(offSite, among: counted) + facts.copies.compactMap(Self.removal) + Self.objectives(in: facts)
      + Self.drills(in: facts)
      + Self.automation(in: facts) + Self.plan(in: facts) + Self.blindSpots(in: facts)
  }

  /// The media of some copies. Copies that share a disk are on one medium. A host is a medium. A copy on unknown disks
  /// of this machine is on none that counts.
  static func media(below copies: [AuditFacts.Copy]) -> [[String]] {
    var groups: [(disks: Set<String>, names: [String])] = []
    for copy in copies where copy.host != nil || !copy.disks.isEmpty {
      let disks = copy.host.map { ["host \($0)"] } ?? copy.disks
      let same = groups.indices.filter { !groups[$0].disks.isDisjoint(with: disks) }
      let merged = same.reduce(into: (disks: disks, names: [String]())) { all, index in
        all.disks.formUnion(groups[index].disks)
        all.names += groups[index].names
      }
      groups = groups.indices.filter { !same.contains($0) }.map { groups[$0] }
      groups.append((merged.disks, merged.names + [copy.name]))
    }
    return groups.map(\.names)
  }
}

/// Judges the copies of the data.
private struct CopyJudge {
  let facts: AuditFacts

  func judge(_ copy: AuditFacts.Copy) -> (counts: Bool, finding: Finding) {
    let source = Self.source(of: copy)
    func finding(_ state: Finding.State, _ fact: String, remedy: String?) -> Finding {
      Finding(
        topic: .copies, state: state, fact: "\(copy.name): \(fact)", source: source,
        time: copy.kind == .remote ? copy.seen : nil, remedy: remedy)
    }
    switch copy.kind {
    case .original: return (true, finding(.well, "the original", remedy: nil))
    case .sync:
      let fact = "a plain copy without history: an error or an attack overwrites it, so it is no backup"
      return (false, finding(.short, fact, remedy: "push snapshots there: see treering-push(1)"))
    case .repository, .remote: break
    }
    guard let (lack, remedy) = lack(of: copy) else {
      let age = copy.newest.map { "newest \(durationText(Double(facts.now - $0))) old" } ?? ""
      let verified = copy.verified.map { "all verified since \(dayText($0))" } ?? ""
      return (true, finding(.well, "\(age), \(verified)", remedy: nil))
    }
    return (false, finding(.short, lack, remedy: remedy))
  }

  /// The reason that a copy does not count, and the remedy; `nil` if it counts.
  private func lack(of copy: AuditFacts.Copy) -> (lack: String, remedy: String)? {
    guard let newest = copy.newest else {
      let absence = copy.absence.map { "; it is absent: \($0)" } ?? ""
      return ("it has no snapshot\(absence)", copy.refresh)
    }
    if copy.damaged > 0 {
      return ("\(counted(copy.damaged, "snapshot is", plural: "snapshots are")) damaged", copy.verify)
    }
    let age = facts.now - newest
    if age < 0 { return ("its newest snapshot is from the future", "set the clock, and look at treering list") }
    if let rpo = copy.rpo, age > rpo {
      let text =
        "its newest snapshot is \(durationText(Double(age))) old, and should be at most "
        + durationText(Double(rpo))
      return (text + (copy.absence.map { "; it is absent: \($0)" } ?? ""), copy.refresh)
    }
    if !copy.lacks.isEmpty { return ("its newest snapshot lacks \(copy.lacks.joined(separator: ", "))", copy.refresh) }
    guard let verified = copy.verified else {
      let part = copy.partVerified.map { ", only a part on \(dayText($0))" } ?? ""
      return ("it was never verified as a whole\(part)", copy.verify)
    }
    guard facts.now - verified <= facts.verifyWithin else {
      let limit = durationText(Double(facts.verifyWithin))
      return ("it was verified as a whole on \(dayText(verified)), and should be every \(limit)", copy.verify)
    }
    return nil
  }

  private static func source(of copy: AuditFacts.Copy) -> String {
    switch copy.kind {
    case .original: "the configuration"
    case .repository: "its snapshots and .treering/verified"
    case .remote: "the record of pushes and verifications"
    case .sync: "[[sync]] of the configuration"
    }
  }

  func sum(of copies: [AuditFacts.Copy]) -> Finding {
    let isShort = copies.count < 3
    return Finding(
      topic: .copies, state: isShort ? .short : .well,
      fact: "\(counted(copies.count, "copy counts", plural: "copies count")), 3 wanted", source: "the copies above",
      time: nil, remedy: isShort ? "mend the copies above, or add a table [remote.NAME]" : nil)
  }

  func media(below copies: [AuditFacts.Copy], are media: [[String]]) -> [Finding] {
    var findings: [Finding] = []
    for copy in copies where copy.disks.isEmpty && copy.host == nil {
      findings.append(
        Finding(
          topic: .media, state: .unknown, fact: "the disks of \(copy.name) are not known", source: "/sys/dev/block",
          time: nil, remedy: nil))
    }
    for group in media where group.count > 1 {
      findings.append(
        Finding(
          topic: .media, state: .short, fact: "\(group.joined(separator: " and ")) share a disk: one medium",
          source: "/sys/dev/block", time: nil, remedy: "put one of them on another disk or host"))
    }
    let isShort = media.count < 2
    findings.append(
      Finding(
        topic: .media, state: isShort ? .short : .well,
        fact: "\(counted(media.count, "medium", plural: "media")), 2 wanted", source: "the copies above",
        time: nil, remedy: isShort ? "keep a copy that counts on another disk or host" : nil))
    return findings
  }

  /// True if a copy is at another place than this machine; `nil` if the owner does not say.
  func isElsewhere(_ copy: AuditFacts.Copy) -> Bool? {
    guard copy.kind != .original, copy.host != nil else { return false }
    guard let own = facts.location, let place = copy.location else { return nil }
    return own != place
  }

  func offSite(_ copies: [AuditFacts.Copy], among counted: [AuditFacts.Copy]) -> [Finding] {
    var findings: [Finding] = []
    let unplaced = counted.filter { isElsewhere($0) == nil }
    if !unplaced.isEmpty {
      let lacks =
        (facts.location == nil ? ["[audit]"] : [])
        + unplaced.filter { $0.location == nil }.map { "[remote.\($0.name)]" }
      findings.append(
        Finding(
          topic: .offSite, state: .unknown,
          fact:
            "the place of \(unplaced.map(\.name).joined(separator: ", ")) is not stated; distance cannot be measured",
          source: "the configuration", time: nil, remedy: "set location in \(lacks.joined(separator: " and "))"))
    }
    let isShort = copies.isEmpty
    let places = copies.map { "\($0.name) in \($0.location ?? "")" }.joined(separator: ", ")
    findings.append(
      Finding(
        topic: .offSite, state: isShort ? .short : .well,
        fact: isShort ? "no copy that counts is elsewhere, 1 wanted" : "elsewhere: \(places)",
        source: "location in the configuration", time: nil,
        remedy: isShort ? "push to a host at another place, and state its location" : nil))
    return findings
  }
}

extension Audit {
  /// The finding of a probe of immutability.
  fileprivate static func removal(from copy: AuditFacts.Copy) -> Finding? {
    func finding(_ state: Finding.State, _ fact: String, remedy: String? = nil) -> Finding {
      Finding(
        topic: .offSite, state: state, fact: "\(copy.name): \(fact)", source: "the answer to a probe", time: nil,
        remedy: remedy)
    }
    switch copy.removal {
    case nil: return nil
    case .refused: return finding(.well, "this machine's key cannot remove data there")
    case .allowed:
      return finding(
        .short, "this machine's key can remove data there, and so can a thief of it",
        remedy: "take this right from the key, or lock the objects: see treering-restic(7) and treering-backup-host(7)")
    case .unanswered(let reason): return finding(.unknown, "whether a stolen key could remove data: \(reason)")
    }
  }

  fileprivate static func objectives(in facts: AuditFacts) -> [Finding] {
    facts.subjects.map { subject in
      let name = subject.kind == .database ? "the database \(subject.name)" : subject.name
      func finding(_ state: Finding.State, _ fact: String, remedy: String?) -> Finding {
        Finding(
          topic: .objectives, state: state, fact: "\(name): \(fact)",
          source: "the snapshots and the history of \(facts.days) days", time: subject.newest, remedy: remedy)
      }
      guard subject.newest != nil, let gap = subject.worstGap
      else { return finding(.short, "no good copy", remedy: "treering run --now, and look at treering status") }
      let gapText = durationText(Double(gap))
      guard let rpo = subject.rpo else {
        return finding(.unknown, "worst gap \(gapText), and no rpo is stated", remedy: "set rpo in [objectives]")
      }
      if gap <= rpo { return finding(.well, "worst gap \(gapText), rpo \(durationText(Double(rpo)))", remedy: nil) }
      let isNow = subject.worstGapEnd == facts.now
      let end = isNow ? "it goes on" : "it ended \(subject.worstGapEnd.map(dayText) ?? "")"
      return finding(
        .short, "worst gap \(gapText), longer than the rpo of \(durationText(Double(rpo))); \(end)",
        remedy: isNow
          ? "treering run --now, and look at treering status" : "look at the runs of that time in history.jsonl")
    }
  }

  /// The drills of the configuration, and the last sample.
  fileprivate static func drills(in facts: AuditFacts) -> [Finding] {
    let tables = facts.rehearsals.map { rehearsal(of: $0, at: facts.now) }
    guard let sample = facts.lastDrill else {
      let nothing = Finding(
        topic: .objectives, state: .unknown, fact: "no recovery was rehearsed", source: "history.jsonl", time: nil,
        remedy: "treering drill")
      return tables.isEmpty ? [nothing] : tables
    }
    return tables + [finding(of: sample)]
  }

  private static func rehearsal(of drill: AuditFacts.Rehearsal, at now: Int64) -> Finding {
    func finding(_ state: Finding.State, _ fact: String, remedy: String?) -> Finding {
      Finding(
        topic: .objectives, state: state, fact: fact, source: "history.jsonl", time: drill.last?.time, remedy: remedy)
    }
    let again = "treering drill \(drill.name)"
    guard let last = drill.last else {
      return finding(drill.every == nil ? .unknown : .short, "the drill \(drill.name) was never done", remedy: again)
    }
    if last.hasFailed {
      return finding(.short, "the drill \(drill.name) failed", remedy: "treering drill show \(drill.name)")
    }
    if let every = drill.every, now - last.time > every + DrillConfiguration.patienceSeconds {
      let limit = durationText(Double(every))
      return finding(.short, "the drill \(drill.name) is late; it should be done every \(limit)", remedy: again)
    }
    guard let slowest = drill.recoverySeconds.max()
    else { return finding(.unknown, "the time of the recovery \(drill.name) was not measured", remedy: again) }
    let fact = "the recovery \(drill.name) takes at least \(durationText(slowest))"
    guard let rto = drill.rto else { return finding(.well, fact + ", and has no objective", remedy: nil) }
    let limit = " of at most \(durationText(Double(rto)))"
    return slowest > Double(rto)
      ? finding(.short, fact + limit, remedy: "make it faster, or state another rto")
      : finding(.well, fact + limit, remedy: nil)
  }

  private static func finding(of drill: AuditFacts.Drill) -> Finding {
    let took = "in \(durationText(drill.elapsedSeconds))"
    return Finding(
      topic: .objectives, state: drill.hasFailed ? .short : .well,
      fact: "the last drill \(drill.hasFailed ? "failed" : "passed"), \(took)", source: "history.jsonl",
      time: drill.time, remedy: drill.hasFailed ? "treering drill show" : nil)
  }

  fileprivate static func automation(in facts: AuditFacts) -> [Finding] {
    func finding(
      _ state: Finding.State, _ fact: String, from source: String, time: Int64? = nil, remedy: String? = nil
    ) -> Finding {
      Finding(topic: .automation, state: state, fact: fact, source: source, time: time, remedy: remedy)
    }
    let install = "treering schedule --install systemd"
    var findings: [Finding] = []
    if facts.jobs.isEmpty {
      findings.append(finding(.short, "no job starts treering run", from: "systemd and cron", remedy: install))
    } else {
      findings.append(finding(.well, "started by \(facts.jobs.joined(separator: ", "))", from: "systemd and cron"))
    }
    if let run = facts.lastRun {
      let when = "the last run, on \(dayText(run.time))"
      switch run.starter {
      case .terminal:
        findings.append(
          finding(
            .short, "\(when), was started by hand", from: "history.jsonl", time: run.time,
            remedy: "look whether the job runs: systemctl list-timers, or the log of cron"))
      case .systemd, .cron:
        findings.append(
          finding(.well, "\(when), was started by \(run.starter!.rawValue)", from: "history.jsonl", time: run.time))
      case .other, nil:
        findings.append(
          finding(.unknown, "\(when), does not tell its starter", from: "history.jsonl", time: run.time))
      }
    } else {
      findings.append(finding(.short, "nothing ever ran", from: "history.jsonl", remedy: install))
    }
    findings.append(notices(in: facts, finding: finding))
    if let obstacle = facts.rotationObstacle {
      findings.append(
        finding(
          .short, "nothing expires: \(obstacle)", from: "the retention plan", remedy: "see treering status"))
    } else if let oldest = facts.oldest {
      findings.append(
        finding(.well, "snapshots expire; the oldest is of \(dayText(oldest))", from: "the retention plan"))
    }
    if let fullAt = facts.fullAt {
      let days = (fullAt - facts.now) / 86_400
      findings.append(
        finding(
          days < 30 ? .short : .well, "the disk is full on \(dayText(fullAt)) at the present growth", from: "statfs(2)",
          remedy: days < 30 ? "see treering usage, and keep less or add space" : nil))
    }
    return findings
  }

  private static func notices(
    in facts: AuditFacts,
    finding: (Finding.State, String, _ from: String, _ time: Int64?, _ remedy: String?) -> Finding
  ) -> Finding {
    guard facts.notifies else {
      return finding(
        .short, "no notice tells of a failure, or of runs that stay away", "the configuration", nil,
        "set [notify.healthchecks] or another table of [notify]")
    }
    switch facts.lastRun?.noticed {
    case true?: return finding(.well, "the last notice was accepted", "history.jsonl", facts.lastRun?.time, nil)
    case false?:
      return finding(
        .short, "the last notice was not delivered", "history.jsonl", facts.lastRun?.time, "see the run's messages")
    case nil: return finding(.unknown, "no run has sent a notice yet", "history.jsonl", nil, nil)
    }
  }

  fileprivate static func blindSpots(in facts: AuditFacts) -> [Finding] {
    if facts.blindSpots.isEmpty {
      return [
        Finding(
          topic: .blindSpots, state: .well, fact: "no file system, home or database server is left out",
          source: "mounts, accounts, sockets", time: nil, remedy: nil)
      ]
    }
    return facts.blindSpots.map { spot in
      let (fact, source, remedy) = sentence(of: spot)
      return Finding(topic: .blindSpots, state: .short, fact: fact, source: source, time: nil, remedy: remedy)
    }
  }

  static func sentence(of spot: AuditFacts.BlindSpot) -> (fact: String, source: String, remedy: String) {
    let ignore = "or ignore it: ignore = [\"\(spot.path)\"] in [audit]"
    switch spot.kind {
    case .fileSystem:
      return (
        "the file system \(spot.path) is in no source", "/proc/self/mountinfo", "add a table [[source]], \(ignore)"
      )
    case .home:
      return ("the home directory \(spot.path) is in no source", "getpwent(3)", "add a table [[source]], \(ignore)")
    case .server(let kind):
      return (
        "a \(kind) server runs (\(spot.path)) and no database of it is dumped", "sockets",
        "add a table [[database]] with kind = \"\(kind)\", \(ignore)"
      )
    case .dataDirectory(let kind):
      return (
        "\(spot.path), the data of a \(kind) server, is saved as plain files that fit together only by chance",
        "the newest catalog", "exclude it and add a table [[database]] with kind = \"\(kind)\", \(ignore)"
      )
    case .unreadable(let runs):
      return ("\(spot.path) could not be read in \(runs) runs", "history.jsonl", "let it be read, or exclude it")
    }
  }
}

/// A day in UTC, such as `2026-11-21`.
func dayText(_ seconds: Int64) -> String { String(CalendarTime(seconds: seconds).rfc3339.prefix(10)) }
