internal import Model
internal import Posix
internal import Repository

/// The recovery plan as a file in a source, so that it is in every snapshot and at every remote.
struct KeptPlan {
  /// The directory, which is made if it is missing.
  let directory: [UInt8]

  /// A larger file is no plan.
  private static let mostBytes = 16 << 20

  /// Writes the document anew unless it has it already, but for the date. Returns true if it was written.
  func renew(_ document: PlanDocument) throws(Failure) -> Bool {
    let text = document.markdown
    do throws(Errno) {
      let file = ControlFile(named: RecoveryDocument.fileName, in: try place(), mode: 0o600)
      if let present = try file.read(limit: Self.mostBytes), Self.undated(present) == Self.undated(Array(text.utf8)) {
        return false
      }
      try file.replace(with: Array(text.utf8))
      return true
    } catch { throw .writing("write the recovery plan in", at: directory, because: error) }
  }

  private func place() throws(Errno) -> Directory {
    let (parent, name) = splitLast(of: directory)
    let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
    do { return try above.directory(name.span) } catch { guard error == .noSuchEntry else { throw error } }
    try above.descriptor.makeDirectory(name.span, mode: 0o700)
    return try above.directory(name.span)
  }

  private static func undated(_ text: [UInt8]) -> [ArraySlice<UInt8>] {
    text.split(separator: newline).filter { !$0.starts(with: PlanDocument.datePrefix.utf8) }
  }
}
