public import Model

/// A tree of directory names that lead to the sources of a run or the paths of a restore.
///
/// A source may lie below another source.
public struct PathPlan: Sendable {
  /// Sorted by name bytes.
  private(set) var children: [(name: [UInt8], plan: PathPlan)] = []
  private(set) var isSource = false

  init(sources: [TreePath]) { for source in sources { add(source, isNesting: true) } }

  /// Takes any paths, for a partial restore. A path below another path adds nothing.
  public init(paths: [TreePath]) { for path in paths { add(path, isNesting: false) } }

  private init() {}

  /// The part of the plan below a directory of this name.
  func below(_ name: [UInt8]) -> PathPlan? {
    let index = index(of: name)
    return index < children.count && children[index].name == name ? children[index].plan : nil
  }

  /// The index of a name among the children, or of the first name after it.
  private func index(of name: [UInt8]) -> Int {
    children.indices.partitionPoint { children[$0].name.lexicographicallyPrecedes(name) }
  }

  private mutating func add(_ path: TreePath, isNesting: Bool) {
    if isSource, !isNesting { return }
    guard let name = path.first else {
      isSource = true
      if !isNesting { children = [] }
      return
    }
    let index = index(of: name)
    if index == children.count || children[index].name != name { children.insert((name, PathPlan()), at: index) }
    children[index].plan.add(path.dropFirst(), isNesting: isNesting)
  }
}
