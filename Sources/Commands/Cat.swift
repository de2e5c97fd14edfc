internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

struct CatCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cat",
    abstract: "Write files of a snapshot to standard output.",
    discussion: """
      The content is checked against its SHA-256 while it is written. If it is not the content that was saved, \
      the command ends with an error and status 6, after all of it is written.

      A SNAPSHOT is a name or its beginning, a local day or time such as 2026-11-21, '2026-11-21 20:00', yesterday or \
      3d, a member of a set such as daily.0, or latest. The newest of them \
      that has the paths is taken.

      Example:
        treering cat latest /etc/fstab --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("The snapshot to read from.", valueName: "snapshot"), completion: .snapshot)
  var snapshot: String

  @Argument(
    help: ArgumentHelp("The files, named as at the source.", valueName: "path"), completion: .path(inSnapshotAt: 0))
  var paths: [PathArgument] = []

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    try requireSnapshot(snapshot, before: paths)
    if paths.isEmpty {
      throw ValidationError("name a file, such as: treering cat \(displayName(snapshot.utf8)) /etc/fstab")
    }
  }

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let chosen = try common.openSnapshot(snapshot, having: paths, connection: connection)
    let (name, choice) = (chosen.name, chosen.choice)
    let lock = chosen.lock()
    defer { withExtendedLifetime(lock) {} }
    let reader = try chosen.openCatalog()
    // Everything is looked up before the first byte is written.
    let rows = try zip(paths, choice.places).map { path, place in
      let shown = displayName(path.bytes)
      switch try reader.find(place) {
      case .file(let row, let record)?:
        if row.kind == .regular { return row }
        let target = row.kind == .symbolicLink ? " to \(displayName(record.target(of: row)))" : ""
        throw Failure(.usage, "\(shown) is a \(row.kind.word)\(target), and no file")
      case .directory?: throw Failure(.usage, "\(shown) is a directory", hint: "list it with treering ls")
      case nil: throw Failure(.usage, "\(shown) is not in the snapshot \(name)", path: path.bytes)
      }
    }
    if let note = chosen.note, !common.quiet { Console.note(note) }
    let content = FileContent(from: chosen.store.contents(of: name))
    var status = ExitStatus.done
    for ((path, place), row) in zip(zip(paths, choice.places), rows) where row.size > 0 {
      // A remote's errors name the remote; an error of standard output is none of its.
      var outputError: Errno?
      let damage: String?
      do {
        damage = try content.read(row, at: place) { bytes in
          do throws(Errno) { try CurrentProcess.write(Array(bytes), to: .output) } catch {
            outputError = error
            throw error
          }
        }
      } catch { throw outputError ?? error }
      guard let damage else { continue }
      status = .damaged
      let sentence = "\(displayName(path.bytes)): is damaged in \(name): \(damage)"
      Console.complain(of: Failure(.damaged, sentence, path: path.bytes), status: status)
    }
    return status
  }
}
