public import Model

/// Delivers the files of a snapshot in another repository. Only one thread at a time may use it.
public protocol ContentFetcher: AnyObject, Sendable {
  /// Requests a stored file by its path from the snapshot's root.
  ///
  /// Several files may be requested before the first is received. They come in the order of the requests.
  func request(_ path: TreePath) throws
  /// Receives the next requested file in pieces, `byteCount` bytes in total.
  ///
  /// `takeZeros` gets the number of zeros that come as a hole. Returns the reason if the file cannot be delivered,
  /// otherwise `nil`.
  func receive(
    byteCount: UInt64, takeZeros: (UInt64) throws -> Void, _ take: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> String?
}
