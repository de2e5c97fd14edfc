internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Settings

// The facts of a recovery plan. Most of them are those of the audit. Nothing is connected to.

extension AuditCollection {
  func planFacts() throws -> PlanFacts {
    let settings = file.settings
    var facts = PlanFacts(
      host: displayName(CurrentProcess.hostName()), now: now.seconds, version: Treering.version,
      system: Self.systemName(), configuration: displayName(try absolutePath(of: file.path)),
      repository: displayName(try absolutePath(of: repository.path)),
      label: String(decoding: settings.label.bytes, as: UTF8.self))
    facts.plan = settings.plan ?? PlanConfiguration()
    facts.freshWithin = settings.audit.verifyWithinSeconds
    facts.sources = file.sources.filter { Array($0.path.utf8) != file.planDirectory }.map {
      PlanFacts.Source(path: $0.path, exclude: $0.exclude)
    }
    facts.sources += file.hostSources.map {
      PlanFacts.Source(path: $0.path, exclude: $0.exclude, host: $0.host.map { displayName($0.label.bytes) })
    }
    facts.databases = file.databaseSettings.map(planDatabase)
    facts.copies = [planCopy(of: own, at: facts.repository)] + settings.remotes.map(planCopy)
    // Every run makes the plan, and an audit is rare.
    facts.blindSpots = blindSpots(readsCatalog: false).map { Audit.sentence(of: $0).fact }
    facts.printed = planRecords.last { $0.event == .printed }.flatMap(\.record)
    facts.tested = planRecords.last { $0.event == .tested }.flatMap(\.record)
    return facts
  }

  private func planDatabase(_ settings: DatabaseConfiguration) -> PlanFacts.Database {
    var database = PlanFacts.Database(settings: settings)
    database.settings.password = nil
    database.hasLogsInSource =
      settings.archive.map { archive in
        let path = TreePath(parsing: archive.utf8)
        return file.sources.contains { path.starts(with: TreePath(parsing: $0.path.utf8)) }
      } ?? false
    // A damaged catalog is named elsewhere, and must not keep anyone from the plan.
    let dumps = list.dumpRecords(of: Array(settings.name.utf8)).lazy.compactMap { snapshot, record in
      try? StoredDump(record, in: snapshot, of: repository)
    }
    guard let dump = dumps.first, !dump.isPhysical else { return database }
    let wanted = Set(dump.loadable)
    database.contents = dump.entries.filter { $0.isDirectory && wanted.contains($0.object) }.map {
      (displayName($0.name), displayName($0.object))
    }
    return database
  }

  // MARK: Copies

  private func planCopy(of own: AuditFacts.Copy, at path: String) -> PlanFacts.Copy {
    var copy = PlanFacts.Copy(.repository, named: path, at: path)
    Self.place(&copy, at: repository.path)
    return filled(copy, from: own)
  }

  private func planCopy(of remote: RemoteConfiguration) -> PlanFacts.Copy {
    let isEncrypted = remote.address.isOfRestic
    var copy = PlanFacts.Copy(isEncrypted ? .encrypted : .plain, named: remote.name, at: remote.url)
    if remote.ssh != RemoteConfiguration().ssh { copy.options += ["--ssh", remote.ssh] }
    if remote.remoteCommand != RemoteConfiguration().remoteCommand {
      copy.options += ["--remote-command", remote.remoteCommand]
    }
    copy.resticAddress = remote.url
    copy.files = Self.files(toReach: remote)
    switch remote.address {
    case .local(let path): Self.place(&copy, at: path)
    case .restic(let path):
      Self.place(&copy, at: path)
      copy.resticAddress = displayName(path)
    case .storage(.s3): (copy.login, copy.region) = (.s3, remote.region)
    case .storage(.rest): copy.login = remote.credentialsFile == nil ? nil : .rest
    case .storage(.sftp(let user, let host, let port, _)) where remote.ssh != RemoteConfiguration().ssh:
      let words =
        (port.map { ["-p", "\($0)"] } ?? []) + (user.map { ["-l", displayName($0)] } ?? []) + [displayName(host)]
      copy.resticOptions = ["-o", "sftp.command=\(remote.ssh) \(PlanCommands.line(words)) -s sftp"]
    case .ssh, .storage(.sftp): break
    }
    return filled(copy, from: self.copy(at: remote))
  }

  private func filled(_ copy: PlanFacts.Copy, from audited: AuditFacts.Copy) -> PlanFacts.Copy {
    var copy = copy
    (copy.location, copy.host, copy.damaged) = (audited.location, audited.host, audited.damaged)
    (copy.newest, copy.verified) = (audited.newest, audited.verified)
    for drill in drills {
      guard let time = Moment.seconds(of: drill.time),
        let restored = drill.copies.first(where: { $0.copy == audited.name })
      else { continue }
      for database in restored.databases where database.result == .loaded {
        copy.restored["database:\(database.name)"] = .init(time: time, seconds: database.elapsedSeconds)
      }
      for path in restored.paths ?? [] {
        if let seconds = path.seconds { copy.restored[path.path] = .init(time: time, seconds: seconds) }
      }
      let hasFailed = restored.result == .failed
      if let recovery = restored.recovery {
        copy.services.removeAll { $0.name == drill.name }
        copy.services.append((drill.name, time, hasFailed, recovery.totalSeconds))
      } else {
        copy.drill = PlanFacts.Drill(
          time: time, hasFailed: hasFailed, files: restored.files, bytes: restored.bytes,
          seconds: restored.filesSeconds)
      }
    }
    return copy
  }

  /// The files in the command of ssh, such as a key, and those with a password or a login.
  private static func files(toReach remote: RemoteConfiguration) -> [String] {
    let words = remote.ssh.split { " \t'\"=".contains($0) }.dropFirst().map(String.init)
    return words.filter { $0.hasPrefix("/") || $0.hasPrefix("~") }
      + [remote.passwordFile, remote.credentialsFile].compactMap(\.self)
  }

  /// Notes the device of a copy on this machine, by the identity of its file system, and the mount point. Both are
  /// unknown for a disk that is not there, and for a part of a file system.
  private static func place(_ copy: inout PlanFacts.Copy, at path: [UInt8]) {
    guard let mounts = MountLine.all(), let status = try? Descriptor.open(path: path, .pathOnly).status(),
      let mount = mounts.first(where: { $0.id == status.mount })
    else { return }
    copy.isOnSystemDisk = mount.point == [slash]
    guard !copy.isOnSystemDisk, mount.root == [slash] else { return }
    copy.mount = (displayName(lastingName(of: mount.source)), displayName(mount.point))
  }

  /// The link of udev(7) that another machine has as well, if there is one.
  private static func lastingName(of device: [UInt8]) -> [UInt8] {
    let directory = Array("/dev/disk/by-uuid".utf8)
    guard let real = try? CurrentProcess.realPath(device),
      let names = try? Directory(Descriptor.open(path: directory, [.read, .directory])).names()
    else { return device }
    return names.map { directory + [slash] + $0 }.first { (try? CurrentProcess.realPath($0)) == real } ?? device
  }

  /// `PRETTY_NAME` of os-release(5).
  private static func systemName() -> String? {
    let text = (try? Descriptor.open(path: Array("/etc/os-release".utf8), .read).readWhole(limit: 1 << 16)) ?? []
    let key = Array("PRETTY_NAME=".utf8)
    return text.split(separator: newline).first { $0.starts(with: key) }.map {
      displayName($0.dropFirst(key.count).filter { $0 != UInt8(ascii: "\"") })
    }
  }
}
