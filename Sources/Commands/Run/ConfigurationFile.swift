internal import Catalog
internal import Engine
internal import Model
internal import Patterns
internal import Posix
internal import Repository
internal import Retention
internal import Settings
internal import Synchronization

struct ConfigurationFile {
  let path: [UInt8]
  /// The name in its table `[[repository]]`; `nil` for the whole file.
  let name: String?
  let settings: Configuration
  /// The errors in the file, each with its place. `settings` has the right parts.
  let errors: [String]
  /// The WordPress sites, with what their own files say.
  let sites: [ConfiguredSite]
  /// The sources of this machine, with those of the sites and the directory of the recovery plan.
  let sources: [Configuration.Source]
  /// The sources that are on other hosts.
  let hostSources: [Configuration.Source]
  /// The directory in which runs keep the recovery plan; `nil` if they keep none.
  let planDirectory: [UInt8]?
  /// The configurations of the tables `[[repository]]`, each with a name.
  let repositories: [ConfigurationFile]

  /// The file that is read without `--config`.
  static var defaultPath: [UInt8] {
    if let named = CurrentProcess.environment("TREERING_CONFIG"), !named.isEmpty { return named }
    return installedPath
  }

  /// The standard file of root or of this user, regardless of the environment.
  static var installedPath: [UInt8] {
    if CurrentProcess.effectiveUser == 0 { return Array("/etc/treering/treering.toml".utf8) }
    return (CurrentProcess.environment("HOME") ?? []) + Array("/.config/treering/treering.toml".utf8)
  }

  private static var standardPlanDirectory: [UInt8] {
    let parent =
      CurrentProcess.effectiveUser == 0
      ? Array("/var/lib".utf8) : (CurrentProcess.environment("HOME") ?? []) + Array("/.local/share".utf8)
    return parent + [slash] + RecoveryDocument.directoryName
  }

  private static let read = Mutex<[[UInt8]: ConfigurationFile]>([:])

  /// Reads a file once and caches it, because a pipe can be read only once. Throws its first error, unless they are
  /// allowed.
  static func once(at path: [UInt8], allowsErrors: Bool = false) throws(Failure) -> ConfigurationFile {
    let known = read.withLock { $0[path] }
    let file = if let known { known } else { try ConfigurationFile(at: path) }
    read.withLock { $0[path] = file }
    guard !allowsErrors, let first = file.errors.first else { return file }
    throw Failure(
      .usage, first, path: path,
      hint: file.errors.count == 1 ? nil : "\(file.errors.count - 1) more: see treering config check")
  }

  /// Reads a file. Throws `usage` with file, line and column if it is not TOML.
  private init(at path: [UInt8]) throws(Failure) {
    let text: [UInt8]
    let status: FileStatus
    let hasACL: Bool
    do {
      let file = try Descriptor.openNamed(path)
      status = try file.status()
      hasACL = try file.hasAccessACL()
      text = try file.readAll(limit: 1 << 20)
    } catch {
      if error == .interrupted { try checkForSignal() }
      throw Failure(
        .usage, "cannot read the configuration \(displayName(path)): \(error)", path: path,
        hint: "begin with: treering config example")
    }
    // The configuration's hooks run as this user, so no other user may write to the file. An ordinary user's group is
    // usually private, so its write bit is accepted. With an ACL, the group bits show the ACL's widest permissions.
    let user = CurrentProcess.effectiveUser
    let mayGroupWrite = status.permissions & 0o020 != 0 && (status.group != 0 || hasACL)
    guard status.permissions & 0o002 == 0, user != 0 || !mayGroupWrite, status.user == 0 || status.user == user else {
      throw Failure(
        .usage, "the configuration \(displayName(path)) can be changed by others, and names programs to run",
        path: path,
        hint: "chown \(user) and chmod go-w it")
    }
    guard let valid = String(validating: text, as: UTF8.self)
    else { throw Failure(.usage, "the configuration \(displayName(path)) is not UTF-8", path: path) }
    func sentence(_ error: SettingsError) -> String {
      let place = error.line.map { ":\($0)" + (error.column.map { ":\($0)" } ?? "") } ?? ""
      return "\(displayName(path))\(place): \(error.message)"
    }
    do {
      let (settings, errors) = try Configuration.read(valid)
      self.init(settings: settings, errors: errors.map(sentence), path: path, name: nil)
    } catch { throw Failure(.usage, sentence(error), path: path) }
  }

  private init(settings: Configuration, errors: [String], path: [UInt8], name: String?) {
    (self.settings, self.errors, self.path, self.name) = (settings, errors, path, name)
    sites = settings.sites.map(ConfiguredSite.init)
    hostSources = settings.sources.filter { $0.host != nil }
    planDirectory = settings.plan.map { $0.directory.map { Array($0.utf8) } ?? Self.standardPlanDirectory }
    sources =
      settings.localSources(with: sites) + [planDirectory].compactMap(\.self).map(Configuration.Source.init(ofPlan:))
    repositories = settings.repositories.map {
      ConfigurationFile(settings: $0.settings, errors: errors, path: path, name: $0.name)
    }
  }

  /// True if the configuration names nothing to save; the recovery plan alone is nothing.
  var hasNoSources: Bool {
    databases.isEmpty && hostSources.isEmpty && !sources.contains { Array($0.path.utf8) != planDirectory }
  }

  /// The file and line, for later messages.
  func at(line: Int) -> String { "\(displayName(path)):\(line)" }

  var repositoryPath: [UInt8]? { settings.repository.map { Array($0.utf8) } }

  /// The sources with their label, the databases included, or `nil` if the configuration names none.
  var sourceSet: SourceSet? {
    let paths = (sources + hostSources).map(\.subject) + databases.map(\.source)
    return paths.isEmpty ? nil : SourceSet(label: settings.label.bytes, paths: paths)
  }

  /// True if this configuration names the repository, by any path.
  ///
  /// A path that this user cannot follow does not lead to the repository, which is open.
  func isOf(_ repository: Repository) throws(Failure) -> Bool {
    guard let path = repositoryPath else { return false }
    do { return try Descriptor.open(path: path, .pathOnly).status().isSameInode(as: repository.identity) } catch {
      if error.meansAbsence || error.meansNoPermission { return false }
      throw Failure(
        .usage, "cannot find the repository \(displayName(path)) of \(displayName(self.path)): \(error)", path: path)
    }
  }

  /// The configuration of the repository: this one, or one of its tables `[[repository]]`.
  func configuration(of repository: Repository) throws(Failure) -> ConfigurationFile? {
    for file in [self] + repositories where try file.isOf(repository) { return file }
    return nil
  }

  var threads: ThreadCount { ThreadCount(chosen: settings.threads) }

  /// The options for a snapshot of the configured sources.
  func snapshotOptions() throws(Failure) -> SnapshotOptions {
    guard !hasNoSources else {
      throw Failure(
        .usage, "\(displayName(path)) names no source", path: path, hint: "add a table [[source]] with a path")
    }
    if !databases.isEmpty, settings.label.bytes == DatabaseRecord.label {
      throw Failure(
        .usage, "\(displayName(path)): the label \"databases\" belongs to the dumps", path: path,
        hint: "choose another label, such as the host's name")
    }
    var options = SnapshotOptions(
      sources: [], label: settings.label.bytes, threads: threads,
      changeDetection: ChangeDetection(rawValue: settings.changeDetection) ?? .ctime,
      guardLimits: GuardLimits(gone: settings.goneLimit, changed: settings.changedLimit))
    for source in sources {
      let path = Array(source.path.utf8)
      options.sources.append(path)
      if source.isOptional {
        options.optionalSources.insert(path)
        options.excusedSources.insert(path)
      }
      options.excludesOfSource[path] = try excludes(of: source)
    }
    for source in hostSources {
      let subject = source.subject
      options.sources.append(subject)
      options.hosts[subject] = .awaited
      if source.isOptional {
        options.optionalSources.insert(subject)
        options.excusedSources.insert(subject)
      }
      _ = try HostFetches(file: self).rules(of: source)
    }
    return options
  }

  func excludes(of source: Configuration.Source) throws(Failure) -> Excludes {
    var excludes = Excludes()
    for file in source.excludeFrom {
      do { try excludes.add(patternsIn: Array(file.utf8)) } catch {
        throw Failure(error.kind, "\(at(line: source.line)): \(error.message)")
      }
    }
    for (pattern, line) in zip(source.exclude, source.excludeLines) {
      excludes.patterns.add(Array(pattern.utf8), origin: at(line: line))
    }
    excludes.isOneFileSystem = source.oneFileSystem
    excludes.caches = source.excludeCaches
    excludes.ifPresent = source.excludeIfPresent.map { Array($0.utf8) }
    excludes.largestFile = source.maxFileSize
    excludes.noDump = source.excludeNodump
    return excludes
  }
}

extension Configuration.Source {
  /// The directory of the recovery plan. Before the first run it is absent.
  fileprivate init(ofPlan directory: [UInt8]) {
    self.init()
    path = String(decoding: directory, as: UTF8.self)
    isOptional = true
  }
}

extension Excludes {
  /// Adds the patterns in a file, one per line.
  mutating func add(patternsIn file: [UInt8]) throws(Failure) {
    do {
      let text = try Descriptor.openNamed(file).readAll(limit: 16 << 20)
      patterns.add(file: text, name: displayName(file))
    } catch {
      if error == .interrupted { try checkForSignal() }
      throw Failure(.usage, "cannot read the patterns in \(displayName(file)): \(error)", path: file)
    }
  }
}
