extension Configuration {
  /// A configuration with every key, its default and its purpose.
  public static let example = """
    # treering.toml: what `treering run` does. See treering.toml(5); check this file with: treering config check

    # The directory that holds the snapshots; made with: treering init /backup/treering
    # An address, such as "ssh://backup@nas/srv/web01", keeps no copy on this machine; see treering-snapshot(1).
    # A file for several repositories has tables [[repository]] in its place; see treering-backup-host(7).
    repository = "/backup/treering"
    # True if other machines push to it, so that runs take no snapshots.
    receives = false

    # The first directory inside each snapshot, such as the host's name.
    label = "localhost"

    # How an unchanged file is known: by its "ctime" or its "mtime", without reading it, or by its "content".
    change_detection = "ctime"

    # The number of threads, 1 to 64; by default as many as the processors and the disk want.
    # threads = 4

    # An expired snapshot is kept and made into the next one: much faster than deleting it.
    keep_spare = true

    # The number of snapshots that each set keeps. These are the defaults without [retention]. With it, a set that is
    # missing keeps none.
    [retention]
    hourly = 24
    daily = 7
    weekly = 4
    monthly = 12
    yearly = 3
    # The number of newest snapshots to keep, in whatever set.
    keep_last = 0
    # Keep all snapshots that are at most this much older than the newest.
    # keep_within = "2d"
    # A percentage or a size. If less is free, the oldest snapshots expire that only a set protects.
    # minimum_free = "5%"

    # Each directory to back up has a table of its own.
    [[source]]
    path = "/home"
    # True if the source may be absent without a warning, as a disk that is not always there.
    optional = false
    # The greatest age of its newest good snapshot. The default is in [objectives]; an optional source has none.
    # rpo = "14d"
    # Patterns of gitignore(5), relative to the source. Nothing is left out unless you say so.
    exclude = [".cache/", "*.tmp"]
    # Files that hold such patterns.
    exclude_from = []
    # Leave out other file systems mounted below the source.
    one_file_system = false
    # Leave out the content of directories that hold a CACHEDIR.TAG.
    exclude_caches = false
    # Leave out the content of directories that hold a file with one of these names.
    exclude_if_present = []
    # Leave out files and directories that have the attribute d of chattr(1).
    exclude_nodump = false
    # Leave out larger files.
    # max_file_size = "10G"
    # Read the source in a snapshot of its volume or file system, made and removed by each run: "lvm", "btrfs", "zfs",
    # or a program that makes one.
    # freeze = "lvm"
    # The room for the changes meanwhile, for LVM; the default is "10%" of the volume.
    # freeze_size = "5G"

    [[source]]
    path = "/etc"

    # A directory on another machine, which needs only sshd, and treering or rsync: user@host, or ssh://user@host:port.
    # [[source]]
    # host = "root@web01"
    # path = "/etc"
    # The first directory in the snapshot; the default is the host's name.
    # label = "web01"
    # The program for the connection.
    # ssh = "ssh -i /root/.ssh/backup"
    # rsync on the host, with the words before it; ["sudo", "rsync"] for a user who may read only with sudo.
    # rsync = ["rsync"]
    # "treering", "rsync", or "auto" for treering where the host has it. treering is faster, and needs to be installed there.
    # fetch = "auto"
    # treering on the host, with the words before it.
    # treering = ["treering"]
    # The place of the host, for audit; a copy elsewhere is at another one.
    # location = "Berlin"

    # The databases whose dumps belong to each snapshot, below the label "databases". Each has a table of its own.
    # [[database]]
    # name = "main"
    # "postgresql", "mysql" (MariaDB, too), "sqlite", "command" or "pgbackrest".
    # kind = "postgresql"
    # The account of this machine that runs the database's programs; the default is that of treering.
    # user = "postgres"
    # The databases to dump; without this key all.
    # databases = ["shop", "wiki"]
    # Schemas and tables, with the patterns of pg_dump(1).
    # schemas = ["public"]
    # exclude_tables = ["public.sessions"]
    # The number of tables that are dumped at the same time.
    # jobs = 1
    # The directory of the server's socket, or a host.
    # socket = "/var/run/postgresql"
    # port = 5432
    # The server's account.
    # role = "postgres"
    # The longest time for the dump.
    # timeout = "6h"
    # The greatest age of the newest good dump.
    # rpo = "2h"
    # True if nothing may be published without the dump.
    # required = false
    # A directory for the dump, if the repository's file system is too small for it.
    # directory = "/var/tmp/dumps"

    # [[database]]
    # name = "cluster"
    # kind = "postgresql"
    # user = "postgres"
    # The whole server as a base backup; the default is "logical", a dump of each table.
    # mode = "physical"
    # The archive of the write-ahead log; see treering-wal(1).
    # archive = "/backup/wal"

    # [[database]]
    # name = "managed"
    # kind = "postgresql"
    # url = "postgresql://app@db.example.org:5432/shop"
    # A file with mode 0600 that holds the password.
    # password_file = "/etc/treering/managed.password"
    # "verify-full", "verify-ca", "require" or "off"; connections to other hosts are verified by default.
    # tls = "verify-full"
    # The authority of the server's certificate; the default is those of the system.
    # ca_file = "/etc/ssl/certs/db.pem"

    # [[database]]
    # name = "wordpress"
    # kind = "mysql"
    # host = "db.example.org"
    # role = "backup"
    # password_file = "/etc/treering/wordpress.password"
    # databases = ["wordpress"]
    # exclude_tables = ["wordpress.wp_statistics"]
    # Each snapshot has the binary logs since the one before.
    # logs = true
    # "accept": it is no warning that tables without transactions, such as MyISAM's, may be of another moment.
    # mixed_moments = "warn"

    # [[database]]
    # name = "photos"
    # kind = "sqlite"
    # path = "/srv/photos/photos.db"

    # [[database]]
    # name = "directory"
    # kind = "command"
    # The standard output of this program becomes the file.
    # command = ["/usr/sbin/slapcat"]
    # file = "ldap.ldif"

    # [[database]]
    # name = "orders"
    # kind = "pgbackrest"
    # user = "postgres"
    # pgBackRest's name for the server. Its own configuration says everything else.
    # stanza = "main"
    # Its repository (repo1-path), which becomes a source, unless it is elsewhere, on another machine.
    # path = "/var/lib/pgbackrest"
    # elsewhere = false
    # config = "/etc/pgbackrest.conf"
    # The type of each backup: "full", "diff" or "incr"; the default is that of pgBackRest.
    # backup = "incr"

    # The WordPress sites. The site's directory is a source, and its database is dumped; wp-config.php has the rest.
    # [[wordpress]]
    # path = "/var/www/site"
    # The name of the dump; the default is the last name of the path.
    # name = "site"
    # The file with the constants, if it is not the path's wp-config.php or the one above.
    # config = "/etc/wordpress/config-localhost.php"
    # The directory with the uploads; the default is that of the file.
    # content = "/var/lib/wordpress/wp-content"
    # True for WordPress's own maintenance mode while the site is read.
    # maintenance = false
    # In place of what the file says, as with [[database]]: DB_NAME, DB_HOST, DB_USER and DB_PASSWORD.
    # database = "wordpress"
    # host = "db.example.org"
    # role = "backup"
    # password_file = "/etc/treering/site.password"
    # Only the tables whose names begin with the prefix, if other programs use the same database.
    # prefix_only = false
    # table_prefix = "wp_"
    # exclude_tables = ["wp_statistics"]
    # exclude = ["wp-content/cache/"]

    # The limits above which a run looks like a disaster rather than work.
    [guards]
    # A source is refused if more of its entries are gone.
    gone_limit = "50%"
    # Rotation is held if more of its files have other content.
    changed_limit = "50%"

    # Programs that are run before the snapshot and after the rotation. Each is the absolute path of a program, an
    # array of a program and its arguments, or a table. No shell is involved. If a required program fails, the run
    # fails. The programs before are required unless you say otherwise; the programs after are not. Their files are
    # readable by their user alone (umask 077), and are in the snapshot only if they are below a source.
    [hooks]
    before = []
    after = []
    # before = [
    #   "/usr/local/bin/quiesce",
    #   { command = ["/usr/bin/mount", "/mnt/photos"], timeout = "30m", required = false },
    # ]

    [objectives]
    # The greatest age of the newest good snapshot.
    # rpo = "2h"

    # Every run pushes, and then verifies one part of all snapshots, if none was verified in this period yet. Without
    # this table runs verify nothing.
    # [verify]
    # every = "1d"
    # With 1/30, thirty such verifications read everything once.
    # part = "1/30"
    # The greatest number of bytes that are read in a second.
    # limit_rate = "50MB/s"

    # The expectations of treering audit.
    [audit]
    # The place of this machine. A copy with another location is elsewhere.
    # location = "office"
    # The greatest age of the verification of everything in a copy.
    # verify_within = "90d"
    # A file is named after so many runs that could not read it.
    # unreadable_runs = 3
    # The greatest share of the entries that exclusions may leave out.
    # excluded_limit = "30%"
    # File systems, home directories and sockets that need no backup.
    # ignore = ["/mnt/scratch"]

    # A mirror that another program keeps. It has no history, so it is no backup.
    # [[sync]]
    # name = "mirror on the old server"
    # location = "office"

    # The owner's words in the recovery plan; see treering-recovery-plan(1). With this table, each run keeps the plan as
    # RECOVERY.md in the snapshots, and at the top of each repository. Each key but the last is a text or an array of them.
    # [plan]
    # The order of the recovery: sources, databases, and steps in your words. All others follow.
    # order = ["/etc", "database:main", "Point the name www.example.org to the new machine", "/home"]
    # Where the passwords and keys are, and never these themselves.
    # keys = "The red envelope in the safe of the office"
    # contacts = ["Ann Miller, +49 30 1234567", "The provider: support@example.org, customer 4711"]
    # The things that the recovery needs beside the copies.
    # dependencies = "The package of treering, at https://example.org/treering"
    # notes = "The shop may be a day old; the web site comes first"
    # not_backed_up = ["/mnt/scratch", "The mail of the provider"]
    # The directory of the document, which becomes a source. The default of a user is ~/.local/share/treering-plan.
    # directory = "/var/lib/treering-plan"

    # The receivers of news about runs. A notice that cannot be sent never fails a run.
    [notify]
    # The longest time for one notice, all attempts together.
    timeout = "30s"

    # A dead man's switch: it hears of the start and the end of each run, and raises an alarm if it hears nothing.
    # [notify.healthchecks]
    # url = "https://hc-ping.com/your-uuid-here"
    # The signal for a run whose snapshot has warnings: "failure" or "success".
    # warnings = "failure"

    # A server that gets the JSON document of each run ("always"), or of each run that did not end well ("failure").
    # [notify.webhook]
    # url = "https://example.org/treering"
    # headers = ["Authorization: Bearer secret"]
    # on = "failure"

    # A program that finds the document in its environment, as TREERING_RUN_JSON.
    # [notify.command]
    # command = ["/usr/local/bin/tell-somebody", "backup"]
    # timeout = "30s"
    # on = "failure"

    # A mail with the messages of the run and the report of 30 days, by the system's sendmail: after each run that did not
    # end well ("failure"), after these and once a week ("weekly"), or after each run ("always").
    # [notify.mail]
    # to = "root"
    # on = "failure"

    [metrics]
    # A file for the textfile collector of Prometheus' node exporter. It is written after each run that had work to do.
    # textfile = "/var/lib/prometheus/node-exporter/treering.prom"

    # A recovery that is rehearsed: treering drill shop. The paths and databases are restored to a place without network,
    # with the programs of this machine and nothing else.
    # [[drill]]
    # name = "shop"
    # restore = ["/var/www/shop", "/etc/php", "database:main"]
    # The remote to restore from, or "local".
    # from = "local"
    # Runs start it in the hour that begins then, if the last one was so long ago; once it is a week late, at any hour.
    # every = "30d"
    # at = "Sun 04:00"
    # The program that runs until the drill ends, and the programs that must succeed.
    # start = ["/usr/bin/php", "-S", "127.0.0.1:8080", "-t", "/var/www/shop"]
    # check = [["/usr/bin/test", "-s", "/var/www/shop/index.php"]]
    # The page that must answer, and a text in it.
    # http = "http://127.0.0.1:8080/"
    # contains = "Welcome"
    # The statement for the time of the newest data, and its greatest age.
    # fresh = "SELECT max(updated) FROM orders"
    # fresh_within = "26h"
    # The longest time for the recovery.
    # rto = "2h"
    # A system whose programs are used in place of this machine's, such as debootstrap makes.
    # base = "/srv/drill/debian"
    # The bounds of the programs, and the time for all checks.
    # limits = { memory = "4G", processes = 1024, time = "10m" }
    # A check of its own at Healthchecks.
    # healthchecks = "https://hc-ping.com/another-uuid-here"

    # The other repositories that snapshots are pushed to. Each has a table and a name of its own.
    # [remote.offsite]
    # ssh://user@host:port/path, user@host:path, or the absolute path of a repository on another disk.
    # url = "ssh://backup@nas.example.org/srv/treering/web01"
    # The snapshot to push: "latest", or the newest "hourly", "daily", "weekly", "monthly" or "yearly" one.
    # set = "latest"
    # The program that connects, with its options.
    # ssh = "ssh"
    # The command that is run on the other machine.
    # remote_command = "treering serve"
    # The place of the remote, for treering audit.
    # location = "Berlin"
    # The greatest number of bytes that are sent in a second.
    # limit_rate = "10MB/s"
    # True if the archived logs of the databases are pushed there, too.
    # logs = false
    # The longest time that the server may be silent.
    # timeout = "5m"
    # True if it may be absent, as a disk that is not always there: no run fails for it before its rpo has passed.
    # optional = false
    # The greatest age of the newest snapshot there.
    # rpo = "14d"

    # An encrypted repository of restic's format on a disk. The file with its password has mode 0600.
    # [remote.usb]
    # url = "restic:/mnt/usb/web01"
    # password_file = "/etc/treering/usb.password"

    # A command may print the password instead.
    # [remote.vault]
    # url = "restic:/mnt/vault/web01"
    # password_command = "pass show backup/vault"

    # Such a repository in a bucket of S3. sftp:user@host:/path and rest:https://host/path are others.
    # [remote.cloud]
    # url = "s3:https://s3.eu-central-003.backblazeb2.com/bucket/web01"
    # password_file = "/etc/treering/cloud.password"
    # The file with the credentials for the bucket, as AWS's tools have it, with mode 0600; and its section.
    # credentials_file = "/etc/treering/cloud.credentials"
    # profile = "default"
    # The region, if the host's name does not have it.
    # region = "eu-central-003"
    # True if the bucket is in the path of a URL, and false if it is in the host's name.
    # path_style = true
    # True if rotate and delete may remove nothing there.
    # append_only = false
    # The longest time between two tests of the password that is kept elsewhere, with treering key test.
    # key_test_every = "90d"
    # The storage class of packs.
    # storage_class = "STANDARD_IA"
    # The class of packs with nothing but contents of files, GLACIER or DEEP_ARCHIVE; a restore must thaw them first.
    # archive_class = "DEEP_ARCHIVE"
    # The lock of each stored object. Pushes extend it in time. By default no key can remove an object before that.
    # lock = "30d"
    # lock_mode = "compliance"

    """
}
