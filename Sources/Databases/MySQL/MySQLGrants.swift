/// The privileges of a role of a MySQL or MariaDB server, by the lines of `SHOW GRANTS`.
///
/// A server does not tell a role of triggers and routines that it may not see. A dump without them looks complete.
struct MySQLGrants {
  private struct Grant {
    var privileges: Set<String>
    /// A pattern, as of `LIKE`; `nil` for all databases.
    var database: [UInt8]?
    /// `nil` for all tables.
    var table: [UInt8]?
  }

  private let grants: [Grant]

  /// Grants of single columns, single routines and roles are left out.
  init(lines: [[UInt8]]) { grants = lines.compactMap(Self.grant(of:)) }

  /// The databases in which the role may not see triggers.
  func withoutTriggers(_ databases: [[UInt8]]) -> [[UInt8]] { databases.filter { !has(["TRIGGER"], on: $0) } }

  /// The databases in which the role may not see routines. One that it sees, and may not read, is an error of the dump.
  func withoutRoutines(_ databases: [[UInt8]]) -> [[UInt8]] {
    let seesAll = grants.contains { grant in
      let holds = !grant.privileges.isDisjoint(with: ["SELECT", "ALL PRIVILEGES"])
      let isProc = grant.table.map { $0.elementsEqual("proc".utf8) } ?? true
      return holds && isProc && grant.database.map { $0.elementsEqual("mysql".utf8) } ?? true
    }
    let privileges: Set = ["EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE", "SHOW_ROUTINE", "SHOW CREATE ROUTINE"]
    return seesAll ? [] : databases.filter { !has(privileges, on: $0) }
  }

  /// The databases in which the role may lack a right to dump some table or view.
  func withoutReading(_ databases: [[UInt8]]) -> [[UInt8]] {
    databases.filter { !has(["SELECT"], on: $0) || !has(["SHOW VIEW"], on: $0) }
  }

  private func has(_ privileges: Set<String>, on database: [UInt8]) -> Bool {
    grants.contains { grant in
      grant.table == nil && !grant.privileges.isDisjoint(with: privileges.union(["ALL PRIVILEGES"]))
        && grant.database.map { Self.matches(database[...], $0[...]) } ?? true
    }
  }

  // MARK: Lines

  /// A line such as ``GRANT SELECT, TRIGGER ON `shop`.* TO `app`@`%` ``.
  private static func grant(of line: [UInt8]) -> Grant? {
    let (begin, middle) = (Array("GRANT ".utf8), Array(" ON ".utf8))
    guard line.starts(with: begin), let place = firstIndex(of: middle, in: line) else { return nil }
    let words = String(decoding: line[begin.count..<place], as: UTF8.self).split(separator: ",").map { word in
      String(word.drop { $0 == " " })
    }
    var rest = line[(place + middle.count)...]
    var grant = Grant(privileges: Set(words), database: nil, table: nil)
    if rest.starts(with: "*.* ".utf8) { return grant }
    guard let database = name(from: &rest), rest.popFirst() == UInt8(ascii: ".") else { return nil }
    grant.database = database
    if rest.starts(with: "* ".utf8) { return grant }
    grant.table = name(from: &rest)
    return grant.table == nil ? nil : grant
  }

  /// The name in backquotes at the beginning, which is removed.
  private static func name(from rest: inout ArraySlice<UInt8>) -> [UInt8]? {
    let quote = UInt8(ascii: "`")
    guard rest.popFirst() == quote else { return nil }
    var name: [UInt8] = []
    while let byte = rest.popFirst() {
      if byte == quote {
        guard rest.first == quote else { return name }
        rest.removeFirst()
      }
      name.append(byte)
    }
    return nil
  }

  /// The rule of `LIKE`: `%` stands for any bytes, `_` for one, and a backslash takes the meaning from the next.
  private static func matches(_ name: ArraySlice<UInt8>, _ pattern: ArraySlice<UInt8>) -> Bool {
    guard let first = pattern.first else { return name.isEmpty }
    let rest = pattern.dropFirst()
    switch first {
    case UInt8(ascii: "%"):
      return (name.startIndex...name.endIndex).contains { matches(name[$0...], rest) }
    case UInt8(ascii: "_"): return !name.isEmpty && matches(name.dropFirst(), rest)
    case UInt8(ascii: "\\") where !rest.isEmpty:
      return name.first == rest.first && matches(name.dropFirst(), rest.dropFirst())
    default: return name.first == first && matches(name.dropFirst(), rest)
    }
  }
}
