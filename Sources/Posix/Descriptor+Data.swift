internal import CPosix
internal import Glibc

extension Descriptor {
  /// Reads at most the size of `buffer` at the descriptor's position; 0 at the end; `read(2)`.
  public borrowing func read(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    try perform(.read) { tr_read(raw, buffer.baseAddress, buffer.count) }
  }

  /// Reads at most the size of `buffer` at `offset`; 0 at the end; `pread(2)`.
  public borrowing func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    try perform(.pread) { tr_pread(raw, buffer.baseAddress, buffer.count, Int64(offset)) }
  }

  /// Reads exactly `count` bytes at `offset`, or fewer at the end of the file; `pread(2)`.
  public borrowing func read(at offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized throws(Errno) in
      while initialized < count {
        let (start, left) = (buffer.baseAddress! + initialized, count - initialized)
        let position = Int64(offset) + Int64(initialized)
        let read = try perform(.pread) { tr_pread(raw, start, left, position) }
        if read == 0 { break }
        initialized += read
      }
    }
  }

  /// Writes all of `buffer` at the descriptor's position; `write(2)`.
  public borrowing func write(_ buffer: UnsafeRawBufferPointer) throws(Errno) {
    try write(RawSpan(_unsafeBytes: buffer))
  }

  /// Writes all of `bytes` at the descriptor's position.
  public borrowing func write(_ bytes: [UInt8]) throws(Errno) { try write(bytes.span.bytes) }

  private borrowing func write(_ bytes: RawSpan) throws(Errno) {
    var done = 0
    while done < bytes.byteCount {
      done += try perform(.write) { bytes.withUnsafeBytes { tr_write(raw, $0.baseAddress! + done, $0.count - done) } }
    }
  }

  /// Writes all of `bytes` at `offset`; `pwrite(2)`.
  public borrowing func write(_ bytes: [UInt8], at offset: UInt64) throws(Errno) {
    try write(bytes.span.bytes, at: offset)
  }

  /// Writes all of `bytes` at `offset`.
  public borrowing func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    try write(RawSpan(_unsafeBytes: bytes), at: offset)
  }

  private borrowing func write(_ bytes: RawSpan, at offset: UInt64) throws(Errno) {
    var done = 0
    while done < bytes.byteCount {
      done += try perform(.pwrite) {
        bytes.withUnsafeBytes { tr_pwrite(raw, $0.baseAddress! + done, $0.count - done, Int64(offset) + Int64(done)) }
      }
    }
  }

  /// Reads the whole file; throws `EFBIG` if it has more than `limit` bytes.
  public borrowing func readToEnd(limit: Int) throws(Errno) -> [UInt8] {
    let bytes = try read(at: 0, count: limit + 1)
    if bytes.count > limit { throw Errno(EFBIG) }
    return bytes
  }

  /// Reads to the end of the stream; throws `EFBIG` after more than `limit` bytes. For `openNamed`.
  ///
  /// It also reads a pipe, a terminal, or a FIFO that still waits for its writer. A remembered signal ends the wait
  /// (`interrupted`).
  public borrowing func readAll(limit: Int) throws(Errno) -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    var bytes: [UInt8] = []
    while true {
      // The signal may arrive between the check and the wait; it does not end that wait.
      let lookAgainMilliseconds: CInt = 500
      while try perform(.poll, body: { tr_poll(raw, CInt(POLLIN), lookAgainMilliseconds) }) == 0 {
        if CurrentProcess.rememberedSignal != nil { throw .interrupted }
      }
      let count: Int
      do throws(Errno) { count = try read(into: buffer) } catch {
        guard error == .wouldBlock else { throw error }
        continue
      }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
      if bytes.count > limit { throw Errno(EFBIG) }
    }
  }

  /// Reads a file without a size, as in proc(5); throws `EFBIG` if it has more than `limit` bytes.
  public borrowing func readWhole(limit: Int) throws(Errno) -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      let more = try read(at: UInt64(bytes.count), count: 1 << 16)
      bytes += more
      if bytes.count > limit { throw Errno(EFBIG) }
      if more.isEmpty { return bytes }
    }
  }

  /// The next data at or after `offset`, or `nil` if only a hole is left; `lseek(2)` `SEEK_DATA`.
  public borrowing func seekData(from offset: UInt64) throws(Errno) -> UInt64? {
    do { return UInt64(try perform(.lseek) { tr_lseek(raw, Int64(offset), tr_seek_data) }) } catch {
      if error == .noDevice { return nil }
      throw error
    }
  }

  /// The next hole at or after `offset`, or the end of the file; `lseek(2)` `SEEK_HOLE`.
  public borrowing func seekHole(from offset: UInt64) throws(Errno) -> UInt64 {
    UInt64(try perform(.lseek) { tr_lseek(raw, Int64(offset), tr_seek_hole) })
  }

  /// Moves the descriptor's position; `lseek(2)`.
  public borrowing func seek(to offset: UInt64) throws(Errno) {
    _ = try perform(.lseek) { tr_lseek(raw, Int64(offset), SEEK_SET) }
  }

  /// Sets the length; an extension is a hole; `ftruncate(2)`.
  public borrowing func setLength(_ byteCount: UInt64) throws(Errno) {
    _ = try perform(.ftruncate) { tr_ftruncate(raw, Int64(byteCount)) }
  }

  /// Makes this empty file share all present blocks of `source` (a reflink), without writing data. File systems
  /// without reflinks refuse, and so does a file system other than `source`'s; `ioctl_ficlone(2)`.
  public borrowing func clone(_ source: borrowing Descriptor) throws(Errno) {
    _ = try perform(.ioctl) { tr_clone(raw, source.raw) }
  }

  /// Keeps XFS from reserving 128 KiB for each block written to a clone (`FS_XFLAG_COWEXTSIZE`). Other file systems
  /// have no such reservation; `ioctl_xfs_fssetxattr(2)`.
  public borrowing func keepCopiesSmall() { _ = try? perform(.ioctl) { tr_small_copies(raw) } }

  /// Makes bytes a hole that reads as zeros; `fallocate(2)` with `FALLOC_FL_PUNCH_HOLE`.
  public borrowing func punchHole(at offset: UInt64, byteCount: UInt64) throws(Errno) {
    _ = try perform(.fallocate) { tr_punch_hole(raw, Int64(offset), Int64(byteCount)) }
  }

  /// Reserves space from `offset` on without changing the length; `setLength` releases it. `fallocate(2)` with
  /// `FALLOC_FL_KEEP_SIZE`.
  public borrowing func reserve(at offset: UInt64, byteCount: UInt64) throws(Errno) {
    _ = try perform(.fallocate) { tr_reserve(raw, Int64(offset), Int64(byteCount)) }
  }

  /// The most links that an inode of this file system may have; `fpathconf(3)`.
  public borrowing func linkLimit() throws(Errno) -> UInt64 { UInt64(try perform(.fpathconf) { tr_link_limit(raw) }) }

  /// True if any process has the file open, or mapped, for writing.
  ///
  /// The descriptor must be open for reading alone. Only the file's owner and root may ask; `fcntl(2)` `F_SETLEASE`.
  public borrowing func isOpenForWriting() throws(Errno) -> Bool {
    try perform(.fcntl) { tr_is_open_for_writing(raw) } != 0
  }

  /// True if pages of the file are in the page cache; `nil` if the kernel does not tell; `cachestat(2)`.
  public borrowing func isCached() -> Bool? {
    let answer = tr_is_cached(raw)
    return answer < 0 ? nil : answer > 0
  }

  /// Drops the pages of a range from the page cache; pages that are not on the disk yet stay; `posix_fadvise(2)`.
  public borrowing func dropCache(of range: Range<UInt64>) {
    tr_drop_cache(raw, Int64(range.lowerBound), Int64(range.count))
  }

  /// Begins to write a range to the disk, and waits for the end of that if so told; `sync_file_range(2)`.
  ///
  /// This is no synchronization: metadata and the disk's cache are not written.
  public borrowing func writeBack(_ range: Range<UInt64>, waiting waits: Bool) {
    tr_write_back(raw, Int64(range.lowerBound), Int64(range.count), waits ? 1 : 0)
  }
}

/// True if `count` bytes are equal; `memcmp(3)`.
public func areEqual(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer, count: Int) -> Bool { memcmp(a, b, count) == 0 }
