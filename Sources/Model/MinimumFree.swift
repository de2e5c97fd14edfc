/// The amount of the repository's file system that must stay free.
public enum MinimumFree: Sendable, Equatable {
  /// From 0 to 1.
  case share(Double)
  case bytes(UInt64)
}
