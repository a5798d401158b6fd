#!/usr/bin/env python3
"""Fails if a dependency may not be used under permissive licences alone.

    .ci/licences.py

Reads what `cargo metadata --locked` says of every package of Cargo.lock, those of tests, build scripts and other systems too. A
licence is an SPDX expression: of an OR (once written /) one side is enough, of an AND both are needed. A new licence is added to
ALLOWED only if it asks for no more than that its text is kept.
"""

import json
import re
import subprocess
import sys

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


class Malformed(Exception):
    """An expression that is none."""


def allowed(expression):
    """Whether the licences of an expression that are in ALLOWED are enough."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def either():
        """One or more terms with OR between them, which binds less than AND."""
        result = both()
        while words[:1] == ["OR"]:
            words.pop(0)
            # Not `or`: what follows must be read in any case.
            result |= both()
        return result

    def both():
        result = one()
        while words[:1] == ["AND"]:
            words.pop(0)
            result &= one()
        return result

    def one():
        name = words.pop(0) if words else ")"
        if name == "(":
            result = either()
            if words[:1] != [")"]:
                raise Malformed(expression)
            words.pop(0)
            return result
        if name in (")", "OR", "AND", "WITH"):
            raise Malformed(expression)
        if words[:1] == ["WITH"]:
            if len(words) < 2:
                raise Malformed(expression)
            name = f"{name} WITH {words[1]}"
            del words[:2]
        return name in ALLOWED

    result = either()
    if words:
        raise Malformed(expression)
    return result


def problem(package):
    """Why a package may not be used; None if it may."""
    licence = package["license"]
    if not licence:
        return "states no licence"
    try:
        return None if allowed(licence) else f"is licensed as {licence}, and no allowed licence is enough"
    except Malformed:
        return f"states a licence that can't be understood: {licence}"


def check_rules():
    """Tries the reading of expressions."""
    for expression, expected in [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("GPL-3.0-only/MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND Unicode-3.0", True),
        ("GPL-3.0-only OR MIT AND ISC", True),
        ("MIT OR GPL-3.0-only AND ISC", True),
        ("(MIT OR ISC) AND GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
    ]:
        assert allowed(expression) == expected, expression
    for expression in ["", "MIT OR", "MIT ISC", "(MIT", "MIT)", "AND MIT", "MIT WITH"]:
        try:
            allowed(expression)
        except Malformed:
            continue
        raise AssertionError(expression)


def main():
    check_rules()
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = [package for package in metadata["packages"] if package["source"]]
    refused = [(package, why) for package in packages if (why := problem(package))]
    for package, why in refused:
        print(f"{package['name']} {package['version']} {why}", file=sys.stderr)
    if refused:
        sys.exit(f"{len(refused)} of {len(packages)} dependencies may not be used: see ALLOWED in .ci/licences.py")
    print(f"licences of {len(packages)} dependencies: all allowed")


main()
