/// A tree of directory names that lead to the sources of a run or the paths of a restore.
///
/// A source may lie below another source.
public final class PathPlan: @unchecked Sendable {
  /// Sorted by name bytes; complete before any thread reads it.
  private(set) var children: [(name: [UInt8], plan: PathPlan)] = []
  private(set) var isSource = false

  init() {}

  /// Takes absolute paths without `.`, `..` and empty components.
  public init(absolutePaths: [[UInt8]]) {
    for path in absolutePaths {
      var plan = self
      for name in path.split(separator: UInt8(ascii: "/")).map(Array.init) {
        plan = plan.child(name)
      }
      plan.isSource = true
    }
  }

  /// The part of the plan below a directory of this name.
  func below(_ name: [UInt8]) -> PathPlan? { children.first { $0.name == name }?.plan }

  /// Takes any paths, for a partial restore. A path below another path adds nothing.
  public init(paths: [[[UInt8]]]) {
    for path in paths {
      var plan = self
      for name in path where !plan.isSource { plan = plan.child(name) }
      plan.isSource = true
      plan.children = []
    }
  }

  private func child(_ name: [UInt8]) -> PathPlan {
    if let found = below(name) { return found }
    let plan = PathPlan()
    let index =
      children.firstIndex { name.lexicographicallyPrecedes($0.name) } ?? children.count
    children.insert((name, plan), at: index)
    return plan
  }
}
