"""Power cuts: a disk that keeps a log of its writes and flushes, and the states in which a cut can leave it."""
import ctypes
import os
import random
import select
import socket
import struct
from dataclasses import dataclass

import trees
import world as worlds
from examination import Examination, shown
from inject import LIBC
from scenarios import grown
from trees import Description, differences
from world import cataloged, dated

SECTOR = 4096
# Requests of FUSE, <linux/fuse.h>.
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 25, 26, 27, 28, 29, 36, 42
ASYNC_READ, BIG_WRITES = 1 << 0, 1 << 5
ENOENT, ENOSYS = 2, 38
ROOT, DISK = 1, 2


class RecordedDisk:
    """A file of FUSE, served by a process of its own, behind a loop device: its writes are the device's writes, and its
    fsyncs are the flushes of the device's cache."""

    def __init__(self, directory, image):
        self.directory, self.size = directory, os.path.getsize(image)
        os.makedirs(directory, exist_ok=True)
        self.socket, server = socket.socketpair()
        self.process = os.fork()
        if self.process == 0:
            try:
                self.socket.close()
                _Server(directory, self.size, image, server).serve()
            finally:
                os._exit(0)
        server.close()
        if self.socket.recv(1) != b"r":
            raise RuntimeError("no file system in user space can be mounted here")
        self.device = trees.command("losetup", "-f", "--show", f"{directory}/disk").decode().strip()

    def mark(self, word):
        """Note an acknowledgement behind all writes that came before it."""
        self.socket.sendall(b"m" + struct.pack("I", len(word)) + word.encode())
        self.socket.recv(1)

    def close(self):
        """The log: ("w", offset, data), ("f", 0, "") for a flush, ("m", 0, word) for a mark."""
        trees.command("losetup", "-d", self.device)
        self.socket.sendall(b"q" + struct.pack("I", 0))
        data = bytearray()
        while part := self.socket.recv(1 << 20):
            data += part
        trees.command("umount", "-l", self.directory)
        os.waitpid(self.process, 0)
        log, at = [], 0
        while at < len(data):
            kind, offset, length = struct.unpack_from("=cQI", data, at)
            at += 13
            log.append((kind.decode(), offset, bytes(data[at:at + length])))
            at += length
        return log


class _Server:
    """The other end of /dev/fuse: one directory with one file, which is in memory."""

    def __init__(self, directory, size, image, control):
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if LIBC.mount(b"recorded", directory.encode(), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), "mount")
        self.size, self.control, self.log = size, control, []
        with open(image, "rb") as file:
            self.disk = bytearray(file.read())

    def serve(self):
        poll = select.poll()
        poll.register(self.fuse, select.POLLIN)
        poll.register(self.control, select.POLLIN)
        self.control.sendall(b"r")
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self.fuse:
                    self.answer()
                elif not self.obey():
                    return

    def obey(self):
        head = self.control.recv(5, socket.MSG_WAITALL)
        if head[:1] == b"m":
            length, = struct.unpack("I", head[1:])
            self.log.append((b"m", 0, self.control.recv(length, socket.MSG_WAITALL)))
            self.control.sendall(b"k")
            return True
        for kind, offset, data in self.log:
            self.control.sendall(struct.pack("=cQI", kind, offset, len(data)) + data)
        self.control.close()
        return False

    def answer(self):
        try:
            request = os.read(self.fuse, (1 << 20) + 8192)
        except OSError:
            return
        _, operation, identifier, node = struct.unpack_from("=IIQQ", request, 0)
        if operation in (FORGET, INTERRUPT, BATCH_FORGET):
            return
        error, reply = self.operate(operation, node, request[40:])
        try:
            os.write(self.fuse, struct.pack("=IiQ", 16 + len(reply), -error, identifier) + reply)
        except OSError:
            pass

    def operate(self, operation, node, body):
        if operation == INIT:
            _, minor, ahead, flags = struct.unpack_from("=IIII", body)
            return 0, struct.pack(
                "=IIIIHHIIHHI7I", 7, min(minor, 31), ahead, (ASYNC_READ | BIG_WRITES) & flags, 16, 12, 1 << 20, 1, 256, 0, 0,
                *[0] * 7)
        if operation == LOOKUP:
            if node == ROOT and body.split(b"\0")[0] == b"disk":
                return 0, struct.pack("=QQQQII", DISK, 0, 3600, 3600, 0, 0) + self.attributes(DISK)
            return ENOENT, b""
        if operation in (GETATTR, SETATTR):
            return 0, struct.pack("=QII", 3600, 0, 0) + self.attributes(node)
        if operation in (OPEN, OPENDIR):
            return 0, struct.pack("=QII", 1, 0, 0)
        if operation == READ:
            _, offset, length = struct.unpack_from("=QQI", body)
            return 0, bytes(self.disk[offset:offset + length])
        if operation == WRITE:
            _, offset, length = struct.unpack_from("=QQI", body)
            data = body[40:40 + length]
            self.disk[offset:offset + length] = data
            self.log.append((b"w", offset, data))
            return 0, struct.pack("=II", length, 0)
        if operation == FSYNC:
            self.log.append((b"f", 0, b""))
            return 0, b""
        if operation == STATFS:
            return 0, struct.pack("=QQQQQIIII6I", 1 << 20, 1 << 20, 1 << 20, 10, 10, 4096, 255, 4096, 0, *[0] * 6)
        if operation in (READDIR, RELEASE, FLUSH, RELEASEDIR):
            return 0, b""
        return ENOSYS, b""

    def attributes(self, node):
        size, mode = (self.size, 0o100600) if node == DISK else (0, 0o40700)
        return struct.pack("=QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


@dataclass
class Recording:
    """The image before, the log, and the snapshots (repository, name) as they were when each was acknowledged."""

    image: str
    log: list
    trees: dict


def record(laboratory):
    """Snapshots, a rotation and pushes on a recorded disk. A mark "+repository/name" acknowledges a snapshot, and a mark
    "-repository/name" comes before it may expire."""
    world = laboratory.world
    image = laboratory.image(grown)
    disk = RecordedDisk(f"{world.directory}/recorded", image)
    known = {}

    def acknowledge():
        for repository in world.repositories:
            for name in dated(repository):
                if (repository, name) not in known:
                    known[repository, name] = Description(f"{repository}/{name}")
                    disk.mark(f"+{repository}/{name}")

    def expire(repository, keep):
        for name in dated(repository)[:-keep]:
            disk.mark(f"-{repository}/{name}")
        world.must("rotate", "--keep-last", str(keep), "--threads", "1", "-r", repository)

    trees.command("mount", "-o", "noatime", disk.device, world.point)
    acknowledge()
    for turn in (4, 5):
        world.snapshot()
        acknowledge()
        expire(world.repository, 2)
        world.must("push", world.remote, "-r", world.repository)
        acknowledge()
        expire(world.remote, 2)
        trees.edit(world.source, turn)
    world.snapshot()
    acknowledge()
    worlds.unmount(world.point)
    return Recording(image, disk.close(), known)


@dataclass
class Cut:
    """The power goes after so many entries of the log. With `reorders` a random part of the writes that no flush follows
    is lost, and with `tears` a write can be lost in part."""

    recording: Recording
    length: int
    reorders: bool
    tears: bool
    seed: int

    def __str__(self):
        words = [f"power cut after {self.length} of {len(self.recording.log)}"]
        words += ["reordered"] if self.reorders else []
        words += ["torn"] if self.tears else []
        return ", ".join(words + [f"seed {self.seed}"])

    def make_image(self, path):
        worlds.copy_image(self.recording.image, path)
        log = self.recording.log[:self.length]
        flushed = max((index for index, entry in enumerate(log) if entry[0] == "f"), default=0)
        generator = random.Random(self.seed)
        with open(path, "r+b") as file:
            for index, (kind, offset, data) in enumerate(log):
                if kind != "w":
                    continue
                parts = [(offset, data)]
                if self.reorders and index > flushed:
                    if self.tears:
                        parts = [(offset + at, data[at:at + SECTOR]) for at in range(0, len(data), SECTOR)]
                    parts = [part for part in parts if generator.random() < 0.5]
                for at, part in parts:
                    file.seek(at)
                    file.write(part)

    def acknowledged(self):
        """The snapshots that must be there."""
        names = set()
        for kind, _, word in self.recording.log[:self.length]:
            if kind == "m" and word[:1] == b"+":
                names.add(word[1:].decode())
            elif kind == "m":
                names.discard(word[1:].decode())
        return {(place, name): tree for (place, name), tree in self.recording.trees.items() if f"{place}/{name}" in names}


class AfterCut(Examination):
    def __init__(self, world, cut):
        super().__init__(world)
        self.cut = cut

    def examine(self):
        for (repository, name), tree in self.cut.acknowledged().items():
            if not os.path.isdir(f"{repository}/{name}") or name not in cataloged(repository):
                self.say(f"{repository}/{name} was acknowledged and is gone")
            elif different := differences(tree, Description(f"{repository}/{name}")):
                self.say(f"{repository}/{name}: {shown(different[0])} changed")
        for repository in self.world.repositories:
            self.everything_is_listed(repository)
        # A write can reach the disk before the times of its file do. No backup can see such a change.
        for place, _, files in os.walk(self.world.source):
            for name in files:
                if os.path.isfile(path := f"{place}/{name}") and not os.path.islink(path):
                    os.utime(path)
        self.next_snapshot()
        self.next_run(["push", self.world.remote, "-r", self.world.repository], (0, 1))
        self.is_in_order(self.world.remote, keeps_parts=True)
        return self.problems


def cuts(recording, seed):
    """Every cut, each in three manners, shuffled."""
    generator = random.Random(seed)
    all_of_them = [
        Cut(recording, length, reorders, tears, generator.randrange(1 << 32))
        for length, entry in enumerate(recording.log) if entry[0] == "w"
        for reorders, tears in ((False, False), (True, False), (True, True))]
    generator.shuffle(all_of_them)
    return all_of_them


def report(laboratory, cut):
    """The problems after a cut in words, or ""."""
    world = laboratory.world
    path = f"{world.directory}/cut-{os.getpid()}.image"
    cut.make_image(path)
    worlds.mount(path, world.point)
    try:
        return "\n".join(f"  - {problem}" for problem in AfterCut(world, cut).examine())
    finally:
        worlds.unmount(world.point)
        os.unlink(path)
