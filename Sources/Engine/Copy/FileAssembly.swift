public import Catalog
public import Posix

/// What assembling files needs, one after the other.
public final class AssemblyTools {
  let hasher = SHA256()
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
  /// Hashes what this one writes.
  lazy var side = SideThread()

  public init() {}

  deinit { buffer.deallocate() }
}

/// A content on its way into a file, hashed as it comes. Blocks of zeros become holes.
public final class FileAssembly {
  private static let blockBytes = 4096

  public let file: Descriptor
  private let tools: AssemblyTools
  private let buffer: UnsafeMutableRawBufferPointer
  private var filled = 0
  /// Where the buffer's content belongs.
  private var position: UInt64
  private var written: UInt64
  /// What was written, without the holes.
  public private(set) var writtenByteCount: UInt64 = 0
  private let onWork: (UInt64) -> Void
  /// What the file has so far.
  public var byteCount: UInt64 { position + UInt64(filled) }

  /// Goes on with a file that has `offset` bytes already. `onWork` gets the bytes that are done, holes and what is
  /// hashed again of the beginning among them.
  public init(
    _ file: consuming Descriptor, from offset: UInt64, _ tools: AssemblyTools,
    onWork: @escaping (UInt64) -> Void = { _ in }
  ) throws(Errno) {
    self.file = file
    self.onWork = onWork
    self.tools = tools
    buffer = tools.buffer
    tools.hasher.reset()
    position = 0
    written = 0
    while position < offset {
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(offset - position, UInt64(buffer.count)))])
      let count = try self.file.read(into: part, at: position)
      if count == 0 { throw .inputOutput }
      tools.hasher.update(UnsafeRawBufferPointer(rebasing: part[..<count]))
      position += UInt64(count)
      onWork(UInt64(count))
    }
    written = offset
  }

  public func append(_ bytes: UnsafeRawBufferPointer) throws(Errno) {
    var done = 0
    while done < bytes.count {
      let count = min(bytes.count - done, buffer.count - filled)
      UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<filled + count])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[done..<done + count]))
      filled += count
      done += count
      if filled == buffer.count { try flush() }
    }
  }

  /// Writes what was gathered, so that it is kept where the connection is lost.
  public func flush() throws(Errno) {
    guard filled > 0 else { return }
    let part = UnsafeRawBufferPointer(rebasing: buffer[..<filled])
    if filled == buffer.count {
      // The thread must not be the last to hold what holds it.
      let result = tools.side.both(
        { [hasher = tools.hasher] in hasher.update(part) }, { Result { () throws(Errno) in try write() } })
      try result.get()
    } else {
      tools.hasher.update(part)
      try write()
    }
    position += UInt64(filled)
    onWork(UInt64(filled))
    filled = 0
    if written < position { try file.setLength(position) }
  }

  private func write() throws(Errno) {
    var start = 0
    while start < filled {
      // A run of blocks with something in them, then one of zeros.
      var end = start
      while end < filled, !isZero(end) { end = min(end + Self.blockBytes, filled) }
      if end > start {
        try file.write(UnsafeRawBufferPointer(rebasing: buffer[start..<end]), at: position + UInt64(start))
        written = position + UInt64(end)
        writtenByteCount += UInt64(end - start)
      }
      while end < filled, isZero(end) { end = min(end + Self.blockBytes, filled) }
      start = end
    }
  }

  private func isZero(_ start: Int) -> Bool {
    let end = min(start + Self.blockBytes, filled)
    guard end - start == Self.blockBytes else { return false }
    for offset in stride(from: start, to: end, by: 8)
    where buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self) != 0 { return false }
    return true
  }

  /// The digest of all of it.
  public func finish() throws(Errno) -> Digest {
    try flush()
    return tools.hasher.finish()
  }
}
