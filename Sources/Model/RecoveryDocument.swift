/// The names of the recovery plan that runs keep: a file in a directory that is a source.
public enum RecoveryDocument {
  public static let directoryName = Array("treering-plan".utf8)
  public static let fileName = Array("RECOVERY.md".utf8)
}
