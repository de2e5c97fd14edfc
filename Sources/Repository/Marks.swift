public import Model
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

/// The marks of snapshots.
public struct SnapshotMarks {
  let repository: Repository

  private func directory(of mark: SnapshotMark) throws(Errno) -> Directory {
    try repository.control.directory(Array(mark.rawValue.utf8).span)
  }

  /// The snapshots with a mark, each with the time of the mark and its reason.
  public func all(_ mark: SnapshotMark) throws(Failure) -> [SnapshotName: String] {
    var marks: [SnapshotName: String] = [:]
    do throws(Errno) {
      let directory = try directory(of: mark)
      for name in try directory.names().compactMap({ SnapshotName($0) }) {
        // A mark counts even if its reason cannot be read.
        let text = (try? repository.file(named: name.bytes, in: directory).read(limit: 1 << 16)) ?? []
        marks[name] = displayName(text.last == 10 ? text.dropLast() : text)
      }
      return marks
    } catch {
      if error == .noSuchEntry { return [:] }
      throw Failure(
        .failed, "cannot read \(displayName(repository.path))/.treering/\(mark.rawValue): \(error)",
        path: repository.path)
    }
  }

  /// True if a snapshot has the mark, or if the mark cannot be read.
  public func contains(_ mark: SnapshotMark, on name: SnapshotName) -> Bool {
    do throws(Errno) {
      _ = try directory(of: mark).descriptor.status(of: name.bytes.span)
      return true
    } catch { return error != .noSuchEntry }
  }

  /// Marks a snapshot.
  public func add(_ mark: SnapshotMark, to name: SnapshotName, reason: String, at time: Timestamp) throws(Failure) {
    do {
      try repository.makeDirectory(Array(mark.rawValue.utf8), in: repository.control)
      let since = CalendarTime(seconds: time.seconds).rfc3339
      try repository.file(named: name.bytes, in: directory(of: mark))
        .replace(with: Array("\(since)\(reason.isEmpty ? "" : " ")\(reason)\n".utf8))
      try repository.control.descriptor.synchronize()
    } catch { throw .writing("mark the snapshot \(name) as \(mark.rawValue) in", at: repository.path, because: error) }
  }

  /// Holds the last snapshot before a suspect change. An existing hold stays, with its reason.
  public func hold(_ name: SnapshotName, asLastBefore change: String, at time: Timestamp) throws(Failure) {
    if try all(.held)[name] != nil { return }
    try add(.held, to: name, reason: "\(Self.lastBefore)\(change)", at: time)
  }

  /// The snapshots that are held because they are the last before a suspect change, each with the change.
  public func lastBeforeChanges() throws(Failure) -> [SnapshotName: String] {
    try all(.held).compactMapValues { text in
      // A mark is a time and a reason.
      guard let reason = text.split(separator: " ", maxSplits: 1).dropFirst().first, reason.hasPrefix(Self.lastBefore)
      else { return nil }
      return String(reason.dropFirst(Self.lastBefore.count))
    }
  }

  private static var lastBefore: String { "the last before a suspect change: " }

  /// Removes a mark. Returns false if there was none.
  @discardableResult
  public func remove(_ mark: SnapshotMark, from name: SnapshotName) throws(Failure) -> Bool {
    do throws(Errno) { return try repository.file(named: name.bytes, in: directory(of: mark)).remove() } catch {
      if error == .noSuchEntry { return false }
      throw .writing("take the mark \(mark.rawValue) from the snapshot \(name) in", at: repository.path, because: error)
    }
  }
}
