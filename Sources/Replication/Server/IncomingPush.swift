internal import Engine
internal import Repository
internal import Synchronization

/// One push, as the server's parts share it.
struct IncomingPush: Sendable {
  let request: PushRequest
  let channel: Channel
  let repository: Repository
  let version: ProtocolVersion
  let space: SpaceBudget
  let notes: ClientNoteMonitor
  /// Counters of the work that takes time; the keep-alives report them.
  let progress = Progress()

  /// Counts the bytes that a read returned.
  var countRead: @Sendable (UInt64) -> Void { { [progress] in progress.bytesRead.add($0, ordering: .relaxed) } }
}
