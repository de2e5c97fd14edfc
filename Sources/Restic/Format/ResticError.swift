/// Damage or an impossible value in a repository of restic's format; the description names the problem.
public struct ResticError: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
