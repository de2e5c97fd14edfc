"""The damage matrix: everything that a repository has, damaged in every way, before each kind of work."""
import os
import random
import shutil
import stat

from examination import DOCUMENTED, Examination, Moment, shown, unchanged
from scenarios import furnished
from trees import Description, differences
from world import dated


# Ways to damage an entry; each takes its path.

def delete(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def flip_bit(path):
    with open(path, "r+b") as file:
        content = bytearray(file.read())
        content[len(content) // 2] ^= 1
        file.seek(0)
        file.write(content)


def change_mode(path):
    os.chmod(path, 0)


def become_directory(path):
    delete(path)
    os.mkdir(path)


def become_file(path):
    delete(path)
    with open(path, "wb") as file:
        file.write(b"something else\n")


def become_fifo(path):
    delete(path)
    os.mkfifo(path)


def become_link(path):
    delete(path)
    os.symlink("/etc/hostname", path)


def become_loop(path):
    delete(path)
    os.symlink(os.path.basename(path), path)


def damages(path):
    """The damages that make a difference to an entry."""
    mode = os.lstat(path).st_mode
    ways = [delete, become_fifo, become_link, become_loop]
    if stat.S_ISREG(mode):
        ways += [change_mode, become_directory] + ([truncate, flip_bit] if os.path.getsize(path) else [])
    elif stat.S_ISDIR(mode):
        ways += [change_mode, become_file]
    else:
        ways += [become_file, become_directory]
    return ways


def targets(world):
    """The paths to damage, relative to the repository, by the part that they belong to."""
    repository = world.repository
    oldest, newest = dated(repository)[0], dated(repository)[-1]
    inside = f"localhost{world.source}"
    parts = {
        "stored": [f"{name}{below}" for name in (oldest, newest) for below in (
            "", "/localhost", f"/{inside}", f"/{inside}/d1", f"/{inside}/d1/y", f"/{inside}/b.txt", f"/{inside}/symbolic",
            f"/{inside}/fifo")],
        "links": ["latest"], "needed": [".treering"], "catalogs": [], "kept": []}
    for place, directories, files in os.walk(repository):
        relative = os.path.relpath(place, repository)
        first = relative.split("/")[0]
        if first == ".treering":
            for name in directories + files:
                path = f"{relative}/{name}"
                parts[_part(path)].append(path)
            if path_is_deep(relative):
                directories.clear()
        elif first == ".":
            directories[:] = [name for name in directories if name not in dated(repository)]
        else:
            parts["links"] += [relative, *(f"{relative}/{name}" for name in directories + files)]
            directories.clear()
    return parts


def path_is_deep(relative):
    return relative.count("/") > 6 or relative.endswith("/d1")


def _part(path):
    if path.endswith(".catalog") and "/catalogs/" in path:
        return "catalogs"
    # A repository is none without these, and the marks say what a user asked for.
    own = {"repository.toml", "catalogs", "lock", "held", "retention", "rotation-held", "damaged", "released"}
    return "needed" if path.split("/")[1] in own or path == ".treering/pending" else "kept"


class Cell(Examination):
    """One damage and the work that follows it."""

    def __init__(self, world, part, path, way, work):
        super().__init__(world)
        self.part, self.path, self.way, self.work = part, path, way, work

    def __str__(self):
        return f"{self.way.__name__} {self.path}, then {self.work}"

    def examine(self):
        self.before = Moment(self.world)
        self.way(f"{self.world.repository}/{self.path}")
        self.damaged = {
            name for name in self.before.names(self.world.repository) if self._touches(name)}
        getattr(self, self.work)()
        self.others_are_unchanged()
        if differences(self.before.source, Description(self.world.source)):
            self.say("the source changed")
        return self.problems

    def _touches(self, name):
        """A stored inode is shared, so damage of one tree's content can be in others, too."""
        if self.part == "stored":
            return True
        return name in self.path or self.path in (".treering", ".treering/catalogs")

    def do(self, *arguments):
        """Run the program; its status must be one of the documented ones, and an error must have a message."""
        done = self.world.run(*arguments, "-r", self.world.repository)
        if done.returncode not in DOCUMENTED:
            self.say(f"{arguments[0]}: status {done.returncode}: {done.stderr[-300:]!r}")
        elif done.returncode and not done.stderr and not done.stdout:
            self.say(f"{arguments[0]}: status {done.returncode} without a word")
        return done

    def others_are_unchanged(self):
        for repository in self.world.repositories:
            for problem in unchanged(self.before, repository, self.may_go()):
                if not any(name in problem for name in self.damaged) or repository != self.world.repository:
                    self.say(problem)

    def may_go(self):
        return self.before.names(self.world.repository)[:-1] if self.work == "rotate" else ()

    def is_found(self):
        """Verify must find this damage; owner, mode and times of what is above a source are not in a catalog."""
        above = self.path.count("/") < 2 or self.path.endswith(self.world.source)
        is_mode = self.way is change_mode and (above or self.part == "catalogs")
        return self.part in ("stored", "catalogs") and not is_mode

    def reading(self):
        names = self.before.names(self.world.repository)
        for arguments in (
                ["list"], ["status"], ["diff", names[0], names[-1]], ["versions", f"{self.world.source}/a.txt"]):
            self.do(*arguments)
        verified = self.do("verify", "--threads", "1")
        if verified.returncode == 0 and self.is_found():
            self.say("verify finds nothing")
        newest = names[-1]
        tree, _ = self.before.snapshots[self.world.repository, newest]
        done = self.do("restore", newest, "--to", self.world.destination, "--threads", "1")
        if done.returncode == 0:
            back = Description(self.world.destination)
            inside = f"localhost{self.world.source}".encode()
            prefix = self.world.source.lstrip("/").encode()
            for path, entry in tree.entries.items():
                if path.startswith(inside) and back.entries.get(prefix + path[len(inside):]) != entry:
                    self.say(f"restore: status 0, but {shown(path)} is not as it was")
                    break

    def snapshot(self):
        for _ in range(2):
            before = dated(self.world.repository) if os.path.isdir(self.world.repository) else []
            done = self.do("snapshot", self.world.source, "--threads", "1")
            if self.part in ("kept", "links") and done.returncode not in (0, 1):
                self.say(f"snapshot: status {done.returncode}: {done.stderr[-300:]!r}")
            new = [name for name in dated(self.world.repository) if name not in before]
            if new and done.returncode not in (0, 1):
                self.say(f"snapshot: status {done.returncode}, and {new} was published")
            if done.returncode in (0, 1) and not new:
                self.say(f"snapshot: status {done.returncode}, and nothing was published")
            # The content of stored files is not read again: damage of it is in the next snapshot, until verify finds it.
            if self.part != "stored":
                for name in new:
                    self.is_faithful(name, done.stderr.decode(errors="replace"), done.returncode, "the snapshot")
        if self.part in ("kept", "links"):
            verified = self.do("verify", "--threads", "1")
            # A history that cannot be written is a warning.
            if verified.returncode not in (0, 1) or verified.returncode == 1 and b"the history" not in verified.stderr:
                self.say(f"verify afterwards: {verified.returncode} {(verified.stdout + verified.stderr)[:300]!r}")

    def rotate(self):
        done = self.do("rotate", "--keep-last", "2", "--threads", "1")
        if self.part in ("kept", "links") and done.returncode not in (0, 1):
            self.say(f"rotate: status {done.returncode}: {done.stderr[-300:]!r}")
        if self.before.names(self.world.repository)[-1] not in dated(self.world.repository) and not (
                self.path == self.before.names(self.world.repository)[-1]):
            self.say("rotate: the newest snapshot is gone")

    def push(self):
        done = self.do("push", self.world.remote)
        arrived = [name for name in dated(self.world.remote) if name not in self.before.names(self.world.remote)]
        if self.part in ("kept", "links") and done.returncode not in (0, 1):
            self.say(f"push: status {done.returncode}: {done.stderr[-300:]!r}")
        if arrived and done.returncode not in (0, 1):
            self.say(f"push: status {done.returncode}, and {arrived} arrived: {done.stderr[-300:]!r}")
        if self.world.run("verify", "--threads", "1", "-r", self.world.remote).returncode:
            self.say("push: what arrived is damaged")


def cells(laboratory, seed):
    """The whole matrix, shuffled."""
    world = laboratory.world
    matrix = laboratory.on_image(furnished, lambda: [
        Cell(world, part, path, way, work)
        for part, paths in targets(world).items() for path in paths for way in damages(f"{world.repository}/{path}")
        for work in ("reading", "snapshot", "rotate", "push")])
    random.Random(seed).shuffle(matrix)
    return matrix


def report(laboratory, cell):
    """The problems of a cell in words, or ""."""
    return "\n".join(f"  - {problem}" for problem in laboratory.on_image(furnished, cell.examine))
