#!/usr/bin/env python3
"""Pushes snapshots as treering-replication(7) describes it, and shares no line with treering.

usage: push_snapshot.py [--trace] [--version N] REPOSITORY COMMAND [ARGUMENT...]

COMMAND is treering serve, with what it takes. Pushes two snapshots of trees that exist here alone: the first whole,
but for a file that the server has to ask for; the second as what differs, with a signature that is checked on the way.
Then lists, reads, fetches and verifies them. Prints one line for each step, and with --trace each frame; anything
that is not as the page says ends it with status 1. N is the newest version that it speaks, 2 unless said otherwise.

Needs only python3 and zstd(1).
"""

import hashlib
import struct
import subprocess
import sys

HELLO, FAILURE, ALIVE, STREAM = 1, 2, 3, 4
LIST, OPEN_CATALOG, READ_CATALOG, FETCH, VERIFY, PUSH, NEEDS = range(16, 23)
SNAPSHOT, END, BYTES, ACCEPT, HAVE, NEED, SIGNATURE, PUBLISHED, PROBLEM, NOTE, ROOM = range(32, 43)
MULTIPLIER = 0x9E3779B97F4A7C15


class Refused(Exception):
    """The server breaks a must of treering-replication(7)."""


def require(condition, what):
    if not condition:
        raise Refused(what)


def number(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def signed(value):
    return number(2 * value if value >= 0 else -2 * value - 1)


def text(value):
    return number(len(value)) + value


def path(*names):
    return number(len(names)) + b"".join(text(name) for name in names)


def sha(data):
    return hashlib.sha256(data).digest()


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        require(count <= len(self.data) - self.at, "a message ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                require(byte or shift == 7, "a number is longer than it need be")
                require(value < 1 << 64, "a number is too large")
                return value

    def text(self):
        return self.take(self.number())

    def path(self):
        return [self.text() for _ in range(self.number())]

    def instructions(self, size, base=b""):
        out, expected = b"", 0
        while head := self.number():
            if head == 1:
                out += bytes(self.number())
            elif head & 1:
                move = self.number()
                offset = expected + (move >> 1 ^ -(move & 1))
                expected = offset + (head >> 1)
                out += base[offset:expected]
            else:
                out += self.take(head >> 1)
        require(len(out) == size, "instructions build another size")
        return out

    def end(self):
        require(self.at == len(self.data), "a message has bytes to spare")


class Server:
    def __init__(self, command, is_traced):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.is_traced = is_traced

    def send(self, kind, payload=b""):
        self.trace("C", kind, payload)
        self.child.stdin.write(struct.pack("<BI", kind, len(payload)) + payload)
        self.child.stdin.flush()

    def receive(self, *kinds):
        while True:
            head = self.child.stdout.read(5)
            require(len(head) == 5, "the server ended")
            kind, count = struct.unpack("<BI", head)
            require(count <= 131072, "a frame is too long")
            payload = self.child.stdout.read(count)
            self.trace("S", kind, payload)
            if kind == FAILURE and FAILURE not in kinds:
                reader = Reader(payload)
                raise Refused("failure %d: %s" % (reader.number(), reader.text().decode()))
            if kind in (ALIVE, NOTE) and kind not in kinds:
                continue
            require(kind in kinds, "a frame of type %d came" % kind)
            return kind, Reader(payload)

    def stream(self, content):
        """Each piece is a zstd frame of its own."""
        packed = zstd(["-cq"], content)
        for at in range(0, len(packed), 65536):
            self.send(STREAM, packed[at:at + 65536])

    def trace(self, side, kind, payload):
        if self.is_traced:
            print(side, kind, len(payload), payload.hex(" "), file=sys.stderr)

    def greet(self, repository, version=1):
        self.send(HELLO, b"treering" + number(1) + number(version) + text(repository) + text(b"push_snapshot.py"))
        _, hello = self.receive(HELLO)
        require(hello.take(8) == b"treering", "the server is no treering")
        require(hello.number() <= version, "the server does not speak version %d" % version)
        self.version = min(version, hello.number())
        return hello.text(), hello.text(), hello.number()

    def close(self):
        self.child.stdin.close()
        require(self.child.stdout.read() == b"", "more came than was asked for")
        require(self.child.wait() == 0, "the server ended with %d" % self.child.returncode)


def zstd(arguments, data):
    return subprocess.run(["zstd"] + arguments, input=data, stdout=subprocess.PIPE, check=True).stdout


# Bodies of records, as treering-catalog(5) has them.

def metadata(kind, flags, mode, seconds, size):
    return struct.pack("<BBHIIqIQ", kind, flags, mode, 0, 0, seconds, 0, size)


PART = 1 << 20


def zero_parts(content):
    """The numbers of the whole parts that are zeros alone."""
    return [n for n in range(len(content) // PART) if not any(content[n * PART:(n + 1) * PART])]


def content_digest(content):
    """The flag of the row, and the digest."""
    zeros = zero_parts(content)
    if not zeros:
        return 0, sha(content)
    runs = []
    for number_of_part in zeros:
        if runs and sum(runs[-1]) == number_of_part:
            runs[-1][1] += 1
        else:
            runs.append([number_of_part, 1])
    kept = b"".join(
        content[at:at + PART] for at in range(0, len(content), PART) if at // PART not in zeros)
    table = b"".join(struct.pack("<QQ", *run) for run in runs)
    return 16, sha(kept + sha(table) + struct.pack("<Q", len(content)))


def directory(files, directories, is_synthetic=False):
    body = metadata(7, 8 if is_synthetic else 0, 0o755, 0 if is_synthetic else 1_700_000_000, 0)
    body += struct.pack("<I", len(files))
    for name in sorted(files):
        content = files[name]
        flag, digest = content_digest(content)
        body += metadata(1, flag, 0o644, 1_700_000_000, len(content)) + bytes([len(name)]) + name
        body += digest if content else b""
    body += struct.pack("<I", len(directories))
    for name in sorted(directories):
        body += bytes([len(name)]) + name + sha(directories[name])
    return body


class Tree:
    """The directory /notes with files, and what is above it."""

    def __init__(self, files):
        self.files = files
        self.notes = directory(files, {})
        self.label = directory({}, {b"notes": self.notes}, is_synthetic=True)
        self.root = directory({}, {b"localhost": self.label}, is_synthetic=True)

    def summary(self, sequence):
        def field(tag, value):
            return struct.pack("<HI", tag, len(value)) + value

        size = sum(len(content) for content in self.files.values())
        return (
            struct.pack("<QI", 0, 0) + field(1, struct.pack("<II", 0, 0)) + field(2, sha(self.root))
            + field(3, struct.pack("<QQ", 3 + len(self.files), size)) + field(4, struct.pack("<Q", sequence))
            + field(5, struct.pack("<qI", 1_700_000_000, 0)) + field(6, struct.pack("<qI", 1_700_000_001, 0))
            + field(7, b"\0") + field(8, struct.pack("<QQQ", len(self.files), 3, 0)) + field(10, b"localhost") + field(11, b"/notes") + field(60000, b"of the future"))


def request(name, tree, sequence, candidates):
    return (
        text(name) + text(b"0123456789abcdef0123456789abcdef") + text(tree.summary(sequence))
        + number(len(candidates)) + b"".join(candidates))


def literal(data):
    return (number(len(data) << 1) + data if data else b"") + b"\0"


def built(content):
    """Instructions from nothing: parts of zeros are only counted."""
    zeros, out = set(zero_parts(content)), b""
    for at in range(0, len(content), PART):
        piece = content[at:at + PART]
        out += number(1) + number(len(piece)) if at // PART in zeros else number(len(piece) << 1) + piece
    return out + b"\0"


def accept(server):
    _, reader = server.receive(ACCEPT)
    base, partial = reader.number(), reader.number()
    if server.version >= 2:
        require(partial <= 64, "too many files were cut off")
        for _ in range(partial):
            reader.take(32)
            require(reader.number() <= 1, "a digest has an unknown form")
            reader.number()
    elif partial:
        reader.take(32)
    left = reader.number() * 8
    reader.end()
    known = b""
    while len(known) < left:
        known += server.receive(HAVE)[1].data
    require(len(known) == left, "a list is not whole")
    return base, known


def agree_on_room(server, bodies, files, twice=b""):
    """Says what is to come, and waits until the server has the room; one that has not must refuse."""
    if server.version < 2:
        return
    blocks = sum((len(content) + 4095) // 4096 * 4096 for content in files)
    server.send(NEEDS, number(sum(map(len, bodies)) + blocks) + number(len(twice)) + number(len(files)))
    server.receive(ROOM)[1].end()


def published(reader):
    result = [reader.number() for _ in range(4)]
    reader.end()
    return result


def check_signature(data, content):
    block, strong_bytes, size = struct.unpack_from("<IIQ", data)
    salt = data[16:24]
    require(strong_bytes == 8 and size == len(content), "a signature is of something else")
    blocks = [content[at:at + block] for at in range(0, len(content), block)]
    require(len(data) == 24 + 12 * len(blocks), "a signature has the wrong number of blocks")
    for index, piece in enumerate(blocks):
        total = 0
        for byte in piece:
            total = (total + byte) * MULTIPLIER & (1 << 64) - 1
        weak = struct.unpack_from("<I", data, 24 + 12 * index)[0]
        require(weak == total >> 32, "a weak sum is wrong")
        strong = data[28 + 12 * index:36 + 12 * index]
        require(strong == sha(salt + piece)[:8], "a strong sum is wrong")
    return block


def push_whole(server, tree, name):
    server.send(PUSH, request(name, tree, 7, []))
    base, known = accept(server)
    require(base == 0 and known == b"", "the server has what nobody sent")
    agree_on_room(server, (tree.root, tree.label, tree.notes), tree.files.values())
    messages = b""
    for body in (tree.root, tree.label, tree.notes):
        messages += number(1) + number(0) + number(len(body)) + literal(body)
    asked = sorted(tree.files)[-1]
    for index, file in enumerate(sorted(tree.files)):
        if file != asked:
            skip = 0
            messages += number(3) + number(skip) + number(0) + number(0) + built(tree.files[file])
    server.stream(messages + number(7))
    _, need = server.receive(NEED)
    require(need.number() == 1 and need.path() == [b"localhost", b"notes", asked], "something else is needed")
    need.end()
    server.stream(number(8) + literal(tree.files[asked]))
    return published(server.receive(PUBLISHED)[1])


def push_difference(server, old, new, name, changed):
    server.send(PUSH, request(name, new, 8, [bytes(32), sha(old.root)]))
    base, _ = accept(server)
    require(base == 2, "the server takes another base")
    agree_on_room(server, (new.root, new.label, new.notes), [new.files[changed]])
    server.stream(number(6) + path(b"localhost", b"notes", changed))
    data = b""
    while True:
        part = server.receive(SIGNATURE)[1].data
        data += part
        if len(part) < 131072:
            break
    before, after = old.files[changed], new.files[changed]
    block = check_signature(data, before)
    # The beginning is the old one's, then comes what is new, then the old one's rest.
    end = len(after) - (len(before) - block)
    messages = b""
    for body, names in ((new.root, ()), (new.label, (b"localhost",)), (new.notes, (b"localhost", b"notes"))):
        messages += number(1) + number(1) + path(*names) + number(len(body)) + literal(body)
    messages += number(3) + number(sorted(new.files).index(changed)) + number(1) + number(0)
    messages += number(block << 1 | 1) + signed(0) + number(end - block << 1) + after[block:end]
    messages += number(len(before) - block << 1 | 1) + signed(0) + b"\0"
    server.stream(messages + number(7))
    return published(server.receive(PUBLISHED)[1])


def listed(server):
    server.send(LIST)
    names = []
    while True:
        kind, reader = server.receive(SNAPSHOT, END)
        if kind == END:
            require(reader.text() == b"", "rotation is held")
            return names
        require(reader.number() == 1, "a snapshot is damaged")
        names.append(reader.text())
        reader.text()
        [reader.text() for _ in range(reader.number())]
        require(reader.number() == 0 and reader.text() == b"", "a snapshot is held")
        reader.end()


def catalog(server, name):
    server.send(OPEN_CATALOG, text(name))
    size = server.receive(BYTES)[1].number()
    data = b""
    while len(data) < size:
        server.send(READ_CATALOG, text(name) + number(len(data)) + number(1000))
        part = server.receive(BYTES)[1].data
        require(0 < len(part) <= 1000, "another number of bytes came")
        data += part
    return data


def fetched(server, name, *names):
    server.send(FETCH, text(name) + path(*names))
    packed = b""
    while True:
        kind, reader = server.receive(STREAM, END)
        if kind == END:
            break
        packed += reader.data
    reader = Reader(zstd(["-dcq"], packed))
    if reader.number() == 0:
        return None, reader.text()
    return reader.instructions(reader.number()), None


def refused_without_room(server, tree, name):
    """The last thing on a connection: a push that no disk has the room for."""
    server.send(PUSH, request(name, tree, 9, []))
    accept(server)
    server.send(NEEDS, number(1 << 62) + number(0) + number(1))
    _, failure = server.receive(FAILURE)
    require(failure.number() == 8, "the refusal has another kind")
    require(b"needs about" in failure.text() and failure.text(), "the refusal does not say what is needed")
    server.child.stdin.close()
    require(server.child.wait() == 8, "the server ended with %d" % server.child.returncode)


def main(arguments):
    is_traced = arguments[0] == "--trace"
    arguments = arguments[is_traced:]
    version = 2
    if arguments[0] == "--version":
        version, arguments = int(arguments[1]), arguments[2:]
    repository, *command = arguments
    server = Server(command, is_traced)
    identity, _, flags = server.greet(repository.encode(), version)
    require(server.version == version, "the server does not speak version %d" % version)
    print("hello", identity.decode(), flags)

    large = hashlib.shake_256(b"large").digest(70_000)
    # Two parts of zeros, and a shorter one.
    disk = bytes(2 * PART) + b"data"
    old = Tree({**({b"disk": disk} if version >= 2 else {}), b"large": large, b"plan": b"plan A\n", b"same": b"the same\n"})
    print("published", *push_whole(server, old, b"2023-11-14T22-13-20Z"))
    new = Tree({**old.files, b"large": large[:256] + b"something new" + large[256:]})
    print("published", *push_difference(server, old, new, b"2023-11-14T23-13-20Z", b"large"))
    server.send(PUSH, request(b"2023-11-14T23-13-20Z", new, 8, []))
    print("published", *published(server.receive(PUBLISHED)[1]))

    names = listed(server)
    require(names == [b"2023-11-14T22-13-20Z", b"2023-11-14T23-13-20Z"], "other snapshots are listed")
    require(catalog(server, names[1])[:16] == b"treering-catalog", "a catalog is none")
    for name, tree in zip(names, (old, new)):
        for file, content in tree.files.items():
            require(fetched(server, name, b"localhost", b"notes", file) == (content, None), "a file is another")
    require(fetched(server, names[0], b"localhost", b"nothing")[0] is None, "there is a file that is not")
    server.send(VERIFY, number(len(names)) + b"".join(text(name) for name in names))
    _, reader = server.receive(END)
    print("verified", *[reader.number() for _ in range(5)])
    server.close()
    if version >= 2:
        server = Server(command, is_traced)
        server.greet(repository.encode(), version)
        refused_without_room(server, Tree({b"other": b"x"}), b"2023-11-15T22-13-20Z")
        print("refused")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refused as problem:
        sys.exit("push_snapshot.py: %s" % problem)
