internal import Model
internal import TOMLKit

/// The owner's words in the recovery plan: the table `[plan]`.
public struct PlanConfiguration: Sendable, Equatable {
  /// The order of the recovery: paths of sources, `database:NAME`, and steps in the owner's words.
  public var order: [String] = []
  /// The places of passwords and keys, never these themselves.
  public var keys: [String] = []
  public var contacts: [String] = []
  /// The things that the recovery needs beside the copies.
  public var dependencies: [String] = []
  public var notes: [String] = []
  public var notBackedUp: [String] = []
  /// The directory of the document, which becomes a source; `nil` for the default.
  public var directory: String?

  public init() {}
}

extension PlanConfiguration {
  init(table: TableReader) {
    table.know(["order", "keys", "contacts", "dependencies", "notes", "not_backed_up", "directory"])
    order = table.texts(for: "order")
    keys = table.texts(for: "keys")
    contacts = table.texts(for: "contacts")
    dependencies = table.texts(for: "dependencies")
    notes = table.texts(for: "notes")
    notBackedUp = table.texts(for: "not_backed_up")
    directory = table.path(for: "directory")
    let name = String(decoding: RecoveryDocument.directoryName, as: UTF8.self)
    if let directory, !directory.hasSuffix("/\(name)") {
      table.complain(key: "directory", message: "\"directory\" should end with /\(name), by which every copy finds it")
    }
  }
}

extension TableReader {
  /// One or several texts for people, each on one line.
  func texts(for key: String) -> [String] {
    value(for: key, expecting: "words on one line, or an array of such") { found in
      let texts = found.string.map { [$0] } ?? Self.strings(in: found)
      return texts.flatMap { $0.contains { $0.isEmpty || $0.utf8.contains { $0 < 0x20 } } ? nil : $0 }
    } ?? []
  }
}
