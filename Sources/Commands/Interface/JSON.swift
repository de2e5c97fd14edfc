internal import FoundationEssentials
internal import Model

/// The version of all JSON documents. It grows when a key gets another meaning or is removed.
let jsonVersion = 1

/// Encodes an object with sorted keys in snake case. `isLine` puts it on one line.
///
/// Every document has the key `version`. `isPart` is for an object inside another one.
func jsonText(_ document: some Encodable, isLine: Bool = false, isPart: Bool = false) -> String {
  let encoder = JSONEncoder()
  encoder.keyEncodingStrategy = .convertToSnakeCase
  encoder.outputFormatting =
    isLine ? [.sortedKeys, .withoutEscapingSlashes] : [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
  let versioned = VersionedDocument(document: document, version: isPart ? nil : jsonVersion)
  guard let data = try? encoder.encode(versioned) else {
    fatalError("a document of numbers and strings failed to encode")
  }
  return String(decoding: data, as: UTF8.self)
}

private let decoder = {
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  return decoder
}()

extension Decodable {
  /// Decodes an object of `jsonText`; `nil` if it has another form.
  init?(json text: some Sequence<UInt8>) {
    guard let value = try? decoder.decode(Self.self, from: Data(text)) else { return nil }
    self = value
  }
}

/// An object with a further key.
private struct VersionedDocument<Document: Encodable>: Encodable {
  let document: Document
  let version: Int?

  private enum Key: CodingKey { case version }

  func encode(to encoder: any Encoder) throws {
    try document.encode(to: encoder)
    var container = encoder.container(keyedBy: Key.self)
    try container.encodeIfPresent(version, forKey: .version)
  }
}

/// A path in JSON, as text. If it is not valid UTF-8, `path_base64` has its bytes.
///
/// JSON itself escapes control characters.
struct JSONPath: Encodable {
  let bytes: [UInt8]

  private enum Key: CodingKey { case path, pathBase64 }

  private var valid: String? { String(validating: bytes, as: UTF8.self) }
  var text: String { valid ?? displayName(bytes) }
  /// The bytes, if the text does not have them.
  var base64: String? { valid == nil ? Data(bytes).base64EncodedString() : nil }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(text, forKey: .path)
    try container.encodeIfPresent(base64, forKey: .pathBase64)
  }
}
