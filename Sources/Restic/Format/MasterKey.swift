internal import CCodec

/// The keys of a repository: AES-256's, and the two halves of Poly1305-AES's. The memory is overwritten at the end.
public final class MasterKey: @unchecked Sendable {
  static let byteCount = Int(TR_SEAL_KEY_BYTES)
  // The key never moves, so no copy of it stays behind.
  private let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: MasterKey.byteCount)

  private init() { bytes.initialize(repeating: 0, count: Self.byteCount) }

  deinit {
    tr_forget(bytes, Self.byteCount)
    bytes.deallocate()
  }

  /// A new random key.
  public static func random() throws(ResticError) -> MasterKey {
    let key = MasterKey()
    guard tr_random_key(key.bytes, byteCount) == 1 else { throw ResticError("libcrypto has no random numbers") }
    // The bits that Poly1305 ignores are zero in restic's keys (`r` of the paper, section 2).
    for index in [3, 7, 11, 15] { key.bytes[48 + index] &= 0x0F }
    for index in [4, 8, 12] { key.bytes[48 + index] &= 0xFC }
    return key
  }

  /// Takes the key from its three parts.
  init(encrypt: [UInt8], k: [UInt8], r: [UInt8]) throws(ResticError) {
    guard encrypt.count == 32, k.count == 16, r.count == 16 else { throw ResticError("a key has the wrong length") }
    for (index, byte) in (encrypt + k + r).enumerated() { (bytes + index).initialize(to: byte) }
    // A key of zeros protects nothing, and restic refuses it too.
    for part in [0..<32, 32..<48, 48..<64] where part.allSatisfy({ bytes[$0] == 0 }) {
      throw ResticError("a key is zero")
    }
  }

  /// The parameters of scrypt (RFC 7914).
  struct Cost {
    var n: UInt64
    var r: UInt64
    var p: UInt64

    /// About a third of a second on a processor of 2020, with 32 MiB; restic's own calibration has the same order.
    static let new = Cost(n: 1 << 15, r: 8, p: 3)
    /// The most memory that a key file may make this process use.
    static let mostMemoryBytes: UInt64 = 1 << 30
    /// The most work: about half a minute on that processor, and 50 times the work of a key of restic.
    static let mostWork: UInt64 = 1 << 26
  }

  /// Derives the key that seals a key file from a password.
  init(password: [UInt8], salt: [UInt8], cost: Cost) throws(ResticError) {
    bytes.initialize(repeating: 0, count: Self.byteCount)
    // The limits keep each product below 2^64.
    let isBounded =
      [cost.n, cost.r, cost.p].allSatisfy { $0 > 0 && $0 <= 1 << 20 } && cost.n * cost.r * cost.p <= Cost.mostWork
    guard isBounded,
      tr_scrypt(
        bytes, password, password.count, salt, salt.count, cost.n, cost.r, cost.p, Cost.mostMemoryBytes) == 1
    else { throw ResticError("a key file has impossible parameters for scrypt") }
  }

  /// The JSON document of the keys, as restic seals it in key files.
  var json: [UInt8] {
    func part(_ range: Range<Int>) -> [UInt8] { range.map { bytes[$0] } }
    var writer = JSONWriter()
    writer.raw("{\"mac\":{\"k\":")
    writer.base64(part(32..<48))
    writer.raw(",\"r\":")
    writer.base64(part(48..<64))
    writer.raw("},\"encrypt\":")
    writer.base64(part(0..<32))
    writer.raw("}")
    return writer.bytes
  }

  convenience init(json: [UInt8]) throws {
    var (encrypt, k, r): ([UInt8], [UInt8], [UInt8]) = ([], [], [])
    try JSONCursor.read(json) { cursor in
      try cursor.members { cursor, key in
        switch key {
        case "encrypt": encrypt = try cursor.base64()
        case "mac":
          try cursor.members { cursor, key in
            switch key {
            case "k": k = try cursor.base64()
            case "r": r = try cursor.base64()
            default: try cursor.skip()
            }
          }
        default: try cursor.skip()
        }
      }
    }
    try self.init(encrypt: encrypt, k: k, r: r)
  }

  /// A sealer with this key, for one thread.
  func sealer() -> Sealer { Sealer(bytes) }
}

/// Seals and opens texts with a key. Each thread needs its own.
final class Sealer {
  /// A sealed text is longer than its plain text by this number of bytes.
  static let overheadBytes = Int(TR_SEAL_OVERHEAD)
  /// The bytes before the text itself.
  private static let nonceBytes = 16
  private let sealer: OpaquePointer

  fileprivate init(_ key: UnsafePointer<UInt8>) {
    // libcrypto fails here only without memory or without its own ciphers.
    guard let sealer = tr_sealer_new(key) else { fatalError("libcrypto lacks AES or Poly1305") }
    self.sealer = sealer
  }

  deinit { tr_sealer_free(sealer) }

  func seal(_ plain: [UInt8]) -> [UInt8] { plain.withUnsafeBytes { seal($0) } }

  func seal(_ plain: UnsafeRawBufferPointer) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: plain.count + Self.overheadBytes) { buffer, count in
      guard tr_seal(sealer, buffer.baseAddress!, plain.baseAddress, plain.count) == 1 else {
        fatalError("libcrypto failed to encrypt")
      }
      count = plain.count + Self.overheadBytes
    }
  }

  /// Returns `nil` if the text was not sealed with this key, or was changed since.
  func open(_ sealed: some Collection<UInt8>) -> [UInt8]? {
    let opened: [UInt8]?? = sealed.withContiguousStorageIfAvailable { open(UnsafeRawBufferPointer($0)) }
    return opened ?? Array(sealed).withUnsafeBytes { open($0) }
  }

  /// Opens a long text in its own memory.
  func opened(_ sealed: inout [UInt8]) throws(ResticError) -> ArraySlice<UInt8> {
    let isRight = sealed.withUnsafeMutableBytes { text in
      guard text.count >= Self.overheadBytes, let start = text.baseAddress else { return false }
      let plain = (start + Self.nonceBytes).assumingMemoryBound(to: UInt8.self)
      return tr_unseal(sealer, plain, start, text.count) == 1
    }
    guard isRight else { throw ResticError("its code is wrong") }
    return sealed[Self.nonceBytes..<sealed.count - (Self.overheadBytes - Self.nonceBytes)]
  }

  private func open(_ sealed: UnsafeRawBufferPointer) -> [UInt8]? {
    guard sealed.count >= Self.overheadBytes else { return nil }
    var isRight = false
    let plain = [UInt8](unsafeUninitializedCapacity: max(sealed.count - Self.overheadBytes, 1)) { buffer, count in
      isRight = tr_unseal(sealer, buffer.baseAddress!, sealed.baseAddress, sealed.count) == 1
      count = isRight ? sealed.count - Self.overheadBytes : 0
    }
    return isRight ? plain : nil
  }
}
