#!/usr/bin/env python3
"""Checks that no line of code, comments or pages has more than 120 characters.

    .ci/widths.py

Left out are tables, a line that is nothing but one address, and what code blocks of pages show besides commands: output
is shown as it is printed.
"""

import os
import re
import sys

WIDEST = 120
ENDINGS = (".md", ".py", ".rs", ".sh", ".toml")
# Files that have no ending.
NAMED = (os.path.join(".ci", "run"),)
# Not ours, or not for people.
SKIPPED = {".git", "target", "corpus"}

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def files():
    for at, directories, names in os.walk(ROOT):
        directories[:] = sorted(set(directories) - SKIPPED)
        for name in sorted(names):
            path = os.path.relpath(os.path.join(at, name), ROOT)
            if name.endswith(ENDINGS) or path in NAMED:
                yield path


def may_be_wide(line):
    """Whether a line can't be broken: a row of a table, or one address."""
    text = re.sub(r"^(//[/!]?|#|-)\s*", "", line.strip())
    return text.startswith("|") or re.fullmatch(r"\S+://\S+", text)


def wide(path):
    """The numbers and lengths of a file's lines that are too wide."""
    in_block = False
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if path.endswith(".md"):
                if line.lstrip().startswith("```"):
                    in_block = not in_block
                if in_block and not line.startswith("$ "):
                    continue
            if len(line) > WIDEST and not may_be_wide(line):
                yield number, len(line)


def main():
    paths = list(files())
    problems = [f"{path}:{number}: {length} characters" for path in paths for number, length in wide(path)]
    if problems:
        sys.exit("\n".join([*problems, f"{len(problems)} lines are over {WIDEST} characters: break them"]))
    print(f"{len(paths)} files: no line is over {WIDEST} characters")


main()
