internal import Archive
internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

struct ExportCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write a snapshot as an archive to standard output.",
    discussion: """
      The form tar is a pax archive with owners, times, attributes, ACLs, hard links and holes. GNU tar and bsdtar \
      restore it exactly. The form mtree describes each entry for mtree(8) and bsdtar(1), and sha256 is a list for \
      sha256sum(1). Names are those of the source, without the leading slash. Every file is checked while it is written.

      Examples:
        treering export latest /srv/www | gpg -e -r ops@example.org > www.tar.gpg
        treering export latest /etc --format sha256 | (cd / && sha256sum -c --quiet)
      """)

  enum Format: String, CaseIterable { case tar, mtree, sha256 }

  @Argument(help: ArgumentHelp("The snapshot to write.", valueName: "snapshot"), completion: .snapshot)
  var snapshot: String

  @Argument(
    help: ArgumentHelp("What to write, named as at the source; everything, if left out.", valueName: "path"),
    completion: .path(inSnapshotAt: 0))
  var paths: [PathArgument] = []

  @Option(
    help: ArgumentHelp("The form: tar, mtree or sha256.", valueName: "format"), completion: .words(of: Format.self),
    transform: oneOf(for: "--format"))
  var format = Format.tar

  @Flag(help: "Write what the snapshot has, although other snapshots have sources that it lacks.")
  var partial = false

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func validate() throws { try requireSnapshot(snapshot, before: paths, then: "> FILE") }

  func execute() throws -> ExitStatus {
    if format == .tar, CurrentProcess.terminalWidth(of: .output) != nil {
      throw Failure(.usage, "an archive is not written to a terminal", hint: "redirect it: treering export … > FILE")
    }
    CurrentProcess.rememberSignals()
    let chosen = try common.openSnapshot(snapshot, having: paths, connection: connection)
    if !partial { try chosen.choice.refusePartial(in: chosen.list) }
    let name = chosen.name
    let lock = chosen.lock()
    defer { withExtendedLifetime(lock) {} }
    if let note = chosen.note, !common.quiet { Console.note(note) }
    let writer = AnswerWriter()
    defer { writer.flush() }
    let form: any ExportForm =
      switch format {
      case .tar: try TarForm()
      case .mtree: MtreeForm(writer: writer)
      case .sha256: DigestForm(writer: writer)
      }
    var export = Export(
      of: try chosen.openCatalog(), from: FileContent(from: chosen.store.contents(of: name)), as: form)
    do {
      // A path below another one is written once.
      for place in (chosen.choice.places.isEmpty ? [[]] : chosen.choice.places).outermost {
        try export.write(below: place)
      }
      try export.end()
    } catch let error as CatalogError {
      throw Failure(.damaged, "the catalog of \(name) is damaged: \(error); the archive is not complete")
    } catch let error as ArchiveError {
      try checkForSignal()
      let reason = error.number == 0 ? error.message : "\(Errno(error.number))"
      throw Failure(.failed, "cannot write the archive: \(reason)")
    }
    writer.flush()
    for problem in export.problems {
      let sentence = "\(displayName(problem.path)): is damaged in \(name): \(problem.reason)"
      Console.complain(of: Failure(.damaged, sentence, path: problem.path), status: .damaged)
    }
    return export.problems.isEmpty ? .done : .damaged
  }
}
