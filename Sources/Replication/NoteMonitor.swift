internal import Catalog
internal import Engine
internal import Repository
internal import Synchronization

/// Passes on to the client what the one who runs it should know.
final class NoteMonitor: Monitor {
  private let channel: Channel
  private let count = Atomic<Int>(0)

  init(_ channel: Channel) { self.channel = channel }

  func warn(_ warning: Warning) { send("\(displayName(warning.path)): \(warning.message)") }

  func note(_ shortcoming: String) { send(shortcoming) }

  /// A file of the base cannot serve.
  func noteDamage(of path: [[UInt8]], in name: SnapshotName) {
    send("\(displayName(sourcePath(path))): its bytes in the snapshot \(name) are damaged; sent whole")
  }

  private func send(_ text: String) {
    guard count.add(1, ordering: .relaxed).newValue <= 1000 else { return }
    var message = MessageWriter()
    message.text(Array(text.utf8).prefix(8000))
    try? channel.send(.note, message.bytes)
  }
}
