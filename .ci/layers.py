#!/usr/bin/env python3
"""Checks that the rooms of the library import each other in one direction only, as ARCHITECTURE.md says.

    .ci/layers.py

A room is a directory or a file directly under src/. Each may use those that come after it in ROOMS, and no other. Tests may use
what they like.
"""

import os
import re
import sys

ROOMS = (
    "main lib cli fuzzing job repair copy verify restore backup collect session repository run targets sources aerospike asb jsonl embedded "
    "spool chunks index pack objects chunk crypto store format record control error rename sync"
).split()
# A room with more files than this is two.
MOST_FILES = 13

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src")


def code(path):
    """A file's text without comments and without its unit tests."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"#\[cfg\(test\)\]\s*mod \w+ \{.*", "", text, flags=re.S)
    return re.sub(r"//[^\n]*", "", text)


def room_of(path):
    first = os.path.relpath(path, SOURCE).split(os.sep)[0]
    return first.removesuffix(".rs")


def main():
    problems = []
    rooms = {}
    for at, _, names in os.walk(SOURCE):
        for name in sorted(names):
            path = os.path.join(at, name)
            if not name.endswith(".rs") or name == "tests.rs" or os.path.basename(at) == "tests":
                continue
            room = room_of(path)
            if room not in ROOMS:
                problems.append(f"src/{room}: which rooms may it use? Add it to ROOMS in .ci/layers.py")
                continue
            rooms.setdefault((room, at), []).append(name)
            if room in ("main", "lib"):
                continue
            used = set(re.findall(r"\bcrate::(\w+)", code(path)))
            used |= {part.strip().split("::")[0] for group in re.findall(r"\bcrate::\{([^}]*)\}", code(path)) for part in group.split(",")}
            for other in sorted(used & set(ROOMS)):
                if other != room and ROOMS.index(other) < ROOMS.index(room):
                    problems.append(f"{os.path.relpath(path, os.path.join(SOURCE, '..'))} uses {other}, which stands above {room}")
    for (room, at), names in sorted(rooms.items()):
        if len(names) > MOST_FILES and room not in ("cli", "format", "main"):
            problems.append(f"{os.path.relpath(at, os.path.join(SOURCE, '..'))} has {len(names)} files: more than {MOST_FILES} are two rooms")
    if problems:
        sys.exit("\n".join(problems))
    print(f"{len(rooms)} directories of {len(ROOMS)} rooms: every arrow points down")


main()
