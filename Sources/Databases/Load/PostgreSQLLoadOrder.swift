import Model

/// The lines of `pg_restore --list --verbose` that a load takes: all but foreign keys to tables that the dump lacks.
///
/// The line of an object is `ID; CATALOG OID KIND SCHEMA NAME OWNER`. The IDs of the objects that it needs are in a
/// comment after it. A foreign key needs the unique index of the other table, or the extension that has the table.
struct PostgreSQLLoadOrder {
  /// The list for `--use-list`.
  private(set) var text: [UInt8] = []
  /// Schema, table, name and owner of each foreign key that is left out.
  private(set) var lacks: [[UInt8]] = []

  private struct Object {
    var line, id: ArraySlice<UInt8>
    /// The kind and what follows.
    var description: ArraySlice<UInt8>
    var needs: [ArraySlice<UInt8>] = []

    func isOf(_ kind: String) -> Bool { description.starts(with: Array("\(kind) ".utf8)) }
  }

  private static let foreignKey = "FK CONSTRAINT"
  private static let otherSides = ["CONSTRAINT", "INDEX", "EXTENSION"]

  init(list: [UInt8]) {
    let objects = Self.objects(in: list)
    let otherSides = Set(objects.filter { Self.otherSides.contains(where: $0.isOf) }.map(\.id))
    var missing = Set<ArraySlice<UInt8>>()
    for object in objects where object.isOf(Self.foreignKey) && otherSides.isDisjoint(with: object.needs) {
      missing.insert(object.id)
      lacks.append(Array(object.description.dropFirst(Self.foreignKey.utf8.count + 1)))
    }
    // A comment on such a key goes with it.
    for object in objects where !missing.contains(object.id) && missing.isDisjoint(with: object.needs) {
      text += object.line + [10]
    }
  }

  private static func objects(in list: [UInt8]) -> [Object] {
    var objects: [Object] = []
    let needs = Array(";\tdepends on:".utf8)
    for line in list.split(separator: 10) {
      if line.starts(with: needs), let last = objects.indices.last {
        objects[last].needs = line.dropFirst(needs.count).split(separator: 32)
      }
      let parts = line.split(separator: 32, maxSplits: 3, omittingEmptySubsequences: false)
      guard line.first != UInt8(ascii: ";"), parts.count == 4 else { continue }
      objects.append(Object(line: line, id: parts[0].dropLast(), description: parts[3]))
    }
    return objects
  }
}
