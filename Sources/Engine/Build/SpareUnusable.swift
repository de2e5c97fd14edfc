internal import Model

/// An entry of the recycled tree cannot be changed: the snapshot must be built without that tree.
struct SpareUnusable: Error, CustomStringConvertible {
  /// The path as the operator knows it.
  let path: [UInt8]
  let reason: any Error

  var description: String { "\(displayName(path)): \(reason)" }
}
