"""The place in which a scenario happens: a small file system of its own, taken back in milliseconds, and the program."""
import ctypes
import json
import os
import re
import signal
import subprocess
import time

from inject import LIBC
from trees import command

DATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ")
SETS = {"hourly", "daily", "weekly", "monthly", "yearly"}
NEW_MOUNTS, NEW_PROCESSES = 0x00020000, 0x20000000
ENVIRONMENT = dict(PATH=os.environ["PATH"], LC_ALL="C.UTF-8", TZ="UTC", HOME="/nonexistent")


def isolate(new_processes):
    """Mounts, and if asked process numbers, of our own: nothing stays behind, and /proc shows only this test."""
    if LIBC.unshare(NEW_MOUNTS | (NEW_PROCESSES if new_processes else 0)):
        raise OSError(ctypes.get_errno(), "unshare: run this as root")
    if new_processes:
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        LIBC.prctl(1, signal.SIGKILL)
    command("mount", "--make-rprivate", "/")
    if new_processes:
        command("mount", "-t", "proc", "proc", "/proc")


class World:
    """Paths on the mounted image, and runs of the program in them."""

    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.point = f"{directory}/point"
        self.source = f"{self.point}/source"
        self.repository = f"{self.point}/repository"
        self.remote = f"{self.point}/remote"
        self.other = f"{self.point}/other"
        self.repositories = [self.repository, self.remote, self.other]
        self.destination = f"{self.point}/destination"
        self.adopted = f"{self.point}/adopted"
        os.makedirs(self.point, exist_ok=True)

    def run(self, *arguments, seconds=60):
        """Run the program without faults; a run that does not end has the status None."""
        try:
            return subprocess.run(
                [self.program, *arguments], capture_output=True, env=ENVIRONMENT, timeout=seconds, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(arguments, None, b"", b"it did not end")

    def must(self, *arguments):
        """Run the program where it must succeed; warnings are for the checks to judge, not for what prepares them."""
        done = self.run(*arguments)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{' '.join(arguments)}: {done.returncode}: {done.stderr!r}")
        return done

    def snapshot(self):
        self.must("snapshot", self.source, "--threads", "1", "-r", self.repository)

    def tree(self, repository, name):
        """The source's tree inside a snapshot."""
        return f"{repository}/{name}/localhost{self.source}"


def dated(repository):
    return sorted(name for name in os.listdir(repository) if DATED.fullmatch(name))


def cataloged(repository):
    names = os.listdir(f"{repository}/.treering/catalogs")
    return sorted(name.removesuffix(".catalog") for name in names if name.endswith(".catalog"))


def listed(world, repository):
    """The answer of `list`, and the names in it or None."""
    answer = world.run("list", "--json", "-r", repository)
    try:
        return answer, [snapshot["name"] for snapshot in json.loads(answer.stdout)["snapshots"]]
    except ValueError:
        return answer, None


def make_image(path, megabytes=48, kind="ext4"):
    with open(path, "wb") as file:
        file.truncate(megabytes << 20)
    options = ["-F", "-J", "size=4", "-N", "4096"] if kind == "ext4" else ["-f"]
    command(f"mkfs.{kind}", "-q", *options, path)


def copy_image(path, copy):
    command("cp", "--sparse=always", path, copy)


def mount(path, point):
    _patiently("mount", "-o", "loop,noatime", path, point)


def unmount(point):
    _patiently("umount", point)


def _patiently(*argv):
    """Loop devices are taken by whoever comes first, and a mount is busy for a moment after a kill."""
    for attempt in range(100):
        try:
            return command(*argv)
        except RuntimeError:
            if attempt == 99:
                raise
            time.sleep(0.05)
