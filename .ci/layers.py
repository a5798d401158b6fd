#!/usr/bin/env python3
"""Checks that the rooms of the library import each other in one direction only, as ARCHITECTURE.md says, and that no
files import each other in a circle.

    .ci/layers.py

A room is a directory or a file directly under src/. Each may use those that come after it in ROOMS, and no other. A
file may use the file of the directory that it is in, and is used by it as one of its parts. Tests may use what they
like.
"""

import os
import re
import sys

ROOMS = (
    "main lib internals cli fuzzing job official repair copy verify restore backup collect session repository "
    "run targets sources aerospike asb jsonl embedded spool chunks index pack objects chunk crypto store control "
    "format record plan secret runtime error rename setters sync"
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


def paths(text):
    """The paths that a file names with crate, super or self in front, its imports taken apart."""
    found = []

    def take(prefix, rest):
        depth, part, parts = 0, "", []
        for letter in rest:
            depth += (letter == "{") - (letter == "}")
            if letter == "," and depth == 0:
                parts.append(part)
                part = ""
            else:
                part += letter
        for part in [*parts, part]:
            head, brace, inner = part.strip().partition("{")
            if brace:
                take(prefix + head, inner.rpartition("}")[0])
            elif head:
                found.append((prefix + head).split(" as ")[0].strip())

    for match in re.finditer(r"\buse\s+((?:crate|super|self)\b[^;]*);", text):
        take("", match.group(1))
    found.extend(re.findall(r"\b(?:crate|super)(?:::\w+)+", re.sub(r"\buse\s[^;]*;", "", text)))
    return [path.split("::") for path in found]


def arrows(modules):
    """For each file, those that it uses: the deepest file that a path names, or from which its room takes the name."""
    taken = {}
    for module, text in modules.items():
        for match in re.finditer(r"\bpub(?:\([^)]*\))?\s+use\s+((?!crate|super)\w[^;]*);", text):
            for path in paths(f"use self::{match.group(1).removeprefix('self::')};"):
                if module + (path[1],) in modules:
                    taken.setdefault(module, {})[path[-1]] = module + (path[1],)
    used = {}
    for module, text in modules.items():
        used[module] = set()
        for path in paths(text):
            at, path = ((), path[1:]) if path[0] == "crate" else (module, path)
            while path and path[0] in ("super", "self"):
                at, path = (at[:-1] if path[0] == "super" else at), path[1:]
            while path and at + (path[0],) in modules:
                at, path = at + (path[0],), path[1:]
            while path and path[-1] in taken.get(at, {}):
                at = taken[at][path[-1]]
            # A part uses what its directory's file holds; that file names its parts without super or crate.
            if at in modules and at != module:
                used[module].add(at)
    return used


def circle(used):
    """A list of files each of which uses the next, and the last the first; None if there is none."""
    done, way = set(), []

    def look(module):
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return None
        way.append(module)
        found = next(filter(None, map(look, sorted(used[module]))), None)
        way.pop()
        done.add(module)
        return found

    return next(filter(None, map(look, sorted(used))), None)


def shown(path):
    return os.path.relpath(path, os.path.join(SOURCE, ".."))


def main():
    problems = []
    modules = {}
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
            if room in ("main", "lib", "internals"):
                continue
            parts = os.path.relpath(path, SOURCE).removesuffix(".rs").split(os.sep)
            text = code(path)
            modules[tuple(parts[:-1] if parts[-1] == "mod" else parts)] = text
            used = set(re.findall(r"\bcrate::(\w+)", text))
            for group in re.findall(r"\bcrate::\{([^}]*)\}", text):
                used |= {part.strip().split("::")[0] for part in group.split(",")}
            for other in sorted(used & set(ROOMS)):
                if other != room and ROOMS.index(other) < ROOMS.index(room):
                    problems.append(f"{shown(path)} uses {other}, which is above {room}")
    for (room, at), names in sorted(rooms.items()):
        if len(names) > MOST_FILES and room not in ("cli", "format", "main"):
            problems.append(f"{shown(at)} has {len(names)} files: more than {MOST_FILES} are two rooms")
    round_about = circle(arrows(modules))
    if round_about:
        names = ["::".join(module) for module in round_about]
        problems.append(f"files use each other in a circle: {' -> '.join([*names, names[0]])}")
    if problems:
        sys.exit("\n".join(problems))
    print(
        f"{len(rooms)} directories of {len(ROOMS)} rooms: every arrow points down, "
        "and no files use each other in a circle"
    )


main()
