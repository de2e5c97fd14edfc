internal import CPosix
internal import Glibc

extension Descriptor {
  /// Reads at most the size of `buffer` at the descriptor's position; 0 at the end; `read(2)`.
  public borrowing func read(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    let raw = self.raw
    return try perform(.read) { tr_read(raw, buffer.baseAddress, buffer.count) }
  }

  /// Reads exactly `count` bytes at `offset`, or fewer where the file ends; `pread(2)`.
  public borrowing func read(at offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    let raw = self.raw
    var failure: Errno?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      do throws(Errno) {
        while initialized < count {
          let done = initialized
          let read = try perform(.pread) {
            tr_pread(
              raw, buffer.baseAddress! + done, count - done, Int64(offset) + Int64(done))
          }
          if read == 0 { break }
          initialized += read
        }
      } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Writes all of `buffer` at the descriptor's position; `write(2)`.
  public borrowing func write(_ buffer: UnsafeRawBufferPointer) throws(Errno) {
    let raw = self.raw
    var done = 0
    while done < buffer.count {
      done += try perform(.write) {
        tr_write(raw, buffer.baseAddress! + done, buffer.count - done)
      }
    }
  }

  /// Writes all of `bytes` at the descriptor's position.
  public borrowing func write(_ bytes: [UInt8]) throws(Errno) {
    let raw = self.raw
    var done = 0
    while done < bytes.count {
      done += try perform(.write) {
        bytes.withUnsafeBytes { tr_write(raw, $0.baseAddress! + done, $0.count - done) }
      }
    }
  }

  /// Writes all of `bytes` at `offset`; `pwrite(2)`.
  public borrowing func write(_ bytes: [UInt8], at offset: UInt64) throws(Errno) {
    let raw = self.raw
    var done = 0
    while done < bytes.count {
      done += try perform(.pwrite) {
        bytes.withUnsafeBytes {
          tr_pwrite(raw, $0.baseAddress! + done, $0.count - done, Int64(offset) + Int64(done))
        }
      }
    }
  }

  /// The whole file, refusing more than `limit` bytes (`EFBIG`).
  public borrowing func readToEnd(limit: Int) throws(Errno) -> [UInt8] {
    let bytes = try read(at: 0, count: limit + 1)
    if bytes.count > limit { throw Errno(EFBIG) }
    return bytes
  }

  /// The next data at or after `offset`, or `nil` where only a hole is left; `lseek(2)` `SEEK_DATA`.
  public borrowing func seekData(from offset: UInt64) throws(Errno) -> UInt64? {
    let raw = self.raw
    do {
      return UInt64(try perform(.lseek) { tr_lseek(raw, Int64(offset), tr_seek_data) })
    } catch {
      if error == .noDevice { return nil }
      throw error
    }
  }

  /// The next hole at or after `offset`; the end of the file counts as one; `lseek(2)` `SEEK_HOLE`.
  public borrowing func seekHole(from offset: UInt64) throws(Errno) -> UInt64 {
    let raw = self.raw
    return UInt64(try perform(.lseek) { tr_lseek(raw, Int64(offset), tr_seek_hole) })
  }

  /// Moves the descriptor's position.
  public borrowing func seek(to offset: UInt64) throws(Errno) {
    let raw = self.raw
    _ = try perform(.lseek) { tr_lseek(raw, Int64(offset), SEEK_SET) }
  }

  /// Sets the length; what is beyond the data becomes a hole; `ftruncate(2)`.
  public borrowing func setLength(_ byteCount: UInt64) throws(Errno) {
    let raw = self.raw
    _ = try perform(.ftruncate) { tr_ftruncate(raw, Int64(byteCount)) }
  }
}
