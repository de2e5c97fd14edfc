internal import Model
internal import Posix

/// The statuses of a directory's next listed entries, read in the order of their inodes.
///
/// A file system keeps inodes in the order of their numbers. The order of names would make a rotating disk seek for
/// almost each entry of a directory that was filled over years, such as a mailbox.
struct StatusWindow {
  /// The most entries that are read ahead: about 600 KiB of statuses for each thread.
  static let capacity = 4096

  private var statuses: [Result<FileStatus, Errno>?] = []
  /// The place of the first entry of the window in the listing.
  private var start = 0

  /// Forgets the last directory.
  mutating func reset() {
    statuses.removeAll(keepingCapacity: true)
    start = 0
  }

  /// The status of the listed entry `index`; `statx(2)`. It may have been read with the entries before.
  mutating func status(
    at index: Int, of listing: DirectoryListing, in directory: borrowing Descriptor
  ) throws(Errno) -> FileStatus {
    if index >= start + statuses.count { fill(from: index, of: listing, in: directory) }
    guard let status = statuses[index - start]
    else { return try directory.status(of: listing.bytes.span.extracting(listing.entries[index].range)) }
    return try status.get()
  }

  private mutating func fill(from first: Int, of listing: DirectoryListing, in directory: borrowing Descriptor) {
    let end = min(first + Self.capacity, listing.entries.count)
    var order = (first..<end).filter { !listing.entries[$0].isSurelyDirectory }
    order.sort { listing.entries[$0].inode < listing.entries[$1].inode }
    start = first
    statuses.removeAll(keepingCapacity: true)
    statuses.append(contentsOf: repeatElement(nil, count: end - first))
    for index in order {
      let name = listing.entries[index].range
      statuses[index - first] = Result { () throws(Errno) in
        try directory.status(of: listing.bytes.span.extracting(name))
      }
    }
  }
}
