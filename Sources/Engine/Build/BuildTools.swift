internal import Catalog
internal import Posix

/// One thread's tools for building a snapshot from any origin.
final class BuildTools {
  let writer: FrameWriter
  let hasher = SHA256()
  let reader: FileReader
  /// The names of the stored directory from which the current directory is linked.
  var storedListing = DirectoryListing()
  private var encoders: [RecordEncoder] = []

  init(writer: FrameWriter, reader: FileReader) {
    self.writer = writer
    self.reader = reader
  }

  func takeEncoder() -> RecordEncoder { encoders.popLast() ?? RecordEncoder() }

  func giveBack(_ encoder: RecordEncoder) {
    if !encoder.isOversized && encoders.count < 64 { encoders.append(encoder) }
  }
}
