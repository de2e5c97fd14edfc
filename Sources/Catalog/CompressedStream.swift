internal import CCodec

/// Compresses a stream of bytes incrementally; `StreamDecompressor` is its counterpart.
///
/// The output is one zstd frame with a checksum (RFC 8878). After a failure of the compressor or the sink, every call
/// throws. Every call also throws if zstd had no memory for its context.
public final class StreamCompressor {
  /// The most bytes that the sink gets at once.
  public static let pieceBytes = 64 << 10

  private enum State { case open, ended, failed }
  private var state = State.open
  private let stream: OpaquePointer?
  private let sink: (UnsafeRawBufferPointer) throws -> Void
  private let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: StreamCompressor.pieceBytes, alignment: 16)
  private var filled = 0

  /// - Parameters:
  ///   - windowLog: the largest distance between repetitions, as the binary logarithm of bytes, from 10 to 31.
  ///     Both client and server need that much memory.
  ///   - sink: gets the compressed bytes; they are valid only until it returns.
  public init(level: Int32, windowLog: Int32, sink: @escaping (UnsafeRawBufferPointer) throws -> Void) {
    stream = tr_stream_compressor_new(level, windowLog)
    self.sink = sink
  }

  deinit {
    tr_stream_compressor_free(stream)
    piece.deallocate()
  }

  /// Compresses the bytes; the sink gets each piece that is complete.
  public func write(_ bytes: UnsafeRawBufferPointer) throws { try run(bytes, directive: TR_STREAM_CONTINUE) }

  /// Makes all bytes written so far readable for the receiver.
  public func flush() throws { try run(UnsafeRawBufferPointer(start: nil, count: 0), directive: TR_STREAM_FLUSH) }

  /// Ends the stream; no later write is possible.
  public func finish() throws {
    try run(UnsafeRawBufferPointer(start: nil, count: 0), directive: TR_STREAM_END)
    state = .ended
  }

  private func run(_ bytes: UnsafeRawBufferPointer, directive: tr_stream_directive) throws {
    guard let stream else { throw CatalogError("zstd cannot compress a stream: no memory, or no such window") }
    guard state == .open
    else { throw CatalogError("a compressed stream cannot go on after its \(state == .ended ? "end" : "failure")") }
    state = .failed
    var consumed = 0
    while true {
      var step = tr_stream_step(
        from: bytes.baseAddress, count: bytes.count, consumed: consumed,
        to: piece.baseAddress, capacity: piece.count, produced: filled)
      let result = tr_stream_compress(stream, &step, directive)
      (consumed, filled) = (step.consumed, step.produced)
      if result.rawValue < 0 {
        throw CatalogError(result == TR_STREAM_NO_MEMORY ? "zstd has no memory" : "zstd could not compress a stream")
      }
      let isDone = result == TR_STREAM_DONE
      if filled == piece.count || (isDone && directive != TR_STREAM_CONTINUE && filled > 0) {
        try sink(UnsafeRawBufferPointer(rebasing: piece[..<filled]))
        filled = 0
      }
      if isDone { break }
    }
    state = .open
  }
}

/// Decompresses the output of `StreamCompressor`, as far as the caller asks.
///
/// Memory is the window and some hundred KiB, however large the input expands. The input is untrusted: a damaged or
/// truncated stream throws `CatalogError`, and so does every later call. Every call also throws if zstd had no memory
/// for its context. The bytes read are certain only after the checksum at the frame's end.
public final class StreamDecompressor {
  private static let bufferBytes = 64 << 10
  private static let mostEmptyInputs = 16
  /// The magic number of a zstd frame. libzstd also knows other formats, which treering never wrote. Its decoders for
  /// the formats before zstd 0.8 heed no window limit.
  private static let magic: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]

  private let stream: OpaquePointer?
  private let source: () throws -> [UInt8]?
  private var failure: CatalogError?

  private var input: [UInt8] = []
  private var inputPlace = 0
  private var sourceHasEnded = false
  /// The number of input bytes read of the present frame; 0 between frames.
  private var frameBytes = 0
  /// True if the last step filled its output, so the next may produce more without input.
  private var holdsOutput = false

  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: StreamDecompressor.bufferBytes, alignment: 16)
  private var buffered = 0..<0

  /// - Parameters:
  ///   - maximumWindowLog: the largest window that a stream may use, as the binary logarithm of bytes, from 10 to 31.
  ///   - source: returns the next compressed bytes, and `nil` at the end; it may block. The stream fails if the source
  ///     returns no bytes 16 times in a row. The stream passes the source's errors on and can continue after them.
  public init(maximumWindowLog: Int32, source: @escaping () throws -> [UInt8]?) {
    stream = tr_stream_decompressor_new(maximumWindowLog)
    self.source = source
  }

  deinit {
    tr_stream_decompressor_free(stream)
    buffer.deallocate()
  }

  /// Reads the bytes available without more input than the next byte needs. Returns 0 only if the source has ended or
  /// `target` is empty.
  public func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
    if target.isEmpty { return 0 }
    if buffered.isEmpty {
      if target.count >= buffer.count { return try decompress(into: target) }
      buffered = 0..<(try decompress(into: buffer))
    }
    let count = min(buffered.count, target.count)
    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[buffered.prefix(count)]))
    buffered = buffered.dropFirst(count)
    return count
  }

  /// Fills all of `target`; throws if the stream ends earlier.
  public func readExactly(into target: UnsafeMutableRawBufferPointer) throws {
    var done = 0
    while done < target.count {
      let count = try read(into: UnsafeMutableRawBufferPointer(rebasing: target[done...]))
      if count == 0 { throw fail("a compressed stream ends too early") }
      done += count
    }
  }

  /// Reads the next `count` bytes. It allocates them at once, so the caller must have checked `count`.
  public func read(count: Int) throws -> [UInt8] {
    try [UInt8](unsafeUninitializedCapacity: count) { bytes, initialized in
      try readExactly(into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(bytes)[..<count]))
      initialized = count
    }
  }

  /// Produces at least one byte, or 0 at the source's end.
  private func decompress(into target: UnsafeMutableRawBufferPointer) throws -> Int {
    if let failure { throw failure }
    guard stream != nil else { throw fail("zstd cannot decompress a stream: no memory, or no such window") }
    while true {
      if inputPlace < input.count || holdsOutput {
        let produced = try step(into: target)
        if produced > 0 { return produced }
      } else if !sourceHasEnded {
        try fetch()
      } else if frameBytes > 0 {
        throw fail("a compressed stream is cut off")
      } else {
        return 0
      }
    }
  }

  private func fetch() throws {
    for _ in 0..<Self.mostEmptyInputs {
      guard let next = try source() else {
        sourceHasEnded = true
        return
      }
      if next.isEmpty { continue }
      input = next
      inputPlace = 0
      return
    }
    throw fail("a compressed stream does not go on")
  }

  private func step(into target: UnsafeMutableRawBufferPointer) throws -> Int {
    // A step ends with its frame, so the input can hold only this frame's magic number.
    let beginning = zip(Self.magic.dropFirst(frameBytes), input[inputPlace...])
    guard beginning.allSatisfy({ $0 == $1 }) else { throw fail("a compressed stream is damaged") }
    var step = tr_stream_step()
    step.consumed = inputPlace
    step.to = target.baseAddress
    step.capacity = target.count
    let result = input.withUnsafeBytes { bytes in
      step.from = bytes.baseAddress
      step.count = bytes.count
      return tr_stream_decompress(stream, &step)
    }
    let consumed = step.consumed - inputPlace
    switch result {
    case TR_STREAM_DONE: frameBytes = 0
    case TR_STREAM_MORE: frameBytes += consumed
    case TR_STREAM_NO_MEMORY: throw fail("zstd has no memory")
    case TR_STREAM_WINDOW: throw fail("a compressed stream asks for a larger window than is allowed")
    default: throw fail("a compressed stream is damaged")
    }
    let isStuck = consumed == 0 && step.produced == 0 && inputPlace < input.count
    guard !isStuck else { throw fail("a compressed stream is damaged") }
    inputPlace = step.consumed
    holdsOutput = result == TR_STREAM_MORE && step.produced == step.capacity
    return step.produced
  }

  private func fail(_ sentence: String) -> CatalogError {
    let failure = CatalogError(sentence)
    self.failure = failure
    return failure
  }
}
