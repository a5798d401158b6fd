#!/usr/bin/env python3
"""Times the same work on a repository in a directory and on one in an object store that is made slow, in one run.

    tools/stores/speed.py FULL [CHANGED ...] --endpoint HOST:PORT [--bucket NAME] [--delay MS] [--mbit MBIT]
        [--rounds N]

FULL is a source, such as asb:DIRECTORY; each CHANGED is one too, and is backed up after it. All requests to the S3
server at --endpoint pass through proxy.py, which is started here. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY open the
server. Shown are, for each command, the fastest wall time of the rounds in the directory and in the store, how many
requests it made, and how many of them were made one after another: in the longest chain that its log shows.
"""

import argparse
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command, environment):
    begin = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True)
    wall = time.monotonic() - begin
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return wall


def requests(path, begin):
    """The requests that were logged after so many bytes: begin, end, bytes each way, method, target."""
    with open(path, "rb") as log:
        log.seek(begin)
        lines = log.read().decode().splitlines()
    return [(float(a), float(b), int(c), int(d), e, f) for a, b, c, d, e, f in (line.split(" ", 5) for line in lines)]


def chain(made):
    """How many requests were made one after another at least."""
    count, end = 0, 0.0
    for begin, until, *_ in sorted(made, key=lambda request: request[1]):
        if begin >= end:
            count, end = count + 1, until
    return count


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("source", nargs="+")
    options.add_argument("--endpoint", required=True)
    options.add_argument("--bucket", default="backups")
    options.add_argument("--delay", default="20")
    options.add_argument("--mbit", default="1000")
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--aerolith", default=os.path.join(HERE, "../../target/release/aerolith"))
    options = options.parse_args()
    program = [os.path.abspath(options.aerolith), "--quiet", "--no-rollback-check", "--repo"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    figures = {}
    with tempfile.TemporaryDirectory() as work:
        log = os.path.join(work, "requests.log")
        command = [sys.executable, os.path.join(HERE, "proxy.py"), str(port), options.endpoint, "--log", log]
        proxy = subprocess.Popen([*command, "--delay", options.delay, "--mbit", options.mbit])
        try:
            time.sleep(1)
            settings = f"endpoint=http://127.0.0.1:{port},allow_http=true,region=us-east-1"
            environment = os.environ | {"AEROLITH_PASSWORD": "speed", "AEROLITH_STORE_OPTIONS": settings}
            for number in range(options.rounds):
                places = {
                    "directory": os.path.join(work, f"repository{number}"),
                    "store": f"s3://{options.bucket}/speed-{secrets.token_hex(8)}",
                }
                for place, url in places.items():
                    ours = [*program, url]
                    target = f"jsonl:{os.path.join(work, f'{place}{number}.jsonl')}"
                    steps = [("init", ["init"])]
                    for n, source in enumerate(options.source):
                        steps.append((f"backup {n}", ["backup", source, "--cluster", "speed"]))
                    steps += [
                        ("snapshots", ["snapshots"]),
                        ("check", ["check"]),
                        ("restore", ["restore", "latest", target]),
                        ("forget", ["forget", "--keep-last", "1"]),
                        ("prune", ["prune"]),
                    ]
                    for name, arguments in steps:
                        before = os.path.getsize(log)
                        wall = run([*ours, *arguments], environment)
                        made = requests(log, before) if place == "store" else []
                        old = figures.setdefault(name, {}).get(place)
                        if old is None or wall < old[0]:
                            figures[name][place] = (wall, made)
        finally:
            proxy.kill()
    names = ["directory", "store", "ratio", "requests", "chain", "sent", "received"]
    print(f"{'':12}" + "".join(f"{name:>11}" for name in names))
    for name, places in figures.items():
        (near, _), (far, made) = places["directory"], places["store"]
        sent, received = (sum(request[at] for request in made) / 1e6 for at in (2, 3))
        counts = f"{far / near:11.2f}{len(made):11}{chain(made):11}"
        print(f"{name:12}{near:9.2f} s{far:9.2f} s{counts}{sent:8.1f} MB{received:8.1f} MB")


if __name__ == "__main__":
    main()
