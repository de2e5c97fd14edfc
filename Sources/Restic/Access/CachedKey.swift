internal import Model
internal import Posix

/// The key that a copy of a key file gives. It is derived on a thread of its own while the repository is still being
/// reached: scrypt takes as long as a connection over SSH.
///
/// The cache keeps only key files that opened. The caller must check that the repository still has this one.
final class CachedKey: Sendable {
  typealias Opened = (key: MasterKey, id: Digest)

  private let result = Guarded<Opened?>(nil)
  private let thread: BackgroundThread?

  init(in cache: ObjectCache?, password: [UInt8]) {
    guard let cache, case let ids = cache.ids(of: .keys), !ids.isEmpty else {
      thread = nil
      return
    }
    thread = try? BackgroundThread { [result] in
      for id in ids {
        guard let json = cache.read(ObjectName(.keys, id), limit: KeyFile.mostBytes),
          let key = try? KeyFile(json: json).open(password: password)
        else { continue }
        return result.change { $0 = (key, id) }
      }
    }
  }

  // The process must not end while libcrypto works.
  deinit { thread?.join() }

  /// The key and the ID of its file; `nil` if no copy opens with the password. Only one thread may ask.
  func opened() -> Opened? {
    thread?.join()
    return result.locked { $0 }
  }
}
