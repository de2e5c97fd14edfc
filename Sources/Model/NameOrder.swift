/// The separator of the names in a path.
@inlinable
public var slash: UInt8 { UInt8(ascii: "/") }

/// The position of the first of two names relative to the second.
@frozen
public enum NameOrder: Sendable {
  case before, same, after
}

/// The order of names in all of treering: by bytes, a prefix first.
@inlinable
public func compareNames(_ a: Span<UInt8>, _ b: Span<UInt8>) -> NameOrder {
  let shared = min(a.count, b.count)
  var i = 0
  while i < shared {
    let x = a[unchecked: i]
    let y = b[unchecked: i]
    if x != y { return x < y ? .before : .after }
    i &+= 1
  }
  if a.count == b.count { return .same }
  return a.count < b.count ? .before : .after
}

extension Range<Int> {
  /// The first index for which `isBefore` is false, by binary search; it must be true for all indices before.
  @inlinable
  public func partitionPoint<E: Error>(where isBefore: (Int) throws(E) -> Bool) throws(E) -> Int {
    var (low, high) = (lowerBound, upperBound)
    while low < high {
      let middle = (low + high) / 2
      if try isBefore(middle) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

/// Splits a path into its parent and its last component, which is empty for `/`.
public func splitLast(of path: [UInt8]) -> (parent: [UInt8], name: [UInt8]) {
  var parent = Array(path.reversed().drop { $0 == slash }.reversed())
  let name = Array(parent.reversed().prefix { $0 != slash }.reversed())
  parent.removeLast(name.count)
  return (parent.isEmpty ? [path.first == slash ? slash : UInt8(ascii: ".")] : parent, name)
}
