internal import Model
public import Patterns
internal import Posix

/// The rules by which entries of the sources are excluded; by default there are none.
public struct Excludes: Sendable {
  /// Patterns of gitignore(5), relative to each source.
  public var patterns = PatternList()
  /// True if directories on which another file system is mounted are kept empty.
  public var isOneFileSystem = false
  /// True if a directory with a `CACHEDIR.TAG` keeps only that file.
  public var caches = false
  /// File names: a directory that holds such a file keeps only that file.
  public var ifPresent: [[UInt8]] = []
  /// The size in bytes above which a regular file is excluded.
  public var largestFile: UInt64?
  /// True if entries with the attribute `d` of `chattr(1)` are excluded.
  public var noDump = false

  public init() {}

  /// The rule that excludes an entry by its name; `nil` if there is none.
  func rule(for name: Span<UInt8>, in directory: [UInt8], isDirectory: Bool) -> String? {
    guard !patterns.isEmpty,
      let match = patterns.match(directory: directory, name: name, isDirectory: isDirectory),
      match.isExcluded
    else { return nil }
    return "\(displayName(match.pattern.text)) of \(displayName(Array(match.pattern.origin.utf8)))"
  }

  /// The rule that excludes an entry by its status; `nil` if there is none.
  func rule(for status: FileStatus) -> String? {
    if noDump && status.isNoDump { return "--exclude-nodump" }
    if let largestFile, status.kind == .regular, status.size > largestFile { return "--max-file-size" }
    return nil
  }

  /// The tag file that keeps a listed directory empty, and the rule; `nil` if there is none.
  func tag(in listing: DirectoryListing, of directory: borrowing Descriptor) -> (name: [UInt8], rule: String)? {
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
