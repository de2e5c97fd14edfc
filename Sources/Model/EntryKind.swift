/// The kind of an entry; the catalog stores the raw values.
@frozen
public enum EntryKind: UInt8, Sendable, CaseIterable {
  case regular = 1
  case symbolicLink = 2
  case fifo = 3
  case socket = 4
  case characterDevice = 5
  case blockDevice = 6
  case directory = 7

  public var word: String {
    switch self {
    case .regular: "file"
    case .symbolicLink: "symbolic link"
    case .fifo: "FIFO"
    case .socket: "socket"
    case .characterDevice: "character device"
    case .blockDevice: "block device"
    case .directory: "directory"
    }
  }
}
