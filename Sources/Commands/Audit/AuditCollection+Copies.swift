internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Settings

// The places that have the data.
extension AuditCollection {
  var copies: [AuditFacts.Copy] {
    originals + [own] + file.settings.remotes.map(copy) + file.settings.syncs.map(Self.copy)
  }

  /// This machine, if it has a source or a database, and each host that a source is on.
  private var originals: [AuditFacts.Copy] {
    var found: [AuditFacts.Copy] = []
    let paths = file.sources.map { Array($0.path.utf8) }.filter { $0 != file.planDirectory }
    if file.hostSources.isEmpty || !paths.isEmpty || !file.databases.isEmpty {
      var copy = AuditFacts.Copy(.original, named: "this machine")
      for path in paths { place(&copy, at: path) }
      found.append(copy)
    }
    for source in file.hostSources {
      guard let name = source.host.map({ displayName($0.name) }), !found.contains(where: { $0.host == name }) else {
        continue
      }
      var copy = AuditFacts.Copy(.original, named: name)
      (copy.host, copy.location) = (name, source.host?.location)
      found.append(copy)
    }
    return found
  }

  var own: AuditFacts.Copy {
    var copy = AuditFacts.Copy(.repository, named: displayName(repository.path))
    place(&copy, at: repository.path)
    copy.location = file.settings.audit.location
    copy.newest = list.newest?.summary.started.seconds
    copy.rpo = file.settings.rpoSeconds
    copy.lacks = list.newest.map { lacks(of: $0.summary) } ?? []
    copy.take(state.verifiedParts, among: list.snapshots.map(\.name.seconds))
    // A verification before the first snapshot verified nothing.
    if let verified = copy.verified, let oldest = list.snapshots.first, verified < oldest.summary.started.seconds {
      copy.verified = nil
    }
    copy.damaged = list.damaged.count + list.snapshots.count { state.damaged[$0.name] != nil }
    copy.refresh = "treering run --now\(option)"
    copy.verify = repository.advice("verify")
    return copy
  }

  func copy(at remote: RemoteConfiguration) -> AuditFacts.Copy {
    var copy = AuditFacts.Copy(.remote, named: remote.name)
    let expected = ExpectedRemote(remote, in: repository, history: state.history)
    copy.location = remote.location
    var newest = expected.arrival?.snapshot
    copy.seen = expected.arrival?.seconds
    (copy.rpo, copy.absence, copy.isOptional) = (remote.rpoSeconds, expected.absence, remote.isOptional)
    copy.refresh = "treering push \(remote.name)\(option)"
    copy.verify = "treering verify -r \(remote.name)\(option)"
    let address = remote.address.resolved.recorded
    let memory = repository.pushMemory
    copy.isEncrypted = remote.address.isOfRestic
    if copy.isEncrypted {
      (copy.keyTested, copy.keyTestEvery) = (memory.lastKeyTest(address: address)?.seconds, remote.keyTestSeconds)
    }
    var there = Set(memory.last(address: address)?.names ?? []).union([newest].compactMap(\.self))
    switch remote.address {
    case .local(let path):
      place(&copy, at: path)
      // A repository that is here has its own record.
      if let other = try? Repository.open(path), let snapshots = try? other.snapshots() {
        copy.isRead = true
        there.formIntersection(snapshots.snapshots.map(\.name))
        newest = there.max { $0.seconds < $1.seconds }
        copy.take((try? other.verifiedParts.all()) ?? [], among: there.map(\.seconds))
        let marks = (try? other.marks.all(.damaged)) ?? [:]
        copy.damaged = snapshots.damaged.count + snapshots.snapshots.count { marks[$0.name] != nil }
      }
    case .restic(let path): place(&copy, at: path)
    case .storage(.s3(_, let host, _, _)):
      copy.host = Self.hostName(Array(host.utf8))
      copy.account = (remote.credentialsFile ?? "of the environment") + (remote.profile.map { " " + $0 } ?? "")
    case .storage(.rest(let url)):
      copy.host = Self.hostName(Array((url.split(separator: "/").dropFirst().first ?? "").utf8))
    case .ssh(_, let host, _, let path), .storage(.sftp(_, let host, _, let path)):
      copy.host = Self.hostName(host)
      if copy.host == nil, path.first == slash { place(&copy, at: path) }
    }
    copy.newest = newest?.seconds
    copy.take((try? memory.verifiedParts(at: address)?.all()) ?? [], among: there.map(\.seconds))
    let arrived = list.snapshots.last { $0.name == newest }
    copy.lacks = arrived.map { lacks(of: $0.summary) } ?? []
    copy.behind = newest.flatMap { behind($0, at: address) }
    return copy
  }

  /// The new and changed files of the newest snapshot, compared with an older one; `nil` if a catalog is not here.
  private func behind(_ name: SnapshotName, at address: [UInt8]) -> (files: UInt64, bytes: UInt64)? {
    guard let newest = list.newest else { return nil }
    if newest.name == name { return (0, 0) }
    let kept = { repository.pushMemory.keptCatalog(of: name, at: address) }
    guard let before = (try? repository.openCatalog(of: name)) ?? kept(),
      let after = try? repository.openCatalog(of: newest.name)
    else { return nil }
    var sum: (files: UInt64, bytes: UInt64) = (0, 0)
    do {
      try compareCatalogs(CatalogReader(reading: before), right: CatalogReader(reading: after)) { change in
        guard change.kind != .directory, change.verb == .added || change.aspects.contains(.content) else { return }
        sum.files += 1
        sum.bytes &+= change.sizeAfter ?? 0
      }
    } catch { return nil }
    return sum
  }

  /// Adds the disks and the file system of a directory on this machine.
  private func place(_ copy: inout AuditFacts.Copy, at path: [UInt8]) {
    copy.disks.formUnion(devices.disks(below: path))
    if let status = try? Descriptor.open(path: path, .pathOnly).status() { copy.fileSystems.insert("\(status.device)") }
  }

  private static func copy(by sync: Configuration.Sync) -> AuditFacts.Copy {
    var copy = AuditFacts.Copy(.sync, named: sync.name)
    copy.location = sync.location
    return copy
  }

  /// The name of a host without a user, a port and capital letters; `nil` for this machine.
  private static func hostName(_ host: [UInt8]) -> String? {
    var name = host.split(separator: UInt8(ascii: "@")).last.map(Array.init) ?? []
    if name.first == UInt8(ascii: "[") {
      name = Array(name.dropFirst().prefix { $0 != UInt8(ascii: "]") })
    } else if name.count(where: { $0 == UInt8(ascii: ":") }) == 1 {
      name = Array(name.prefix { $0 != UInt8(ascii: ":") })
    }
    return isThisMachine(name) ? nil : displayName(name).lowercased()
  }

  /// Other names of this machine cannot be told from those of other machines without asking the network.
  private static func isThisMachine(_ host: [UInt8]) -> Bool {
    ["localhost", "127.0.0.1", "::1", displayName(CurrentProcess.hostName())].contains(displayName(host))
  }

  /// The configured sources and databases that a snapshot does not have.
  private func lacks(of summary: CatalogSummary) -> [String] {
    let sources = ExpectedSource.all(in: file, or: list).filter {
      !$0.isOptional && !$0.isIn(summary)
    }
    let databases = file.databases.filter { expected in
      !summary.databases.contains { $0.name == expected.name && !$0.isLeftOut }
    }
    return sources.map(\.title) + databases.map { "the database \(displayName($0.name))" }
  }

  var option: String { file.path == ConfigurationFile.defaultPath ? "" : " -c \(displayName(file.path))" }
}

extension AuditFacts.Copy {
  /// Takes the later record of verifications, and counts the snapshots of `times` that it does not have.
  fileprivate mutating func take(_ parts: [VerifiedPart], among times: [Int64]) {
    if let since = parts.verifiedSince, verified.map({ since >= $0 }) ?? true {
      verified = since
      let through = parts.verifiedThrough ?? since
      unverified = times.count { $0 > through }
    }
    guard let last = parts.last, partVerified.map({ last.seconds >= $0 }) ?? true else { return }
    partVerified = last.seconds
    (verifiedSnapshots, verifiedBy) = (last.extent?.snapshots, last.extent?.author)
  }
}
