"""What must hold after a fault in each scenario."""
import json
import os
import re
import stat

from examination import DOCUMENTED, Examination, adopted_trees, shown, unchanged, unnamed
from trees import Description, differences
from world import cataloged, dated


class Judge(Examination):
    """The checks of one run: the general ones, and those of the scenario."""

    def __init__(self, world, scenario, fault, reference, before, outcome):
        super().__init__(world)
        self.scenario, self.fault = scenario, fault
        self.reference, self.before, self.outcome = reference, before, outcome
        self.killed = fault.error is None
        self.target = {"push-first": world.other, "push": world.remote, "push-recycled": world.remote}.get(
            scenario.name, world.repository)

    def judge(self):
        if self.outcome.hung:
            return ["it did not end"]
        if self.outcome.status not in DOCUMENTED and not (self.killed and self.outcome.status == -9):
            self.say(f"status {self.outcome.status}")
        self.nothing_older_changed()
        new = [name for name in dated(self.target) if name not in self.before.names(self.target)]
        # A snapshot has a catalog. A run that is killed, or that can undo nothing because the fault goes on, can leave
        # one without the other, and the next run puts it right.
        self.published = [name for name in new if name in cataloged(self.target)]
        if new != self.published and not self.killed and not self.fault.onward:
            self.say(f"{new} are published, and only {self.published} have catalogs")
        # Of several trees the first can be adopted before the catalog that the next one needs is found damaged.
        is_later_damage = self.scenario.check == "import_trees" and self.outcome.status == 6
        if self.published and self.outcome.status not in (0, 1) and not (
                self.killed or self.connection_broke() or is_later_damage):
            self.say(f"status {self.outcome.status} although {self.published} was published")
        # A fault that goes on takes the standard error along.
        if self.outcome.status not in (0, -9) and not self.outcome.text and not self.fault.onward:
            self.say(f"status {self.outcome.status} without a word")
        self.everything_is_listed(self.target)
        getattr(self, self.scenario.check)()
        self.nothing_older_changed()
        return self.problems

    def nothing_older_changed(self):
        if self.scenario.check == "repair":
            return
        may_go = self.before.names(self.world.repository)[:-1] if self.scenario.check == "rotate" else ()
        for repository in self.world.repositories:
            for problem in unchanged(self.before, repository, may_go):
                if problem not in self.problems:
                    self.say(problem)

    def connection_broke(self):
        """The acknowledgement of a push can be lost; its sender cannot know then what became of the snapshot."""
        hit = self.outcome.hit
        return self.scenario.check == "push" and self.outcome.status == 7 and (
            self.fault.onward or hit.split()[0] in ("poll", "pipe2") or "pipe:" in hit or "socket:" in hit)

    # The checks that scenarios name.

    def snapshot(self):
        if self.outcome.status == 0 and not self.published:
            self.say("status 0, and nothing was published")
        for name in self.published:
            self.is_faithful(name, self.outcome.text, 1 if self.outcome.status == 1 else 0, "the snapshot")
        self.next_snapshot()

    def rotate(self):
        expected = self.reference.names[self.world.repository]
        if self.outcome.status == 0 and dated(self.world.repository) != expected and not self.outcome.text:
            self.say(f"status 0, and there are {dated(self.world.repository)}")
        self.next_run(self.scenario.arguments(self.world))
        if dated(self.world.repository) != expected:
            self.say(f"the next rotate leaves {dated(self.world.repository)}")
        self.next_snapshot()

    def push(self):
        if self.outcome.status == 0 and dated(self.target) != self.reference.names[self.target]:
            self.say("status 0, and the snapshot did not arrive")
        for name in self.published:
            self.has_arrived(name)
        self.next_run(self.scenario.arguments(self.world))
        if dated(self.target) != self.reference.names[self.target]:
            self.say("the next push did not arrive")
        for name in dated(self.target):
            self.has_arrived(name)
        self.is_in_order(self.target)
        latest = f"{self.target}/latest"
        if not os.path.islink(latest) or os.readlink(latest) != dated(self.target)[-1]:
            self.say("latest does not name what was pushed")
        if os.path.exists(f"{self.target}/.treering/rotation-held"):
            self.say("rotation is held at the remote")

    def has_arrived(self, name):
        here, there = (Description(self.world.tree(place, name)) for place in (self.world.repository, self.target))
        if different := differences(here, there):
            self.say(f"{name} arrived with another {[shown(path) for path in different[:4]]}")

    def restore(self):
        old, new = self.before.destination, self.reference.destination
        now = Description(self.world.destination) if os.path.isdir(self.world.destination) else None
        missing = differences(new, now) if now else sorted(new.entries)
        missing = _restored(missing)
        if self.outcome.status == 0 and missing:
            self.say(f"status 0, but {[shown(path) for path in missing[:4]]} is not as in the snapshot")
        if self.outcome.status == 1 and (silent := unnamed(missing, self.world.destination, self.outcome.text)):
            if silent := unnamed(silent, "", self.outcome.text):
                self.say(f"no message names {[shown(path) for path in silent[:4]]}: {self.outcome.text[:300]}")
        for path in missing if now else ():
            self.is_old_or_new(path, old, new, now)
        self.next_run([*self.scenario.arguments(self.world), "--overwrite", "if-changed"])
        again = _restored(differences(new, Description(self.world.destination)))
        # A directory that only leads to the source belongs to the operator once it is there.
        inside = os.fsencode(self.world.source.lstrip("/"))
        again = [path for path in again if not inside.startswith(path + b"/")]
        # Attributes are not compared where only changed entries are replaced, so the warning about them stays true.
        if self.outcome.status == 1:
            again = unnamed(again, self.world.destination, self.outcome.text)
        if again:
            self.say(f"the next restore leaves {[shown(path) for path in again[:4]]}")

    def is_old_or_new(self, path, old, new, now):
        """A file that is there has its old content or its new content, whole; a new one is made in its place."""
        content = lambda of: of.entries[path][6] if of and path in of.entries and of.entries[path][0] == stat.S_IFREG else None
        is_begun = content(old) is None and (self.killed or self.fault.onward)
        if content(now) is not None and content(now) not in (content(old), content(new)) and not is_begun:
            self.say(f"{shown(path)} is neither the old file nor the new one")

    def repair(self):
        for (repository, name), (tree, _) in self.before.snapshots.items():
            if repository != self.world.repository:
                continue
            now = Description(f"{repository}/{name}")
            wanted = self.reference.repaired[name]
            for path in now.entries.keys() | tree.entries.keys():
                entry, allowed = now.entries.get(path), (tree.entries.get(path), wanted.entries.get(path))
                # A repair that is cut short leaves the times of the directory to the next one.
                is_begun = os.path.basename(path).startswith(b".treering-") or is_directory(entry)
                # An entry can get back its content and not its metadata; it is named as damage then.
                is_named = self.outcome.status == 6 and shown(path.removeprefix(b"localhost")).encode() in self.outcome.output
                has_content = entry and allowed[1] and entry[6] == allowed[1][6]
                if entry not in allowed and not is_begun and not (is_named and has_content):
                    self.say(f"{name}: {shown(path)} is {entry}")
            if self.outcome.status == 0 and differences(now, wanted):
                self.say(f"status 0, and {name} is not repaired")
        self.next_run(self.scenario.arguments(self.world))
        for name, wanted in self.reference.repaired.items():
            if different := differences(wanted, Description(f"{self.world.repository}/{name}")):
                self.say(f"the next repair leaves {name}: {[shown(path) for path in different[:4]]}")
        self.next_snapshot()

    def import_trees(self):
        if adopted_trees(self.world) != self.before.adopted:
            self.say("a tree is lost or changed")
        expected = self.reference.names[self.world.repository]
        if self.outcome.status == 0 and len(self.published) != len(expected):
            self.say(f"status 0, and only {self.published} is adopted")
        if len(self.published) < len(expected):
            # A killed one may have moved the last tree already: then there is nothing left to name, and the pair is completed.
            self.next_run(self.scenario.arguments(self.world), (0,) if os.listdir(self.world.adopted) else (0, 2))
        if len(dated(self.world.repository)) != len(expected) or adopted_trees(self.world) != self.before.adopted:
            self.say(f"the next import leaves {dated(self.world.repository)}")
        self.next_snapshot()

    def hold(self):
        if self.outcome.status == 0 and held(self.world) != self.reference.held:
            self.say("status 0, and the hold is not as asked")
        self.next_run(self.scenario.arguments(self.world), (0, 1))
        if held(self.world) != self.reference.held:
            self.say("the next run leaves the hold as it was")

    def reading(self):
        is_muted = self.fault.onward and self.outcome.status != 0
        if self.outcome.status != self.reference.status or self.killed or is_muted:
            return
        output, wanted = (steady(answer).splitlines() for answer in (self.outcome.output, self.reference.output))
        lost = [line for line in wanted if line not in output]
        if lost and len(self.outcome.errors) <= len(self.reference.errors):
            self.say(f"status {self.outcome.status}, and the answer lacks {lost[:3]}")


def _restored(paths):
    """Without the destination itself, which is no part of a restore, and the temporary files of one that was killed."""
    return [path for path in paths if path and not os.path.basename(path).startswith(b".treering-")]


def is_directory(entry):
    return entry is not None and entry[0] == stat.S_IFDIR


def steady(output):
    """An answer without what depends on the moment or the speed."""
    text = re.sub(r"(\d+(\.\d+)? ?(ms|s|min|h|days?|[KMG]iB)\b ?)+", "… ", output.decode(errors="replace"))
    return re.sub(r" +", " ", text)


def held(world):
    answer = world.run("list", "--json", "-r", world.repository)
    return {snapshot["name"] for snapshot in json.loads(answer.stdout)["snapshots"] if snapshot["held"]}


class Reference:
    """The same run without a fault, and what it left."""

    def __init__(self, world, outcome):
        self.status, self.output, self.errors, self.calls = outcome.status, outcome.output, outcome.errors, outcome.calls
        self.names = {repository: dated(repository) for repository in world.repositories}
        self.destination = Description(world.destination) if os.path.isdir(world.destination) else None
        self.held = held(world)
        self.repaired = {name: Description(f"{world.repository}/{name}") for name in dated(world.repository)}
