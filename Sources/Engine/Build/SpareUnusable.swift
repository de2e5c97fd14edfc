internal import Catalog

/// Something in the expired tree that is recycled cannot be changed: the snapshot has to be built without that tree.
struct SpareUnusable: Error, CustomStringConvertible {
  /// As the operator knows it.
  let path: [UInt8]
  let reason: any Error

  var description: String { "\(displayName(path)): \(reason)" }
}
