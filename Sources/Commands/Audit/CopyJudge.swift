internal import Model

/// Judges the copies of the data.
struct CopyJudge {
  let facts: AuditFacts

  func judge(_ copy: AuditFacts.Copy) -> (counts: Bool, finding: Finding) {
    let source = Self.source(of: copy)
    func finding(_ state: Finding.State, _ fact: String, remedy: String?) -> Finding {
      Finding(
        topic: .copies, state: state, fact: "\(copy.name): \(fact)", source: source,
        time: copy.kind == .remote && !copy.isRead ? copy.seen : nil, remedy: remedy)
    }
    switch copy.kind {
    case .original: return (true, finding(.well, "the original", remedy: nil))
    case .sync:
      let fact = "a plain copy without history: an error or an attack overwrites it, so it is no backup"
      return (false, finding(.short, fact, remedy: "push snapshots there: see treering-push(1)"))
    case .repository, .remote: break
    }
    if let (lack, remedy) = lack(of: copy) { return (false, finding(.short, lack + behind(copy), remedy: remedy)) }
    let age = copy.newest.map { "newest \(durationText(Double(facts.now - $0))) old" } ?? ""
    return (true, finding(.well, "\(age)\(behind(copy)), \(verification(of: copy))", remedy: nil))
  }

  /// The data that is in the newest snapshot here and not there.
  private func behind(_ copy: AuditFacts.Copy) -> String {
    guard let (files, bytes) = copy.behind, files > 0 else { return "" }
    return "; it lacks \(counted(files, "new or changed file")) (\(byteText(bytes)))"
  }

  /// The time, the extent and the author of the verification.
  private func verification(of copy: AuditFacts.Copy) -> String {
    guard let verified = copy.verified else { return "" }
    let extent = copy.verifiedSnapshots.map { counted($0, "snapshot") } ?? (copy.unverified == 0 ? "all" : "all before")
    let newer =
      copy.unverified == 0
      ? "" : ", and \(counted(copy.unverified, "newer one is", plural: "newer ones are")) not verified"
    return "\(extent) verified since \(dayText(verified))" + (copy.verifiedBy.map { " by \($0)" } ?? "") + newer
  }

  /// The reason that a copy does not count, and the remedy; `nil` if it counts.
  private func lack(of copy: AuditFacts.Copy) -> (lack: String, remedy: String)? {
    if let absence = copy.absence, !copy.isOptional {
      return ("it is absent: \(absence)", "bring it back, or: \(copy.refresh)")
    }
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
    case .remote where copy.isRead: "its own snapshots and .treering/verified"
    case .remote: "the record of pushes and verifications"
    case .sync: "[[sync]] of the configuration"
    }
  }

  /// `groups` has the copies that count; those on one medium are one copy.
  func sum(of groups: [[AuditFacts.Copy]]) -> Finding {
    let isShort = groups.count < Self.wantedCopies
    return Finding(
      topic: .copies, state: isShort ? .short : .well,
      fact: "\(counted(groups.count, "copy counts", plural: "copies count")), \(Self.wantedCopies) wanted",
      source: "the copies above and their media", time: nil,
      remedy: isShort
        ? "mend the copies above, put them on different media, or add a table [remote.NAME]" : nil)
  }

  private static let wantedCopies = 3
  private static let wantedMedia = 2

  func media(below copies: [AuditFacts.Copy], in groups: [[AuditFacts.Copy]], count: Int) -> [Finding] {
    func finding(_ state: Finding.State, _ fact: String, from source: String, remedy: String?) -> Finding {
      Finding(topic: .media, state: state, fact: fact, source: source, time: nil, remedy: remedy)
    }
    var findings = copies.filter { $0.disks.isEmpty && $0.host == nil }.map {
      finding(
        .unknown, "the disks of \($0.name) are not known", from: "/sys/dev/block",
        remedy: "see findmnt(8); keep a copy that counts on a disk or host that is known")
    }
    // Enough others may be left without those that share a medium.
    let isEnough = groups.count >= Self.wantedCopies && count >= Self.wantedMedia
    for (names, place, source) in groups.compactMap(Self.sharing) {
      findings.append(
        finding(
          isEnough ? .well : .short, "\(names) \(place): one copy", from: source,
          remedy: "put one of them on another disk or host"))
    }
    let isShort = count < Self.wantedMedia
    findings.append(
      finding(
        isShort ? .short : .well, "\(counted(count, "medium", plural: "media")), \(Self.wantedMedia) wanted",
        from: "the copies above", remedy: isShort ? "keep a copy that counts on another disk or host" : nil))
    return findings
  }

  /// The copies of a group that share a medium, the medium, and the source of this knowledge; `nil` if none do.
  private static func sharing(_ group: [AuditFacts.Copy]) -> (names: String, place: String, source: String)? {
    let shared = group.indices.filter { index in
      group.indices.contains { $0 != index && !group[$0].ownMedia.isDisjoint(with: group[index].ownMedia) }
    }.map { group[$0] }
    guard shared.count > 1 else { return nil }
    let names = listed(shared.map(\.name))
    if let host = shared[0].host, shared.allSatisfy({ $0.host == host }) {
      return (names, "are on the host \(host)", "the addresses of the remotes")
    }
    return shared.contains { !$0.disks.isEmpty }
      ? (names, "share a disk", "/sys/dev/block") : (names, "are on one file system", "statx(2)")
  }

  private static func listed(_ names: [String]) -> String {
    names.count < 2 ? names.joined() : names.dropLast().joined(separator: ", ") + " and " + names[names.count - 1]
  }

  /// True if a copy is at another place than all originals; `nil` if the owner does not say.
  func isElsewhere(_ copy: AuditFacts.Copy) -> Bool? {
    guard copy.kind != .original else { return false }
    let answers = originals.map { original -> Bool? in
      if copy.host == original.host { return false }
      guard let own = place(of: original), let place = place(of: copy) else { return nil }
      return own != place
    }
    return answers.contains(false) ? false : answers.contains(nil) ? nil : true
  }

  private var originals: [AuditFacts.Copy] { facts.copies.filter { $0.kind == .original } }

  /// Everything on this machine is at its place.
  private func place(of copy: AuditFacts.Copy) -> String? { copy.location ?? (copy.host == nil ? facts.location : nil) }

  /// `groups` has the copies elsewhere; those on one host or with one account are one.
  func offSite(_ groups: [[AuditFacts.Copy]], among counted: [AuditFacts.Copy]) -> [Finding] {
    func finding(_ state: Finding.State, _ fact: String, from source: String, remedy: String?) -> Finding {
      Finding(topic: .offSite, state: state, fact: fact, source: source, time: nil, remedy: remedy)
    }
    var findings: [Finding] = []
    let unplaced = counted.filter { isElsewhere($0) == nil }
    if !unplaced.isEmpty {
      let isOwnWanted = (originals + unplaced).contains { $0.host == nil } && facts.location == nil
      let lacks =
        (isOwnWanted ? ["[audit]"] : [])
        + (unplaced + originals).filter { $0.host != nil && $0.location == nil }.map {
          $0.kind == .original ? "the [[source]] of \($0.name)" : "[remote.\($0.name)]"
        }
      findings.append(
        finding(
          .unknown,
          "the place of \(unplaced.map(\.name).joined(separator: ", ")) is not stated; distance cannot be measured",
          from: "the configuration", remedy: "set location in \(lacks.joined(separator: " and "))"))
    }
    for group in groups where group.count > 1 {
      let isHost = group.allSatisfy { $0.host == group[0].host }
      findings.append(
        finding(
          .well,
          Self.listed(group.map(\.name)) + (isHost ? " are on one host" : " are with one account")
            + ": one copy elsewhere",
          from: isHost ? "the addresses of the remotes" : "the credentials of the remotes",
          remedy: "push one of them to another host or account"))
    }
    let isShort = groups.isEmpty
    let places = groups.map { "\($0[0].name) in \(place(of: $0[0]) ?? "")" }.joined(separator: ", ")
    findings.append(
      finding(
        isShort ? .short : .well, isShort ? "no copy that counts is elsewhere, 1 wanted" : "elsewhere: \(places)",
        from: "location in the configuration",
        remedy: isShort ? "push to a host at another place, and state its location" : nil))
    return findings
  }

  /// Whether a remote is encrypted, and when a password that is kept elsewhere was last proved.
  func encryption(of copy: AuditFacts.Copy) -> [Finding] {
    func finding(_ state: Finding.State, _ fact: String, time: Int64? = nil, remedy: String? = nil) -> Finding {
      Finding(
        topic: .offSite, state: state, fact: "\(copy.name): \(fact)", source: "its format and the record of key tests",
        time: time, remedy: remedy)
    }
    guard copy.kind == .remote else { return [] }
    guard copy.isEncrypted else {
      return copy.host == nil ? [] : [finding(.well, "not encrypted; the administrator of its host can read it")]
    }
    let test = "treering key test -r \(copy.name)"
    guard let tested = copy.keyTested else {
      return [
        finding(
          copy.keyTestEvery == nil ? .unknown : .short, "encrypted, and a password kept elsewhere was never proved",
          remedy: test)
      ]
    }
    let fact = "encrypted; a password kept elsewhere was proved on \(dayText(tested))"
    if let every = copy.keyTestEvery, facts.now - tested > every {
      let limit = durationText(Double(every))
      return [finding(.short, "\(fact), and should be every \(limit)", time: tested, remedy: test)]
    }
    return [finding(.well, fact, time: tested)]
  }
}

extension AuditFacts.Copy {
  /// The things whose end is the end of this copy, as far as they are known.
  fileprivate var ownMedia: Set<String> {
    if let host { return ["host \(host)"] }
    return Set(disks.map { "disk \($0)" } + fileSystems.map { "file system \($0)" })
  }

  /// Originals on several hosts are one copy of different data.
  var mediumKeys: Set<String> { kind == .original ? ownMedia.union(["original"]) : ownMedia }

  /// The copies that one intruder or one unpaid bill can end.
  var placeKeys: Set<String> { ownMedia.union(account.map { ["account \($0)"] } ?? []) }
}
