/// Random access to the bytes of one version of a file.
public protocol ByteSource: AnyObject {
  /// The size of the whole version in bytes.
  var byteCount: UInt64 { get }

  /// Reads into the buffer from byte `offset` on; returns the number of bytes read. That is less than the buffer's
  /// size only at the end, or if the file has shrunk.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Int

  /// The number of bytes from `offset` on that are known to be zeros without reading them.
  func zeroBytes(at offset: UInt64) throws -> UInt64
}

extension ByteSource {
  public func zeroBytes(at offset: UInt64) throws -> UInt64 { 0 }
}

/// A version in memory.
public final class MemorySource: ByteSource {
  private let bytes: [UInt8]

  public init(_ bytes: [UInt8]) { self.bytes = bytes }

  public var byteCount: UInt64 { UInt64(bytes.count) }

  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Int {
    guard offset < UInt64(bytes.count) else { return 0 }
    let count = min(buffer.count, bytes.count - Int(offset))
    bytes.withUnsafeBytes {
      buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[Int(offset)..<Int(offset) + count]))
    }
    return count
  }
}

/// The reason why a difference could not be computed.
public struct DeltaError: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }

  /// A source has fewer bytes than its `byteCount`.
  public static let shortened = DeltaError("the file became shorter while it was read")
}

extension ByteSource {
  /// The number of bytes as an `Int`, small enough that sums of positions cannot overflow.
  func countedBytes() throws(DeltaError) -> Int {
    guard let count = Int(exactly: byteCount), count <= Int.max / 4 else { throw DeltaError("the file is too large") }
    return count
  }

  /// Fills the buffer; throws if the source has fewer bytes than its `byteCount`.
  func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = try read(into: rest, at: UInt64(offset + done))
      guard count > 0, count <= rest.count else { throw DeltaError.shortened }
      done += count
    }
  }
}
