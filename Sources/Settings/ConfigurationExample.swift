extension Configuration {
  /// A configuration with every key, its default and its purpose.
  public static let example = """
    # treering.toml: what `treering run` does. See treering.toml(5); check this file with: treering config check

    # The directory that holds the snapshots; made with: treering init /backup/treering
    repository = "/backup/treering"

    # The first directory inside each snapshot, such as the host's name.
    label = "localhost"

    # What tells an unchanged file without reading it: "ctime", "mtime" or "content".
    change_detection = "ctime"

    # Threads that work at once, 1 to 64; without this the number of processors, at most 8.
    # threads = 4

    # An expired snapshot is kept and made into the next one: much faster than deleting it.
    keep_spare = true

    # How many snapshots each set keeps. Without [retention] these numbers; with it, a set that is missing keeps none.
    [retention]
    hourly = 24
    daily = 7
    weekly = 4
    monthly = 12
    yearly = 3
    # The newest so many, in whatever set.
    keep_last = 0
    # All that are younger than the newest by no more than this.
    # keep_within = "2d"
    # Where less is free, the oldest go that only a set protects: a percentage or a size.
    # minimum_free = "5%"

    # Each directory to back up has a table of its own.
    [[source]]
    path = "/home"
    # It may be absent without a warning, as a disk that is not always there.
    optional = false
    # How old its newest good snapshot may become; without this what [objectives] says, unless it is optional.
    # rpo = "14d"
    # Patterns of gitignore(5), relative to the source. Nothing is left out unless you say so.
    exclude = [".cache/", "*.tmp"]
    # Files with such patterns.
    exclude_from = []
    # Leave out other file systems mounted below the source.
    one_file_system = false
    # Leave out what is in directories with a CACHEDIR.TAG.
    exclude_caches = false
    # Leave out what is in directories that hold such a file.
    exclude_if_present = []
    # Leave out what has the attribute d of chattr(1).
    exclude_nodump = false
    # Leave out larger files.
    # max_file_size = "10G"

    [[source]]
    path = "/etc"

    # When a run looks like a disaster rather than work.
    [guards]
    # Refuse a source where more of its entries are gone.
    gone_limit = "50%"
    # Hold rotation where more of its files have other content.
    changed_limit = "50%"

    # Programs that are run before the snapshot and after the rotation: the absolute path of one, an array of a
    # program and its arguments, or a table. No shell is involved. Without its success a required one fails the
    # run: those before are required unless you say otherwise, those after are not. What they make is readable by their
    # user alone (umask 077). It is in the snapshot only where it lies below a source.
    [hooks]
    before = []
    after = []
    # before = [
    #   "/usr/local/bin/quiesce",
    #   { command = ["/usr/bin/mount", "/mnt/photos"], timeout = "30m", required = false },
    # ]

    [objectives]
    # How old the newest good snapshot may become.
    # rpo = "2h"

    # Every run pushes, and then verifies one part of all snapshots, if none was verified in this period yet. Without
    # this table runs verify nothing.
    # [verify]
    # every = "1d"
    # With 1/30, thirty such verifications read everything once.
    # part = "1/30"
    # Bytes per second that are read at most.
    # limit_rate = "50MB/s"

    # Who is told of runs. What cannot be told never fails a run.
    [notify]
    # What telling one of them may take, all attempts together.
    timeout = "30s"

    # A dead man's switch: hears of the beginning and the end of each run, and raises an alarm when it hears nothing.
    # [notify.healthchecks]
    # url = "https://hc-ping.com/your-uuid-here"
    # What a run is to it whose snapshot has warnings: "failure" or "success".
    # warnings = "failure"

    # A server that gets the JSON document of each run ("always"), or of those that did not end well ("failure").
    # [notify.webhook]
    # url = "https://example.org/treering"
    # headers = ["Authorization: Bearer secret"]
    # on = "failure"

    # A program that finds the document in its environment, as TREERING_RUN_JSON.
    # [notify.command]
    # command = ["/usr/local/bin/tell-somebody", "backup"]
    # timeout = "30s"
    # on = "failure"

    [metrics]
    # A file that is written after each run that had something to do, for the textfile collector of Prometheus' node exporter.
    # textfile = "/var/lib/prometheus/node-exporter/treering.prom"

    # Other repositories that snapshots are pushed to, any number, each with a table and a name of its own.
    # [remote.offsite]
    # ssh://user@host:port/path, user@host:path, or the absolute path of one on another disk.
    # url = "ssh://backup@nas.example.org/srv/treering/web01"
    # What is pushed: "latest", the newest snapshot, or the newest "hourly", "daily", "weekly", "monthly" or "yearly".
    # set = "latest"
    # The program that connects, with its options.
    # ssh = "ssh"
    # What it runs on the other machine.
    # remote_command = "treering serve"
    # Bytes per second that are sent at most.
    # limit_rate = "10MB/s"
    # How long the server may send nothing.
    # timeout = "5m"
    # It may be absent, as a disk that is not always there: no run fails for it before its rpo has passed.
    # optional = false
    # How old the newest snapshot there may become.
    # rpo = "14d"

    """
}
