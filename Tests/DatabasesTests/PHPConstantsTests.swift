import Testing

@testable import Databases

@Suite("constants of a PHP file") struct PHPConstantsTests {
  private func read(_ text: String, php: Bool = true) -> PHPConstants {
    PHPConstants(
      in: Array((php ? "<?php\n" + text : text).utf8), names: ["DB_NAME", "DIR", "$table_prefix"],
      directory: Array("/srv/site".utf8), given: ["ABSPATH": Array("/srv/site/".utf8)])
  }

  private func known(_ text: String) -> PHPConstants.Value { .known(Array(text.utf8)) }

  @Test(
    "values that the file alone gives",
    arguments: [
      ("define('DB_NAME', 'x');", "x"), ("define( \"DB_NAME\" , \"x\" ) ;", "x"), ("DEFINE('DB_NAME','x');", "x"),
      ("\\define('DB_NAME', 'x');", "x"), ("const DB_NAME = 'x';", "x"), ("const A = 1, DB_NAME = 'x';", "x"),
      ("define('DB_NAME', 'a\\'b\\\\c\\n');", "a'b\\c\\n"),
      (#"define('DB_NAME', "a\"b\\c\n\$d\x41\101\u{e9}\q");"#, "a\"b\\c\n$dAAé\\q"),
      ("define('DB_NAME', \"$5 {x\");", "$5 {x"), ("define('DB_NAME', 'a' . 'b');", "ab"),
      ("define('DB_NAME', 3306);", "3306"), ("define('DB_NAME', 'x', true);", "x"),
      ("define('DB_NAME', __DIR__ . '/x');", "/srv/site/x"), ("define('DB_NAME', ABSPATH . 'x');", "/srv/site/x"),
      ("define('DB_NAME', dirname(__FILE__) . '/x');", "/srv/site/x"),
      ("define('DB_NAME', dirname( __DIR__ ) . '/x');", "/srv/x"),
      ("const DIR = '/a'; define('DB_NAME', DIR . '/b');", "/a/b"),
      (
        "/* define('DB_NAME', 'no'); */ // define('DB_NAME', 'no');\n# define('DB_NAME', 'no');\ndefine('DB_NAME', 'x');",
        "x"
      ),
      ("// no ?> text <?php define('DB_NAME', 'x');", "x"), ("define('DB_NAME', 'x') ?>", "x"),
      ("define('DB_NAME', 'x'); define('DB_NAME', 'second');", "x"),
      ("if ( ! defined( 'DB_NAME' ) ) { define( 'DB_NAME', 'x' ); }", "x"),
      ("if (!defined('DB_NAME')) define('DB_NAME', 'x');", "x"),
      ("if (!defined('DB_NAME')):\n define('DB_NAME', 'x');\nendif;", "x"),
      ("function f() { return 1; } class A extends B { const DB_NAME = 'no'; } define('DB_NAME', 'x');", "x"),
      ("add_filter('a', function ($b) { define('C', 1); }); define('DB_NAME', 'x');", "x"),
      ("$s = \"define('DB_NAME', 'no');\"; define('DB_NAME', 'x');", "x"),
      ("define('DB_NAME', <<<'E'\n  a$b\n  E);", "a$b"), ("define('DB_NAME', <<<E\na\\tb\nE\n);", "a\tb"),
      ("$a = 1 << 2; define('DB_NAME', 'x');", "x"), ("declare(strict_types=1); define('DB_NAME', 'x');", "x"),
      ("define('DB_NAME', 'x'); require 'wp-settings.php'; define('DB_NAME', f());", "x"),
    ])
  func known(_ text: String, value: String) { #expect(read(text).values["DB_NAME"] == known(value), "\(text)") }

  @Test(
    "values that only PHP could tell",
    arguments: [
      "define('DB_NAME', getenv('X'));", "define('DB_NAME', $_ENV['X']);", "define('DB_NAME', \"a$b\");",
      "define('DB_NAME', \"a{$b}\");", "define('DB_NAME', 'a' . f());", "define('DB_NAME', getenv('X') ?: 'x');",
      "define('DB_NAME', 'a' ?: 'b');", "define('DB_NAME', A::B);", "define('DB_NAME', UNKNOWN);",
      "if ($a) { define('DB_NAME', 'x'); }", "if ($a) define('DB_NAME', 'x'); else define('DB_NAME', 'y');",
      "if ($a):\ndefine('DB_NAME', 'x');\nendif;", "Config::define('DB_NAME', 'x');", "$a and define('DB_NAME', 'x');",
      "switch ($a) { case 1: define('DB_NAME', 'x'); }", "function f() { define('DB_NAME', 'x'); }",
      "require 'other.php'; if (!defined('DB_NAME')) define('DB_NAME', 'x');",
      "if ($a) { if (!defined('DB_NAME')) { define('DB_NAME', 'x'); } }", "define('DB_NAME', `id`);",
      "f(function () { define('DB_NAME', 'x'); });", "define('DB_NAME', <<<E\na$b\nE);",
      "if ($a) define('DB_NAME', 'x'); define('DB_NAME', 'y');", "foreach ($a as $b) define('DB_NAME', $b);",
    ])
  func computed(_ text: String) {
    guard case .computed(let line)? = read(text).values["DB_NAME"] else {
      Issue.record("\(text)")
      return
    }
    #expect((2...3).contains(line))
  }

  @Test("the table prefix is the last that is surely assigned")
  func prefix() {
    #expect(read("$table_prefix = 'a_'; $table_prefix = \"b_\";").values["$table_prefix"] == known("b_"))
    #expect(read("$table_prefix = 'a_';\n$table_prefix .= 'b';").values["$table_prefix"] == .computed(line: 3))
    #expect(read("if ($a) $table_prefix = 'a_';").values["$table_prefix"] == .computed(line: 2))
  }

  @Test("text outside PHP, an unfinished text, and other inclusions")
  func rest() {
    #expect(read("define('DB_NAME', 'x');", php: false).values.isEmpty)
    #expect(read("a\n<?= 1 ?>\n<?php const DB_NAME = 'x';", php: false).values["DB_NAME"] == known("x"))
    #expect(read("include 'a.php';\nrequire_once ABSPATH . 'wp-settings.php';").inclusionLine == 2)
    for text in [
      "define('DB_NAME', 'x", "define('DB_NAME',", "define('DB_NAME', \"a\\", "/* define", "if (", "<<<E\nx", "\\",
    ] {
      #expect(read(text).values["DB_NAME"] != known("x") || text.hasSuffix("'x"), "\(text)")
    }
  }
}
