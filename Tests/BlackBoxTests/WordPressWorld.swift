import Foundation
import TestSupport
import Testing

/// A real WordPress site: Debian's package, a MariaDB server, and PHP's web server.
final class WordPressWorld {
  let world: World
  let server: MariaDBServer
  let port: Int
  /// The parent of the site, which other accounts can enter.
  let place: TemporaryDirectory
  private var web: RunningCommand?

  var site: Tree { Tree(place.path / "www/site") }
  var configuration: ByteString { world.directory.path / "c.toml" }

  init(_ database: String) throws {
    world = try World("wordpress")
    world.provesOlderUnchanged = false
    server = try MariaDBServer.shared()
    port = Int.random(in: 20_000..<30_000)
    place = try TemporaryDirectory("wordpress", below: "/tmp")
    try tool("chmod", ["711", place.path])
    try tool("mkdir", [place.path / "www"])
    try tool("cp", ["-rL", "/usr/share/wordpress", site.root])
    try server.make(database, "")
    try server.query(
      ByteString(
        "CREATE USER IF NOT EXISTS '\(database)'@localhost IDENTIFIED BY 'it''s'; "
          + "GRANT ALL ON `\(database)%`.* TO '\(database)'@localhost"))
    try site.write("wp-config.php", constants(database) + "require_once ABSPATH . 'wp-settings.php';\n")
    try tool("mkdir", ["-p", site.root / "wp-content/themes/plain", site.root / "wp-content/uploads"])
    try site.write("wp-content/themes/plain/style.css", "/* Theme Name: Plain */\n")
    try site.write(
      "wp-content/themes/plain/index.php", "<?php while ( have_posts() ) { the_post(); the_title(); the_content(); }\n")
    try tool("chown", ["-R", "www-data:", site.root])
  }

  /// The site's file, up to the inclusion.
  func constants(_ database: String) -> String {
    """
    <?php
    define( 'DB_NAME', '\(database)' ); // define( 'DB_NAME', 'other' );
    define( 'DB_USER', '\(database)' );
    define( 'DB_PASSWORD', 'it\\'s' );
    define( 'DB_HOST', 'localhost:\(server.socket)' );
    define( 'WP_SITEURL', 'http://127.0.0.1:\(port)' );
    define( 'WP_HOME', 'http://127.0.0.1:\(port)' );
    define( 'WP_DEFAULT_THEME', 'plain' );
    define( 'AUTOMATIC_UPDATER_DISABLED', true );
    define( 'WP_HTTP_BLOCK_EXTERNAL', true );
    define( 'DISABLE_WP_CRON', true );
    $table_prefix = 'wp_';
    if ( ! defined( 'ABSPATH' ) ) {
    \tdefine( 'ABSPATH', __DIR__ . '/' );
    }

    """
  }

  private func php(_ script: String) throws -> String {
    try place.makeScript(script)
    let words: [ByteString] = ["-u", "www-data", "--", "php", "-d", "sendmail_path=/bin/true"]
    let output = try tool("runuser", words + [place.path / "script.php"])
    return String(decoding: output, as: UTF8.self)
  }

  /// Installs WordPress, and publishes a post with an uploaded picture. Returns the picture's path in the site.
  func publish() throws -> String {
    let load = "$_SERVER['HTTP_HOST'] = '127.0.0.1:\(port)'; require '\(site.root)/wp-load.php';"
    _ = try php(
      """
      <?php
      define( 'WP_INSTALLING', true );
      \(load)
      require ABSPATH . 'wp-admin/includes/upgrade.php';
      wp_install( 'A site', 'admin', 'admin@example.org', true, '', 'password' );
      """)
    return try php(
      """
      <?php
      \(load)
      require ABSPATH . 'wp-admin/includes/image.php';
      $image = imagecreatetruecolor( 640, 480 );
      imagefilledrectangle( $image, 0, 0, 320, 480, 0xff8800 );
      ob_start(); imagepng( $image ); $bytes = ob_get_clean();
      $upload = wp_upload_bits( 'picture.png', null, $bytes );
      $post = wp_insert_post( array( 'post_title' => 'A post', 'post_status' => 'publish', 'import_id' => 77 ) );
      $picture = wp_insert_attachment( array( 'post_mime_type' => 'image/png' ), $upload['file'], $post );
      wp_update_attachment_metadata( $picture, wp_generate_attachment_metadata( $picture, $upload['file'] ) );
      $words = 'Words beside ' . wp_get_attachment_image( $picture, 'full' );
      wp_update_post( array( 'ID' => $post, 'post_content' => $words ) );
      echo str_replace( ABSPATH, '', $upload['file'] );
      """)
  }

  /// Starts PHP's web server for a site.
  func serve(_ site: ByteString) throws {
    web = nil
    web = try RunningCommand(
      "runuser", ["-u", "www-data", "--", "php", "-S", ByteString("127.0.0.1:\(port)"), "-t", site])
    for _ in 0..<100 {
      if try fetch("readme.html").status == "200" { return }
      usleep(100_000)
    }
    throw TestSupportError("PHP's web server did not start")
  }

  /// Ends the web server with its child.
  func stop() throws {
    if let web { _ = try runCommand("pkill", ["-KILL", "-P", ByteString("\(web.identifier)")]) }
    web = nil
  }

  /// PHP that prints the status of a page and keeps its bytes, if `$argv` has a file.
  func fetchScript(_ path: String) -> String {
    """
    $answer = @file_get_contents('http://127.0.0.1:\(port)/\(path)', false,
      stream_context_create(array('http' => array('ignore_errors' => true))));
    if (isset($argv[1])) file_put_contents($argv[1], $answer);
    echo isset($http_response_header) ? substr($http_response_header[0], 9, 3) : 'none';
    """
  }

  /// The bytes that the web server gives, and the HTTP status.
  func fetch(_ path: String) throws -> (bytes: [UInt8], status: String) {
    let output = try tool("php", ["-r", ByteString(fetchScript(path)), world.directory.path / "answer"])
    return (try Tree(world.directory.path).read("answer"), String(decoding: output, as: UTF8.self))
  }

  /// The page shows the post, and the picture that it names.
  func expectPage(picture: String, bytes: [UInt8], at location: SourceLocation = #_sourceLocation) throws {
    let page = String(decoding: try fetch("?p=77").bytes, as: UTF8.self)
    #expect(page.contains("A post") && page.contains("Words beside <img"), "\(page)", sourceLocation: location)
    #expect(page.contains("127.0.0.1:\(port)/\(picture)"), "\(page)", sourceLocation: location)
    #expect(try fetch(picture).bytes == bytes, sourceLocation: location)
  }

  /// Writes the configuration with a table `[[wordpress]]`.
  func configure(_ more: String = "", path: ByteString? = nil) throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [retention]
      daily = 3
      [[source]]
      path = "\(world.source.root)"
      [[wordpress]]
      path = "\(path ?? site.root)"
      \(more)
      """)
  }

  func treering(
    _ words: [ByteString], status: Int32 = 0, environment: [String: String] = [:],
    at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(
      words + ["-c", configuration], inRepository: false, environment: environment, at: location)
    #expect(result.status == status, "\(result.outputText)\(result.errorText)", sourceLocation: location)
    return result
  }
}

extension TemporaryDirectory {
  fileprivate func makeScript(_ text: String) throws {
    try Tree(path).write("script.php", text, mode: 0o644)
  }
}
