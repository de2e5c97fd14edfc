internal import Catalog
internal import Model
internal import Synchronization

/// A housekeeping problem in a repository, and its reason.
public struct HousekeepingProblem: Sendable, Hashable, CustomStringConvertible {
  public var path: [UInt8]
  public var message: String

  public var description: String { "\(displayName(path)): \(message)" }
}

/// The housekeeping problems of a run, each once. They never end the run; each becomes a warning.
public final class HousekeepingProblems: Sendable {
  private let path: [UInt8]
  private let problems = Mutex<[HousekeepingProblem]>([])

  init(path: [UInt8]) { self.path = path }

  /// Notes the problem of an entry below `.treering`.
  public func note(_ message: String, at place: [[UInt8]] = [], because reason: any Error) {
    let place = Array(([path, Repository.controlName] + place).joined(separator: [slash]))
    note(HousekeepingProblem(path: place, message: "\(message): \(reason)"))
  }

  /// Notes the failure of an entire step.
  public func note(_ failure: Failure) { note(HousekeepingProblem(path: path, message: failure.description)) }

  private func note(_ problem: HousekeepingProblem) {
    problems.withLock { if !$0.contains(problem) { $0.append(problem) } }
  }

  /// Returns and clears the noted problems.
  public func drain() -> [HousekeepingProblem] {
    problems.withLock { problems in
      defer { problems = [] }
      return problems
    }
  }
}
