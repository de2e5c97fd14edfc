/// When a run looks like a disaster rather than work.
public struct GuardLimits: Sendable {
  /// More of a source's entries gone than this share of them: nothing is published.
  public var gone: Double
  /// More of the files that existed with another content than this share of them: rotation is held.
  public var changed: Double
  /// The operator says that the changes are right: no guard stops the run.
  public var acceptsChanges: Bool

  public init(gone: Double = 0.5, changed: Double = 0.5, acceptsChanges: Bool = false) {
    self.gone = gone
    self.changed = changed
    self.acceptsChanges = acceptsChanges
  }

  /// Of fewer, one day's work may touch them all.
  private static let fewestEntries: UInt64 = 10

  func isTooMuch(gone: UInt64, of entries: UInt64) -> Bool {
    entries >= Self.fewestEntries && Double(gone) > self.gone * Double(entries)
  }

  func isTooMuch(changed: UInt64, of files: UInt64) -> Bool {
    files >= Self.fewestEntries && Double(changed) > self.changed * Double(files)
  }
}
