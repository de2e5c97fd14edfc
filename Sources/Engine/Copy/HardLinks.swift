internal import Model

/// The first stored name of an inode with several names.
struct FirstName<Value: Sendable>: Sendable {
  /// The directory of the name, from the root of the walk.
  var directory: TreePath
  var name: [UInt8]
  var inode: UInt64
  var value: Value
}

/// Makes the names of one inode names of one stored inode: the first is stored, and the others are linked to it.
final class HardLinks<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  private let names = LinkTable<Key, FirstName<Value>>()

  /// Links a name to the first name of its inode, or stores it as the first.
  ///
  /// If `link` returns false, the first name has changed or can take no more links. Then `store` stores the name anew,
  /// and later names are linked to it. `store` gets the first name, and returns `nil` if it stored nothing. False if
  /// there is no such name now.
  @discardableResult
  func add(
    _ key: Key, link: (FirstName<Value>) throws -> Bool,
    store: (_ first: FirstName<Value>?) throws -> FirstName<Value>?
  ) throws -> Bool {
    let first = names.begin(key)
    if let first, try link(first) { return true }
    var stored: FirstName<Value>?
    // The first caller must say so if it stored nothing; a later one must not undo the work of the first.
    defer { if stored != nil || first == nil { names.finish(key, storing: stored) } }
    stored = try store(first)
    return stored != nil
  }

  /// The first name of an inode; a caller without one sets it.
  func first(for key: Key, orSet name: @autoclosure () -> FirstName<Value>) -> FirstName<Value>? {
    if let first = names.begin(key) { return first }
    names.finish(key, storing: name())
    return nil
  }
}
