import TestSupport
import Testing

@Suite("schedule", .waits)
struct ScheduleTests {
  private let world: World
  private var place: Tree { Tree(world.directory.path) }

  init() throws {
    world = try World()
    try world.source.write("file", "content")
    for name in ["c.toml", "other.toml"] {
      try place.write(
        ByteString(name), "repository = \"\(world.repository.root)\"\n[[source]]\npath = \"\(world.source.root)\"\n")
    }
    try tool("chmod", ["644", place.root / "c.toml", place.root / "other.toml"])
    try tool("install", ["-m", "755", try treeringBinary(), place.root / "treering"])
    // Its number of blocks is part of a fingerprint, and some of them are allocated late.
    try tool("sync", [place.root / "treering"])
    try place.makeDirectory("bin")
    try place.write("bin/systemctl", "#!/bin/sh\necho \"$@\" >>\(place.root)/calls\n", mode: 0o755)
    try place.write("calls", "", mode: 0o666)
  }

  /// Runs a script where nothing that is installed stays: `$T` is `treering schedule` with a configuration.
  private func expect(
    _ script: String, user: Int? = nil, at location: SourceLocation = #_sourceLocation
  ) throws {
    let become = user.map { "setpriv --reuid \($0) --regid \($0) --clear-groups " } ?? ""
    let text = """
      set -e
      mount -t tmpfs tmpfs /run
      mkdir -p /run/systemd/system
      for directory in /etc/cron.d /etc/systemd/system; do mount -t tmpfs tmpfs $directory; done
      mount -t tmpfs -o mode=1730,gid=crontab tmpfs /var/spool/cron/crontabs
      cd "$0"
      export PATH="$0/bin:$PATH" HOME="$0/home"
      T="\(become)$0/treering schedule -c $0/c.toml"
      status() { "$@" >said 2>&1 && got=0 || got=$?; cat said; }
      is() { test "$got" = "$1" || { echo "status $got, and not $1"; exit 9; }; grep -q -- "$2" said; }
      \(script)
      """
    let result = try runCommand("unshare", ["-m", "sh", "-xc", ByteString(text), place.root])
    #expect(result.status == 0, "\(result.outputText)\(result.errorText)", sourceLocation: location)
  }

  @Test("what cron gets is what is printed; it is kept, replaced unedited, and removed")
  func cron() throws {
    try expect(
      """
      f=/etc/cron.d/treering
      status $T --install cron --dry-run; is 0 "would write $f"; test ! -e $f
      status $T --install cron; is 0 "wrote $f"
      test "$(stat -c %a $f)" = 644
      $T --cron | cmp - $f
      tail -n 1 $f | grep -Eq '^4 \\* \\* \\* \\* root nice -n 10 ionice -c 3 /.*/treering run --config /.*/c.toml$'
      inode=$(stat -c %i $f)
      status $T --install cron; is 0 "is there already"; test "$(stat -c %i $f)" = $inode
      status $T -c $0/other.toml --install cron; is 0 "wrote $f"; grep -q other.toml $f
      status $T --remove --dry-run; is 0 "would remove $f"; test -e $f
      status $T --remove; is 0 "removed $f"; test ! -e $f
      status $T --remove; is 0 "has installed nothing"
      # What was printed and put there by hand is known as well.
      $T --cron >$f
      status $T --install cron; is 0 "is there already"
      """)
  }

  @Test("a file of somebody else, an edited one and a link stay as they are")
  func foreign() throws {
    try expect(
      """
      f=/etc/cron.d/treering
      $T --install cron
      sed -i 's/^4 /14 /' $f; cp $f before
      for option in --remove "--install cron" "--install cron -n"; do
        status $T $option; is 4 "stays as it is"; cmp $f before
      done
      echo '# mine' >$f
      status $T --install cron; is 4 "$f is not from treering schedule"; grep -qx '# mine' $f
      rm $f; ln -s $0/target $f
      status $T --install cron; is 4 "stays as it is"; test ! -e $0/target
      # One of three units is enough, and none of the others is written.
      echo '# mine' >/etc/systemd/system/treering.timer
      status $T --install systemd; is 4 "treering.timer is not from treering schedule"
      test "$(ls /etc/systemd/system)" = treering.timer; test ! -s calls
      """)
  }

  @Test("the units are those that are printed, and the timer is enabled")
  func systemd() throws {
    try expect(
      """
      d=/etc/systemd/system
      status $T --install systemd -n; is 0 "would run systemctl enable --now treering.timer"; test -z "$(ls $d)"
      status $T --install systemd; is 0 "ran systemctl enable --now treering.timer"
      test "$(cat calls)" = "daemon-reload
      enable --now treering.timer"
      $T --systemd | grep -v '^# [123]\\. ' | sed '/^$/d' >printed
      cat $d/treering.service $d/treering-failure.service $d/treering.timer | sed '/^$/d' | cmp - printed
      grep -qx Type=oneshot $d/treering.service; grep -qx UMask=0077 $d/treering.service
      grep -q CAP_SYS_PTRACE $d/treering.service
      ! grep -q network-online $d/treering.service
      printf '[notify.webhook]\\nurl = "https://example.org/"\\n' >>c.toml
      status $T --install systemd --json; is 0 '"action" : "write"'
      grep -qx Wants=network-online.target $d/treering.service
      : >calls
      status $T --remove; is 0 "removed $d/treering.timer"; test -z "$(ls $d)"
      test "$(cat calls)" = "disable --now treering.timer
      daemon-reload"
      rmdir /run/systemd/system
      status $T --install systemd; is 2 "systemd does not run here"
      printf '#!/bin/sh\\necho broken >&2; exit 1\\n' >bin/systemctl; mkdir -p /run/systemd/system
      status $T --install systemd; is 3 "systemctl daemon-reload ended with status 1: broken"
      """)
  }

  @Test("a user's crontab keeps all other lines")
  func crontab() throws {
    try expect(
      """
      c="setpriv --reuid 65534 --regid 65534 --clear-groups crontab"
      status $T --install user -n; is 0 "would write the job in the crontab"; ! $c -l
      status $T --install user; is 0 "wrote the job"
      $c -l | tail -n 1 | grep -q '^4 \\* \\* \\* \\* nice -n 10 ionice -c 3 /.*/treering run --config'
      { echo '# first'; echo; $c -l; echo '5 5 * * * true'; } | $c -
      status $T --install cron; is 0 "is there already"
      status $T -c $0/other.toml --install cron; is 0 "wrote the job"
      $c -l | grep -q other.toml; test "$($c -l | grep -c treering)" = 2
      $c -l | sed 's/^4 /14 /' | $c -
      status $T --install user; is 4 "was edited"; status $T --remove; is 4 "was edited"
      $c -l | sed 's/^14 /4 /' | $c -
      status $T --remove; is 0 "removed the job"
      test "$($c -l)" = "# first

      5 5 * * * true"
      echo '9 * * * * /opt/treering run' | $c -
      status $T --install user; is 4 "runs treering already"
      """, user: 65534)
  }

  @Test("a user's units need a service manager of that user")
  func userUnits() throws {
    try expect(
      """
      mkdir -p -m 777 home /run/user/65534/systemd
      status $T --install user; is 0 "ran systemctl --user enable --now treering.timer"
      test "$(ls home/.config/systemd/user | wc -l)" = 3
      ! grep -rq ProtectSystem home/.config
      grep -qx -- '--user enable --now treering.timer' calls
      status $T --remove; is 0 "removed $0/home/.config/systemd/user/treering.timer"
      rm -r /run/user/65534
      status $T --install systemd; is 2 "systemd does not run here for this user"
      """, user: 65534)
  }

  @Test("no job without a valid configuration, and none of root's for a user")
  func refusals() throws {
    for (arguments, words) in [
      (["--install", "cron", "-c", "none.toml"], "cannot read the configuration"),
      (["--install", "user", "-c", "c.toml"], "root's job is a job of the system"),
      (["--install", "cron", "--cron"], "takes one of"), (["--cron", "-n"], "--dry-run goes with"),
      ([], "takes one of"),
    ] as [([ByteString], String)] {
      try world.expectRefusal(["schedule"] + arguments, status: 2, inRepository: false, naming: words)
    }
  }
}
