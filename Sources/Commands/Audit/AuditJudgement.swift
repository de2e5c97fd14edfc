internal import Model
internal import Settings

/// The judgement of facts by the 3-2-1 rule and the owner's objectives. It is a pure function.
///
/// The rule: three copies of the data, the original included, on two media, with one elsewhere. A copy counts only if it
/// is new enough, complete, verified and undamaged.
struct Audit {
  let findings: [Finding]
  /// The names of the copies that count, the original first. Only the first of several on one medium counts.
  let copies: [String]
  /// The number of different media below these copies.
  let media: Int
  /// The names of the copies elsewhere. Only the first of several on one host, or with one account, counts.
  let offSite: [String]

  var short: [Finding] { findings.filter { $0.state == .short } }
  /// True if nothing falls short.
  var isWell: Bool { short.isEmpty }

  init(of facts: AuditFacts) {
    let judge = CopyJudge(facts: facts)
    let judged = facts.copies.map(judge.judge)
    let counted = zip(facts.copies, judged).filter { $0.1.counts }.map(\.0)
    let groups = Self.groups(of: counted, by: \.mediumKeys)
    let offSite = Self.groups(of: counted.filter { judge.isElsewhere($0) == true }, by: \.placeKeys)
    copies = groups.map { $0[0].name }
    media = groups.count { $0.contains { $0.host != nil || !$0.disks.isEmpty } }
    self.offSite = offSite.map { $0[0].name }
    findings =
      judged.map(\.finding) + [judge.sum(of: groups)] + judge.media(below: counted, in: groups, count: media)
      + judge.offSite(offSite, among: counted) + facts.copies.flatMap(judge.encryption)
      + facts.copies.compactMap(Self.removal) + Self.objectives(in: facts) + facts.unpushedLogs.map(Self.unpushed)
      + Self.drills(in: facts)
      + Self.automation(in: facts) + Self.plan(in: facts) + Self.blindSpots(in: facts)
  }

  /// Groups copies that have a key in common, also by way of a third, in the order of their first members.
  static func groups(
    of copies: [AuditFacts.Copy], by keys: (AuditFacts.Copy) -> Set<String>
  ) -> [[AuditFacts.Copy]] {
    var groups: [(keys: Set<String>, members: [Int])] = []
    for (index, copy) in copies.enumerated() {
      var merged = (keys: keys(copy), members: [index])
      for group in groups where !group.keys.isDisjoint(with: merged.keys) {
        merged.keys.formUnion(group.keys)
        merged.members += group.members
      }
      groups.removeAll { merged.members.contains($0.members[0]) }
      groups.append((merged.keys, merged.members.sorted()))
    }
    return groups.map(\.members).sorted { $0[0] < $1[0] }.map { $0.map { copies[$0] } }
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
    case .unanswered(let reason):
      return finding(
        .unknown, "whether a stolen key could remove data: \(reason)",
        remedy: "make it reachable and ask again, or try it there by hand; see treering-backup-host(7)")
    }
  }

  fileprivate static func unpushed(logsOf database: String) -> Finding {
    Finding(
      topic: .objectives, state: .short,
      fact: "the database \(database): its archived logs are lost with this machine, and all since the last push",
      source: "the configuration", time: nil,
      remedy: "logs = true in [remote.NAME], and treering push NAME --logs every few minutes; a repository of restic's "
        + "format keeps none")
  }

  fileprivate static func objectives(in facts: AuditFacts) -> [Finding] {
    facts.subjects.map { subject in
      let name = subject.kind == .database ? "the database \(subject.name)" : subject.name
      func finding(_ state: Finding.State, _ fact: String, remedy: String?) -> Finding {
        Finding(
          topic: .objectives, state: state, fact: "\(name): \(fact)",
          source: "the snapshots and the history "
            + (subject.measuredSince.map { "since \(dayText($0))" } ?? "of \(facts.days) days"),
          time: subject.newest, remedy: remedy)
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
          finding(
            .unknown, "\(when), does not tell its starter", from: "history.jsonl", time: run.time,
            remedy: "let systemd or cron start it: \(install)"))
      }
    } else {
      findings.append(finding(.short, "nothing ever ran", from: "history.jsonl", remedy: install))
    }
    findings.append(notices(in: facts, finding: finding))
    findings += retention(in: facts, finding: finding)
    if let fullAt = facts.fullAt {
      let days = (fullAt - facts.now) / 86_400
      findings.append(
        finding(
          days < 30 ? .short : .well, "the disk is full on \(dayText(fullAt)) at the present growth", from: "statfs(2)",
          remedy: days < 30 ? "see treering usage, and keep less or add space" : nil))
    }
    return findings
  }

  private typealias Make = (Finding.State, String, _ from: String, _ time: Int64?, _ remedy: String?) -> Finding

  /// Expiry is proved by the last rotation, and by the absence of snapshots that the configuration does not keep.
  private static func retention(in facts: AuditFacts, finding: Make) -> [Finding] {
    let plan = "the retention plan"
    if let obstacle = facts.rotationObstacle {
      return [finding(.short, "nothing expires: \(obstacle)", plan, nil, "see treering status")]
    }
    let last = facts.lastExpiry.map { "; the last that expired did so on \(dayText($0))" } ?? "; none ever expired"
    if facts.overdue > 0 {
      let overdue = counted(facts.overdue, "snapshot is", plural: "snapshots are")
      return [
        finding(
          .short, "\(overdue) kept longer than [retention] says\(last)", plan, facts.lastExpiry, "treering rotate")
      ]
    }
    guard let oldest = facts.oldest else { return [] }
    let fact = "no snapshot is kept longer than [retention] says; the oldest is of \(dayText(oldest))\(last)"
    return [finding(.well, fact, plan, facts.lastExpiry, nil)]
  }

  private static func notices(in facts: AuditFacts, finding: Make) -> Finding {
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
    case nil:
      return finding(
        .unknown, "the last run has no record of a notice", "history.jsonl", facts.lastRun?.time,
        "treering run --now shows whether a notice of every run arrives; one of failures alone proves nothing before")
    }
  }

  fileprivate static func blindSpots(in facts: AuditFacts) -> [Finding] {
    func finding(_ state: Finding.State, _ fact: String, from source: String, remedy: String? = nil) -> Finding {
      Finding(topic: .blindSpots, state: state, fact: fact, source: source, time: nil, remedy: remedy)
    }
    var findings = facts.blindSpots.map { spot in
      let (fact, source, remedy) = sentence(of: spot)
      return finding(.short, fact, from: source, remedy: remedy)
    }
    if findings.isEmpty {
      findings.append(
        finding(
          .well, "no file system, home or database server is left out", from: "mounts, accounts, sockets"))
    }
    guard let (excluded, stored) = facts.excluded else {
      return findings + [
        finding(
          .unknown, "the entries that exclusions leave out are not recorded", from: "history.jsonl",
          remedy: "treering run --now")
      ]
    }
    let all = excluded &+ stored
    let share = all == 0 ? 0 : Double(excluded) / Double(all)
    let isShort = share > facts.excludedLimit
    findings.append(
      finding(
        isShort ? .short : .well,
        "exclusions leave out at least \(percentText(share)) of the entries, \(grouped(excluded)) of \(grouped(all))",
        from: "the last run in history.jsonl",
        remedy: isShort
          ? "look at exclude of each [[source]], or set excluded_limit in [audit] above \(percentText(share))" : nil))
    return findings
  }

  private static func percentText(_ share: Double) -> String { "\(Int((share * 100).rounded(.down))) %" }

  static func sentence(of spot: AuditFacts.BlindSpot) -> (fact: String, source: String, remedy: String) {
    let ignore = "or ignore it: ignore = [\"\(spot.path)\"] in [audit]"
    switch spot.kind {
    case .fileSystem:
      return (
        "the file system \(spot.path) is in no source", "/proc/self/mountinfo", "add a table [[source]], \(ignore)"
      )
    case .home:
      return ("the home directory \(spot.path) is in no source", "getpwent(3)", "add a table [[source]], \(ignore)")
    case .server(let name, let kind):
      return (
        "a server of \(name) listens (\(spot.path)), and no [[database]] is for it", "sockets",
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
