internal import Engine

/// The limits of a push's use of memory and disk. They follow from the bytes received, not from the bytes announced.
struct ReceptionLimits {
  /// The most bytes of records for each byte received. No real directory compresses as well as that.
  private static let expansion: UInt64 = 1024
  /// The records of a small snapshot, whatever has been received.
  private static let freeRecordBytes: UInt64 = 16 << 20
  private static let freeReferences: UInt64 = 4096
  /// A reference is for a row whose digest was received: 32 bytes that do not compress.
  private static let bytesPerReference: UInt64 = 16
  /// Or the row was built from the base's record, as after a renaming of many files, or it was received before.
  private static let knownBytesPerReference: UInt64 = 32

  let channel: Channel
  let staging: PushStaging
  var recordBytes: UInt64 = 0
  /// Bytes of the base's records that they could be built from.
  var baseRecordBytes: UInt64 = 0
  /// Bytes of the received records that were read again.
  var repeatedRecordBytes: UInt64 = 0
  /// The number of references to entries that the base has under other paths.
  var references: UInt64 = 0

  private var receivedBytes: UInt64 { channel.bytesReceived.value }

  /// Begins a record that may be built from so many bytes of the base's record.
  mutating func beginRecord(baseByteCount: Int) { baseRecordBytes &+= UInt64(baseByteCount) }

  /// Throws if so many bytes of the present record are too many.
  func checkRecord(byteCount: Int) throws {
    let limit =
      Self.freeRecordBytes &+ Self.expansion &* receivedBytes &+ 16 &* baseRecordBytes &+ staging.parts.byteCount
    guard recordBytes &+ UInt64(byteCount) <= limit
    else { throw ProtocolViolation("a directory has more in it than came") }
  }

  mutating func endRecord(byteCount: Int) { recordBytes &+= UInt64(byteCount) }

  /// Counts a received record that is read again, and throws if there are too many.
  mutating func countRepeatedRecord(byteCount: Int) throws {
    repeatedRecordBytes &+= UInt64(byteCount)
    guard repeatedRecordBytes <= Self.freeRecordBytes &+ 4 &* staging.parts.byteCount
    else { throw ProtocolViolation("the same directories come again and again") }
  }

  /// Counts a reference, and throws if there are too many.
  mutating func countReference() throws {
    references &+= 1
    let bytes = receivedBytes &+ staging.receivedBefore
    let known = baseRecordBytes &+ min(repeatedRecordBytes, Self.freeRecordBytes)
    let limit =
      Self.freeReferences &+ bytes / Self.bytesPerReference &+ known / Self.knownBytesPerReference
    guard references <= limit
    else { throw ProtocolViolation("the stream has more references than its records can have rows") }
  }
}
