#!/usr/bin/env python3
"""Grow a large .asb file from a small backup: copies of its records under other keys and digests, with other values.

usage: grow.py SOURCE.asb... MEGABYTES > OUT.asb

Copy n of a record has another digest and key, and each number and each base64 value in it is changed a little, so that
no copy has a long stretch of bytes in common with another. Deterministic. Only for backups of plain string and integer
keys, as in `users`.
"""
import base64
import hashlib
import re
import sys

HEAD = re.compile(rb"^\+ k ", re.M)


def varied(record: bytes, copy: int) -> bytes:
    seed = hashlib.sha256(b"%d:" % copy + record[:200]).digest()
    lines = record.split(b"\n")
    for i, line in enumerate(lines):
        if line.startswith(b"+ d "):
            digest = hashlib.sha256(seed + line).digest()[:20]
            lines[i] = b"+ d " + base64.b64encode(digest)
        elif line.startswith(b"+ k I "):
            lines[i] = b"+ k I %d" % (int(line[6:]) + copy * 1_000_000)
        elif line.startswith(b"+ k S "):
            key = line.split(b" ", 4)[4] + b"-%d" % copy
            lines[i] = b"+ k S %d %s" % (len(key), key)
        elif line.startswith(b"- I "):
            name, value = line.split(b" ")[2:4]
            lines[i] = b"- I %s %d" % (name, int(value) + seed[i % 32] * copy)
        elif line.startswith(b"- D "):
            name, value = line.split(b" ")[2:4]
            lines[i] = b"- D %s %.17g" % (name, float(value) * (1 + seed[i % 32] / 977.0))
        elif line.startswith(b"- B "):
            name, length, value = line.split(b" ")[2:5]
            raw = base64.b64decode(value)
            noise = hashlib.sha512(seed).digest() * (len(raw) // 64 + 1)
            lines[i] = b"- B %s %s %s" % (name, length, base64.b64encode(bytes(a ^ b for a, b in zip(raw, noise))))
    return b"\n".join(lines)


def main() -> None:
    *paths, megabytes = sys.argv[1:]
    wanted = int(megabytes) * 1_000_000
    out = sys.stdout.buffer
    records, first = [], None
    for path in paths:
        data = open(path, "rb").read()
        starts = [m.start() for m in HEAD.finditer(data)]
        if first is None:
            first = data[: starts[0]]
        records += [data[a:b] for a, b in zip(starts, starts[1:] + [len(data)])]
    out.write(first)
    written, copy = len(first), 0
    while written < wanted:
        for record in records:
            record = record if copy == 0 else varied(record, copy)
            written += out.write(record)
            if written >= wanted:
                break
        copy += 1


main()
