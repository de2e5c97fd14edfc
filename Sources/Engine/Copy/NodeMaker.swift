internal import Catalog
internal import Posix

/// Makes a symbolic link, FIFO, socket or device node with its metadata.
///
/// Returns the inode, and what the user may not make or set; a device node that may not be made is
/// `notStored`, with no inode.
func makeSpecial(
  _ name: Span<UInt8>, in directory: borrowing Descriptor, kind: EntryKind, target: [UInt8],
  device: UInt64, _ metadata: Metadata, _ attributes: AttributeBlock,
  mayHaveOthers: Bool = false
) throws(Errno) -> (inode: UInt64, missing: StorageFlags) {
  if kind == .symbolicLink {
    try directory.makeSymbolicLink(name, to: target)
  } else {
    do throws(Errno) {
      try directory.makeNode(name, kind: kind, deviceNumber: device)
    } catch {
      guard error == .notPermitted || error == .notSupported else { throw error }
      return (0, .notStored)
    }
  }
  let made = try directory.open(name, .pathOnly)
  let status = try made.status()
  // Whoever may write to the directory could have put another inode there.
  guard status.kind == kind, status.user == Process.effectiveUser, status.linkCount == 1 else {
    throw .staleHandle
  }
  let missing = try applyMetadata(
    metadata, attributes, to: made, .handle(isSymbolicLink: kind == .symbolicLink),
    currently: status, mayHaveOthers: mayHaveOthers)
  return (status.inode, missing)
}
