/// Gives the files of a snapshot that is not here. One thread at a time.
public protocol ContentFetcher: AnyObject, Sendable {
  /// Asks for a stored file, named from the snapshot's root. Several may be asked for before the first is received;
  /// they come in that order.
  func request(_ path: [[UInt8]]) throws
  /// Receives the next that was asked for, piece by piece, `byteCount` bytes; `takeZeros` gets the number of zeros that
  /// come as a hole. Returns why it cannot be had, or `nil`.
  func receive(
    byteCount: UInt64, takeZeros: (UInt64) throws -> Void, _ take: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> String?
}
