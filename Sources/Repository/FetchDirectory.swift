internal import Catalog
internal import Model
public import Posix
internal import Synchronization

extension Repository {
  /// `.treering/fetched`, into which sources of other hosts are fetched before a snapshot takes them in.
  public var fetches: FetchDirectory { FetchDirectory(repository: self) }
}

/// The directory of the fetched trees. The caller of its functions holds the lock.
public struct FetchDirectory {
  let repository: Repository
  private static let name = Array("fetched".utf8)

  /// The place of one source.
  public struct Place: Sendable {
    public let directory: Directory
    /// The absolute path of the directory.
    public let path: [UInt8]

    /// The name of the tree that is being fetched, and of one whose fetch was interrupted.
    public static let tree = Array("tree".utf8)
    public static let interrupted = Array("interrupted".utf8)
  }

  static func name(of source: [UInt8]) -> [UInt8] {
    Array(SHA256().digest(of: source).description.utf8.prefix(32))
  }

  /// Opens the place of a source, or makes it. Its name is the same in every run.
  public func place(of source: [UInt8]) throws(Failure) -> Place {
    let name = Self.name(of: source)
    do {
      try repository.makeDirectory(Self.name, in: repository.control)
      let all = try repository.control.directory(Self.name.span)
      try repository.makeDirectory(name, in: all)
      let directory = try all.directory(name.span)
      // A fetched tree may have only the ACLs of its source.
      try directory.descriptor.dropInheritedACLs()
      let place: TreePath = [Repository.controlName, Self.name, name]
      return Place(directory: directory, path: place.bytes(below: try CurrentProcess.realPath(repository.path)))
    } catch { throw .writing("prepare .treering/fetched of", at: repository.path, because: error) }
  }

  /// Moves an entry of a place to the trash, if it is there. Its files may be stored inodes, so nothing may write to
  /// them.
  public func discard(_ name: [UInt8], of place: Place) throws(Failure) {
    do throws(Errno) { try repository.retirement.discard(name, of: place.directory) } catch {
      if error == .noSuchEntry { return }
      throw .writing("remove a fetched tree in", at: repository.path, because: error)
    }
  }

  /// Keeps the tree of an interrupted fetch for the next one, which links to its files.
  ///
  /// A tree that is not durable is given up: its data may be lost before the next run.
  public func keepInterrupted(_ place: Place) {
    let (tree, interrupted) = (Place.tree, Place.interrupted)
    do {
      try discard(interrupted, of: place)
      try repository.publication.synchronizeFileSystem(through: place.directory.descriptor)
      try place.directory.descriptor.rename(tree.span, to: place.directory.descriptor, as: interrupted.span)
    } catch { try? discard(tree, of: place) }
  }

  /// Moves all to the trash but the interrupted trees of these sources. A tree that cannot be moved is noted.
  public func discard(but sources: [[UInt8]]) {
    discardReceivers(but: sources)
    do {
      let all: Directory
      do throws(Errno) { all = try repository.control.directory(Self.name.span) } catch {
        if error == .noSuchEntry { return }
        throw error
      }
      let kept = Set(sources.map(Self.name(of:)))
      for name in try all.names() {
        let place = kept.contains(name) ? try all.directory(name.span) : nil
        let hasInterrupted = try place?.descriptor.statusIfPresent(of: Place.interrupted.span) != nil
        if hasInterrupted, let place {
          let place = Place(directory: place, path: [])
          try discard(Place.tree, of: place)
        } else {
          try repository.retirement.discard(name, of: all)
        }
      }
    } catch { repository.problems.note("cannot be removed", at: [Self.name], because: error) }
  }
}
