internal import Model
internal import Posix
internal import Repository

/// Reads chunks ahead of their use, on several threads, and delivers them in the order of their addition.
///
/// Only one thread adds and takes.
final class ReadAhead: @unchecked Sendable {
  private enum Chunk {
    case waiting(BlobName)
    case reading
    case read(Result<[UInt8], any Error>)
  }

  /// The most bytes that wait for their use. Each thread may add one chunk to them.
  private static let mostBytes = 16 << 20

  /// From this number of wanted chunks on, whole segments of packs are read.
  private static let manyChunks = 4

  private let gate = Gate()
  private var chunks: [Int: Chunk] = [:]
  private var awaited = 0
  private var nextToRead = 0
  private var end = 0
  private var bytesWaiting = 0
  private var isStopped = false
  /// True while `take` waits.
  private var isTaking = false
  /// The number of threads that wait for work, or for room.
  private var idle = 0
  private var threads: [BackgroundThread] = []

  /// `makeReader` is called on each thread. `stop` must be called at the end.
  init(threads count: Int, makeReader: @escaping @Sendable () -> BlobReader) {
    threads = (0..<count).compactMap { _ in
      try? BackgroundThread { [self] in
        let blobs = makeReader()
        while let (number, name, isOneOfMany) = nextChunk() {
          store(Result { try blobs.read(name, ofMany: isOneOfMany) }, as: number)
        }
      }
    }
  }

  /// False if no thread could be made; nothing is read then.
  var hasThreads: Bool { !threads.isEmpty }

  func add(_ names: [BlobName]) {
    gate.locked {
      for name in names {
        chunks[end] = .waiting(name)
        end += 1
      }
      wakeIdle()
    }
  }

  /// The next chunk in order, which must have been added.
  func take() throws -> [UInt8] {
    try gate.locked {
      precondition(awaited < end)
      defer { awaited += 1 }
      while true {
        if case .read(let result)? = chunks[awaited] {
          chunks[awaited] = nil
          if case .success(let bytes) = result { bytesWaiting -= bytes.count }
          // Threads that wait for room wait for much of it: each wake-up costs two switches of threads.
          if bytesWaiting < Self.mostBytes / 2 { wakeIdle() }
          return try result.get()
        }
        wakeIdle()
        isTaking = true
        gate.wait()
        isTaking = false
      }
    }
  }

  private func wakeIdle() { if idle > 0 { gate.wakeAll() } }

  /// Ends the threads.
  func stop() {
    gate.locked {
      isStopped = true
      gate.wakeAll()
    }
    for thread in threads { thread.join() }
    threads = []
  }

  private func nextChunk() -> (Int, BlobName, isOneOfMany: Bool)? {
    gate.locked {
      while !isStopped {
        // The awaited chunk is read in any case.
        if nextToRead < end, bytesWaiting < Self.mostBytes || nextToRead == awaited,
          case .waiting(let name)? = chunks[nextToRead]
        {
          chunks[nextToRead] = .reading
          nextToRead += 1
          return (nextToRead - 1, name, end >= Self.manyChunks)
        }
        idle += 1
        gate.wait()
        idle -= 1
      }
      return nil
    }
  }

  private func store(_ result: Result<[UInt8], any Error>, as number: Int) {
    gate.locked {
      chunks[number] = .read(result)
      if case .success(let bytes) = result { bytesWaiting += bytes.count }
      if isTaking, number == awaited { gate.wakeAll() }
    }
  }
}
