internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// The files of a snapshot in a repository of restic's format. Each chunk is compared with its ID.
final class ResticContents: ContentFetcher, @unchecked Sendable {
  private let name: SnapshotName
  private let store: ResticStore
  private var requests: ArraySlice<Request> = []
  private var blobs: BlobReader?
  private var ahead: ReadAhead?
  /// The directories on the way to the last file. Successive files are often neighbours.
  private var levels: [(name: [UInt8], nodes: [TreeNode])] = []

  private enum Request {
    case file(TreeNode)
    case problem(String)
  }

  init(of name: SnapshotName, in store: ResticStore) { (self.name, self.store) = (name, store) }

  deinit { ahead?.stop() }

  func request(_ path: TreePath) throws {
    do {
      guard let node = try node(at: path), node.kind == .regular else {
        return requests.append(.problem("it is no regular file"))
      }
      let ahead = try readAhead()
      requests.append(.file(node))
      ahead.add(node.content.map { BlobName(.data, $0) })
    } catch { requests.append(.problem(try problem(error))) }
  }

  func receive(
    byteCount: UInt64, takeZeros: (UInt64) throws -> Void, _ take: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> String? {
    let node: TreeNode
    switch requests.popFirst() {
    case nil: return "it was not asked for"
    case .problem(let reason): return reason
    case .file(let file): node = file
    }
    var left = byteCount
    var trouble: String? = node.size == byteCount ? nil : "its size is \(node.size) and not \(byteCount) bytes"
    for id in node.content {
      let bytes: [UInt8]
      // After trouble, the other chunks are taken all the same, because the next file's come after them.
      do { bytes = try chunk(id) } catch {
        trouble = try trouble ?? problem(error)
        continue
      }
      if trouble == nil, UInt64(bytes.count) > left { trouble = "its chunks are longer than \(byteCount) bytes" }
      guard trouble == nil else { continue }
      left -= UInt64(bytes.count)
      try bytes.withUnsafeBytes {
        if $0.contains(where: { $0 != 0 }) { try take($0) } else { try takeZeros(UInt64($0.count)) }
      }
    }
    return trouble ?? (left == 0 ? nil : "its chunks are shorter than \(byteCount) bytes")
  }

  private func readAhead() throws -> ReadAhead {
    if let ahead { return ahead }
    let (restic, index) = (store.restic, try store.index())
    let made = ReadAhead(threads: processorCount()) { BlobReader(restic, index: index) }
    ahead = made
    return made
  }

  private func chunk(_ id: Digest) throws -> [UInt8] {
    let ahead = try readAhead()
    return try ahead.hasThreads ? ahead.take() : reader().read(BlobName(.data, id))
  }

  /// The reason in words for damage. Another error ends the run.
  private func problem(_ error: any Error) throws -> String {
    if let error = error as? ResticError { return error.description }
    guard let failure = error as? Failure, failure.kind == .damaged else { throw error }
    return failure.message
  }

  private func reader() throws -> BlobReader {
    if let blobs { return blobs }
    let reader = BlobReader(store.restic, index: try store.index())
    blobs = reader
    return reader
  }

  /// The node at a path from the snapshot's root.
  func node(at path: TreePath) throws -> TreeNode? {
    let listed = try store.listed(name)
    // The content of the host's label is in the tree's root, and so are the other labels.
    let isOther = path.first.map { listed.file.otherLabels.contains($0) } ?? false
    let place = isOther ? path : path.dropFirst()
    guard let last = place.last else { return nil }
    let directories = place.dropLast()
    let shared = zip(levels.dropFirst(), directories).prefix { $0.name == $1 }.count
    if levels.isEmpty { levels = [([], try nodes(of: listed.file.tree))] }
    levels.removeLast(levels.count - 1 - shared)
    for directory in directories.dropFirst(shared) {
      guard let tree = Self.find(directory, in: levels.last!.nodes)?.subtree else { return nil }
      levels.append((directory, try nodes(of: tree)))
    }
    return Self.find(last, in: levels.last!.nodes)
  }

  private func nodes(of tree: Digest) throws -> [TreeNode] {
    try TreeReader.nodes(in: try reader().read(BlobName(.tree, tree)))
  }

  private static func find(_ name: [UInt8], in nodes: [TreeNode]) -> TreeNode? {
    let index = (0..<nodes.count).partitionPoint { nodes[$0].name.lexicographicallyPrecedes(name) }
    return index < nodes.count && nodes[index].name == name ? nodes[index] : nil
  }
}
