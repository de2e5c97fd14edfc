public import Model
internal import Synchronization

/// Trouble with one entry: counted, named, and recorded in the history and in the exit status.
public struct Warning: Sendable, Hashable, CustomStringConvertible {
  /// The path of the entry, as the operator knows it.
  public var path: [UInt8]
  /// The failure and its reason, such as "cannot be read: Permission denied".
  public var message: String

  public init(path: [UInt8], message: String) { (self.path, self.message) = (path, message) }

  /// The path, escaped, and the message.
  public var description: String { "\(displayName(path)): \(message)" }
}

/// The housekeeping problems of a run, each once. They never end the run; each becomes a warning.
public final class HousekeepingProblems: Sendable {
  private let path: [UInt8]
  private let problems = Mutex<[Warning]>([])

  init(path: [UInt8]) { self.path = path }

  /// Notes the problem of an entry below `.treering`.
  public func note(_ message: String, at place: TreePath = [], because reason: any Error) {
    note(Warning(path: (Repository.controlName + place).bytes(below: path), message: "\(message): \(reason)"))
  }

  /// Notes the failure of an entire step.
  public func note(_ failure: Failure) { note(Warning(path: path, message: failure.description)) }

  private func note(_ problem: Warning) { problems.withLock { if !$0.contains(problem) { $0.append(problem) } } }

  /// Returns and clears the noted problems.
  public func drain() -> [Warning] {
    problems.withLock { problems in
      defer { problems = [] }
      return problems
    }
  }
}
