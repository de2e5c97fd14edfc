"""Prints every version of every entry in some dated trees, oldest first, found by walking the trees: as JSON lines."""
import base64, hashlib, json, os, stat, sys

root, inside = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2])
names = sorted(name for name in os.listdir(root) if name.startswith(b"20") and name.endswith(b"Z"))
KINDS = {stat.S_IFREG: "file", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket",
         stat.S_IFCHR: "character device", stat.S_IFBLK: "block device", stat.S_IFDIR: "directory"}


def facts(path):
    found = os.lstat(path)
    kind = KINDS[stat.S_IFMT(found.st_mode)]
    content = ""
    if kind == "file":
        content = hashlib.sha256(open(path, "rb").read()).hexdigest()
    elif kind == "symbolic link":
        content = os.fsdecode(os.readlink(path))
    attributes = tuple((name, os.getxattr(path, name, follow_symlinks=False))
                       for name in sorted(os.listxattr(path, follow_symlinks=False)))
    return (kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns, content, attributes,
            found.st_rdev if "device" in kind else 0)


def entries(top):
    yield top
    if os.path.isdir(top) and not os.path.islink(top):
        for name in os.listdir(top):
            yield from entries(os.path.join(top, name))


open_versions, done = {}, []
for name in names:
    top = os.path.join(root, name, b"localhost") + inside
    now = {path[len(top):]: facts(path) for path in entries(top)}
    for path in [path for path in open_versions if now.get(path) != open_versions[path][0]]:
        done.append((path, open_versions.pop(path)))
    for path, known in now.items():
        first, count = (open_versions[path][1], open_versions[path][3]) if path in open_versions else (name, 0)
        open_versions[path] = (known, first, name, count + 1)
done += open_versions.items()
newest = set((path, version[0][0]) for path, version in done if version[2] == names[-1])
for path, (known, first, last, count) in done:
    whole = inside + path
    try:
        name = {"path": whole.decode()}
    except UnicodeDecodeError:
        name = {"path": "", "path_base64": base64.b64encode(whole).decode()}
    print(json.dumps(name | {"kind": known[0], "mode": "%04o" % known[1],
                      "first": first.decode(), "last": last.decode(), "snapshots": count,
                      "deleted": (path, known[0]) not in newest}))
