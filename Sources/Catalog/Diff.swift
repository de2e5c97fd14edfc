public import Model

/// The aspects in which two entries of the same name and kind differ.
public struct ChangedAspects: OptionSet, Sendable, Hashable {
  public let rawValue: UInt16
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  public static let content = ChangedAspects(rawValue: 1)
  public static let target = ChangedAspects(rawValue: 2)
  public static let device = ChangedAspects(rawValue: 4)
  public static let permissions = ChangedAspects(rawValue: 8)
  public static let owner = ChangedAspects(rawValue: 16)
  public static let modified = ChangedAspects(rawValue: 32)
  public static let attributes = ChangedAspects(rawValue: 64)
  public static let links = ChangedAspects(rawValue: 128)
  public static let accessControl = ChangedAspects(rawValue: 256)

  private static let names: [(ChangedAspects, String)] = [
    (.content, "content"), (.target, "target"), (.device, "device"), (.permissions, "mode"),
    (.owner, "owner"), (.modified, "mtime"), (.accessControl, "ACL"), (.attributes, "attributes"),
    (.links, "hard links"),
  ]

  /// The aspects in words, such as "content", "mode", "owner", "mtime".
  public var words: [String] { Self.names.filter { contains($0.0) }.map(\.1) }
}

/// One difference between two snapshots.
public struct Change: Sendable {
  public enum Verb: String, Sendable, CaseIterable { case added, removed, changed, renamed }
  public let verb: Verb
  /// The path from the snapshot's root.
  public let path: TreePath
  /// The path of a renamed entry in the first snapshot; `nil` for other changes.
  public private(set) var pathBefore: TreePath?
  public let kind: EntryKind
  public let aspects: ChangedAspects
  /// The size of a regular file before and after, in bytes.
  public let sizeBefore: UInt64?
  public let sizeAfter: UInt64?
  /// The number of entries below a renamed directory.
  public private(set) var entriesBelow: UInt64 = 0
  /// The extended attributes before and after, if they differ.
  public let attributes: (before: AttributeBlock, after: AttributeBlock)?
}

/// Compares two snapshots by their catalogs, or one directory or file of each, and reports every difference in the
/// order of `forEachDifference`.
///
/// A renamed entry is removed and added; `RenameSearch` finds the two names.
public func compareCatalogs(
  _ left: CatalogReader, right: CatalogReader, under path: TreePath = [], report: (Change) throws -> Void
) throws {
  do {
    try forEachDifference(from: left, to: right, under: path) { entries, place in
      try Change.each(of: entries, at: place.path, report: report)
    }
  } catch let failure as LeftCatalogError { throw failure.error }
}

extension Change {
  init(_ verb: Verb, at path: TreePath, aspects: ChangedAspects = [], from before: Found?, to after: Found?) {
    (self.verb, self.path, self.aspects) = (verb, path, aspects)
    kind = (before ?? after)!.kind
    sizeBefore = before?.byteCount
    sizeAfter = after?.byteCount
    attributes =
      aspects.isDisjoint(with: [.attributes, .accessControl]) ? nil : (before!.attributes, after!.attributes)
  }

  /// A lone entry.
  init(_ verb: Verb, at path: TreePath, kind: EntryKind, size: UInt64?) {
    (self.verb, self.path, self.kind, aspects, attributes) = (verb, path, kind, [], nil)
    sizeBefore = verb == .removed ? size : nil
    sizeAfter = verb == .added ? size : nil
  }

  /// An entry with another path than before.
  init(renamedFrom pathBefore: TreePath, to path: TreePath, from before: Found, to after: Found) {
    self.init(.renamed, at: path, aspects: changedAspects(from: before, to: after), from: before, to: after)
    self.pathBefore = pathBefore
    entriesBelow = after.subtree.map { max($0.totals.entries, 1) - 1 } ?? 0
  }

  /// Reports the differences of two entries at one path.
  static func each(
    of entries: Pair<Found, Found>, at path: TreePath, pathBefore: TreePath? = nil, report: (Change) throws -> Void
  ) rethrows {
    let (before, after) = entries.sides
    if let before, let after, before.kind == after.kind {
      let aspects = changedAspects(from: before, to: after)
      if !aspects.isEmpty { try report(Change(.changed, at: path, aspects: aspects, from: before, to: after)) }
      return
    }
    if let before { try report(Change(.removed, at: pathBefore ?? path, from: before, to: nil)) }
    if let after { try report(Change(.added, at: path, from: nil, to: after)) }
  }
}

/// The differences of two entries of one kind.
private func changedAspects(from before: Found, to after: Found) -> ChangedAspects {
  guard before.kind == after.kind else { return [] }
  var aspects = EntryFacts(of: after).aspects(since: EntryFacts(of: before))
  if case (.file(let a, _), .file(let b, _)) = (before, after), a.linkGroup != b.linkGroup { aspects.insert(.links) }
  return aspects
}

extension EntryFacts {
  /// The aspects in which an entry differs from an older one of its kind. One content may have digests of two forms.
  ///
  /// The content of a directory is that of its subtree, and is not compared.
  public func aspects(since older: EntryFacts) -> ChangedAspects {
    var aspects = metadataAspects(from: older.metadata, to: metadata)
    switch kind {
    case .regular:
      let isSame =
        if let digest, let before = older.digest {
          digest.isConsistent(with: before, sameTime: !aspects.contains(.modified))
        } else { true }
      if size != older.size || !isSame { aspects.insert(.content) }
    case .symbolicLink: if target != older.target { aspects.insert(.target) }
    case .characterDevice, .blockDevice: if size != older.size { aspects.insert(.device) }
    default: break
    }
    aspects.formUnion(attributeAspects(from: older.attributes, to: attributes))
    return aspects
  }
}

/// The aspects in which the metadata of two entries differ.
public func metadataAspects(from a: Metadata, to b: Metadata) -> ChangedAspects {
  var aspects: ChangedAspects = []
  if a.permissions != b.permissions { aspects.insert(.permissions) }
  if (a.user, a.group) != (b.user, b.group) { aspects.insert(.owner) }
  if a.modified != b.modified { aspects.insert(.modified) }
  return aspects
}

private func attributeAspects(from a: AttributeBlock, to b: AttributeBlock) -> ChangedAspects {
  if a == b { return [] }
  guard let (one, other) = try? (a.decoded(), b.decoded()) else { return .attributes }
  func isSame(_ isWanted: ([UInt8]) -> Bool) -> Bool {
    one.filter { isWanted($0.name) }.elementsEqual(other.filter { isWanted($0.name) }) { $0 == $1 }
  }
  var aspects: ChangedAspects = []
  if !isSame({ AccessControlKind(attribute: $0) != nil }) { aspects.insert(.accessControl) }
  if !isSame({ AccessControlKind(attribute: $0) == nil }) { aspects.insert(.attributes) }
  return aspects
}

/// The two ACLs of an inode; see acl(5).
public enum AccessControlKind: String, CaseIterable, Sendable {
  case access = "system.posix_acl_access"
  /// The ACL that new entries of a directory inherit.
  case inherited = "system.posix_acl_default"

  public init?(attribute name: [UInt8]) {
    guard let kind = Self.allCases.first(where: { name == Array($0.rawValue.utf8) }) else { return nil }
    self = kind
  }
}

extension AttributeBlock {
  /// The value of an ACL's attribute; `nil` if there is none.
  public func accessControl(_ kind: AccessControlKind) -> [UInt8]? {
    guard !isEmpty, let attributes = try? decoded() else { return nil }
    return attributes.first { AccessControlKind(attribute: $0.name) == kind }?.value
  }
}
