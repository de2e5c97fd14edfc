"""A small tree that has every kind of entry, its edits, and a complete description of any tree."""
import copy
import hashlib
import os
import random
import stat
import subprocess

NAMED_ACL = b"\2\0\0\0\1\0\6\0\xff\xff\xff\xff\2\0\6\0\x39\x30\0\0\4\0\4\0\xff\xff\xff\xff\x10\0\6\0\xff\xff\xff\xff\x20\0\4\0\xff\xff\xff\xff"


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def make(root):
    """The tree before its first snapshot."""
    at = lambda name: os.path.join(root, name)
    for name in ("", "d1", "d2", "d2/d3", "inherits", "void"):
        os.mkdir(at(name))
    write(at("a.txt"), b"alpha\n" * 20)
    write(at("b.txt"), b"beta\n" * 30)
    write(at("empty"), b"")
    write(at("big.bin"), random.Random(7).randbytes(300_000))
    with open(at("sparse"), "wb") as file:
        file.seek(1 << 20)
        file.write(b"end" * 500)
        file.truncate(3 << 20)
    write(at("hard1"), b"linked")
    os.link(at("hard1"), at("hard2"))
    os.link(at("hard1"), at("d1/hard3"))
    write(at("d1/x"), b"x" * 500)
    write(at("d1/y"), b"y" * 5000)
    write(at("d1/attributes"), b"attributes")
    os.setxattr(at("d1/attributes"), "user.note", b"kept")
    os.setxattr(at("d1/attributes"), "user.more", bytes(300))
    os.setxattr(at("d1"), "user.directory", b"d")
    write(at("d1/acl"), b"acl")
    os.setxattr(at("d1/acl"), "system.posix_acl_access", NAMED_ACL)
    os.setxattr(at("inherits"), "system.posix_acl_default", NAMED_ACL)
    write(at("inherits/in"), b"in")
    write(at("d2/d3/z"), b"z" * 100)
    write(at("d2/k"), b"k" * 4096)
    os.chmod(at("void"), 0o1750)
    os.symlink("a.txt", at("symbolic"))
    os.mkfifo(at("fifo"))
    os.mknod(at("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    write(os.path.join(os.fsencode(root), b"n\xff\nm"), b"odd name")
    write(at("setuid"), b"s")
    os.chown(at("setuid"), 33, 44)
    os.chmod(at("setuid"), 0o4750)


def edit(root, turn):
    """Rewrite, append, patch, rename, delete, link, and change modes and attributes; `turn` is 1, 2, 3…"""
    at = lambda name: os.path.join(root, name)
    tag = b"%d" % turn
    write(at("a.txt"), b"rewritten " + tag)
    with open(at("b.txt"), "ab") as file:
        file.write(b"more " + tag)
    with open(at("big.bin"), "r+b") as file:
        file.seek(150_000)
        file.write(b"patch" + tag)
    os.chmod(at("d1/x"), 0o600 + turn)
    os.chmod(at("d1"), 0o750 + turn)
    os.rename(at("d2" if turn == 1 else f"d2-{turn - 1}"), at(f"d2-{turn}"))
    if turn == 1:
        os.unlink(at("empty"))
    # Names that begin other names, as a build leaves beside its sources.
    write(at("d1/" + "attributes"[:4 + turn]), b"prefix")
    os.mkdir(at(f"new{turn}"))
    write(at(f"new{turn}/n"), b"new " + tag)
    os.link(at("d1/y"), at(f"y-link{turn}"))
    os.setxattr(at("d1/attributes"), "user.note", b"changed" + tag)
    os.unlink(at("symbolic"))
    os.symlink("b.txt" + "2" * turn, at("symbolic"))


class Description:
    """Everything of a tree that a backup must keep, path by path, and its inode numbers beside that."""

    def __init__(self, root):
        self.entries, self.inodes, groups = {}, {}, {}
        root = os.fsencode(root)
        pending = [b""]
        while pending:
            path = pending.pop()
            full = os.path.join(root, path) if path else root
            status = os.lstat(full)
            self.entries[path] = self._entry(full, status)
            self.inodes[path] = status.st_ino
            if stat.S_ISDIR(status.st_mode):
                pending += [os.path.join(path, name) if path else name for name in os.listdir(full)]
            elif status.st_nlink > 1:
                groups.setdefault(status.st_ino, []).append(path)
        self.groups = {tuple(sorted(paths)) for paths in groups.values() if len(paths) > 1}

    def without(self, paths):
        """The same without some paths, in its groups too."""
        rest = copy.copy(self)
        rest.entries = {path: entry for path, entry in self.entries.items() if path not in paths}
        groups = (tuple(path for path in group if path not in paths) for group in self.groups)
        rest.groups = {group for group in groups if len(group) > 1}
        return rest

    @staticmethod
    def _entry(full, status):
        kind = stat.S_IFMT(status.st_mode)
        content = None
        if kind == stat.S_IFREG:
            with open(full, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        elif kind == stat.S_IFLNK:
            content = os.readlink(full)
        elif kind in (stat.S_IFBLK, stat.S_IFCHR):
            content = status.st_rdev
        attributes = tuple(sorted(
            (name, os.getxattr(full, name, follow_symlinks=False)) for name in os.listxattr(full, follow_symlinks=False)))
        size = status.st_size if kind == stat.S_IFREG else None
        return (kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, size, content, attributes)


def differences(one, other):
    """The paths at which two descriptions differ, the members of differing hard-link groups included."""
    paths = {path for path in one.entries.keys() | other.entries.keys() if one.entries.get(path) != other.entries.get(path)}
    for group in one.groups ^ other.groups:
        paths.update(group)
    return sorted(paths)


def command(*argv):
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {done.stdout[-300:]!r}")
    return done.stdout
