import Model
import Testing

@testable import Databases

@Suite("names and texts of loads") struct LoadTests {
  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
  private func text(_ bytes: some Sequence<UInt8>) -> String { String(decoding: Array(bytes), as: UTF8.self) }

  @Test("the list of a dump tells the version of its server")
  func version() {
    let list = """
      ;
      ; Archive created at 2026-11-30 12:00:00 UTC
      ;     Dumped from database version: 13.23 (Debian 13.23-0+deb11u1)
      ;     Dumped by pg_dump version: 15.14
      """
    #expect(PostgreSQLLoader.version(inList: bytes(list)) == 13)
    #expect(PostgreSQLLoader.version(inList: bytes("; nothing")) == nil)
  }

  @Test("a load leaves out foreign keys to tables that the dump lacks, and their comments")
  func order() {
    let list = """
      ; Archive created at 2026-11-30 12:00:00 UTC
      7; 2615 16385 SCHEMA - x postgres
      2; 3079 16479 EXTENSION - pg_trgm\u{20}
      218; 1259 16397 TABLE public FK CONSTRAINT postgres
      3290; 2606 16401 CONSTRAINT public other other_pkey postgres
      ;\tdepends on: 218
      3288; 1259 16407 INDEX public ok postgres
      ;\tdepends on: 218
      3297; 2606 16411 FK CONSTRAINT public t t_i_fkey postgres
      ;\tdepends on: 219 7
      3461; 0 0 COMMENT public CONSTRAINT t_i_fkey ON t postgres
      ;\tdepends on: 3297
      3298; 2606 16421 FK CONSTRAINT public t t_j_fkey postgres
      ;\tdepends on: 3290 218 219
      3462; 0 0 COMMENT public CONSTRAINT t_j_fkey ON t postgres
      ;\tdepends on: 3298
      3300; 2606 16426 FK CONSTRAINT public t t_l_fkey postgres
      ;\tdepends on: 219 3288 218
      3305; 2606 16568 FK CONSTRAINT public se se_i_fkey postgres
      ;\tdepends on: 2 226
      """
    let order = PostgreSQLLoadOrder(list: bytes(list))
    #expect(order.lacks.map { text($0) } == ["public t t_i_fkey postgres"])
    let ids = text(order.text).split(separator: "\n").map { String($0.prefix { $0 != ";" }) }
    #expect(ids == ["7", "2", "218", "3290", "3288", "3298", "3462", "3300", "3305"])
  }

  @Test("a value that imitates a statement is no statement")
  func statements() {
    let script = #"""
      -- a comment; with a semicolon
      \restrict abc
      SET x = on;
      CREATE ROLE "a ""b; c";
      ALTER ROLE app SET search_path TO 'x
      CREATE ROLE evil SUPERUSER;
      ', E'it''s \'
      CREATE ROLE worse SUPERUSER;
      ';
      COMMENT ON ROLE app IS E'a\\';
      \unrestrict abc
      GRANT "a ""b; c" TO app WITH INHERIT TRUE GRANTED BY postgres;
      """#
    let found = SQLStatements(bytes(script)).texts.map { text($0.prefix { $0 != 10 }) }
    #expect(
      found == [
        "SET x = on", #"CREATE ROLE "a ""b; c""#, "ALTER ROLE app SET search_path TO 'x",
        #"COMMENT ON ROLE app IS E'a\\'"#, #"GRANT "a ""b; c" TO app WITH INHERIT TRUE GRANTED BY postgres"#,
      ])
    let name = SQLStatements.name(in: bytes(#"CREATE ROLE "a ""b; c" LOGIN"#), after: "CREATE ROLE ")
    #expect(name.map { text($0.name) } == #"a "b; c"#)
    #expect(name.map { text($0.rest) } == " LOGIN")
    let missing = MissingRoles(in: bytes(script), beside: [bytes(#"a "b; c"#)])
    #expect(missing.names.isEmpty && missing.statements.isEmpty)
    let other = MissingRoles(in: bytes("CREATE ROLE app;\n" + script), beside: [bytes(#"a "b; c"#)])
    #expect(other.names == [bytes("app")])
    #expect(other.statements.map { text($0) }.last == #"GRANT "a ""b; c" TO app WITH INHERIT TRUE"#)
  }

  @Test("the new name of a database")
  func names() {
    let moment = Timestamp(seconds: 1_796_005_380, nanoseconds: 0)
    var options = LoadOptions(moment: moment)
    let shop = bytes("shop")
    func target(_ present: [[UInt8]: LoadStep.State], of name: [UInt8]) -> String {
      text(options.steps(for: [name], among: present, longest: 20)[0].target)
    }
    let used = LoadStep.State.occupied(connections: 0)
    #expect(target([:], of: shop) == "shop")
    #expect(target([shop: .empty], of: shop) == "shop")
    let beside = target([shop: used], of: shop)
    #expect(beside.wholeMatch(of: /shop_2026\d{4}_\d{6}/) != nil, "\(beside)")
    #expect(
      target([shop: used, bytes(beside): used], of: shop) == String(beside.prefix(18).prefix(2)) + beside.dropFirst(4)
        + "_2")
    #expect(target([bytes("éééé"): used], of: bytes("éééé")).hasPrefix("éé_2026"))
    options.newName = bytes("x")
    #expect(target([bytes("x"): used], of: shop) == "x")
  }

  @Test("a replaced database gets a name with the present time, and the new one another")
  func replacedNames() throws {
    var options = LoadOptions(
      moment: Timestamp(seconds: 1_796_005_380, nanoseconds: 0), now: Timestamp(seconds: 1_827_541_380, nanoseconds: 0))
    options.replaces = true
    let name = bytes(String(repeating: "é", count: 31))
    let step = options.steps(for: [name], among: [name: .occupied(connections: 0)], longest: 63)[0]
    let kept = try #require(step.replacedName)
    #expect(text(kept).contains("_2027") && kept.count <= 63)
    let new = options.temporaryName(for: name, longest: 63)
    #expect(new.count <= 63 && new != kept && new != name && text(new).hasSuffix("_unfinished"))
  }

  @Test("the name of a database in its dump, and nothing else")
  func rename() {
    let dump = """
      CREATE DATABASE /*!32312 IF NOT EXISTS*/ `a``b` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;
      USE `a``b`;
      INSERT INTO `t` VALUES ('USE `a``b`;');
      ALTER DATABASE `a``b` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;
      DELIMITER ;;
      USE `a``b`;
      DELIMITER ;
      USE `a`;
      USE `a``b`;
      """
    let expected = """
      CREATE DATABASE /*!32312 IF NOT EXISTS*/ `c` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;
      USE `c`;
      INSERT INTO `t` VALUES ('USE `a``b`;');
      ALTER DATABASE `c` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;
      DELIMITER ;;
      USE `a``b`;
      DELIMITER ;
      USE `a`;
      USE `c`;
      """
    for size in [1, 2, 7, 100, 10_000] {
      var rename = DatabaseRename(of: bytes("a`b"), to: bytes("c"))
      var result: [UInt8] = []
      var rest = bytes(dump)[...]
      while !rest.isEmpty {
        let piece = Array(rest.prefix(size))
        rest = rest.dropFirst(size)
        piece.withUnsafeBytes { result += rename.pass($0, isEnd: rest.isEmpty) }
      }
      #expect(text(result) == expected)
    }
  }
}

@Suite("the wait for an archive") struct ArchiveWaitTests {
  @Test("a backup waits as long as logs arrive, and then for a limited time")
  func limit() {
    var wait = ArchiveWait()
    let limit = ArchiveWait.limitSeconds
    let times: [(waiting: Bool, archived: Int64, seconds: Int64)] = [
      (false, 5, 0), (false, 5, 10 * limit), (true, 5, 10 * limit + 1), (true, 5, 11 * limit),
      (true, 6, 11 * limit + 1),
      (true, 6, 12 * limit), (true, 6, 12 * limit + 1),
    ]
    let found = times.map { wait.isStuck(waiting: $0.waiting, archived: $0.archived, at: $0.seconds) }
    #expect(found == [false, false, false, false, false, false, true])
  }
}

@Suite("binary logs: names, places, gaps") struct BinaryLogTests {
  private func log(_ text: String) -> BinaryLogName? { BinaryLogName(text.utf8) }
  private func logs(_ numbers: Int...) -> [BinaryLogName] { numbers.compactMap { log("mysql-bin.00000\($0)") } }
  private func place(_ text: String) -> BinaryLogPlace? { BinaryLogPlace(point: Array(text.utf8)) }

  @Test("names and places of any form")
  func forms() throws {
    #expect(log("mysql-bin.000017")?.number == 17)
    for text in ["", "bin", "bin.1", "bin.index", ".000001", "-bin.000001", "a/b.000001", "a b.000001", "bin.00000x"] {
      #expect(log(text) == nil, "\(text)")
    }
    let found = try #require(place("binary log mysql-bin.000002, position 344"))
    #expect(found.log == logs(2)[0] && found.position == 344)
    for text in ["", "LSN 0/1", "binary log x, position 1", "binary log mysql-bin.000002"] {
      #expect(place(text) == nil, "\(text)")
    }
  }

  @Test("the chain of a dump ends at the first log that lacks")
  func chain() throws {
    let dump = try #require(place("binary log mysql-bin.000002, position 4"))
    func check(_ names: [BinaryLogName], _ expected: [BinaryLogName], lacking: BinaryLogName?) {
      let (found, lack) = dump.chain(in: names)
      #expect(found == expected && lack == lacking)
    }
    check(logs(1, 2, 3), logs(2, 3), lacking: nil)
    check(logs(3, 2, 5), logs(2, 3), lacking: logs(4)[0])
    check(logs(3), [], lacking: logs(2)[0])
    check(logs(1), [], lacking: nil)
    check([], [], lacking: nil)
    check(logs(2) + [log("other.000003")!], logs(2), lacking: nil)
  }

  @Test("logs of another server are known by their numbers, sizes and first events")
  func anotherServer() throws {
    func conflict(_ archived: [BinaryLogName], _ server: [BinaryLogName]) -> BinaryLogName? {
      let sizes = Dictionary(uniqueKeysWithValues: server.map { ($0, $0.number * 100) })
      return BinaryLogComparison(archived: archived, server: sizes) { $0.number == 7 ? 1 : $0.number * 100 }.conflict
    }
    #expect(conflict(logs(1, 2, 3), logs(2, 3, 4)) == nil)
    #expect(conflict(logs(1, 2), logs(3, 4)) == nil && conflict([], logs(1)) == nil && conflict(logs(1), []) == nil)
    // The numbers begin anew.
    #expect(conflict(logs(4, 5), logs(1, 2)) == logs(5)[0])
    #expect(conflict([log("other.000009")!], logs(1, 2)) == nil)
    // The new server has caught up.
    #expect(conflict(logs(6, 7), logs(6, 7, 8)) == logs(7)[0])
    let head: [UInt8] = [0xFE, 0x62, 0x69, 0x6E, 0x36, 0x4A, 0x0C, 0x69, 15, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    let start = try #require(BinaryLogStart(head: head))
    #expect(start.line == "#251106  7:11:50 server id 258 ")
    #expect(BinaryLogStart(head: Array(head.dropLast())) == nil)
  }

  @Test("logs before the oldest dump go, others stay")
  func plan() throws {
    let dumps = try ["binary log mysql-bin.000003, position 4", "binary log mysql-bin.000005, position 4"].map {
      try #require(place($0))
    }
    let other = log("other.000001")!
    let plan = BinaryLogPlan(logs: logs(1, 2, 3, 4, 6) + [other], dumps: dumps)
    #expect(plan.removable == logs(1, 2))
    #expect(plan.gaps.map(\.first) == logs(5) && plan.gaps.map(\.count) == [1])
    #expect(BinaryLogPlan(logs: logs(1, 3, 4, 5), dumps: dumps).gaps.isEmpty)
    // The archive was begun after the oldest dump.
    #expect(BinaryLogPlan(logs: logs(4, 5), dumps: dumps).gaps.isEmpty)
    let none = BinaryLogPlan(logs: logs(1, 3), dumps: [])
    #expect(none.removable == [] && none.gaps.isEmpty)
  }
}
