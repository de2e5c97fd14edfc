internal import Model

/// The parts of a database that the role may not read, so that its dump cannot have them.
struct PostgreSQLLacks {
  /// The options of pg_dump(1) that leave them out.
  private(set) var options: [[UInt8]] = []
  private(set) var warnings: [String] = []

  /// pg_dump(1) locks every table that it dumps, which needs the right to read it. Under a policy for rows it would
  /// see only some of them. Tables of extensions are no part of a dump, except their configuration.
  private static let tables = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND (NOT has_schema_privilege(n.oid, 'USAGE') OR NOT has_table_privilege(c.oid, 'SELECT')
      OR row_security_active(c.oid))
    AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.deptype = 'e')
      OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
    ORDER BY 1, 2
    """

  private static let largeObjects = """
    SELECT count(*) FROM pg_largeobject_metadata WHERE NOT pg_has_role(lomowner, 'USAGE')
    AND NOT EXISTS (SELECT FROM aclexplode(lomacl) a WHERE a.privilege_type = 'SELECT'
      AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
    """

  /// The most tables that a warning names.
  private static let namedTables = 20

  init(of name: [UInt8], on server: PostgreSQLServer) throws(DumpFailure) {
    let shown = displayName(name)
    let tables = try server.rows(Self.tables, fields: 2, in: name).map(Array.init)
    if !tables.isEmpty {
      options = tables.map {
        Array("--exclude-table=".utf8) + quoted($0[0], by: "\"") + [UInt8(ascii: ".")] + quoted($0[1], by: "\"")
      }
      let names = tables.prefix(Self.namedTables).map { "\(displayName($0[0])).\(displayName($0[1]))" }
      let more = tables.count > names.count ? ", and \(tables.count - names.count) more" : ""
      warnings.append(
        "\(shown): the dump does not have tables that the role may not read: " + names.joined(separator: ", ") + more)
    }
    let count = try server.rows(Self.largeObjects, fields: 1, in: name).first?.first ?? []
    if count != [UInt8(ascii: "0")] {
      options += words("--no-blobs")
      warnings.append(
        "\(shown): the dump has no large objects, because the role may not read \(displayName(count)) of them")
    }
  }
}
