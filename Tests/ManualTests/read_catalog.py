#!/usr/bin/env python3
"""Reads a catalog as treering-catalog(5) describes it, and shares no line with treering.

usage: read_catalog.py CATALOG

Prints one line for each entry, depth first, then one for each field of the trailer. Checks every
checksum, every digest, the order of names and every "must" on the way; anything wrong ends it with
status 1. Fields are separated by tabs; bytes other than printable ASCII, and backslashes, are \\xNN.

Needs only python3 and zstd(1).
"""

import hashlib
import struct
import subprocess
import sys

KINDS = {1: "f", 2: "l", 3: "p", 4: "s", 5: "c", 6: "b", 7: "d"}
TABLE, TRAILER = 0xFFFFFFFE, 0xFFFFFFFF


class Refused(Exception):
    """The catalog breaks a must of treering-catalog(5)."""


def require(condition, what):
    if not condition:
        raise Refused(what)


def shown(data):
    return "".join(
        chr(b) if 0x20 < b < 0x7F and b != 0x5C else "\\x%02x" % b for b in data)


class Cursor:
    """Little-endian fields, one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        require(count <= len(self.data) - self.at, "something ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def unpack(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def one(self, form):
        return self.unpack(form)[0]

    def time(self):
        seconds, nanoseconds = self.unpack("qI")
        require(nanoseconds < 10**9, "a time has too many nanoseconds")
        return "%d.%09d" % (seconds, nanoseconds)

    @property
    def done(self):
        return self.at == len(self.data)


def mixed(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


class Catalog:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        header = Cursor(self.data)
        require(header.take(16) == b"treering-catalog", "this is no catalog")
        self.version, reserved = header.unpack("II")
        require(self.version in (1, 2) and reserved == 0, "the version is unknown, or the header is damaged")
        self.end = len(self.data) - 16
        require(self.end >= 24 and self.data[self.end + 8:] == b"TRCATEND", "it is cut off")
        trailer_at = struct.unpack_from("<Q", self.data, self.end)[0]
        self.covered = []
        self.trailer(self.frame(trailer_at, TRAILER))
        table = self.frame(self.table_at, TABLE)
        require(len(table) == 8 * self.frame_count, "the frame table has another size")
        offsets = struct.unpack("<%dQ" % self.frame_count, table)
        self.frames = [self.frame(offset, n) for n, offset in enumerate(offsets)]
        # The parts fill the file without a gap.
        position = 24
        for start, stop in sorted(self.covered):
            require(start == position, "there is a gap, or two frames overlap")
            position = stop
        require(position == self.end, "there is a gap before the footer")
        self.records = set()

    def frame(self, offset, number):
        require(24 <= offset <= self.end - 32, "a frame lies outside the file")
        magic, actual, size, stored = struct.unpack_from("<4sIII", self.data, offset)
        require(magic == b"TRF1", "there is no frame where one should be")
        require(actual == number, "frame %d is where %d should be" % (actual, number))
        stop = offset + 32 + stored
        require(stop <= self.end, "a frame reaches into the footer")
        require(size <= 2**30 + 64 and size <= stored * 1024 + 65536, "a frame is too good")
        packed = self.data[offset + 32:stop]
        checksum = hashlib.sha256(self.data[offset:offset + 16] + packed).digest()[:16]
        require(self.data[offset + 16:offset + 32] == checksum, "a checksum is wrong")
        self.covered.append((offset, stop))
        if size == stored:
            return packed
        require(packed[:4] == b"\x28\xb5\x2f\xfd", "the content is no zstd frame")
        content = subprocess.run(
            ["zstd", "-dcq"], input=packed, stdout=subprocess.PIPE, check=True).stdout
        require(len(content) == size, "a frame's content has another size")
        return content

    def trailer(self, content):
        cursor = Cursor(content)
        self.table_at, self.frame_count = cursor.unpack("QI")
        self.fields = {}
        self.lines = []

        def field(name, text):
            self.fields[name] = text
            self.lines.append("%s\t%s" % (name, text))

        while not cursor.done:
            tag, size = cursor.unpack("HI")
            value = Cursor(cursor.take(size))
            if tag == 1:
                self.root_place = value.unpack("II")
            elif tag == 2:
                self.root_digest = value.take(32)
                field("root_digest", self.root_digest.hex())
            elif tag == 3:
                self.totals = value.unpack("QQ")
                field("totals", "%d\t%d" % self.totals)
            elif tag == 4:
                field("sequence", str(value.one("Q")))
            elif tag in (5, 6):
                field("started" if tag == 5 else "finished", value.time())
            elif tag == 7:
                outcome = value.one("B")
                require(outcome in (0, 1, 2), "the outcome is unknown")
                field("outcome", ("complete", "warnings", "unfinished")[outcome])
            elif tag == 8:
                field("counts", "%d\t%d\t%d" % value.unpack("QQQ"))
            elif tag == 9:
                field("copied", "%d\t%d\t%d" % value.unpack("QQQ"))
            elif tag in (10, 11, 12, 14):
                name = {10: "label", 11: "source", 12: "repository", 14: "program"}[tag]
                field(name, shown(value.take(size)))
            elif tag == 13:
                field("file_system", str(value.one("Q")))
            elif tag == 15:
                kind, number, volume = value.unpack("QQQ")
                path = value.take(size - 24)
                require(path.startswith(b"/"), "the path of a mount is not absolute")
                field("mount", "%d\t%d\t%d\t%s" % (kind, number, volume, shown(path)))
            elif tag == 19:
                self.stored = value.unpack("QQ")
                field("stored", "%d\t%d" % self.stored)
            elif tag == 20:
                flags = value.one("B")
                left_out = flags & 1
                times = (value.time(), value.time())
                texts = tuple(shown(value.take(value.one("H"))) for _ in range(4 if flags & 2 else 3))
                field("database", "\t".join((str(left_out),) + times + texts))
        require(hasattr(self, "root_place") and hasattr(self, "root_digest"), "there is no root")

    # Records

    def metadata(self, cursor):
        kind, flags, mode, user, group = cursor.unpack("BBHII")
        require(kind in KINDS, "a kind is unknown")
        require(flags & ~(15 if self.version == 1 else 31) == 0, "a flag is unknown")
        require(mode <= 0o7777, "permissions are impossible")
        time = cursor.time()
        size = cursor.one("Q")
        require(kind != 1 or size < 2**63, "a file is too large")
        require(kind not in (3, 4, 7) or size == 0, "an entry has a size that has none")
        require(not flags & 16 or kind == 1 and size >= 2**20, "an entry is called sparse that cannot be")
        return kind, flags, mode, user, group, time, size

    def name(self, cursor, previous):
        name = cursor.take(cursor.one("B"))
        require(name and name not in (b".", b"..") and not set(name) & {0, 0x2F}, "a bad name")
        require(previous is None or previous < name, "names are not ascending")
        return name

    def attributes(self, cursor, flags):
        if not flags & 1:
            return []
        size = cursor.one("I")
        require(1 <= size <= 2**24, "an attribute block has an impossible size")
        block, result, previous = Cursor(cursor.take(size)), [], None
        while not block.done:
            name = block.take(block.one("B"))
            require(name and 0 not in name, "an attribute has a bad name")
            require(previous is None or previous < name, "attributes are not ascending")
            result.append((name, block.take(block.one("I"))))
            previous = name
        return result

    def hints(self, cursor):
        inode, changed, stored = cursor.one("Q"), cursor.time(), cursor.one("Q")
        return inode, changed, stored, cursor.one("I")

    def line(self, path, meta, digest="-", target=b"", group=None, attributes=(), hints=None):
        kind, flags, mode, user, owner_group, time, size = meta
        return "\t".join([
            "entry", shown(path) or "-", KINDS[kind], "%o" % mode, str(user), str(owner_group), time,
            str(size), digest, shown(target) or "-", "-" if group is None else "%016x" % group,
            ",".join("%s=%s" % (shown(n), v.hex()) for n, v in attributes) or "-",
            "".join(letter for bit, letter in ((4, "i"), (8, "s"), (16, "h")) if flags & bit) or "-",
            "%d %s %d %d" % hints])

    def directory(self, place, expected, path):
        """Yields the lines of a directory and of all below it; returns its totals."""
        number, offset = place
        require(number < len(self.frames), "a place names a frame that does not exist")
        require(offset < len(self.frames[number]), "a place lies outside its frame")
        self.records.add(place)
        cursor = Cursor(self.frames[number])
        cursor.at = offset
        body_size, hint_size = cursor.unpack("II")
        require(8 + body_size + hint_size <= 2**30, "a record is too large")
        body, hints = cursor.take(body_size), Cursor(cursor.take(hint_size))
        digest = hashlib.sha256(body).digest()
        require(digest == expected, "the record of %s has another digest" % shown(path))

        body = Cursor(body)
        meta = self.metadata(body)
        require(meta[0] == 7 and not meta[1] & 2, "a record is not a directory's")
        attributes = self.attributes(body, meta[1])
        yield self.line(path, meta, digest.hex(), attributes=attributes, hints=self.hints(hints))

        entries, size, names, previous = 1, 0, set(), None
        for _ in range(body.one("I")):
            meta = self.metadata(body)
            require(meta[0] != 7, "a directory stands among files")
            require(not meta[1] & 12, "a file has a directory's flag")
            previous = self.name(body, previous)
            names.add(previous)
            require(not meta[1] & 2 or meta[0] == 1, "something else than a file has a group")
            group = body.one("Q") if meta[1] & 2 else None
            attributes = self.attributes(body, meta[1])
            target, digest = b"", "-"
            if meta[0] == 2:
                require(1 <= meta[6] <= 65536, "a target has an impossible size")
                target = body.take(meta[6])
            if meta[0] == 1:
                digest = body.take(32).hex() if meta[6] else hashlib.sha256().hexdigest()
                size += meta[6]
            entries += 1
            own = self.hints(hints)
            self.names += mixed(own[2])
            yield self.line(path + b"/" + previous, meta, digest, target, group, attributes, own)

        rows, previous = [], None
        for _ in range(body.one("I")):
            previous = self.name(body, previous)
            require(previous not in names, "a name is a file's and a directory's")
            rows.append((previous, body.take(32)))
        require(body.done, "a record has bytes to spare")
        for name, digest in rows:
            child, claimed = hints.unpack("II"), hints.unpack("QQ")
            actual = yield from self.directory(child, digest, path + b"/" + name)
            require(actual == claimed, "the totals of %s are wrong" % shown(name))
            entries += actual[0]
            size += actual[1]
        require(hints.done, "hints have bytes to spare")
        return entries, size

    def dump(self):
        self.names = 0
        totals = yield from self.directory(self.root_place, self.root_digest, b"")
        require(totals == self.totals, "the totals of the trailer are wrong")
        if hasattr(self, "stored"):
            require(self.stored[0] == self.names % 2**64, "the sum of the names is wrong")
        for number, content in enumerate(self.frames):
            # Every record is reached from the root, and records fill their frames.
            at = 0
            while at < len(content):
                require((number, at) in self.records, "a record belongs to nothing")
                body_size, hint_size = struct.unpack_from("<II", content, at)
                at += 8 + body_size + hint_size
        yield from self.lines
        yield "checked\t%d frames\t%d records" % (len(self.frames), len(self.records))


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: read_catalog.py CATALOG")
    try:
        print("\n".join(Catalog(sys.argv[1]).dump()))
    except Refused as refused:
        sys.exit("read_catalog.py: %s" % refused)


if __name__ == "__main__":
    main()
