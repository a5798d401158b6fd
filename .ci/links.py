#!/usr/bin/env python3
"""Checks that the relative links of all pages lead to files, and their anchors to headings; and that the sources
contain what pages name as code, such as `Lease::begin`.

    .ci/links.py

Addresses (https://...) are not looked up.
"""

import os
import re
import sys

# Not ours, or not for people.
SKIPPED = {".git", "target", "corpus"}
# What docs/json.md is made of, with links that hold there.
PARTS = (os.path.join("tests", "cli", "json.md"),)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def pages():
    for at, directories, names in os.walk(ROOT):
        directories[:] = sorted(set(directories) - SKIPPED)
        for name in sorted(names):
            page = os.path.relpath(os.path.join(at, name), ROOT)
            if name.endswith(".md") and page not in PARTS:
                yield page


def text_of(page):
    """A page's text, without code: its lines stay where they are."""
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"^ *```.*?^ *```", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
    return re.sub(r"`[^`]*`", lambda code: re.sub(r"[^\n]", "x", code[0]), text)


def anchors_of(page):
    """The anchors that a page's headings get, as GitHub and GitLab make them."""
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        text = re.sub(r"^ *```.*?^ *```", "", file.read(), flags=re.M | re.S)
    seen = {}
    for heading in re.findall(r"^#+ +(.*?)\s*$", text, flags=re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        seen[anchor] = seen.get(anchor, -1) + 1
        yield anchor if seen[anchor] == 0 else f"{anchor}-{seen[anchor]}"


def words_of_sources():
    """Every word of the sources and of Cargo.toml, where lints are named."""
    paths = [os.path.join(at, name) for at, _, names in os.walk(os.path.join(ROOT, "src")) for name in names]
    words = set()
    for path in [*paths, os.path.join(ROOT, "Cargo.toml")]:
        with open(path, encoding="utf-8") as file:
            words.update(re.findall(r"\w+", file.read()))
    return words


def unknown_names_of(page, words):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            for name in re.findall(r"`((?:\w+::)+\w+)[`(]", line):
                if name.split("::")[-1] not in words:
                    yield f"{page}:{number}: nothing in src is named {name}"


def problems_of(page):
    text = text_of(page)
    for link in re.finditer(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: *(\S+)", text, flags=re.M):
        target = link[1] or link[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        at = f"{page}:{text.count(chr(10), 0, link.start()) + 1}"
        if not os.path.exists(os.path.join(ROOT, path)):
            yield f"{at}: {target} does not exist"
        elif anchor and path.endswith(".md") and anchor not in anchors_of(path):
            yield f"{at}: {path} has no heading for #{anchor}"


def main():
    found = list(pages())
    words = words_of_sources()
    problems = [problem for page in found for problem in [*problems_of(page), *unknown_names_of(page, words)]]
    if problems:
        sys.exit("\n".join([*problems, f"{len(problems)} links or names lead nowhere: mend them"]))
    print(f"{len(found)} pages: every relative link and every name of code leads somewhere")


main()
