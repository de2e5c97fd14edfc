public import Catalog
internal import Posix

/// A finding of the operator or of a verification about a snapshot.
///
/// Each one is a small file in the directory `.treering/KIND`.
public enum SnapshotMark: String, CaseIterable, Sendable {
  /// The snapshot never expires.
  case held
  /// The snapshot differs from its catalog. A verification that finds the snapshot intact removes this mark.
  case damaged
  /// A repair has replaced files, so their inode numbers differ from those in the catalog.
  case repaired
}

extension Repository {
  private func directory(of kind: SnapshotMark) throws(Errno) -> Directory {
    try control.directory(Array(kind.rawValue.utf8).span)
  }

  /// The snapshots with a mark, each with the time of the mark and its reason.
  public func marks(_ kind: SnapshotMark) throws(Failure) -> [SnapshotName: String] {
    var marks: [SnapshotName: String] = [:]
    do throws(Errno) {
      let directory = try directory(of: kind)
      var listing = DirectoryListing()
      try listing.read(directory.descriptor)
      for entry in listing.entries {
        let found = Array(listing.bytes[entry.range])
        guard let name = SnapshotName(found) else { continue }
        let text = try? directory.descriptor.openToRead(found.span).readToEnd(limit: 1 << 16)
        marks[name] = displayName((text ?? []).last == 10 ? text!.dropLast() : text ?? [])
      }
      return marks
    } catch {
      if error == .noSuchEntry { return [:] }
      throw Failure(.failed, "cannot read \(displayName(path))/.treering/\(kind.rawValue): \(error)")
    }
  }

  /// True if a snapshot has the mark, or if the mark cannot be read.
  public func isMarked(_ name: SnapshotName, _ kind: SnapshotMark) -> Bool {
    do throws(Errno) {
      _ = try directory(of: kind).descriptor.status(of: name.bytes.span)
      return true
    } catch { return error != .noSuchEntry }
  }

  /// Marks a snapshot.
  public func mark(
    _ name: SnapshotName, _ kind: SnapshotMark, reason: String, at time: Timestamp
  ) throws(Failure) {
    do {
      try makeDirectory(Array(kind.rawValue.utf8), in: control.descriptor)
      let directory = try directory(of: kind)
      let file = try openFile(name.bytes, in: directory.descriptor, [.write, .truncate])
      let since = CalendarTime(seconds: time.seconds).rfc3339
      try file.write(Array("\(since)\(reason.isEmpty ? "" : " ")\(reason)\n".utf8))
      try file.synchronize()
      try directory.descriptor.synchronize()
      try control.descriptor.synchronize()
    } catch { throw .writing("mark the snapshot \(name) as \(kind.rawValue) in", path, error) }
  }

  /// Removes a mark. Returns false if there was none.
  public func unmark(_ name: SnapshotName, _ kind: SnapshotMark) throws(Failure) -> Bool {
    do throws(Errno) {
      let directory = try directory(of: kind)
      try directory.descriptor.unlink(name.bytes.span)
      try directory.descriptor.synchronize()
      return true
    } catch {
      if error == .noSuchEntry { return false }
      throw .writing("take the mark \(kind.rawValue) from the snapshot \(name) in", path, error)
    }
  }
}
