internal import Model
internal import Posix

extension Repository {
  /// The frozen snapshots of this repository's sources.
  public var frozenRecord: FrozenRecord { FrozenRecord(repository: self) }
}

/// `.treering/frozen`: a line for each frozen snapshot of a source that exists, or may exist.
///
/// A line is written before its snapshot is made. Functions that write need the lock.
public struct FrozenRecord {
  let repository: Repository
  private static let fileBytes = 1 << 20

  private var file: ControlFile { repository.file(named: Array("frozen".utf8)) }

  public func lines() throws(Failure) -> [[UInt8]] {
    do throws(Errno) {
      return try (file.read(limit: Self.fileBytes) ?? []).split(separator: UInt8(ascii: "\n")).map(Array.init)
    } catch {
      throw Failure(.failed, "cannot read \(displayName(repository.path))/.treering/frozen: \(error)")
    }
  }

  /// Replaces all lines. They are durable afterwards.
  public func write(_ lines: [String]) throws(Failure) {
    if !lines.isEmpty { return try repository.replace(file, with: lines.map { $0 + "\n" }.joined()) }
    do { _ = try file.remove() } catch {
      throw .writing("remove .treering/frozen of", at: repository.path, because: error)
    }
  }
}
