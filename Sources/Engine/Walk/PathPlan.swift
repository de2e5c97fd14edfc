/// The directories that lead to the sources of a run: a tree of names, with the sources at its ends.
///
/// A source below another is part of it and has no end of its own.
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
        if plan.isSource { break }
        plan = plan.child(name)
      }
      plan.isSource = true
      plan.children = []
    }
  }

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
    if let found = children.first(where: { $0.name == name }) { return found.plan }
    let plan = PathPlan()
    let index =
      children.firstIndex { name.lexicographicallyPrecedes($0.name) } ?? children.count
    children.insert((name, plan), at: index)
    return plan
  }
}
