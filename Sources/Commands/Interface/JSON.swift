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
  guard let data = try? encoder.encode(versioned)
  else { fatalError("a document of numbers and strings failed to encode") }
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

/// A key of an object, in camel case.
private struct MemberKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }

  init(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

extension Encoder {
  /// Encodes members of an object, without those that have no value.
  func encode(_ members: KeyValuePairs<String, (any Encodable)?>) throws {
    var container = container(keyedBy: MemberKey.self)
    for (key, value) in members {
      if let value { try container.encode(value, forKey: MemberKey(stringValue: key)) }
    }
  }
}

/// An object with a further key.
private struct VersionedDocument<Document: Encodable>: Encodable {
  let document: Document
  let version: Int?

  func encode(to encoder: any Encoder) throws {
    try document.encode(to: encoder)
    try encoder.encode(["version": version])
  }
}

/// A path in JSON, as text. If it is not valid UTF-8, `path_base64` has its bytes.
///
/// JSON itself escapes control characters.
struct JSONPath: Encodable {
  let bytes: [UInt8]

  private var valid: String? { String(validating: bytes, as: UTF8.self) }
  var text: String { valid ?? displayName(bytes) }
  /// The bytes, if the text does not have them.
  var base64: String? { valid == nil ? Data(bytes).base64EncodedString() : nil }

  func encode(to encoder: any Encoder) throws { try encoder.encode(["path": text, "pathBase64": base64]) }
}
