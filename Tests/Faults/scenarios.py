"""What the program is doing when a fault meets it: states of the world, each made from another, and commands."""
import os
from dataclasses import dataclass
from typing import Callable

import trees
from world import dated


def new(world):
    """A source and empty repositories."""
    trees.make(world.source)
    for repository in world.repositories:
        world.must("init", repository)


def grown(world):
    """Three snapshots, the second pushed, and a source that changed since."""
    world.snapshot()
    trees.edit(world.source, 1)
    world.snapshot()
    world.must("push", world.remote, "-r", world.repository)
    trees.edit(world.source, 2)
    world.snapshot()
    trees.edit(world.source, 3)


def spare(world):
    """An expired snapshot waits to be recycled, here and at the remote."""
    world.must("push", world.remote, "-r", world.repository)
    world.must("rotate", "--keep-last", "2", "--threads", "1", "-r", world.repository)
    world.must("rotate", "--keep-last", "1", "--threads", "1", "-r", world.remote)
    world.snapshot()
    world.must("rotate", "--keep-last", "2", "--threads", "1", "-r", world.repository)
    trees.edit(world.source, 4)


def restored(world):
    """The destination holds an older snapshot."""
    world.must("restore", dated(world.repository)[0], "--to", world.destination, "--threads", "1", "-r", world.repository)


def damaged(world):
    """Stored files of a snapshot that the remote has, too, are damaged."""
    tree = world.tree(world.repository, dated(world.repository)[1])
    with open(f"{tree}/big.bin", "r+b") as file:
        file.write(b"?")
    os.truncate(f"{tree}/new1/n", 1)
    os.unlink(f"{tree}/d1/y")


def adoptable(world):
    """Trees of rsnapshot, the older one with another content."""
    for turn, tree in enumerate(("hourly.1", "hourly.0"), 1):
        place = f"{world.adopted}/{tree}/localhost{world.source}"
        os.makedirs(os.path.dirname(place))
        trees.command("cp", "-a", world.source, place)
        trees.edit(world.source, turn)


def held(world):
    world.must("hold", dated(world.repository)[0], "-r", world.repository)


def furnished(world):
    """A repository that has one of everything: a spare, a held snapshot, a remote, a retention policy, a push to come."""
    held(world)
    world.must("rotate", "--keep-last", "1", "--keep", "daily=2", "--threads", "1", "-r", world.repository)
    world.snapshot()


# The state from which each state is made.
STATES = {new: None, grown: new, spare: grown, restored: grown, damaged: grown, adoptable: new, held: grown, furnished: spare}


@dataclass(frozen=True)
class Scenario:
    """`arguments` makes the command line from a world; `check` names the check of checks.py."""

    name: str
    state: Callable
    arguments: Callable
    check: str


def _snapshot(world):
    return ["snapshot", world.source, "--threads", "1", "-r", world.repository]


def _restore(*options):
    return lambda world: ["restore", "latest", "--to", world.destination, "--threads", "1", "-r", world.repository, *options]


def _plain(*words):
    return lambda world: [*words, "-r", world.repository]


def _named(verb, *indexes):
    return lambda world: [verb, *(dated(world.repository)[index] for index in indexes), "-r", world.repository]


SCENARIOS = [
    Scenario("first", new, _snapshot, "snapshot"),
    Scenario("second", grown, _snapshot, "snapshot"),
    Scenario("recycled", spare, _snapshot, "snapshot"),
    Scenario("rotate", grown, _plain("rotate", "--keep-last", "1", "--threads", "1"), "rotate"),
    Scenario("restore", grown, _restore(), "restore"),
    Scenario("restore-over", restored, _restore("--overwrite", "if-changed"), "restore"),
    Scenario("verify", grown, _plain("verify", "--threads", "1"), "reading"),
    Scenario("verify-damage", damaged, _plain("verify", "--threads", "1"), "reading"),
    Scenario("repair", damaged, lambda w: ["verify", "--repair-from", w.remote, "--threads", "1", "-r", w.repository], "repair"),
    Scenario("push-first", grown, lambda w: ["push", w.other, "-r", w.repository], "push"),
    Scenario("push", grown, lambda w: ["push", w.remote, "-r", w.repository], "push"),
    Scenario("push-recycled", spare, lambda w: ["push", w.remote, "-r", w.repository], "push"),
    Scenario("import", adoptable, lambda w: ["import", "snapshots", w.adopted, "--threads", "1", "-r", w.repository], "import_trees"),
    Scenario("hold", grown, _named("hold", 0), "hold"),
    Scenario("release", held, _named("release", 0), "hold"),
    Scenario("list", held, _plain("list"), "reading"),
    Scenario("diff", grown, _named("diff", 0, 2), "reading"),
    Scenario("versions", grown, lambda w: ["versions", f"{w.source}/a.txt", "-r", w.repository], "reading"),
    Scenario("status", grown, _plain("status"), "reading"),
]
NAMED = {scenario.name: scenario for scenario in SCENARIOS}
