#!/usr/bin/env python3
"""Times backup and restore of one .asb file with aerolith and with other deduplicating, encrypting backup tools, side
by side.

    tools/compare/compare.py FILE [--work DIR] [--rounds N] [--aerolith PATH]

Every tool that is found on PATH among restic, rustic, borg and bupstash takes part. In each round the tools take turns,
each with a fresh repository in DIR; what counts is a tool's fastest round, so that whatever else the machine does
counts least. Aerolith parses the records and writes them out as .asb again; the others store and restore the file's
bytes.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

PASSWORD = "compare"
ENVIRONMENT = {
    "AEROLITH_PASSWORD": PASSWORD,
    "RESTIC_PASSWORD": PASSWORD,
    "RUSTIC_PASSWORD": PASSWORD,
    "RUSTIC_NO_PROGRESS": "true",
    "BORG_PASSPHRASE": PASSWORD,
    "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
}


def tools(aerolith, file, work):
    """For each tool: commands that make a repository, back up, and restore into an empty working directory."""
    name = os.path.basename(file)
    directory = os.path.dirname(os.path.abspath(file))
    source = os.path.join(directory, name)
    repo, key, out = (os.path.join(work, part) for part in ("repo", "key", "out"))
    return {
        "aerolith": (
            [[aerolith, "--repo", repo, "init"]],
            [aerolith, "--repo", repo, "backup", "asb:" + os.path.abspath(file)],
            [aerolith, "--repo", repo, "restore", "latest", "asb:" + os.path.join(out, "asb")],
        ),
        "restic": (
            [["restic", "-q", "-r", repo, "init"]],
            ["restic", "-q", "-r", repo, "backup", os.path.abspath(file)],
            ["restic", "-q", "-r", repo, "restore", "latest", "--target", out],
        ),
        "rustic": (
            [["rustic", "-r", repo, "init"]],
            ["rustic", "-r", repo, "backup", os.path.abspath(file)],
            ["rustic", "-r", repo, "restore", "latest", out],
        ),
        "borg": (
            [["borg", "init", "-e", "repokey-blake2", repo]],
            ["borg", "create", repo + "::one", os.path.abspath(file)],
            ["borg", "extract", repo + "::one"],
        ),
        "bupstash": (
            [["bupstash", "new-key", "-o", key], ["bupstash", "init", "-r", repo]],
            ["bupstash", "put", "-q", "--no-send-log", "-k", key, "-r", repo, "name=one", source],
            ["bupstash", "get", "-q", "-k", key, "-r", repo, "name=one"],
        ),
    }


def timed(command, directory, to_file=None):
    """Runs a command; gives back wall and processor seconds."""
    os.sync()
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with open(to_file or os.devnull, "wb") as output:
        environment = os.environ | ENVIRONMENT
        done = subprocess.run(command, cwd=directory, stdout=output, stderr=subprocess.PIPE, env=environment)
    wall, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def size(directory):
    return sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(directory) for name in names)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file")
    options.add_argument("--work", help="a directory on the disk to measure; a temporary one if not given")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--aerolith", default=os.path.join(os.path.dirname(__file__), "../../target/release/aerolith"))
    options = options.parse_args()
    best = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=options.work) as work:
            for tool, (make, backup, restore) in tools(os.path.abspath(options.aerolith), options.file, work).items():
                if shutil.which(make[0][0]) is None:
                    continue
                out = os.path.join(work, "out")
                os.mkdir(out)
                for command in make:
                    timed(command, work)
                stored = timed(backup, work)
                bytes_stored = size(os.path.join(work, "repo"))
                restored = timed(restore, out, os.path.join(out, "one") if tool == "bupstash" else None)
                if size(out) < 0.9 * os.path.getsize(options.file):
                    sys.exit(f"{tool} restored only {size(out)} bytes")
                old = best.get(tool, (stored, restored, bytes_stored))
                best[tool] = (min(old[0], stored), min(old[1], restored), bytes_stored)
                for name in os.listdir(work):
                    path = os.path.join(work, name)
                    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    print(f"{'':10} {'backup':>8} {'cpu':>7} {'restore':>8} {'cpu':>7} {'stored':>9}")
    for tool, ((wall, cpu), (wall_out, cpu_out), stored) in best.items():
        print(f"{tool:10} {wall:6.2f} s {cpu:5.2f} s {wall_out:6.2f} s {cpu_out:5.2f} s {stored / 1e6:6.1f} MB")
    others = [figures for tool, figures in best.items() if tool != "aerolith"]
    if others and "aerolith" in best:
        for at, what in enumerate(("backup", "restore")):
            ratio = best["aerolith"][at][0] / min(figures[at][0] for figures in others)
            print(f"{what}: {ratio:.2f} of the wall time of the fastest other tool")


if __name__ == "__main__":
    main()
