internal import FoundationEssentials
internal import Model

/// Encodes an object with sorted keys in snake case, and the version of the format. `isLine` puts it on one line.
func jsonText(_ document: some Encodable, isLine: Bool = false) -> String {
  let encoder = JSONEncoder()
  encoder.keyEncodingStrategy = .convertToSnakeCase
  encoder.outputFormatting =
    isLine ? [.sortedKeys, .withoutEscapingSlashes] : [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
  guard let data = try? encoder.encode(VersionedDocument(document: document)) else {
    fatalError("a document of numbers and strings failed to encode")
  }
  return String(decoding: data, as: UTF8.self)
}

/// An object with the key `version`. The number grows when a key gets another meaning or is removed.
private struct VersionedDocument<Document: Encodable>: Encodable {
  let document: Document

  private enum Key: CodingKey { case version }

  func encode(to encoder: any Encoder) throws {
    try document.encode(to: encoder)
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(1, forKey: .version)
  }
}

/// A path in JSON, as text. If it is not valid UTF-8, `path_base64` has its bytes.
///
/// JSON itself escapes control characters.
struct JSONPath: Encodable {
  let bytes: [UInt8]

  private enum Key: CodingKey { case path, pathBase64 }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    if let text = String(validating: bytes, as: UTF8.self) {
      try container.encode(text, forKey: .path)
    } else {
      try container.encode(displayName(bytes), forKey: .path)
      try container.encode(Data(bytes).base64EncodedString(), forKey: .pathBase64)
    }
  }
}
