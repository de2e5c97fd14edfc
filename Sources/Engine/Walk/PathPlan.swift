/// The directories that lead to the sources of a run, or to the paths of a restore: a tree of names. A source may
/// lie below another.
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

  /// Any tree of paths, for a restore of some of them.
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
