import TestSupport
import Testing

/// The lines of the commands below some headings of a recovery plan.
func planCommands(_ titles: [String], of plan: String, withMounts: Bool = false) -> String {
  var level = 0
  var isInside = false
  var isCommand = false
  var lines: [String] = []
  for line in plan.split(separator: "\n", omittingEmptySubsequences: false) {
    if line.hasPrefix("```") {
      isCommand.toggle()
    } else if isCommand {
      // The directory of the tests may be on a disk of its own.
      if isInside, withMounts || !line.hasPrefix("mount ") { lines.append(String(line)) }
    } else if line.hasPrefix("#") {
      let depth = line.prefix { $0 == "#" }.count
      if isInside, depth > level { continue }
      level = depth
      isInside = titles.contains(String(line.dropFirst(depth + 1)))
    }
  }
  return lines.joined(separator: "\n") + "\n"
}

/// A root of its own: this system's programs and accounts, one copy, and nothing else of this machine.
struct FreshSystem {
  let place: Tree
  /// The directory of the copy, if it is a disk that somebody has mounted already.
  var copy: ByteString?
  /// The files that somebody brings to their places.
  var files: [ByteString] = []
  /// True if the copy is on a server.
  var hasNetwork = false
  /// A script that stands for service(8), which has no init here.
  var service = "exit 0"

  init(in place: Tree) { self.place = place }

  /// Carries commands out. `input` is a file with the answers to questions.
  func carryOut(_ commands: String, input: ByteString, at location: SourceLocation = #_sourceLocation) throws -> Tree {
    let root = Tree(place.root / "fresh")
    try root.remove("")
    try tool("mkdir", ["-p", root.root / "stub"])
    try root.write("stub/service", "#!/bin/sh\n\(service)\n", mode: 0o755)
    try place.write("commands", commands)
    let script = """
      set -e
      root=$1 program=$2 place=$3 copy=$4
      shift 4
      mkdir -p "$root/proc" "$root/dev" "$root/root" "$root/tmp" "$root/var/tmp" "$root/etc" "$root/program" "$root/run"
      for name in usr opt bin sbin lib lib64; do
        if [ -L /$name ]; then cp -a /$name "$root/"
        elif [ -d /$name ]; then mkdir -p "$root/$name"; mount --rbind /$name "$root/$name"; fi
      done
      for name in passwd group nsswitch.conf pam.d security; do cp -a /etc/$name "$root/etc/"; done
      mount -t proc proc "$root/proc"
      mount --rbind /dev "$root/dev"
      chmod 1777 "$root/tmp" "$root/var/tmp"
      for file; do mkdir -p "$root$(dirname "$file")"; cp -a "$file" "$root$file"; done
      for path in $copy "$(dirname "$program")"; do mkdir -p "$root$path"; mount --bind "$path" "$root$path"; done
      mount --bind "$(dirname "$program")" "$root/program"
      cp "$place/commands" "$root/tmp/commands"
      exec chroot "$root" /usr/bin/env -i PATH=/stub:/program:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \\
        sh -e /tmp/commands
      """
    let result = try runCommand(
      "unshare",
      ["--mount", "--pid", "--fork"] + (hasNetwork ? [] : ["--net"]) + [
        "sh", "-ec", ByteString(script), "sh", root.root, try treeringBinary(), place.root, copy ?? "",
      ] + files, in: place.root, input: place.root / input)
    #expect(
      result.status == 0, "\(commands)\n\(result.outputText)\n\(result.errorText)", sourceLocation: location)
    return root
  }
}
