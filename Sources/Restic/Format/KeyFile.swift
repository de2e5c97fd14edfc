internal import CCodec
internal import Model

/// A file below `keys/`: the master key, sealed by a key that scrypt derives from one password.
struct KeyFile {
  var created = Timestamp(seconds: 0, nanoseconds: 0)
  var user: [UInt8] = []
  var host: [UInt8] = []
  private var kdf: [UInt8] = Array("scrypt".utf8)
  private var cost = MasterKey.Cost.new
  private var salt: [UInt8] = []
  private var data: [UInt8] = []

  /// The largest key file that is read.
  static let mostBytes = 1 << 16

  /// Seals a master key for a password.
  init(of key: MasterKey, password: [UInt8], user: [UInt8], host: [UInt8], at time: Timestamp) throws(ResticError) {
    (created, self.user, self.host) = (time, user, host)
    salt = [UInt8](repeating: 0, count: 64)
    guard tr_random_key(&salt, salt.count) == 1 else { throw ResticError("libcrypto has no random numbers") }
    var json = key.json
    defer { tr_forget(&json, json.count) }
    data = try MasterKey(password: password, salt: salt, cost: cost).sealer().seal(json)
  }

  init(json: [UInt8]) throws {
    kdf = []
    try JSONCursor.read(json) { cursor in
      try cursor.members { cursor, key in
        switch key {
        case "created": created = try cursor.time()
        case "username": user = try cursor.string()
        case "hostname": host = try cursor.string()
        case "kdf": kdf = try cursor.string()
        case "N": cost.n = try cursor.unsigned()
        case "r": cost.r = try cursor.unsigned()
        case "p": cost.p = try cursor.unsigned()
        case "salt": salt = try cursor.base64()
        case "data": data = try cursor.base64()
        default: try cursor.skip()
        }
      }
    }
    guard kdf.elementsEqual("scrypt".utf8) else { throw ResticError("a key file names an unknown key derivation") }
  }

  var json: [UInt8] {
    var writer = JSONWriter()
    writer.raw("{\"created\":")
    writer.time(created)
    writer.raw(",\"username\":")
    writer.string(user)
    writer.raw(",\"hostname\":")
    writer.string(host)
    writer.raw(",\"kdf\":\"scrypt\",\"N\":")
    writer.number(cost.n)
    writer.raw(",\"r\":")
    writer.number(cost.r)
    writer.raw(",\"p\":")
    writer.number(cost.p)
    writer.raw(",\"salt\":")
    writer.base64(salt)
    writer.raw(",\"data\":")
    writer.base64(data)
    writer.raw("}")
    return writer.bytes
  }

  /// The master key; `nil` if the password is not that of this file.
  func open(password: [UInt8]) throws -> MasterKey? {
    let sealer = try MasterKey(password: password, salt: salt, cost: cost).sealer()
    guard var json = sealer.open(data) else { return nil }
    defer { tr_forget(&json, json.count) }
    return try MasterKey(json: json)
  }
}
