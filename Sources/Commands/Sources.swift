internal import Catalog
internal import Posix
internal import Repository

/// The sources that the operator named, as absolute paths of readable directories, each once.
func checkedSources(_ sources: [[UInt8]]) throws(Failure) -> [[UInt8]] {
  var paths: [[UInt8]] = []
  for source in sources {
    let path = try absolutePath(source)
    let shown = displayName(path)
    do {
      let opened = try Descriptor.open(path: path, .pathOnly)
      guard try opened.status().kind == .directory else {
        throw Failure(
          .usage, "the source \(shown) is not a directory", hint: "name the directory that holds it")
      }
      _ = try Descriptor.open(path: path, [.read, .directory])
    } catch let failure as Failure {
      throw failure
    } catch { throw Failure(.usage, "cannot read the source \(shown): \(error)") }
    if !paths.contains(path) { paths.append(path) }
  }
  return paths
}

/// The name of one directory.
func checkedLabel(_ label: String) throws(Failure) -> [UInt8] {
  let bytes = argumentBytes(label)
  guard !bytes.isEmpty, bytes.count <= 255, !bytes.contains(slash),
    bytes != [UInt8(ascii: ".")], bytes != Array("..".utf8)
  else {
    throw Failure(.usage, "--label takes the name of one directory, such as a host's name")
  }
  return bytes
}

/// A source inside the repository would back up backups for ever. Says so where that cannot be seen of bind mounts.
func refuseSourcesInside(_ repository: Repository, _ sources: [[UInt8]]) throws(Failure) {
  for source in sources {
    guard let directory = try? Descriptor.open(path: source, .pathOnly),
      (try? repository.contains(directory)) == true
    else { continue }
    throw Failure(
      .usage,
      "the source \(displayName(source)) is inside the repository \(displayName(repository.path))",
      hint: "name the directory you want to back up")
  }
  guard !Repository.canSeeMounts else { return }
  Console.complain(
    "note: /proc is not mounted: bind mounts of directories of the repository cannot be told from others, and "
      + "attributes of symbolic links and devices cannot be read")
}
