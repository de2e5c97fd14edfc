/// The limits above which a run looks like a disaster rather than work.
public struct GuardLimits: Sendable {
  /// Nothing is published if more than this share of a source's entries is gone.
  public var gone: Double
  /// Rotation is held if more than this share of the existing files has another content.
  public var changed: Double
  /// True if the operator accepts the changes: no guard stops the run.
  public var acceptsChanges: Bool
  /// True if another machine counts the changes: only a missing file system stops the run.
  public var leavesCounts = false

  public init(gone: Double = 0.5, changed: Double = 0.5, acceptsChanges: Bool = false) {
    (self.gone, self.changed, self.acceptsChanges) = (gone, changed, acceptsChanges)
  }

  /// One day's work may touch all entries of a smaller source.
  private static let fewestEntries: UInt64 = 10

  func isTooMuch(gone: UInt64, of entries: UInt64) -> Bool {
    entries >= Self.fewestEntries && Double(gone) > self.gone * Double(entries)
  }

  func isTooMuch(changed: UInt64, of files: UInt64) -> Bool {
    files >= Self.fewestEntries && Double(changed) > self.changed * Double(files)
  }
}
