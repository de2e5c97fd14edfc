public import Catalog
public import Posix

/// The buffers, hasher and thread for assembling files one after the other.
public final class AssemblyTools {
  static let bufferBytes = 256 << 10

  /// Two buffers: one is hashed while the other is filled.
  private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * bufferBytes, alignment: 4096)
  private var isSecond = false
  private let hasher = ContentHasher()
  fileprivate private(set) var elidesZeros = true
  private var isHashing = true
  /// Hashes one buffer after the other; exists only if a file fills a buffer.
  private var side: SideThread?

  public init() {}

  deinit {
    side?.wait()
    memory.deallocate()
  }

  /// The buffer to fill now; no other thread reads it.
  var buffer: UnsafeMutableRawBufferPointer {
    let start = isSecond ? Self.bufferBytes : 0
    return UnsafeMutableRawBufferPointer(rebasing: memory[start..<start + Self.bufferBytes])
  }

  func reset(elidingZeros: Bool, isHashing: Bool) {
    side?.wait()
    (elidesZeros, self.isHashing) = (elidingZeros, isHashing)
    hasher.reset(elidingZeros: elidingZeros)
  }

  func hash(_ bytes: UnsafeRawBufferPointer) {
    side?.wait()
    if isHashing { hasher.update(bytes) }
  }

  func hashZeros(byteCount: UInt64) {
    side?.wait()
    if isHashing { hasher.updateZeros(byteCount: byteCount) }
  }

  /// Begins to hash `buffer`, which is full.
  ///
  /// It must stay unchanged until `swap` and one more call of a hash function: that call waits for the thread.
  func hashBuffer() {
    guard isHashing else { return }
    let side = side ?? SideThread()
    self.side = side
    // The thread must not hold the last reference to its owner.
    side.begin { [hasher, bytes = UnsafeRawBufferPointer(buffer)] in hasher.update(bytes) }
  }

  func swap() { isSecond.toggle() }

  func finish() -> ContentDigest {
    side?.wait()
    return hasher.finish()
  }
}

/// The content of a file that is being written and hashed. Blocks of zeros become holes.
public final class FileAssembly {
  private static let blockBytes = 4096

  public let file: Descriptor
  private let tools: AssemblyTools
  private var buffer: UnsafeMutableRawBufferPointer
  private var filled = 0
  /// The offset of the buffer's content in the file.
  private var position: UInt64
  private var written: UInt64
  /// The bytes written, without the holes.
  public private(set) var writtenByteCount: UInt64 = 0
  private let onWork: (UInt64) -> Void
  /// The bytes of the file so far.
  public var byteCount: UInt64 { position + UInt64(filled) }

  /// Continues a file that already has `offset` bytes.
  ///
  /// `onWork` gets the number of bytes done, including holes and the beginning that is hashed again. `elidingZeros`
  /// is as in `ContentHasher.reset`. With `isHashing` false, the digest of `finish` has no meaning.
  public init(
    _ file: consuming Descriptor, from offset: UInt64, elidingZeros: Bool, isHashing: Bool = true,
    with tools: AssemblyTools, onWork: @escaping (UInt64) -> Void = { _ in }
  ) throws(Errno) {
    self.file = file
    self.onWork = onWork
    self.tools = tools
    tools.reset(elidingZeros: elidingZeros, isHashing: isHashing)
    buffer = tools.buffer
    position = 0
    written = 0
    while position < offset {
      let data = min(try self.file.seekData(from: position) ?? offset, offset)
      if data > position { try skip(byteCount: data - position) }
      let end = data < offset ? min(try self.file.seekHole(from: data), offset) : offset
      try hashAgain(upTo: end)
    }
    written = offset
  }

  private func hashAgain(upTo offset: UInt64) throws(Errno) {
    while position < offset {
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(offset - position, UInt64(buffer.count)))])
      let count = try file.read(into: part, at: position)
      if count == 0 { throw .inputOutput }
      tools.hash(UnsafeRawBufferPointer(rebasing: part[..<count]))
      position += UInt64(count)
      onWork(UInt64(count))
      if CurrentProcess.rememberedSignal != nil { throw .interrupted }
    }
  }

  /// Passes zeros that stay a hole. A digest of all bytes may take any time, so a signal ends it.
  private func skip(byteCount: UInt64) throws(Errno) {
    var left = byteCount
    while left > 0 {
      let count = tools.elidesZeros ? left : min(left, UInt64(buffer.count))
      tools.hashZeros(byteCount: count)
      position += count
      left -= count
      onWork(count)
      if CurrentProcess.rememberedSignal != nil { throw .interrupted }
    }
  }

  /// Appends zeros; a whole block or more becomes a hole.
  public func appendZeros(byteCount: UInt64) throws(Errno) {
    if byteCount < UInt64(Self.blockBytes) {
      var left = byteCount
      while left > 0 {
        let space = space(atMost: left)
        space.initializeMemory(as: UInt8.self, repeating: 0)
        try append(spaceFilled: space.count)
        left -= UInt64(space.count)
      }
      return
    }
    try flush()
    try skip(byteCount: byteCount)
    try file.setLength(position)
  }

  public func append(_ bytes: UnsafeRawBufferPointer) throws(Errno) {
    var rest = bytes
    while !rest.isEmpty {
      let space = space(atMost: UInt64(rest.count))
      space.copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<space.count]))
      rest = UnsafeRawBufferPointer(rebasing: rest[space.count...])
      try append(spaceFilled: space.count)
    }
  }

  /// Space for the next bytes, which saves a copy. It has at most `byteCount` bytes, and at least one.
  public func space(atMost byteCount: UInt64) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      rebasing: buffer[filled..<filled + Int(min(byteCount, UInt64(buffer.count - filled)))])
  }

  /// Appends the bytes that the caller put at the beginning of `space`.
  public func append(spaceFilled byteCount: Int) throws(Errno) {
    filled += byteCount
    if filled == buffer.count { try flush() }
  }

  /// Writes the buffered bytes, so that they survive a lost connection.
  public func flush() throws(Errno) {
    guard filled > 0 else { return }
    let isFull = filled == buffer.count
    if isFull { tools.hashBuffer() } else { tools.hash(UnsafeRawBufferPointer(rebasing: buffer[..<filled])) }
    try write()
    position += UInt64(filled)
    onWork(UInt64(filled))
    filled = 0
    if isFull {
      tools.swap()
      buffer = tools.buffer
    }
    if written < position { try file.setLength(position) }
  }

  private func write() throws(Errno) {
    var start = 0
    while start < filled {
      // A run of blocks with data, then a run of blocks of zeros.
      var end = start
      while end < filled, !isZero(at: end) { end = min(end + Self.blockBytes, filled) }
      if end > start {
        try file.write(UnsafeRawBufferPointer(rebasing: buffer[start..<end]), at: position + UInt64(start))
        written = position + UInt64(end)
        writtenByteCount += UInt64(end - start)
      }
      while end < filled, isZero(at: end) { end = min(end + Self.blockBytes, filled) }
      start = end
    }
  }

  private func isZero(at start: Int) -> Bool {
    let end = min(start + Self.blockBytes, filled)
    guard end - start == Self.blockBytes else { return false }
    for offset in stride(from: start, to: end, by: 8)
    where buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self) != 0 { return false }
    return true
  }

  /// The digest of the whole file.
  public func finish() throws(Errno) -> ContentDigest {
    try flush()
    return tools.finish()
  }
}
