internal import ArgumentParser
internal import Databases
internal import Model
internal import Operations
internal import Posix
internal import Replication
internal import Repository
internal import Retention
internal import Settings

struct ConfigCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Check the configuration and say what run would do, or print an example.",
    discussion: """
      check looks not only at the file, but also at the repository, the sources and the programs that it names. \
      example prints a complete, commented configuration.

      Examples:
        treering config example > /etc/treering/treering.toml
        treering config check
      """)

  private enum Action: String, CaseIterable, Sendable { case check, example }

  @Argument(
    help: ArgumentHelp("check or example.", valueName: "action"), completion: .words(of: Action.self),
    transform: oneOf(for: "config"))
  private var action: Action

  @Argument(help: ArgumentHelp("The configuration to check, as with --config.", valueName: "file"), completion: .file())
  private var file: PathArgument?

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if file != nil, action == .example { throw ValidationError("example prints to standard output, and takes no file") }
    if file != nil, common.config != nil { throw ValidationError("give either a file or --config") }
  }

  func execute() throws -> ExitStatus {
    switch action {
    case .check:
      var options = common
      options.config = file ?? options.config
      guard let all = try options.configurationOfSeveral(allowsErrors: true) else { return try Self.check(options) }
      return try Self.checkAll(of: all, options: options)
    case .example:
      Console.write(Configuration.example, to: .output)
      return .done
    }
  }

  private static func check(_ common: CommonOptions) throws -> ExitStatus {
    let file = try common.requiredConfiguration(allowsErrors: true)
    let (findings, lines, status) = examine(file, options: common)
    common.answer(ConfigCheckAnswer(of: file, findings: findings), lines: lines)
    for finding in findings { Console.complain(finding) }
    return status
  }

  /// Checks each repository of the file.
  private static func checkAll(of file: ConfigurationFile, options common: CommonOptions) throws -> ExitStatus {
    var findings = file.errors + outletFindings(of: file) + doubleFindings(of: file)
    var (lines, documents): ([String], [ConfigCheckAnswer]) = ([], [])
    var status = findings.isEmpty ? ExitStatus.done : .usage
    for one in file.repositories where file.errors.isEmpty {
      let name = one.name ?? ""
      var options = common
      options.repository = PathArgument(bytes: Array(name.utf8))
      let (problems, plan, end) = examine(one, options: options)
      findings += problems.map { "\(name): \($0)" }
      lines += (lines.isEmpty ? [] : [""]) + plan.prefix(1).map { "\(name): \($0)" } + plan.dropFirst()
      documents.append(ConfigCheckAnswer(of: one, findings: problems))
      status = ExitStatus.worst(of: [status, end])
    }
    let notices = noticePlan(of: file.settings)
    if !notices.isEmpty { lines += ["", "After the runs of all it would:"] + notices }
    common.answer(
      ConfigCheckOfAllAnswer(config: displayName(file.path), repositories: documents, findings: findings),
      lines: findings.isEmpty ? lines : [])
    for finding in findings { Console.complain(finding) }
    return status
  }

  /// The repositories that are there twice, by different paths to one directory.
  private static func doubleFindings(of file: ConfigurationFile) -> [String] {
    var (findings, seen): ([String], [(name: String, status: FileStatus)]) = ([], [])
    for one in file.repositories where file.errors.isEmpty {
      // The check of the repository itself tells of a path that leads nowhere.
      guard let path = one.repositoryPath, let status = try? Descriptor.open(path: path, .pathOnly).status()
      else { continue }
      if let same = seen.first(where: { $0.status.isSameInode(as: status) }) {
        findings.append("\(displayName(file.path)): \(one.name ?? "") is the same repository as \(same.name)")
      }
      seen.append((one.name ?? "", status))
    }
    return findings
  }

  /// The findings about one configuration, the plan of its runs if there are none, and the exit status.
  private static func examine(
    _ file: ConfigurationFile, options common: CommonOptions
  ) -> (findings: [String], plan: [String], status: ExitStatus) {
    var findings = file.errors
    let settings = file.settings
    var repository: Repository?
    do {
      // With errors in the file, a name is none of a remote.
      if file.errors.isEmpty {
        if !common.isRepositoryElsewhere { repository = try common.openRepository() }
      } else if let path = common.repository?.bytes ?? file.repositoryPath {
        repository = try Repository.open(path)
      }
    } catch { findings.append(error.description) }
    findings += sourceFindings(of: file, for: repository) + programFindings(of: file) + databaseFindings(of: file)
    for database in settings.databasesWithoutPushedLogs {
      Console.warn(
        "\(file.at(line: database.line)): the archived logs of \"\(database.name)\" are lost with this machine, because no "
          + "[remote.NAME] has logs = true; a repository of restic's format keeps none")
    }
    // An unreachable remote is not an error of the configuration.
    let isRight = findings.isEmpty
    for remote in settings.remotes
    where !(remote.isOptional && remote.address.absence != nil) && remote.address != .local([]) {
      do { try RemoteTarget(remote: remote, options: common).reach() } catch {
        findings.append("\(file.at(line: remote.line)): the remote \(remote.name): \(error)")
      }
    }
    if file.errors.isEmpty, settings.remotes.isEmpty, common.isRepositoryElsewhere {
      do { try common.remoteTarget(connection: .none).reach() } catch { findings.append("the repository: \(error)") }
    }
    let status: ExitStatus = findings.isEmpty ? .done : isRight ? .remote : .usage
    return (findings, findings.isEmpty ? plan(of: file, for: repository) : [], status)
  }

  private static func sourceFindings(of file: ConfigurationFile, for repository: Repository?) -> [String] {
    var findings: [String] = []
    for source in file.sources where !source.path.isEmpty {
      do {
        let path = Array(source.path.utf8)
        if let problem = sourceProblem(at: path), problem.isMistake || !source.isOptional { throw problem.failure }
        if let repository { try refuse([path], inside: repository) }
        findings += try PatternCheck(file: file, source: source).findings()
      } catch { findings.append("\(file.at(line: source.line)): \(error)") }
    }
    for source in file.hostSources {
      do {
        findings += try PatternCheck(file: file, source: source).findings()
        _ = try HostFetches(file: file).rules(of: source)
      } catch { findings.append("\(error)") }
    }
    if file.hasNoSources, !file.settings.receives {
      findings.append("\(displayName(file.path)): no [[source]] is named")
    }
    return findings
  }

  /// The problems of hooks and notices.
  private static func programFindings(of file: ConfigurationFile) -> [String] {
    let settings = file.settings
    var findings: [String] = []
    for hook in settings.hooksBefore + settings.hooksAfter { findings += problems(of: hook, in: file) }
    return findings + outletFindings(of: file)
  }

  private static func problems(of hook: Configuration.Hook, in file: ConfigurationFile) -> [String] {
    guard let program = hook.command.first, let problem = problem(of: program) else { return [] }
    return ["\(file.at(line: hook.line)): \(problem)"]
  }

  /// The problems of notices and metrics.
  private static func outletFindings(of file: ConfigurationFile) -> [String] {
    let settings = file.settings
    var findings = settings.notifyCommand.map { problems(of: $0, in: file) } ?? []
    if settings.healthchecks ?? settings.webhook != nil, let problem = Healthchecks.problem {
      findings.append("\(displayName(file.path)): notifications by HTTP are impossible: \(problem)")
    }
    if settings.mail != nil, MailMessage.program == nil {
      findings.append("\(displayName(file.path)): mail cannot be sent: sendmail is not installed")
    }
    if let textfile = settings.metricsTextfile {
      let directory = splitLast(of: Array(textfile.utf8)).parent
      do throws(Errno) { _ = try Descriptor.open(path: directory, [.pathOnly, .directory]) } catch {
        findings.append("\(displayName(file.path)): cannot write the metrics in \(displayName(directory)): \(error)")
      }
    }
    return findings
  }

  private static func databaseFindings(of file: ConfigurationFile) -> [String] {
    var findings: [String] = []
    for database in file.databaseSettings where file.errors.isEmpty {
      do throws(DumpFailure) {
        let site = try file.sites.first { $0.settings.database.name == database.name }?.site.get()
        findings += (site.map(file.warnings(ofLinksIn:)) ?? []).map { "\(file.at(line: database.line)): \($0)" }
        try Dumper(of: database, programs: .ofEnvironment).check()
      } catch {
        findings.append("\(file.at(line: database.line)): \(error)")
      }
    }
    return findings
  }

  /// The reason that a program cannot be run, or `nil`.
  private static func problem(of program: String) -> String? {
    let path = Array(program.utf8)
    do throws(Errno) {
      let status = try Descriptor.open(path: path, .pathOnly).status()
      if status.kind != .regular { return "\(program) is no program" }
      if status.permissions & 0o111 == 0 { return "\(program) is not executable" }
      return nil
    } catch { return "cannot run \(program): \(error)" }
  }

  private static func plan(of file: ConfigurationFile, for repository: Repository?) -> [String] {
    let settings = file.settings
    var lines = ["\(displayName(file.path)) is valid. treering run would:"]
    for hook in settings.hooksBefore { lines.append("  run \(hook.words)") }
    for database in file.databaseSettings {
      let place = database.directory.map { " in \($0)" } ?? ""
      let need = database.isRequired ? "; it must succeed" : ""
      lines.append("  dump the \(database.kind.rawValue) database \(database.name)\(place)\(need)")
    }
    let path = displayName(repository?.path ?? [])
    lines.append(
      settings.receives ? "  take no snapshot in \(path), because others push to it" : "  take a snapshot in \(path) of"
    )
    for source in file.sources + file.hostSources { lines.append("    \(plan(of: source, in: file))") }
    var keep = SnapshotSet.allCases.compactMap { set in
      settings.retention.keep[set].flatMap { $0 > 0 ? "\(set.rawValue) \($0)" : nil }
    }
    if settings.retention.keepLast > 0 { keep.append("the last \(settings.retention.keepLast)") }
    if let within = settings.retention.keepWithinSeconds { keep.append("the last \(durationText(Double(within)))") }
    lines.append("  keep " + keep.joined(separator: ", "))
    let free: String? =
      switch settings.minimumFree {
      case .share(let share): "\(fixed(share * 100, digits: 0)) %"
      case .bytes(let bytes): byteText(bytes)
      case nil: nil
      }
    if let free { lines.append("  keep \(free) of the file system free, before older snapshots") }
    for hook in settings.hooksAfter { lines.append("  run \(hook.words)") }
    for remote in settings.remotes {
      let condition = remote.isOptional ? "where it is there and does not have it yet" : "where it is not there yet"
      let which = remote.set.map { "newest \($0.rawValue)" } ?? "newest"
      lines.append("  push the \(which) snapshot to \(remote.name), \(remote.url), \(condition)")
    }
    if let verification = settings.verification {
      let part = verification.parts == 1 ? "everything" : "1/\(verification.parts) of everything"
      lines.append("  verify \(part), once in \(durationText(Double(verification.everySeconds)))")
    }
    for drill in settings.drills {
      guard let every = drill.everySeconds else { continue }
      lines.append("  do the drill \(drill.name), once in \(durationText(Double(every)))")
    }
    return lines + noticePlan(of: settings)
  }

  private static func plan(of source: Configuration.Source, in file: ConfigurationFile) -> String {
    let rules = source.exclude.count + source.excludeFrom.count
    let around =
      source.host != nil
      ? nil : file.sources.filter { $0.path != source.path }.around(Array(source.path.utf8))
    return source.title + (source.isOptional ? ", if it is there" : "")
      + (source.freeze.map { ", frozen by \($0.name)" } ?? "")
      + (rules > 0 ? ", with \(counted(rules, "exclude rule"))" : "")
      + (around.map { ", which is inside \($0.path) and has rules of its own" } ?? "")
  }

  private static func noticePlan(of settings: Configuration) -> [String] {
    var lines: [String] = []
    if settings.healthchecks != nil { lines.append("  tell Healthchecks of its start and its end") }
    if let webhook = settings.webhook {
      lines.append("  tell the webhook of \(webhook.onlyFailures ? "what goes wrong" : "its end")")
    }
    if let command = settings.notifyCommand {
      let when = settings.notifyCommandOnlyFailures ? ", where something goes wrong" : ""
      lines.append("  run \(command.words)" + when)
    }
    if let textfile = settings.metricsTextfile { lines.append("  write the metrics to \(textfile)") }
    return lines
  }
}

extension Configuration.Hook {
  /// The command line and limits of the hook, for a person.
  var words: String {
    command.joined(separator: " ") + " for at most \(durationText(Double(timeoutSeconds)))"
      + (isRequired ? "; it must succeed" : "")
  }
}

/// The document of `config check --json`.
struct ConfigCheckAnswer: Encodable {
  let config: String
  /// The name among several repositories.
  let name: String?
  let repository: String?
  let sources, databases, remotes, findings: [String]
}

extension ConfigCheckAnswer {
  fileprivate init(of file: ConfigurationFile, findings: [String]) {
    self.init(
      config: displayName(file.path), name: file.name, repository: file.settings.repository,
      sources: (file.sources + file.hostSources).map(\.title), databases: file.databaseSettings.map(\.name),
      remotes: file.settings.remotes.map(\.name), findings: findings)
  }
}

/// The same for several repositories.
private struct ConfigCheckOfAllAnswer: Encodable {
  let config: String
  let repositories: [ConfigCheckAnswer]
  let findings: [String]
}
