internal import Model
internal import Settings

/// The recovery plan, a pure function of the facts.
extension PlanDocument {
  init(of facts: PlanFacts) {
    let moment = Timestamp(seconds: facts.now, nanoseconds: 0).rfc3339
    self.init(
      title: "Recovery plan of \(facts.host)",
      written: "\(Self.datePrefix)\(moment) by treering \(facts.version), from \(facts.configuration).")
    addBeginning(facts)
    addOwnersWords(facts.plan)
    addCopies(facts)
    let order = PlanOrder(of: facts)
    addOrder(order)
    addFreshSystem(facts)
    for copy in facts.copies { addRecovery(from: copy, order: order, facts: facts) }
    addEnd(facts)
  }

  private mutating func addBeginning(_ facts: PlanFacts) {
    begin("Read this first")
    add(
      .text(
        "These steps lead from a fresh machine to the data of \(facts.host). They come from the configuration and the "
          + "repository \(facts.repository), and have no password and no key. Work as root. Stop at the first command "
          + "that fails. The words OUTDATED, NOT MEASURED, NOT STATED and FAILED mark lines that need care."))
    guard let tested = facts.tested else {
      add(.mark(.notMeasured, "no test of these commands is recorded."), isMeasured: true)
      return
    }
    let by = tested.by.map { " by \($0)" } ?? ""
    if tested.digest == digest(of: facts) {
      add(.text("The commands were tested on \(dayText(tested.time))\(by)."), isMeasured: true)
    } else {
      add(.mark(.outdated, "the plan changed since the test on \(dayText(tested.time))\(by)."), isMeasured: true)
    }
  }

  /// The digest of the whole document. It does not depend on records.
  private func digest(of facts: PlanFacts) -> String {
    var facts = facts
    facts.tested = nil
    return PlanDocument(of: facts).digest
  }

  private mutating func addOwnersWords(_ plan: PlanConfiguration) {
    let parts: [(title: String, key: String?, texts: [String])] = [
      ("Contacts", "contacts", plan.contacts), ("Passwords and keys", "keys", plan.keys),
      ("What the recovery needs", "dependencies", plan.dependencies), ("Notes", nil, plan.notes),
    ]
    for part in parts where part.key != nil || !part.texts.isEmpty {
      begin(part.title, level: 2)
      if part.texts.isEmpty, let key = part.key {
        add(.mark(.notStated, "the owner says it with \(key) in the table [plan]."))
      } else {
        add(.list(part.texts))
      }
    }
  }

  // MARK: Copies

  private mutating func addCopies(_ facts: PlanFacts) {
    begin("The copies")
    add(.table([["Copy", "Form", "Place"]] + facts.copies.map { [$0.name, $0.form, $0.location ?? "NOT STATED"] }))
    add(
      .table(
        [["Copy", "Newest known snapshot", "Everything verified since", "Last drills"]]
          + facts.copies.map { copy in
            [
              copy.name, copy.newest.map(dayText) ?? "none", copy.verified.map(dayText) ?? "NOT MEASURED",
              copy.drills.isEmpty
                ? "NOT MEASURED"
                : copy.drills.map { drill in
                  let result = drill.hasFailed ? "FAILED" : drill.seconds.map(durationText) ?? "NOT MEASURED"
                  return "\(drill.title) on \(dayText(drill.time)): \(result)"
                }.joined(separator: "; "),
            ]
          }), isMeasured: true)
    for copy in facts.copies {
      for (mark, text) in copy.marks(facts) { add(.mark(mark, "\(copy.name): \(text)."), isMeasured: true) }
    }
  }

  private mutating func addOrder(_ order: PlanOrder) {
    begin("The order")
    add(.steps(order.items.map(\.title)))
    for name in order.unknown { add(.mark(.notStated, "order in [plan] names \(name), which is in no backup.")) }
  }

  // MARK: A fresh system

  private mutating func addFreshSystem(_ facts: PlanFacts) {
    begin("A fresh Debian")
    add(.text("The lost machine ran \(facts.system ?? "an unknown system (NOT MEASURED)"). Install the same release."))
    let isEncrypted = facts.copies.contains { $0.kind == .encrypted }
    let programs = facts.databases.flatMap { PlanLoading(of: $0, in: "").packages }
    var packages = ["ca-certificates", "openssh-client"] + (isEncrypted ? ["restic"] : [])
    for package in programs where !packages.contains(package) { packages.append(package) }
    add(.commands(["apt-get update", PlanCommands.line(["apt-get", "install", "-y"] + packages)]))
    add(.text("Bring the package of treering to the machine, of the version above or a newer one, and install it:"))
    add(.commands(["apt-get install -y ./treering_*.deb", "treering --version"]))
    if isEncrypted { add(.text("Without treering, an encrypted copy can be restored by restic alone.")) }
  }

  // MARK: A recovery

  private mutating func addRecovery(from copy: PlanFacts.Copy, order: PlanOrder, facts: PlanFacts) {
    let commands = PlanCommands(copy: copy, label: facts.label)
    begin("Recovery from \(copy.name)", onNewPage: true)
    addWay(to: copy, by: commands, facts: facts)
    begin("With treering, from \(copy.name)", level: 2)
    add(.commands([commands.look]))
    for item in order.items {
      begin(item.title, level: 3)
      switch item {
      case .words: add(.text("A step of the owner. Do it now."))
      case .source(let source):
        add(.commands(commands.restore(source)))
        addRemarks(on: source)
        addTime(of: source.stored, from: copy)
      case .database(let database):
        add(.commands(commands.load(database)))
        addRemarks(on: database, copy: copy)
      }
    }
    if copy.kind == .encrypted {
      begin("With restic alone, from \(copy.name)", level: 2)
      add(.commands([commands.lookByRestic]))
      addOther(order, source: commands.restoreByRestic, database: commands.loadByRestic)
    } else if copy.host == nil {
      begin("Without treering, from \(copy.name)", level: 2)
      add(.text("The snapshots are plain trees. Owners and modes are right if root keeps the repository."))
      addOther(order, source: commands.copyPlainly, database: nil)
    }
  }

  private mutating func addOther(
    _ order: PlanOrder, source: (PlanFacts.Source) -> [String], database: ((PlanFacts.Database) -> [String])?
  ) {
    for item in order.items {
      switch item {
      case .words: break
      case .source(let found):
        begin(item.title, level: 3)
        add(.commands(source(found)))
      case .database(let found):
        guard let database else { continue }
        begin(item.title, level: 3)
        add(.commands(database(found)))
        addRemark(on: found, isEncrypted: true)
      }
    }
  }

  private mutating func addWay(to copy: PlanFacts.Copy, by commands: PlanCommands, facts: PlanFacts) {
    begin("The way to \(copy.name)", level: 2)
    add(.address(copy.address))
    if let host = copy.host {
      add(.text("It is on \(host)" + (copy.location.map { ", in \($0)." } ?? ".")))
      if copy.kind == .plain || copy.address.hasPrefix("sftp:") {
        add(.text("The server must accept a key of the new machine, or a password; the owner says where that is."))
      }
    } else if let mount = copy.mount {
      add(
        .text(
          "Its file system was \(mount.device), mounted at \(mount.point). Bring it to the new machine, and mount it there."
        ))
      if !commands.mounting.isEmpty { add(.commands(commands.mounting)) }
    } else if copy.isOnSystemDisk {
      add(
        .text(
          "It was on the system's own disk. If that is lost, this copy is lost, too. If not, bring its directory back.")
      )
    } else {
      let text = "its disk was not there, or it is a part of a file system, so its device is not known."
      add(.mark(.notMeasured, text), isMeasured: true)
    }
    if !commands.login.isEmpty {
      let words = [
        copy.kind == .encrypted ? "Type the password of \(copy.name), and Enter; the terminal does not show it." : nil,
        copy.login != nil ? "Then type what the variables want, each with Enter." : nil,
      ]
      add(.text(words.compactMap(\.self).joined(separator: " ")))
      add(.commands(commands.login))
    }
    if !copy.files.isEmpty {
      add(
        .text(
          "The lost machine had these files for it. The commands below need some of them; bring each to its place:"))
      add(.list(copy.files))
    }
    addDrills(from: copy, freshWithin: facts.freshWithin, now: facts.now)
  }

  private mutating func addDrills(from copy: PlanFacts.Copy, freshWithin: Int64, now: Int64) {
    if copy.drills.isEmpty {
      let text = "no drill has restored from this copy, so the time of a recovery is not known."
      add(.mark(.notMeasured, text), isMeasured: true)
    }
    for drill in copy.drills {
      let name = "\(drill.title) of \(dayText(drill.time))"
      if drill.hasFailed {
        add(.mark(.failed, "\(name)."), isMeasured: true)
      } else if now - drill.time > freshWithin {
        add(.mark(.outdated, "\(name) \(drill.success)."), isMeasured: true)
      } else {
        add(.text("The \(name) \(drill.success)."), isMeasured: true)
      }
    }
  }

  /// The time that a source or a database took in a drill from the copy.
  private mutating func addTime(of key: String, from copy: PlanFacts.Copy) {
    guard let restored = copy.restored[key] else {
      let text = "no drill restored all of it from this copy, so the time that it takes is not known."
      return add(.mark(.notMeasured, text), isMeasured: true)
    }
    add(
      .text("In the drill of \(dayText(restored.time)) it took \(durationText(restored.seconds))."), isMeasured: true)
  }

  private mutating func addRemark(on database: PlanFacts.Database, isEncrypted: Bool) {
    if let remark = PlanLoading(of: database, in: "").remark(isEncrypted: isEncrypted) { add(.text(remark)) }
  }

  private mutating func addRemarks(on source: PlanFacts.Source) {
    guard source.hasSettings else { return }
    add(
      .text(
        source.path == "/"
          ? "Make and mount the new file systems at /mnt before. Then correct /mnt/etc/fstab, and install the boot loader; see treering-guide(7)."
          : "Before the next start, compare /etc/fstab with /root/fstab.new: the disks have other names now."))
  }

  private mutating func addRemarks(on database: PlanFacts.Database, copy: PlanFacts.Copy) {
    addRemark(on: database, isEncrypted: copy.kind == .encrypted)
    if database.contents.isEmpty, [.postgresql, .mysql].contains(database.settings.kind),
      database.settings.mode == .logical
    {
      add(.mark(.notMeasured, "no snapshot has a dump of it, so its content is not known."), isMeasured: true)
    }
    addTime(of: "database:\(database.name)", from: copy)
  }

  // MARK: The end

  private mutating func addEnd(_ facts: PlanFacts) {
    begin("How to see that it worked", onNewPage: true)
    add(
      .list([
        "The last command of each source compares what was restored with the copy: all is there already, it should say.",
        "The last command of each database lists its tables, or checks it.",
        "Start the services, and use them as their users do.",
        "Then set up the backups anew: treering config check, and treering run --now --accept-changes.",
      ]))
    begin("Data that is not backed up")
    let excluded = facts.sources.filter { !$0.exclude.isEmpty }.map {
      "\($0.title): \($0.exclude.joined(separator: ", "))"
    }
    if facts.plan.notBackedUp.isEmpty {
      add(.mark(.notStated, "the owner says it with not_backed_up in the table [plan]."))
    } else {
      add(.list(facts.plan.notBackedUp))
    }
    if !excluded.isEmpty {
      add(.text("The configuration leaves out:"))
      add(.list(excluded))
    }
    if !facts.blindSpots.isEmpty {
      add(.text("The audit found:"), isMeasured: true)
      add(.list(facts.blindSpots), isMeasured: true)
    }
  }
}

/// A past drill in words.
private struct PlanDrill {
  let title: String
  let time: Int64
  let hasFailed: Bool
  let seconds: Double?
  let success: String
}

/// The steps of a recovery in their order: those that the owner names, and then all others.
struct PlanOrder {
  enum Item {
    case source(PlanFacts.Source)
    case database(PlanFacts.Database)
    case words(String)

    var title: String {
      switch self {
      case .source(let source): source.title
      case .database(let database): "The database \(database.name) (\(database.settings.kind.rawValue))"
      case .words(let text): text
      }
    }
  }

  private(set) var items: [Item] = []
  /// The named sources and databases that are not in the configuration.
  private(set) var unknown: [String] = []

  init(of facts: PlanFacts) {
    let prefix = "database:"
    var sources = facts.sources
    var databases = facts.databases
    for name in facts.plan.order {
      if let index = sources.firstIndex(where: { $0.title == name }) {
        items.append(.source(sources.remove(at: index)))
      } else if let index = databases.firstIndex(where: { prefix + $0.name == name }) {
        items.append(.database(databases.remove(at: index)))
      } else if name.hasPrefix("/") || name.hasPrefix(prefix) {
        unknown.append(name)
      } else {
        items.append(.words(name))
      }
    }
    items += sources.map { .source($0) } + databases.map { .database($0) }
  }
}

extension PlanFacts.Copy {
  fileprivate var form: String {
    switch kind {
    case .repository, .plain: "a repository of treering"
    case .encrypted: "encrypted, in restic's format"
    }
  }

  /// The measured facts that need care.
  fileprivate func marks(_ facts: PlanFacts) -> [(PlanDocument.Mark, String)] {
    var marks: [(PlanDocument.Mark, String)] = []
    if newest == nil { marks.append((.notMeasured, "it is not known to have a snapshot")) }
    if damaged > 0 { marks.append((.failed, "\(counted(damaged, "snapshot is", plural: "snapshots are")) damaged")) }
    if let verified, facts.now - verified > facts.freshWithin {
      marks.append((.outdated, "it was verified as a whole on \(dayText(verified))"))
    }
    for drill in drills {
      if drill.hasFailed {
        marks.append((.failed, "the \(drill.title) of \(dayText(drill.time))"))
      } else if facts.now - drill.time > facts.freshWithin {
        marks.append((.outdated, "the last \(drill.title) was on \(dayText(drill.time))"))
      }
    }
    return marks
  }

  /// The last drill of a sample, and those of the services.
  fileprivate var drills: [PlanDrill] {
    let sample = drill.map { drill in
      PlanDrill(
        title: "drill of a sample", time: drill.time, hasFailed: drill.hasFailed, seconds: drill.seconds,
        success: "restored \(counted(drill.files, "file")) (\(byteText(drill.bytes))) from this copy"
          + (drill.seconds.map { " in \(durationText($0))" } ?? ""))
    }
    return (sample.map { [$0] } ?? [])
      + services.map { service in
        PlanDrill(
          title: "drill \(service.name)", time: service.time, hasFailed: service.hasFailed, seconds: service.seconds,
          success: "recovered it from this copy"
            + (service.seconds.map { " in \(durationText($0)), at the least" } ?? ""))
      }
  }
}
