internal import Catalog
internal import Engine
internal import Model
internal import Repository
internal import Synchronization

/// Takes the notes of a push, and reports on the base.
protocol NoteMonitor: Monitor {
  /// Sends the waiting notes. From now on the client accepts notes.
  func open()
  /// Reports a damaged file of the base.
  func noteDamage(of path: TreePath, in snapshot: Snapshot)
}

/// Sends warnings and notes to the client, for its operator.
final class ClientNoteMonitor: NoteMonitor {
  private let channel: Channel
  private let count = Atomic<Int>(0)
  /// The notes that wait until the client accepts notes; `nil` from then on.
  private let waiting: Mutex<[String]?>

  /// If `isOpen` is false, notes wait for `open`.
  init(over channel: Channel, isOpen: Bool) {
    self.channel = channel
    waiting = Mutex(isOpen ? nil : [])
  }

  /// Sends the waiting notes. From now on the client accepts notes.
  func open() {
    let texts = waiting.withLock { waiting in
      defer { waiting = nil }
      return waiting ?? []
    }
    for text in texts { send(text) }
  }

  func warn(_ warning: Warning) { send(warning.description) }

  func note(_ shortcoming: String) { send(shortcoming) }

  /// Reports a damaged file of the base.
  func noteDamage(of path: TreePath, in snapshot: Snapshot) {
    let file = displayName(path.atSource(label: snapshot.summary.label))
    send("\(file): its bytes in the snapshot \(snapshot.name) are damaged; sent whole")
  }

  private func send(_ text: String) {
    let waits = waiting.withLock { waiting in
      waiting?.append(text)
      return waiting != nil
    }
    guard !waits, count.add(1, ordering: .relaxed).newValue <= Wire.sentNotes else { return }
    try? channel.send(Note(text: text))
  }
}
