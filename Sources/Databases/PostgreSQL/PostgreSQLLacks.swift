internal import Model

/// The parts of a database that the role may not read, so that its dump cannot have them.
struct PostgreSQLLacks {
  /// The options of pg_dump(1) that leave them out.
  private(set) var options: [[UInt8]] = []
  private(set) var warnings: [String] = []

  /// pg_dump(1) locks every table that it dumps, which needs the right to read it. Under a policy for rows it would
  /// see only some of them. Tables of extensions are no part of a dump, except their configuration. A view cannot be
  /// loaded without its tables.
  private static let lacking = """
    WITH RECURSIVE lacking AS (
      SELECT c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND (NOT has_schema_privilege(n.oid, 'USAGE') OR NOT has_table_privilege(c.oid, 'SELECT')
        OR row_security_active(c.oid))
      AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
          AND d.deptype = 'e')
        OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
      UNION
      SELECT v.oid, v.relkind FROM lacking l
      JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = l.oid
        AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm'))

    """

  private static let relations =
    lacking + """
      SELECT l.relkind IN ('v', 'm'), n.nspname, c.relname FROM lacking l JOIN pg_class c ON c.oid = l.oid
      JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 2, 3
      """

  /// The functions, policies and tables that need such tables and are in the dump.
  private static let dependents =
    lacking + """
      SELECT DISTINCT pg_describe_object(o.class, o.oid, 0) FROM (
        SELECT d.classid, d.objid FROM lacking l JOIN pg_class c ON c.oid = l.oid JOIN pg_type t ON t.oid = c.reltype
        JOIN pg_depend d ON d.deptype = 'n'
          AND d.classid IN ('pg_proc'::regclass, 'pg_policy'::regclass, 'pg_class'::regclass)
          AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
            OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray))
        UNION SELECT 'pg_class'::regclass, i.inhrelid FROM lacking l JOIN pg_inherits i ON i.inhparent = l.oid
      ) o (class, oid)
      WHERE NOT EXISTS (SELECT FROM lacking l WHERE l.oid = o.oid AND o.class = 'pg_class'::regclass) ORDER BY 1
      """

  /// The value of a sequence needs the right to read it; its definition does not. The first field tells whether it
  /// belongs to a table that the role may not read.
  private static let sequences = """
    SELECT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
        AND NOT has_table_privilege(d.refobjid, 'SELECT')), n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND (NOT has_schema_privilege(n.oid, 'USAGE') OR NOT has_sequence_privilege(c.oid, 'SELECT')) ORDER BY 2, 3
    """

  private static let largeObjects = """
    SELECT count(*) FROM pg_largeobject_metadata WHERE NOT pg_has_role(lomowner, 'USAGE')
    AND NOT EXISTS (SELECT FROM aclexplode(lomacl) a WHERE a.privilege_type = 'SELECT'
      AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
    """

  /// The most objects that a warning names.
  private static let namedObjects = 20

  init(of name: [UInt8], on server: PostgreSQLServer) throws(DumpFailure) {
    let shown = displayName(name)
    let (views, tables) = try Self.objects(by: Self.relations, in: name, on: server)
    leaveOut(tables, by: "--exclude-table", "\(shown): the dump does not have tables that the role may not read")
    leaveOut(views, by: "--exclude-table", "\(shown): the dump does not have views that need these tables")
    let dependents = try server.rows(Self.dependents, fields: 1, in: name).compactMap(\.first)
    warn(of: dependents.map { displayName($0) }, "\(shown): the dump cannot be loaded, because these need such tables")
    let (owned, free) = try Self.objects(by: Self.sequences, in: name, on: server)
    leaveOut(owned, by: "--exclude-table-data", nil)
    leaveOut(
      free, by: "--exclude-table-data",
      "\(shown): the dump does not have the values of sequences that the role may not read")
    let count = try server.rows(Self.largeObjects, fields: 1, in: name).first?.first ?? []
    if count != [UInt8(ascii: "0")] {
      options += words("--no-blobs")
      warnings.append(
        "\(shown): the dump has no large objects, because the role may not read \(displayName(count)) of them")
    }
  }

  /// The objects of a query, each with its schema and its name. Those whose first field is true come first.
  private static func objects(
    by query: String, in name: [UInt8], on server: PostgreSQLServer
  ) throws(DumpFailure) -> ([[[UInt8]]], [[[UInt8]]]) {
    let rows = try server.rows(query, fields: 3, in: name).map(Array.init)
    func isMarked(_ row: [[UInt8]]) -> Bool { row[0] == [UInt8(ascii: "t")] }
    return (rows.filter(isMarked).map { Array($0[1...]) }, rows.filter { !isMarked($0) }.map { Array($0[1...]) })
  }

  /// Leaves objects out, and warns of them.
  private mutating func leaveOut(_ objects: [[[UInt8]]], by option: String, _ warning: String?) {
    options += objects.map {
      Array("\(option)=".utf8) + quoted($0[0], by: "\"") + [UInt8(ascii: ".")] + quoted($0[1], by: "\"")
    }
    guard let warning else { return }
    warn(of: objects.map { "\(displayName($0[0])).\(displayName($0[1]))" }, warning)
  }

  private mutating func warn(of names: [String], _ warning: String) {
    guard !names.isEmpty else { return }
    let more = names.count > Self.namedObjects ? ", and \(names.count - Self.namedObjects) more" : ""
    warnings.append("\(warning): " + names.prefix(Self.namedObjects).joined(separator: ", ") + more)
  }
}
