internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository
internal import Restic
internal import Settings

struct KeyCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "key", abstract: "The passwords of an encrypted remote.",
    discussion: """
      list shows the keys: each belongs to one password, and each opens everything. add makes a further one, change \
      replaces the one that opened the repository, and remove removes another one. New passwords are read from a file, \
      or asked on the terminal.

      test asks for the password as it is kept elsewhere, from a person or standard input, and proves that it opens the \
      repository. The date is recorded for status. export prints the master key, to be kept on paper in another place: \
      it opens everything without a password.

      Examples:
        treering key list -r cloud
        treering key test -r cloud
        treering key add -r cloud --new-password-file /root/second.password
        treering key export -r cloud | lp
      """)

  enum Action: String, CaseIterable, Sendable { case list, add, change, remove, test, export }

  @Argument(
    help: ArgumentHelp("list, add, change, remove, test or export.", valueName: "action"),
    completion: .words(of: Action.self), transform: oneOf(for: "key"))
  var action: Action

  @Argument(help: ArgumentHelp("For remove: the key, by the start of its ID.", valueName: "key"))
  var key: String?

  @Option(
    help: ArgumentHelp("For add and change: the file with the new password.", valueName: "file"), completion: .file())
  var newPasswordFile: PathArgument?

  @Option(
    help: ArgumentHelp(
      "For add: the file with an exported master key, in place of a password that is lost.", valueName: "file"),
    completion: .file())
  var exportedKey: PathArgument?

  @OptionGroup var storage: StorageOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if (action == .remove) != (key != nil) {
      throw ValidationError(key == nil ? "remove takes the start of a key's ID" : "only remove takes a key")
    }
    if newPasswordFile != nil, action != .add, action != .change {
      throw ValidationError("only add and change take --new-password-file")
    }
    if exportedKey != nil, action != .add { throw ValidationError("only add takes --exported-key") }
  }

  func execute() throws -> ExitStatus {
    let target = try common.remoteTarget(connection: storage.connection)
    guard let access = target.restic else {
      throw Failure(.usage, "\(target.name) is not encrypted, and has no keys", hint: "see treering-restic(7)")
    }
    switch action {
    case .list: return try list(try access.open())
    case .add: return try add(to: access)
    case .change:
      let restic = try access.open()
      let id = try restic.changePassword(to: try newPassword(), host: CurrentProcess.hostName(), at: Clock.now())
      return answer(
        KeyAnswer(repository: restic, key: id.description),
        lines: "replaced the password of \(restic.displayName): the new one opens it, and the old one does not")
    case .remove: return try remove(from: try access.open())
    case .test: return try test(access, target: target)
    case .export: return export(try access.open())
    }
  }

  private func answer(_ document: some Encodable, lines: String...) -> ExitStatus {
    common.answer(document, lines: lines)
    return .done
  }

  // MARK: Actions

  private func list(_ restic: ResticRepository) throws -> ExitStatus {
    let (keys, damaged) = try restic.keys()
    let rows = keys.map { key in
      KeyListAnswer.Key(
        key: key.id.description, created: CalendarTime(seconds: key.created.seconds).rfc3339,
        user: displayName(key.user), host: displayName(key.host), isCurrent: key.id == restic.keyID)
    }
    common.answer(
      KeyListAnswer(repository: restic.displayName, keys: rows),
      lines: table(
        [["KEY", "ADDED", "BY", ""]]
          + rows.map { [String($0.key.prefix(8)), $0.created, "\($0.user)@\($0.host)", $0.isCurrent ? "in use" : ""] }))
    for failure in damaged { Console.complain(failure.description) }
    return damaged.isEmpty ? .done : .damaged
  }

  private func add(to access: ResticAccess) throws -> ExitStatus {
    let restic: ResticRepository
    if let exportedKey {
      let text = try ResticAccess.read(exportedKey.bytes, named: "the exported key \(displayName(exportedKey.bytes))")
      restic = try ResticRepository.open(
        try access.store(isNew: false), exportedKey: text, isAppendOnly: access.isAppendOnly)
    } else {
      restic = try access.open()
    }
    let id = try restic.addKey(password: try newPassword(), host: CurrentProcess.hostName(), at: Clock.now())
    return answer(
      KeyAnswer(repository: restic, key: id.description),
      lines: "added the key \(id.short) to \(restic.displayName): the new password opens it, and so do the others")
  }

  private func remove(from restic: ResticRepository) throws -> ExitStatus {
    let wanted = key ?? ""
    let found = try restic.keys().keys.filter { $0.id.description.hasPrefix(wanted.lowercased()) }
    guard let id = found.first?.id, found.count == 1, !wanted.isEmpty else {
      throw Failure(
        .usage,
        found.isEmpty
          ? "\(restic.displayName) has no key \(displayName(Array(wanted.utf8)))"
          : "\(found.count) keys of \(restic.displayName) begin with \(displayName(Array(wanted.utf8)))",
        hint: "see: treering key list -r \(restic.displayName)")
    }
    try restic.removeKey(id)
    return answer(
      KeyAnswer(repository: restic, key: id.description),
      lines: "removed the key \(id.short) from \(restic.displayName): its password opens it no longer",
      "a reader who had the password before may have kept the master key, which stays the same")
  }

  /// Opens the repository with a password that comes from elsewhere, and records the date.
  private func test(_ access: ResticAccess, target: RemoteTarget) throws -> ExitStatus {
    let store = try access.store(isNew: false)
    let password = try Secret.read(asking: "password of \(store.displayName), as it is kept elsewhere: ")
    let restic = try ResticRepository.open(store, password: password)
    let now = Clock.now()
    var isRecorded = false
    if let path = try common.configuration()?.repositoryPath {
      try Repository.open(path).pushMemory.noteKeyTest(
        of: restic.idText, at: now, address: target.address.resolved.recorded)
      isRecorded = true
    }
    let proof = "the password opens \(restic.displayName), with the key \(restic.keyID.short)"
    let date = "the date is not recorded: no configuration names a repository"
    common.answer(
      KeyAnswer(repository: restic, key: restic.keyID.description, recorded: isRecorded),
      lines: isRecorded ? [proof] : [proof, date])
    return .done
  }

  /// Prints the master key. The document has it as text, as restic's own key files have it inside.
  private func export(_ restic: ResticRepository) -> ExitStatus {
    let key = String(decoding: restic.exportedKey, as: UTF8.self)
    let now = CalendarTime(seconds: Clock.now().seconds).rfc3339
    let picture = try? Tool(["qrencode", "-t", "UTF8", "-o", "-"], input: Array(key.utf8)).result()
    var lines =
      [
        "The master key of \(restic.displayName)",
        "(repository \(restic.id.short), exported at \(now) by \(displayName(CurrentProcess.hostName())))",
        "",
        "It opens everything there, without a password. Keep it where the data is not, and as safe as the data.",
        "To use it, write the next line into a file of mode 0600, and add a password:",
        "  treering key add -r '\(restic.displayName)' --exported-key FILE --new-password-file FILE",
        "", key,
      ]
    if let picture, picture.end == .exited(0) {
      let text = String(decoding: picture.output, as: UTF8.self)
      lines += [""] + text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }
    common.answer(
      KeyExportAnswer(repository: restic.displayName, id: restic.id.description, masterKey: key), lines: lines)
    return .done
  }

  private func newPassword() throws(Failure) -> [UInt8] {
    if let newPasswordFile { return try ResticAccess.password(in: newPasswordFile.bytes) }
    guard CurrentProcess.terminalWidth(of: .input) != nil else {
      throw Failure(
        .usage, "the new password is not named, and standard input is no terminal",
        hint: "name its file: --new-password-file FILE")
    }
    let first = try Secret.read(asking: "new password: ")
    guard try Secret.read(asking: "the same again: ") == first
    else { throw Failure(.usage, "the two passwords differ; nothing was changed") }
    return first
  }
}

/// The document of `key add`, `change`, `remove` and `test`.
struct KeyAnswer: Encodable {
  let repository, key: String
  /// For `test`: true if `status` will know of it.
  let recorded: Bool?

  init(repository: ResticRepository, key: String, recorded: Bool? = nil) {
    (self.repository, self.key, self.recorded) = (repository.displayName, key, recorded)
  }
}

/// The document of `key list`.
struct KeyListAnswer: Encodable {
  struct Key: Encodable {
    let key, created, user, host: String
    /// True for the key that opened the repository.
    let isCurrent: Bool
  }
  let repository: String
  let keys: [Key]
}

/// The document of `key export`.
struct KeyExportAnswer: Encodable {
  let repository, id, masterKey: String
}

/// A line that only the asked person should see.
enum Secret {
  /// Asks on the terminal, without an echo; without a terminal, the line comes from standard input.
  static func read(asking question: String) throws(Failure) -> [UInt8] {
    let isTerminal = CurrentProcess.terminalWidth(of: .input) != nil
    if isTerminal {
      Console.write(question, to: .error)
      CurrentProcess.setEcho(on: false)
    }
    let line = readLine()
    if isTerminal {
      CurrentProcess.setEcho(on: true)
      Console.write("\n", to: .error)
    }
    if let signal = CurrentProcess.rememberedSignal { throw Failure(.interrupted(signal: signal), "interrupted") }
    guard let secret = line.map({ ResticAccess.trimmed(Array($0.utf8)) }), !secret.isEmpty
    else { throw Failure(.usage, "no password was given") }
    return secret
  }
}
