internal import Model

/// The probe of immutability.
extension SFTPStore {
  private static let probe = Array("treering-probe".utf8)
  private static let denied: UInt32 = 3
  private static let unsupported: UInt32 = 8

  /// Tries to remove, to overwrite and to rename an object of its own, which is no file of the repository. Each of them
  /// would destroy a backup. An object that the server kept is used again.
  public func probeRemoval() throws -> RemovalProbe {
    try withConnection { connection in
      let path = place(Self.probe)
      if try isDone(connection.answer(to: .remove, .of(path)), "remove") { return .allowed }
      // Write, create.
      try write(flags: 0x02 | 0x08, over: connection)
      if try isDone(connection.answer(to: .remove, .of(path)), "remove") { return .allowed }
      // Write, truncate.
      if (try? write(flags: 0x02 | 0x10, over: connection)) != nil { return .allowed }
      let moved = path + Array("-moved".utf8)
      if try isDone(connection.answer(to: .rename, .of(path, moved)), "rename") {
        _ = try connection.answer(to: .rename, .of(moved, path))
        return .allowed
      }
      return .refused
    }
  }

  /// False if the server refuses, or has no such object. Any other failure proves nothing.
  private func isDone(_ answer: SFTPConnection.Answer, _ verb: String) throws -> Bool {
    let what = "try to \(verb) \(Model.displayName(Self.probe))"
    guard case .status(let status) = answer else { throw unexpected(what) }
    if status.code == 0 { return true }
    guard [Self.denied, Self.unsupported, SFTPConnection.Status.noSuchFile].contains(status.code) else {
      throw failure(what, status)
    }
    return false
  }

  private func write(flags: UInt32, over connection: SFTPConnection) throws {
    let what = "write \(Model.displayName(Self.probe))"
    var fields = SFTPWriter.of(place(Self.probe))
    fields.uint32(flags)
    fields.permissions(0o600)
    let answer = try connection.answer(to: .open, fields)
    // The object of an earlier probe may be one that only that probe could write.
    if case .status(let status) = answer, status.code == Self.denied, flags & 0x08 != 0,
      case .attributes = try connection.answer(to: .stat, .of(place(Self.probe)))
    {
      return
    }
    guard let handle = try handle(answer, of: what) else {
      throw failure(what, SFTPConnection.Status(code: SFTPConnection.Status.noSuchFile, text: []))
    }
    var text = SFTPWriter.of(handle)
    text.uint64(0)
    text.string(Array("treering audit tries to remove this object.\n".utf8))
    let written = try connection.answer(to: .write, text)
    try require(try connection.answer(to: .close, .of(handle)), to: what)
    try require(written, to: what)
  }
}
