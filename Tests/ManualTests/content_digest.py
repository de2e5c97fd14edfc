#!/usr/bin/env python3
"""Computes the digests of contents as treering-catalog(5) describes them, and shares no line with treering.

usage: content_digest.py < FILE-NAMES

Reads names of files, each ended by a NUL. Prints for each the digest, "h" for that of a sparse file or "-", and the
name, ended by a NUL.
"""

import hashlib
import struct
import sys

PART = 1 << 20


def content_digest(file):
    content, runs, size, number = hashlib.sha256(), [], 0, 0
    while part := file.read(PART):
        size += len(part)
        if len(part) == PART and not any(part):
            if runs and sum(runs[-1]) == number:
                runs[-1][1] += 1
            else:
                runs.append([number, 1])
        else:
            content.update(part)
        number += 1
    if runs:
        table = b"".join(struct.pack("<QQ", *run) for run in runs)
        content.update(hashlib.sha256(table).digest() + struct.pack("<Q", size))
    return content.hexdigest(), "h" if runs else "-"


for name in sys.stdin.buffer.read().split(b"\0")[:-1]:
    with open(name, "rb") as file:
        digest, form = content_digest(file)
    sys.stdout.buffer.write(("%s %s " % (digest, form)).encode() + name + b"\0")
