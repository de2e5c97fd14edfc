internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

struct AuditCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit", abstract: "Measure the 3-2-1 rule: are there three copies, on two media, one elsewhere?",
    discussion: """
      Counts the copies of the configured data that are new enough, complete and verified, the media below them, and \
      the places. Then it shows the worst gap of each source and database in 30 days, the job that runs treering, and \
      data that is in no backup. Each line has its source, and a remedy if it falls short. Nothing is connected to \
      without --probe, and no tree is read. The exit status is 0 if nothing falls short, and 1 otherwise.

      Example:
        treering audit
        treering audit --json > /var/www/status/audit.json
      """)

  @Flag(help: "Connect to the remotes, and ask whether this machine's keys could remove data there.")
  var probe = false

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let file = try common.requiredConfiguration()
    let repository = try common.openRepository()
    guard try file.isOf(repository) else {
      throw Failure(
        .usage, "the configuration \(displayName(file.path)) is not of the repository \(displayName(repository.path))",
        path: file.path, hint: "name the right one with --config")
    }
    let now = Clock.now()
    let collection = try AuditCollection(of: repository, configuration: file, at: now)
    let facts = try collection.facts(removals: probe ? collection.removals(options: common) : nil)
    let audit = Audit(of: facts)
    let status = audit.isWell ? ExitStatus.done : .warnings
    common.answer(AuditAnswer(of: audit, from: facts, at: now), lines: AuditPage(of: audit, from: facts).lines)
    // A user who may only read the repository may audit it.
    if CurrentProcess.effectiveUser == repository.identity.user || CurrentProcess.effectiveUser == 0 {
      repository.history.record(
        AuditLine(
          time: now.rfc3339, exitStatus: status.code, error: nil, short: audit.short.count, copies: audit.copies.count,
          media: audit.media, offSite: audit.offSite.count))
    }
    return status
  }
}
