internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

struct WalCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "wal", abstract: "Archive the write-ahead log of PostgreSQL, and fetch it back.",
    discussion: """
      push stores a file in the archive and returns 0 when it is durable: PostgreSQL's archive_command. fetch puts a file \
      of the archive at a path: its restore_command. The archive is a private directory of the server's account. \
      Status of fetch: 0 done, 1 the archive has no such file, 126 anything else; then PostgreSQL stops the recovery.

      Examples, of postgresql.conf:
        archive_command = '/usr/local/bin/treering wal push %p --archive /backup/wal/main'
        restore_command = '/usr/local/bin/treering wal fetch %f %p --archive /backup/wal/main'
      """)

  enum Action: String, CaseIterable, Sendable { case push, fetch }

  @Argument(
    help: ArgumentHelp("push or fetch.", valueName: "action"), completion: .words(of: Action.self),
    transform: oneOf(for: "wal"))
  var action: Action

  @Argument(
    help: ArgumentHelp(
      "push: the path of the file. fetch: the name of the file, and the path to put it at.", valueName: "file"))
  var files: [PathArgument]

  @Option(
    help: ArgumentHelp(
      "The archive, in place of the configuration's.", valueName: "dir"), completion: .directory)
  var archive: PathArgument?

  @Option(help: ArgumentHelp("The database of the configuration whose archive is meant.", valueName: "name"))
  var database: String?

  @Option(
    help: ArgumentHelp("push fails after this time, whatever hangs (60s); 0 for no limit.", valueName: "time"),
    transform: parsed(
      by: { $0 == "0" ? 0 : Quantity.seconds(of: $0) }, or: "--timeout takes a number with a unit, such as 60s, or 0"))
  var timeout: Int64 = 60

  @OptionGroup var common: CommonOptions

  func validate() throws {
    let count = action == .push ? 1 : 2
    guard files.count == count else {
      throw ValidationError(
        action == .push ? "push takes the path of a file (%p)" : "fetch takes a name (%f) and a path (%p)")
    }
    if common.repository != nil {
      guard action == .fetch, archive == nil, database != nil
      else { throw ValidationError("--repository is for fetch, and needs --database") }
    }
    if archive != nil, database != nil { throw ValidationError("give either --archive or --database") }
  }

  func execute() throws -> ExitStatus {
    switch action {
    case .push: try timeout > 0 ? pushWithinTimeout() : push()
    case .fetch: try fetch()
    }
  }

  /// The status of fetch for everything but success and absence. PostgreSQL stops a recovery at a status above 125, and
  /// takes any other failure as the end of the log: "Recovering Using a Continuous Archive Backup" in its manual.
  static let stopsRecovery = ExitStatus(code: 126)

  /// True if the words are those of `wal fetch`, whatever else is wrong with them.
  static func isFetch(_ words: [String]) -> Bool { words.first == "wal" && words.dropFirst().contains("fetch") }

  // MARK: push

  private func push() throws(Failure) -> ExitStatus {
    let path = files[0].bytes
    let name = splitLast(of: path).name
    guard LogFile(name, segmentBytes: 1 << 20) != nil else {
      throw Failure(
        .usage, "\(displayName(path)) does not have the name of a log, history or backup file of PostgreSQL", path: path
      )
    }
    let source: SharedFile
    do {
      source = SharedFile(try Descriptor.openNamed(path))
      guard try source.descriptor.status().kind == .regular else { throw Errno.invalid }
    } catch {
      throw Failure(.failed, "cannot read \(displayName(path)): \(error)", path: path)
    }
    let archive = try openArchive()
    try storeHistory(beforeSegment: name, at: path, in: archive)
    let outcome = try archive.store(source, as: name)
    common.answer(
      WalPushAnswer(file: displayName(name), archive: displayName(archive.path), stored: outcome == .stored),
      isWanted: common.verbose,
      lines: ["\(displayName(name)) \(outcome == .stored ? "stored" : "was stored already")"])
    return .done
  }

  /// Stores the history of a segment's timeline, if the archive lacks it.
  ///
  /// A server that has recovered while its archiving was off never archives the history by itself. Without it, the next
  /// recovery would give the same number to its own timeline.
  private func storeHistory(beforeSegment name: [UInt8], at path: [UInt8], in archive: LogArchive) throws(Failure) {
    guard case .segment(let segment)? = LogFile(name, segmentBytes: 1 << 20), segment.timeline > 1 else { return }
    let history = Array(name.prefix(8)) + Array(".history".utf8)
    guard try archive.storedTime(of: history) == nil else { return }
    let place = splitLast(of: path).parent + [slash] + history
    let file: SharedFile
    do { file = SharedFile(try Descriptor.openNamed(place)) } catch {
      if error.meansAbsence { return }
      throw Failure(.failed, "cannot read \(displayName(place)): \(error)", path: place)
    }
    _ = try archive.store(file, as: history)
  }

  /// Lets another process push, because a call that hangs in the kernel would hold this one beyond any limit.
  private func pushWithinTimeout() throws -> ExitStatus {
    var words = ["wal", "push", "--timeout", "0"].map { Array($0.utf8) }
    if let archive { words += [Array("--archive".utf8), archive.bytes] }
    if let database { words += [Array("--database".utf8), argumentBytes(database)] }
    if let config = common.config { words += [Array("--config".utf8), config.bytes] }
    if common.json { words.append(Array("--json".utf8)) }
    if common.verbose { words.append(Array("--verbose".utf8)) }
    words += [Array("--".utf8), files[0].bytes]
    let end: ChildEnd
    do {
      var child = ChildProgram(
        [try CurrentProcess.programFile()] + words, environment: CurrentProcess.inheritedEnvironment(),
        timeoutSeconds: Double(timeout))
      child.isAbandonedIfStuck = true
      end = try child.run {
        Console.write(Array($0), to: .output)
      } onErrorLine: {
        Console.write($0 + [10], to: .error)
      }
    } catch { throw Failure(.failed, "cannot start the process that stores the log: \(error)") }
    let name = displayName(splitLast(of: files[0].bytes).name)
    switch end {
    case .exited(let status): return ExitStatus(code: status)
    case .timedOut:
      throw Failure(
        .failed, "\(name) was not stored within \(timeout) seconds",
        hint: "the server keeps it and tries again; see whether the archive's disk is busy or hangs")
    case .signalled(let signal): throw Failure(.failed, "the process that stores \(name) was ended by signal \(signal)")
    case .interrupted: throw Failure(.failed, "interrupted")
    }
  }

  // MARK: fetch

  private func fetch() throws -> ExitStatus {
    let (name, path) = (files[0].bytes, files[1].bytes)
    let place: String
    let isThere: Bool
    if common.repository != nil {
      let store = try common.openStore(connection: .none)
      place = displayName(store.path)
      let logs = try store.logs(of: argumentBytes(database ?? ""))
      isThere = try logs?.fetch(name, to: path) ?? false
      // A wrong name must not pass for the end of the log.
      guard try isThere || logs?.names().isEmpty == false else {
        throw Failure(
          .failed, "\(place) has no logs of a database \"\(database ?? "")\"", hint: "see: man treering-push")
      }
    } else {
      let archive = try openArchive()
      (place, isThere) = ("the archive \(displayName(archive.path))", try archive.fetch(name, to: path))
    }
    guard isThere else {
      Console.complain("\(place) has no \(displayName(name))")
      return .warnings
    }
    common.answer(
      WalFetchAnswer(file: displayName(name), path: displayName(path)), isWanted: common.verbose,
      lines: ["\(displayName(name)) fetched"])
    return .done
  }

  private func openArchive() throws(Failure) -> LogArchive {
    if let archive { return try LogArchive(at: archive.bytes) }
    return try LogArchive(at: common.requiredConfiguration().archive(of: database))
  }
}

extension ConfigurationFile {
  /// The path of the archive of a database, or of the only one.
  func archive(of name: String?) throws(Failure) -> [UInt8] {
    let archived = settings.databases.filter { name == nil ? $0.archive != nil : $0.name == name }
    guard let first = archived.first else {
      throw Failure(
        .usage, "\(displayName(path)) names no \(name.map { "database \"\($0)\"" } ?? "archive")", path: path,
        hint: "name it in a table [[database]], or give --archive")
    }
    guard archived.count == 1 else {
      throw Failure(.usage, "\(displayName(path)) has several archives", path: path, hint: "name one with --database")
    }
    guard let archive = first.archive else {
      throw Failure(
        .usage, "\(at(line: first.line)): the database \"\(first.name)\" has no \"archive\"", path: path,
        hint: "name the directory of its log there, or with --archive")
    }
    return Array(archive.utf8)
  }
}

/// The document of `wal push --json`.
private struct WalPushAnswer: Encodable {
  let file, archive: String
  /// False if the archive had the same content already.
  let stored: Bool
}

/// The document of `wal fetch --json`.
private struct WalFetchAnswer: Encodable {
  let file, path: String
}
