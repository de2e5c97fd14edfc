internal import Catalog
internal import Model
internal import Posix

/// The places of this program's caches. Each can be removed at any time.
enum CacheDirectory {
  /// The directory for the caches of all programs; `nil` if none is known.
  static var base: [UInt8]? {
    if let base = CurrentProcess.environment("XDG_CACHE_HOME"), base.first == slash { return base }
    if CurrentProcess.effectiveUser == 0 { return Array("/var/cache".utf8) }
    guard let home = CurrentProcess.environment("HOME"), home.first == slash else { return nil }
    return home + Array("/.cache".utf8)
  }

  /// The path of the cache of a remote, named by the digest of its recorded address. `directory` holds caches of another
  /// kind.
  static func path(for address: [UInt8], in directory: String? = nil) -> [UInt8]? {
    let above = Array("/treering/\(directory.map { "\($0)/" } ?? "")".utf8)
    return base.map { $0 + above + Array(SHA256().digest(of: address).description.utf8.prefix(32)) }
  }
}
