internal import Catalog
internal import Model
internal import Posix

/// The merge of a directory's listing with a record: first the files, then the sub-directories.
///
/// The caller finds out which listed names are directories, and defers these with `mergeAsDirectory`.
struct ListingMerge {
  typealias Entry = DirectoryListing.Entry

  private let names: [UInt8]
  private let entries: [Entry]
  /// The place of the next listed name.
  private(set) var next = 0
  private let record: DirectoryRecord?
  private var files: FileCursor?
  private var directories: [ListedDirectory] = []
  private var directoriesMerged = 0
  private var rows: ArraySlice<DirectoryRow>?

  /// A missing record has no entries.
  init(_ listing: DirectoryListing, with record: DirectoryRecord?) throws(CatalogError) {
    names = listing.bytes
    entries = listing.entries
    self.record = record
    files = try record.map { record throws(CatalogError) in try FileCursor(of: record) }
  }

  /// The next listed name and file of the record; `nil` after the last.
  @inline(__always)
  mutating func nextEntry() throws(CatalogError) -> Pair<Entry, FileRow>? {
    let pair = Pair(next < entries.count ? entries[next] : nil, files?.current) { entry, row in
      compareNames(names.span.extracting(entry.range), record!.bytes.span.extracting(row.name))
    }
    switch pair {
    case .left: next += 1
    case .right: try files?.advance()
    case .both:
      next += 1
      try files?.advance()
    case nil: break
    }
    return pair
  }

  /// Keeps a listed name for `nextDirectory`.
  mutating func mergeAsDirectory(_ entry: Entry, isRecycled: Bool = false) {
    directories.append(ListedDirectory(range: entry.range, isRecycled: isRecycled))
  }

  /// The next kept name and sub-directory of the record; `nil` after the last.
  ///
  /// Must be called only after the last file.
  mutating func nextDirectory() throws(CatalogError) -> Pair<ListedDirectory, DirectoryRow>? {
    if rows == nil { rows = try files?.directories()[...] ?? [] }
    let listed = directoriesMerged < directories.count ? directories[directoriesMerged] : nil
    let pair = Pair(listed, rows!.first) { listed, row in
      compareNames(names.span.extracting(listed.range), record!.bytes.span.extracting(row.name))
    }
    if pair?.sides.left != nil { directoriesMerged += 1 }
    if pair?.sides.right != nil { rows!.removeFirst() }
    return pair
  }
}

/// A listed name that is a directory, or no file of the record.
struct ListedDirectory {
  let range: Range<Int>
  /// True if the spare has the directory.
  let isRecycled: Bool
}
