internal import Posix
internal import Synchronization

/// Calls `body` with each item, on several threads, until one call throws.
func concurrently<Item: Sendable>(
  _ items: [Item], threads: Int, _ body: @escaping @Sendable (Item) throws -> Void
) throws {
  let state = Mutex<(left: ArraySlice<Item>, failure: (any Error)?)>((items[...], nil))
  runThreads(min(threads, items.count)) { _ in
    while let item = state.withLock({ $0.failure == nil ? $0.left.popFirst() : nil }) {
      do { try body(item) } catch { state.withLock { $0.failure = error } }
    }
  }
  if let failure = state.withLock({ $0.failure }) { throw failure }
}
