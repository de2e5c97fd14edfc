public import Model

/// The aspects in which two entries of the same name and kind differ.
public struct ChangedAspects: OptionSet, Sendable, Hashable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static let content = ChangedAspects(rawValue: 1)
  public static let target = ChangedAspects(rawValue: 2)
  public static let device = ChangedAspects(rawValue: 4)
  public static let permissions = ChangedAspects(rawValue: 8)
  public static let owner = ChangedAspects(rawValue: 16)
  public static let modified = ChangedAspects(rawValue: 32)
  public static let attributes = ChangedAspects(rawValue: 64)
  public static let links = ChangedAspects(rawValue: 128)

  private static let names: [(ChangedAspects, String)] = [
    (.content, "content"), (.target, "target"), (.device, "device"), (.permissions, "mode"),
    (.owner, "owner"), (.modified, "mtime"), (.attributes, "attributes"), (.links, "hard links"),
  ]

  /// The aspects in words, such as "content", "mode", "owner", "mtime".
  public var words: [String] { Self.names.filter { contains($0.0) }.map(\.1) }
}

/// One difference between two snapshots.
public struct Change: Sendable {
  public enum Verb: String, Sendable { case added, removed, changed }
  public let verb: Verb
  /// Components from the snapshot's root.
  public let path: [[UInt8]]
  public let kind: EntryKind
  public let aspects: ChangedAspects
  /// The size of a regular file before and after, in bytes.
  public let sizeBefore: UInt64?
  public let sizeAfter: UInt64?
}

/// Compares two snapshots by their catalogs, or one directory or file of each, and reports every difference in the
/// order of `forEachDifference`.
public func compareCatalogs(
  _ left: CatalogReader, right: CatalogReader, under path: [[UInt8]] = [], report: (Change) throws -> Void
) throws {
  do {
    try forEachDifference(from: left, to: right, under: path) { entries, place in
      switch entries {
      case .left(let entry): try report(Change(.removed, at: place.path, from: entry, to: nil))
      case .right(let entry): try report(Change(.added, at: place.path, from: nil, to: entry))
      case .both(let before, let after):
        guard before.kind == after.kind else {
          try report(Change(.removed, at: place.path, from: before, to: nil))
          return try report(Change(.added, at: place.path, from: nil, to: after))
        }
        let aspects = changedAspects(from: before, to: after)
        if !aspects.isEmpty {
          try report(Change(.changed, at: place.path, aspects: aspects, from: before, to: after))
        }
      }
    }
  } catch let failure as LeftCatalogError { throw failure.error }
}

extension Change {
  fileprivate init(
    _ verb: Verb, at path: [[UInt8]], aspects: ChangedAspects = [], from before: Found?, to after: Found?
  ) {
    self.verb = verb
    self.path = path
    self.aspects = aspects
    kind = (before ?? after)!.kind
    sizeBefore = before?.byteCount
    sizeAfter = after?.byteCount
  }
}

private func changedAspects(from before: Found, to after: Found) -> ChangedAspects {
  switch (before, after) {
  case (.directory(let a, _), .directory(let b, _)):
    var aspects = metadataAspects(from: a.metadata, to: b.metadata)
    if a.attributes != b.attributes { aspects.insert(.attributes) }
    return aspects
  case (.file(let a, let left), .file(let b, let right)): return changedAspects(from: (a, left), to: (b, right))
  default: return []
  }
}

private typealias RecordFile = (row: FileRow, record: DirectoryRecord)

/// The differences of two files of one kind. One content may have digests of two forms.
private func changedAspects(from left: RecordFile, to right: RecordFile) -> ChangedAspects {
  let (a, b) = (left.row, right.row)
  var aspects = metadataAspects(from: a.metadata, to: b.metadata)
  switch a.kind {
  case .regular:
    let isSame = a.size == b.size && a.digest.isConsistent(with: b.digest, sameTime: !aspects.contains(.modified))
    if !isSame { aspects.insert(.content) }
  case .symbolicLink:
    if left.record.target(of: a) != right.record.target(of: b) { aspects.insert(.target) }
  case .characterDevice, .blockDevice: if a.size != b.size { aspects.insert(.device) }
  default: break
  }
  if left.record.attributes(of: a) != right.record.attributes(of: b) { aspects.insert(.attributes) }
  if a.linkGroup != b.linkGroup { aspects.insert(.links) }
  return aspects
}

/// The aspects in which the metadata of two entries differ.
public func metadataAspects(from a: Metadata, to b: Metadata) -> ChangedAspects {
  var aspects: ChangedAspects = []
  if a.permissions != b.permissions { aspects.insert(.permissions) }
  if (a.user, a.group) != (b.user, b.group) { aspects.insert(.owner) }
  if a.modified != b.modified { aspects.insert(.modified) }
  return aspects
}
