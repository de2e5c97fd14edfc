internal import Catalog
public import Patterns
internal import Posix

/// What of the sources is left out; nothing unless said otherwise.
public struct Excludes: Sendable {
  /// Patterns of gitignore(5), relative to each source.
  public var patterns = PatternList()
  /// Directories on which another file system is mounted are kept empty.
  public var isOneFileSystem = false
  /// Directories with a `CACHEDIR.TAG` keep nothing but that.
  public var caches = false
  /// Directories that hold a file of one of these names keep nothing but that.
  public var ifPresent: [[UInt8]] = []
  /// Bytes; larger regular files are left out.
  public var largestFile: UInt64?
  /// Entries with the attribute `d` of `chattr(1)` are left out.
  public var noDump = false

  public init() {}

  /// The rule that leaves out an entry by its name.
  func rule(
    for name: Span<UInt8>, in directory: [UInt8], isDirectory: Bool
  ) -> String? {
    guard !patterns.isEmpty,
      let match = patterns.match(directory: directory, name: name, isDirectory: isDirectory),
      match.isExcluded
    else { return nil }
    return "\(displayName(match.pattern.text)) of \(displayName(Array(match.pattern.origin.utf8)))"
  }

  /// The rule that leaves out an entry, of which its status is known.
  func rule(for status: FileStatus) -> String? {
    if noDump && status.isNoDump { return "--exclude-nodump" }
    if let largestFile, status.kind == .regular, status.size > largestFile { return "--max-file-size" }
    return nil
  }

  /// The file that marks a listed directory as one to keep empty, and the rule.
  func tag(
    in listing: DirectoryListing, of directory: borrowing Descriptor
  ) -> (name: [UInt8], rule: String)? {
    let cacheTag = Array("CACHEDIR.TAG".utf8)
    if caches, listing.contains(cacheTag.span), Self.isCacheTag(cacheTag, in: directory) {
      return (cacheTag, "--exclude-caches")
    }
    for name in ifPresent where listing.contains(name.span) {
      return (name, "--exclude-if-present \(displayName(name))")
    }
    return nil
  }

  /// True for a regular file that begins with the signature of <https://bford.info/cachedir/>.
  private static func isCacheTag(_ name: [UInt8], in directory: borrowing Descriptor) -> Bool {
    let signature = Array("Signature: 8a477f597d28d172789f06886806bc55".utf8)
    guard let file = try? directory.openToRead(name.span),
      (try? file.status().kind) == .regular
    else { return false }
    return (try? file.read(at: 0, count: signature.count)) == signature
  }
}
