public import Catalog
internal import Posix

/// A snapshot that a remote may have as well.
public struct BaseCandidate: Sendable {
  public var name: SnapshotName
  public var catalog: OpenCatalog
  public var summary: CatalogSummary { catalog.summary }
  /// False where only its catalog is left here.
  public var isHere: Bool
}

/// Keeps a snapshot from being expired as long as somebody refers to it.
public final class SnapshotUse: Sendable {
  private let file: Descriptor
  init(_ file: consuming Descriptor) { self.file = file }
}

// What pushes leave behind, and what they need to stay: `remotes/ID/NAME.catalog`, where ID is the remote
// repository's, is the catalog of the snapshot that was pushed last, and `remotes/ID/address` how it was reached.
extension Repository {
  private static let remotesName = Array("remotes".utf8)
  private static let addressName = Array("address".utf8)

  /// Takes a snapshot into use; it is not expired before the end. A process that ends gives it up.
  public func use(_ name: SnapshotName) throws(Failure) -> SnapshotUse {
    let catalogs = try directory(Self.catalogsName)
    do {
      let file = try catalogs.descriptor.openToRead(name.catalogName.span)
      // A rotation looks whether somebody has it, for a moment.
      for attempt in 0... {
        do {
          try file.lockShared()
          break
        } catch {
          guard error == .wouldBlock, attempt < 1500 else { throw error }
          Process.sleep(milliseconds: 20)
        }
      }
      // It may have expired before it was taken into use.
      let status = try catalogs.descriptor.status(of: name.catalogName.span)
      guard status.inode == (try file.status().inode) else { throw Errno.staleHandle }
      return SnapshotUse(file)
    } catch {
      throw Failure(.failed, "the snapshot \(name) of \(displayName(path)) cannot be taken into use: \(error)")
    }
  }

  /// Keeps everybody from taking a snapshot into use, so that it can expire; `nil` where somebody is using it.
  public func claim(_ name: SnapshotName) -> SnapshotUse? {
    guard let catalogs = try? directory(Self.catalogsName),
      let file = try? catalogs.descriptor.openToRead(name.catalogName.span), (try? file.lockExclusively()) != nil
    else { return nil }
    return SnapshotUse(file)
  }

  /// What may serve as base for a push to a repository: what was pushed there last, then all snapshots, the newest
  /// first.
  public func baseCandidates(remote id: [UInt8]) throws(Failure) -> [BaseCandidate] {
    let list = try snapshots()
    var candidates = try [lastPush(to: id)].compactMap { $0 }
    for snapshot in list.snapshots.reversed() where snapshot.name != candidates.first?.name {
      guard let catalog = try? openCatalog(snapshot.name) else { continue }
      candidates.append(BaseCandidate(name: snapshot.name, catalog: catalog, isHere: true))
    }
    return candidates
  }

  /// What was pushed last to a repository, as far as is known here.
  public func lastPush(to id: [UInt8]) throws(Failure) -> BaseCandidate? {
    guard let remotes = try? control.directory(Self.remotesName.span), let own = try? remotes.directory(id.span) else {
      return nil
    }
    var listing = DirectoryListing()
    guard (try? listing.read(own.descriptor)) != nil else { return nil }
    let suffix = Array(".catalog".utf8)
    for entry in listing.entries.reversed() {
      let found = Array(listing.bytes[entry.range])
      guard found.suffix(suffix.count) == suffix[...], let name = SnapshotName(found.dropLast(suffix.count)),
        let file = try? own.descriptor.openToRead(found.span), let source = try? CatalogFile(file),
        let catalog = try? OpenCatalog(source)
      else { continue }
      let isHere = (try? openCatalog(name))?.summary.root.digest == catalog.summary.root.digest
      return BaseCandidate(name: name, catalog: catalog, isHere: isHere)
    }
    return nil
  }

  /// What was pushed last to a remote that was reached by this address, and when it was there.
  public func lastPush(address: [UInt8]) throws(Failure) -> (name: SnapshotName, time: Timestamp)? {
    for id in remoteIDs() {
      guard let file = try? control.directory(path: [Self.remotesName, id]).descriptor.openToRead(Self.addressName.span),
        (try? file.readToEnd(limit: 1 << 16)) == address, let time = try? file.status().modified,
        let name = try lastPush(to: id)?.name
      else { continue }
      return (name, time)
    }
    return nil
  }

  private func remoteIDs() -> [[UInt8]] {
    var listing = DirectoryListing()
    guard let remotes = try? control.directory(Self.remotesName.span), (try? listing.read(remotes.descriptor)) != nil
    else { return [] }
    return listing.entries.map { Array(listing.bytes[$0.range]) }
  }

  /// Keeps the catalog of a snapshot that a remote has now, in the place of an older one.
  public func rememberPush(of name: SnapshotName, to id: [UInt8], address: [UInt8]) throws(Failure) {
    let catalogs = try directory(Self.catalogsName)
    do {
      try Self.makeIfMissing(Self.remotesName, in: control.descriptor)
      let remotes = try control.directory(Self.remotesName.span)
      // Another repository that was there before is there no more.
      for other in remoteIDs() where other != id {
        guard let found = try? remotes.directory(other.span),
          (try? found.descriptor.openToRead(Self.addressName.span).readToEnd(limit: 1 << 16)) == address
        else { continue }
        try found.descriptor.unlink(Self.addressName.span)
      }
      try Self.makeIfMissing(id, in: remotes.descriptor)
      let own = try remotes.directory(id.span)
      do throws(Errno) {
        try catalogs.descriptor.link(name.catalogName.span, to: own.descriptor, as: name.catalogName.span)
      } catch {
        guard error == .exists else { throw error }
      }
      var listing = DirectoryListing()
      try listing.read(own.descriptor)
      for entry in listing.entries where listing.bytes[entry.range] != name.catalogName[...] {
        let other = Array(listing.bytes[entry.range])
        try own.descriptor.unlink(other.span)
      }
      let file = try own.descriptor.open(Self.addressName.span, [.write, .create, .truncate], mode: 0o600)
      try file.write(address)
      try own.descriptor.synchronize()
    } catch { throw .writing("remember a push in", path, error) }
  }
}
