public import Engine
public import Model
public import Repository

extension RemoteRepository {
  /// Requests the server to measure; only the server knows the inodes on its disk. An older server is of no help.
  public func heldSpace(
    of named: Set<SnapshotName>, in list: SnapshotList, threads: ThreadCount, progress: Progress
  ) throws -> HeldSpace {
    guard connection.version.hasSpaceMeasurement, named.count <= Wire.measuredSnapshots
    else { return try spaceByCatalogs(of: named, in: list, threads: threads, progress: progress) }
    return try connection.annotatingErrors {
      try connection.channel.send(Request.space(Array(named)).frame)
      var held = HeldSpace()
      var (frameCount, byteCount) = (0, 0)
      while true {
        let frame = try connection.channel.receive(.held, .snapshot, .end)
        frameCount += 1
        byteCount += frame.payload.count
        guard frameCount < Self.listedSnapshots, byteCount < Self.listBytes
        else { throw ProtocolViolation("the spaces do not end") }
        switch frame.type {
        case .held: held.rows.append(try HeldSpace.Row(payload: frame.payload))
        case .snapshot:
          switch try ListedSnapshot(payload: frame.payload) {
          case .unusable(let snapshot): held.unreadable.append(snapshot)
          case .usable(let snapshot, _, _):
            // The spare comes behind the row of its space.
            guard held.spare == nil, let last = held.rows.popLast(), last.name == snapshot.name
            else { throw ProtocolViolation("a spare has no space, or is not the only one") }
            held.spare = (snapshot, last.aloneBytes)
          }
        default:
          let end = try SpaceEnd(payload: frame.payload)
          (held.togetherBytes, held.bytesFree, held.doubts) = (end.togetherBytes, end.bytesFree, end.doubts)
          return held
        }
      }
    }
  }
}
