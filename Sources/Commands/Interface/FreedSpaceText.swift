internal import Engine
internal import Model
internal import Repository

extension FreedSpace {
  /// The amount for a person, with "about" if it is not exact.
  var text: String { doubts.amountText(bytes) }
}

extension Set<FreedSpaceDoubt> {
  /// An amount for a person, with "about" if it is not exact.
  func amountText(_ bytes: UInt64) -> String { (isEmpty ? "" : "about ") + byteText(bytes) }

  /// The reasons for scripts.
  var keys: [String] { sorted().map(\.rawValue) }

  /// The reasons for which the figures are not exact, for a person. `nil` if they are.
  var sentence: String? {
    isEmpty ? nil : "the figures are not exact: \(sorted().map(\.words).joined(separator: "; "))"
  }
}

extension FreedSpaceDoubt {
  /// The reason for a person.
  var words: String {
    switch self {
    case .oldCatalog: "a snapshot of an older treering does not say what its directories take"
    case .copiedRepository: "inode numbers of some catalogs are of another repository or disk"
    case .repaired: "files were replaced by a repair"
    case .unknownInodes: "some catalogs do not know the inodes of all files"
    case .unexaminedFiles: "some files could not be examined"
    case .remote:
      "the treering there does not measure it, or the repository is of restic's format, so sizes stand for the space on disk, and links between "
        + "snapshots of different sources are not known"
    case .unknownSpare: "an expired snapshot that is kept to be recycled has no catalog"
    }
  }
}

extension RotationResult {
  /// The space that comes free, for a person. `nil` if nothing expires.
  func freedSentence(isDry: Bool) -> String? {
    guard let freed else { return nil }
    let later = spareBytes == 0 ? "" : ", \(byteText(spareBytes)) of it when the next snapshot has recycled the newest"
    return (isDry ? "would free " : "frees ") + freed.text + later
  }
}
