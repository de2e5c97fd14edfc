/// Random access to the bytes of one version of a file.
public protocol ByteSource: AnyObject {
  /// Bytes of the whole version.
  var byteCount: UInt64 { get }

  /// Reads up to the buffer's size at `offset`, in bytes, and returns how many bytes it read: fewer only at
  /// the end, or where the file has shrunk.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Int

  /// How many bytes from `offset` on are known to be zeros without a reading of them.
  func zeroBytes(at offset: UInt64) throws -> UInt64
}

extension ByteSource {
  public func zeroBytes(at offset: UInt64) throws -> UInt64 { 0 }
}

/// A version that is in memory.
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

/// Why a difference could not be computed.
public struct DeltaError: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }

  /// A source has fewer bytes than it promised.
  public static let shortened = DeltaError("the file became shorter while it was read")
}

extension ByteSource {
  /// The number of bytes as a position that sums of positions cannot overflow.
  func countedBytes() throws(DeltaError) -> Int {
    guard let count = Int(exactly: byteCount), count <= Int.max / 4 else {
      throw DeltaError("the file is too large")
    }
    return count
  }

  /// Fills the buffer; throws where the source has fewer bytes than it promised.
  func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = try read(into: rest, at: UInt64(offset + done))
      guard count > 0, count <= rest.count else {
        throw DeltaError.shortened
      }
      done += count
    }
  }
}
