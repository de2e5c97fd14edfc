internal import Catalog
internal import Posix

/// What one thread needs to build a snapshot, wherever its entries come from.
class BuildWorker {
  let writer: FrameWriter
  let hasher = SHA256()
  let reader: FileReader
  /// The names of the stored directory that the one being entered is linked from.
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
