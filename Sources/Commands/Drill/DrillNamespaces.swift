internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The mount, process, IPC, host name and network namespaces of a drill; namespaces(7).
///
/// Their root has programs that cannot be changed, and restored paths at their original places. Their network has the
/// loopback device alone. The first process of the namespaces is a shell of this process. Its end, or that of this
/// process, ends all processes and removes all mounts. An ordinary user has them in a user namespace.
final class DrillNamespaces {
  /// A symbolic link that the programs of the drill find.
  struct Link {
    let path, target: [UInt8]
  }

  /// The path of the directory with the sockets of databases.
  static let sockets = Array("/run/treering".utf8)

  let process: Int32
  private let group: ControlGroup?
  private let holder: BackgroundProgram

  /// The variables of all programs. Those of this process could lead to live data.
  static let environment = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
  ].map { Array($0.utf8) }

  /// `root` has the restored paths. `work` is an empty directory. `base` has the programs; it is empty for those of this
  /// machine. The programs find each directory of `shown` at its place.
  init(
    root: [UInt8], work: [UInt8], base: [UInt8] = [], restored: [[UInt8]] = [],
    shown: [(path: [UInt8], place: [UInt8])], links: [Link] = [], group: ControlGroup? = nil
  ) throws {
    let hidden = restored.filter { path in Self.hidingDirectories.contains { path.starts(with: Array($0.utf8)) } }
    let separator = Array("--".utf8)
    let owners = CurrentProcess.effectiveUser == 0 ? "" : "--no-preserve=ownership"
    let words =
      [DrillScripts.start, DrillScripts.place, owners].map { Array($0.utf8) } + [root, base, work]
      + hidden + [separator] + shown.flatMap { [$0.path, $0.place] } + [separator]
      + links.flatMap { [$0.target, $0.path] }
    var program = ChildProgram(
      [Array("/bin/sh".utf8), Array("-euc".utf8)] + words, environment: Self.environment, timeoutSeconds: .infinity)
    program.startsAtRoot = true
    holder = BackgroundProgram(program)
    self.group = group
    do {
      process = try holder.firstNumber(
        within: Self.longestStart, of: "the namespaces of the drill",
        hint: "they need util-linux, iproute2, and a kernel or container that allows them to "
          + (CurrentProcess.effectiveUser == 0 ? "root" : "an ordinary user; root can do the drill"))
    } catch {
      holder.end()
      group?.remove()
      throw error
    }
  }

  /// The longest time in seconds in which namespaces are made. A base directory is not copied.
  private static let longestStart = 300.0

  /// The directories over which others are mounted. A restored path below them is mounted over those again.
  private static let hidingDirectories = ["/usr", "/bin", "/sbin", "/lib", "/tmp", "/run", "/dev"]

  /// A program in the namespaces, with the standard error in its output.
  func program(_ command: [String], seconds: Double) -> ChildProgram {
    var program = ChildProgram(
      ["/bin/sh", "-euc", DrillScripts.enter, "enter"].map { Array($0.utf8) } + [
        group?.directories ?? [], Array("\(process)".utf8),
      ]
        + command.map { Array($0.utf8) },
      environment: Self.environment, timeoutSeconds: seconds)
    program.joinsErrors = true
    program.startsAtRoot = true
    // The namespaces end what a program leaves running.
    program.endsGroup = false
    return program
  }

  func end() {
    holder.end()
    group?.remove()
  }
}

/// The shell scripts that make the namespaces and enter them. `set -eu` holds.
enum DrillScripts {
  /// Starts the first process of new namespaces. Its parent ignores SIGTERM, so only SIGKILL surely reaches it.
  static let start = """
    exec setpriv --pdeathsig KILL -- unshare ${1:+--user --map-root-user} --mount --pid --ipc --uts --net --fork \
      --kill-child=KILL -- /bin/sh -euc "$0" drill "$@"
    """

  /// Makes the root: `owners root base work hidden… -- (directory place)… -- (target link)…`. Prints the number of its process as the host sees it.
  ///
  /// A restored symbolic link could lead out of the root. So the root is changed as early as possible. `owners` is empty
  /// for root, and otherwise an option of cp(1). In a user namespace, mounts of the host keep their flags and the mounts
  /// below them, and no device can be made.
  static let place = #"""
    umask 022
    owners=$1 root=$2 base=$3 work=$4
    # The old root gets a name that no restored link can know.
    host=${work%/*} host=.${host##*/}
    shift 4
    read -r process rest </proc/self/stat
    ip link set lo up
    bind() {
      if [ -z "$owners" ]; then mount --bind -o "$1" "$2" "$3"; return; fi
      mount --rbind "$2" "$3"
      case $1 in ro*) ;; *) return 0 ;; esac
      findmnt -Rrno VFS-OPTIONS,TARGET "$(realpath "$3")" |
        while read -r flags path; do mount -o "remount,bind,ro${flags#r?}" "$path"; done
    }
    bind nodev "$root" "$root"
    cd "$root"
    number=0
    for path; do
      [ "$path" != -- ] || break
      number=$((number + 1))
      if [ -L ".$path" ]; then cp -P ".$path" "$work/$number"; continue; fi
      if [ -d ".$path" ]; then mkdir "$work/$number"; else : >"$work/$number"; fi
      bind nodev ".$path" "$work/$number"
    done
    for program in "$base"/usr "$base"/bin "$base"/sbin "$base"/lib*; do
      name=${program##*/}
      if [ -L "$name" ] || ! [ -e "$program" ]; then continue; fi
      if [ -L "$program" ]; then cp -P "$program" "$name"; continue; fi
      mkdir -p "$name"
      bind ro,nodev "$program" "$name"
    done
    mkdir "$host"
    pivot_root . "$host"
    cd /
    mkdir -p proc dev etc tmp run var/tmp var/log var/lib var/cache root home srv opt
    mount -t proc -o nosuid,nodev,noexec proc proc
    for name in sys sysrq-trigger irq bus fs; do
      if [ -e "proc/$name" ]; then bind ro "proc/$name" "proc/$name"; fi
    done
    mount -t tmpfs -o mode=755,nosuid tmpfs dev
    for name in null zero full random urandom; do
      : >"dev/$name"
      mount --bind "$host/dev/$name" "dev/$name"
    done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin
    ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
    for name in dev/shm tmp run; do mount -t tmpfs -o nosuid,nodev tmpfs "$name"; done
    chmod 1777 dev/shm tmp var/tmp
    chmod 755 run
    if ! [ -e var/run ] && ! [ -L var/run ]; then ln -s ../run var/run; fi
    place() {
      if [ -L "$1" ]; then mkdir -p "${2%/*}"; cp -P "$1" "$2"; return; fi
      if [ -d "$1" ]; then mkdir -p "$2"; elif ! [ -e "$2" ]; then mkdir -p "${2%/*}"; : >"$2"; fi
      bind nodev "$1" "$2"
    }
    number=0
    while [ "$1" != -- ]; do
      number=$((number + 1))
      place "$host$work/$number" "$1"
      shift
    done
    shift
    while [ "$1" != -- ]; do
      place "$host$1" "$2"
      shift 2
    done
    shift
    while [ $# -gt 0 ]; do
      mkdir -p "${2%/*}"
      ln -sfn "$1" "$2"
      shift 2
    done
    if [ -n "$base" ]; then
      for path in "$host$base"/*; do
        case ${path##*/} in
        usr | bin | sbin | lib* | proc | sys | dev | tmp | run) ;;
        *) cp -an "$path" / ;;
        esac
      done
    else
      for name in passwd group nsswitch.conf ld.so.conf ld.so.conf.d ld.so.cache ssl/certs ssl/openssl.cnf \
        ca-certificates.conf pki/tls/certs localtime timezone alternatives protocols services; do
        if [ -e "etc/$name" ] || [ -L "etc/$name" ] || ! [ -e "$host/etc/$name" ]; then continue; fi
        case $name in */*) mkdir -p "etc/${name%/*}" ;; esac
        cp -a $owners "$host/etc/$name" "etc/$name"
      done
    fi
    [ -e etc/hosts ] || echo '127.0.0.1 localhost' >etc/hosts
    umount -l "$host"
    rmdir "$host"
    trap 'exit 0' TERM
    echo "$process"
    while :; do
      sleep 60 &
      wait $!
    done
    """#

  /// Runs a program in the namespaces: `groups process program argument…`. It cannot mount or make devices, nor open
  /// files of the live system by their handles.
  static let enter = """
    umask 022
    for group in $1; do echo 0 >"$group/cgroup.procs"; done
    process=$2
    shift 2
    exec nsenter --target "$process" --mount --uts --ipc --net --pid -- \
      /usr/bin/setpriv --inh-caps=-all --bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill\
    ,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+audit_write,+setfcap -- "$@"
    """
}
