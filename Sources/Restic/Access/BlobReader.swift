internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Reads blobs by their names. Each thread needs its own.
final class BlobReader {
  let repository: ResticRepository
  private let index: BlobIndex
  private let sealer: Sealer
  private let hasher = SHA256()

  init(_ repository: ResticRepository, index: BlobIndex) {
    self.repository = repository
    self.index = index
    sealer = repository.key.sealer()
  }

  /// The plain text of a blob, whose SHA-256 is its ID. The next of many contents in a row are read together.
  func read(_ name: BlobName, ofMany: Bool = false) throws -> [UInt8] {
    guard let place = try index.place(of: name) else {
      throw Failure(
        .damaged, "the \(name.type.word) blob \(name.id) is in no index of \(repository.displayName)",
        hint: "see: restic check")
    }
    return try read(place, with: name.type == .tree ? .around : ofMany ? .segment : .none)
  }

  func read(_ place: BlobPlace, with margin: PackWindows.Margin = .none) throws -> [UInt8] {
    let name = ObjectName(.data, place.pack)
    do {
      let count = Int(place.blob.byteCount)
      let read = try repository.windows.read(place.pack, at: UInt64(place.blob.offset), count: count, with: margin)
      guard let sealed = read else { throw ResticError("it is missing") }
      guard sealed.count == count else { throw ResticError("it is cut off") }
      return try open(sealed, of: place.blob)
    } catch { throw repository.damage(of: name, because: error) }
  }

  /// Opens a blob's sealed text.
  func open(_ sealed: some Collection<UInt8>, of blob: PackedBlob) throws -> [UInt8] {
    guard var plain = sealer.open(sealed) else { throw ResticError("the code of the blob \(blob.name.id) is wrong") }
    if blob.plainByteCount > 0 { plain = try decompressed(plain, byteCount: Int(blob.plainByteCount)) }
    guard hasher.digest(of: plain) == blob.name.id else {
      throw ResticError("the blob \(blob.name.id) has another content")
    }
    return plain
  }
}
