internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The sources of the command line as distinct absolute paths.
///
/// A missing source is tolerated if others exist, and the snapshot reports it. It is an error if all are missing, or if
/// one is no directory.
func namedSources(_ sources: [[UInt8]]) throws(Failure) -> [[UInt8]] {
  var paths: [[UInt8]] = []
  var missing: [Failure] = []
  for source in sources {
    let path = try absolutePath(of: source)
    if paths.contains(path) { continue }
    paths.append(path)
    if let problem = sourceProblem(at: path) {
      if problem.isMistake { throw problem.failure }
      if case .ssh? = try? RemoteAddress(source) {
        throw Failure(
          .usage, "\(displayName(source)) is on another machine, and a source is a directory of this one", path: source,
          hint: "run treering there, and have it push here; see: treering help push")
      }
      missing.append(problem.failure)
    }
  }
  if let first = missing.first, missing.count == paths.count { throw first }
  return paths
}

/// The reason that a source cannot be read, and whether it is a permanent mistake. `nil` for a readable directory.
func sourceProblem(at path: [UInt8]) -> (failure: Failure, isMistake: Bool)? {
  let shown = displayName(path)
  do throws(Errno) {
    guard try Descriptor.open(path: path, .pathOnly).status().kind == .directory else {
      let failure = Failure(
        .usage, "the source \(shown) is not a directory", path: path, hint: "name the directory that holds it")
      return (failure, true)
    }
    _ = try Descriptor.open(path: path, [.read, .directory])
    return nil
  } catch { return (Failure(.usage, "cannot read the source \(shown): \(error)", path: path), false) }
}

/// Checks that a label is the name of one directory.
func checkedLabel(_ label: String) throws(Failure) -> Name {
  guard let name = Name(argumentBytes(label))
  else { throw Failure(.usage, "--label takes the name of one directory, such as a host's name") }
  return name
}

/// Refuses a source inside the repository, which would back up backups for ever.
///
/// Prints a note if bind mounts cannot be detected.
func refuse(_ sources: [[UInt8]], inside repository: Repository) throws(Failure) {
  for source in sources {
    // A missing source is reported by the snapshot.
    guard let directory = try? Descriptor.open(path: source, .pathOnly) else { continue }
    do {
      guard try repository.location.contains(directory) else { continue }
    } catch {
      // This user cannot have made a repository above a directory that is closed to this user.
      if error.meansNoPermission || error.meansAbsence { continue }
      throw Failure(.usage, "cannot find out where the source \(displayName(source)) is: \(error)", path: source)
    }
    throw Failure(
      .usage, "the source \(displayName(source)) is inside the repository \(displayName(repository.path))",
      path: source,
      hint: "name the directory you want to back up")
  }
  noteMissingProc()
}

/// Notes the limitations of running without proc(5).
func noteMissingProc() {
  guard !RepositoryLocation.canSeeMounts else { return }
  Console.note(
    "/proc is not mounted: bind mounts of directories of the repository cannot be told from others, and "
      + "attributes of symbolic links and devices can be neither read nor set")
}
