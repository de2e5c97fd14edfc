"""What must hold of a world after any fault, in words: nothing old changed, nothing is partial, and the next run is right."""
import os
import re
import stat

from trees import Description, differences
from world import SETS, cataloged, dated, listed

DOCUMENTED = {0, 1, 2, 3, 4, 5, 6, 7, 8, 129, 130, 143}


class Moment:
    """All that may never change, as it was at one moment."""

    def __init__(self, world):
        self.snapshots = {
            (repository, name): (Description(f"{repository}/{name}"), _catalog(repository, name))
            for repository in world.repositories for name in dated(repository)}
        self.source = Description(world.source)
        self.destination = Description(world.destination) if os.path.isdir(world.destination) else None
        self.adopted = adopted_trees(world)

    def names(self, repository):
        return [name for place, name in self.snapshots if place == repository]


def _catalog(repository, name):
    path = f"{repository}/.treering/catalogs/{name}.catalog"
    if not os.path.lexists(path):
        return None
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return status.st_mode
    with open(path, "rb") as file:
        return status.st_ino, status.st_mode, status.st_mtime_ns, file.read()


def adopted_trees(world):
    """The trees that an import finds or has moved, without regard to their names."""
    places = [world.adopted, world.repository, f"{world.repository}/.treering/pending"]
    found = []
    for place in places:
        for name in os.listdir(place) if os.path.isdir(place) else ():
            tree = f"{place}/{name}/localhost"
            if os.path.isdir(tree) and not os.path.islink(f"{place}/{name}"):
                found.append(sorted(Description(tree).entries.items()))
    return sorted(found)


def unchanged(before, repository, may_go=()):
    """The first change of each older snapshot."""
    problems = []
    for (place, name), (tree, catalog) in before.snapshots.items():
        path = f"{place}/{name}"
        if place != repository:
            continue
        if not os.path.isdir(path):
            if name not in may_go:
                problems.append(f"{path} is gone")
            continue
        now = Description(path)
        if changed := differences(tree, now):
            first = changed[0]
            problems.append(f"{path}: {first!r} was {tree.entries.get(first)} and is {now.entries.get(first)}")
        elif tree.inodes != now.inodes:
            problems.append(f"{path}: inode numbers changed")
        if catalog != _catalog(place, name) and name not in may_go:
            problems.append(f"{path}: its catalog changed")
    return problems


def shown(path):
    """A path as messages print it."""
    text = ""
    for character in os.fsdecode(path):
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:
            text += "\\x%02X" % (code - 0xDC00)
        elif character in "\n\t\r\\":
            text += {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}[character]
        else:
            text += character if code >= 32 and code != 127 else "\\x%02X" % code
    return text


def unnamed(paths, root, text):
    """The paths that no message names, neither themselves nor a directory above them."""
    def is_named(path):
        while path:
            if shown(os.fsencode(root) + b"/" + path) in text:
                return True
            path = os.path.dirname(path)
        return re.search(re.escape(shown(root)) + r"(:|\s|;|$)", text) is not None
    return [path for path in paths if not is_named(path)]


def untidy(repository, keeps_parts):
    """What a good run must have put away. With `keeps_parts` the parts of a push that was cut may wait until they are old."""
    left = []
    for place in ("pending", "trash"):
        if os.path.isdir(path := f"{repository}/.treering/{place}"):
            left += [f"{place}/{name}" for name in os.listdir(path) if not (keeps_parts and name.endswith(".push"))]
    spares = os.listdir(f"{repository}/.treering/spare")
    if len(spares) > 1:
        left.append(f"{len(spares)} spares")
    known = SETS | {".treering", "latest"} | set(dated(repository))
    left += [name for name in os.listdir(repository) if name not in known]
    if set(dated(repository)) != set(cataloged(repository)):
        left.append("a dated directory or a catalog without the other")
    return [f"{repository}: left behind: {', '.join(left)}"] if left else []


class Examination:
    """Looks at a world and collects problems."""

    def __init__(self, world):
        self.world = world
        self.problems = []

    def say(self, problem):
        self.problems.append(problem)

    def everything_is_listed(self, repository):
        """A snapshot that is there is in the list, or is named by a message."""
        answer, names = listed(self.world, repository)
        if names is None:
            self.say(f"list fails afterwards: {answer.returncode} {answer.stderr!r}")
            return
        for name in set(dated(repository)) & set(cataloged(repository)):
            if name not in names and not (answer.returncode and name.encode() in answer.stderr):
                self.say(f"list does not know {name}, without a word")

    def next_run(self, arguments, allowed=(0,)):
        done = self.world.run(*arguments)
        if done.returncode not in allowed:
            self.say(f"the next {arguments[0]} ends with {done.returncode}: {done.stderr.decode(errors='replace')[:300]}")
        return done

    def next_snapshot(self):
        before = dated(self.world.repository)
        done = self.next_run(["snapshot", self.world.source, "--threads", "1", "-r", self.world.repository], (0, 1))
        new = [name for name in dated(self.world.repository) if name not in before]
        if done.returncode in (0, 1):
            if not new:
                self.say("the next snapshot is missing")
            for name in new:
                self.is_faithful(name, done.stderr.decode(errors="replace"), done.returncode, "the next snapshot")
        self.is_in_order(self.world.repository)

    def is_in_order(self, repository, keeps_parts=False):
        done = self.world.run("verify", "--threads", "1", "-r", repository)
        if done.returncode:
            self.say(f"verify afterwards: {done.returncode} {(done.stdout + done.stderr).decode(errors='replace')[:300]}")
        else:
            self.problems += untidy(repository, keeps_parts)

    def is_faithful(self, name, text, status, which):
        """A snapshot has what the source has; what it stores in the catalog alone must come back by a restore."""
        tree = self.world.tree(self.world.repository, name)
        if not os.path.isdir(tree):
            self.say(f"{which} {name} has nothing of its source")
            return
        source, stored = Description(self.world.source), Description(tree)
        missing = differences(source, stored)
        if missing and status == 1:
            named = set(missing) - set(unnamed(missing, self.world.source, text))
            missing = differences(source.without(named), stored.without(named))
        if not missing:
            return
        place = f"{self.world.point}/comparison"
        self.world.run("restore", name, "--to", place, "--threads", "1", "-r", self.world.repository)
        back = f"{place}{self.world.source}"
        still = differences(source, Description(back)) if os.path.isdir(back) else missing
        still = [path for path in missing if path in still]
        if still:
            self.say(f"{which} {name} lacks {[shown(path) for path in still[:4]]} with status {status}: {text[:300]}")
