#!/usr/bin/env python3
"""Times backups and restores of a live cluster with aerolith and with asbackup and asrestore, side by side, in one run.

    tools/compare/cluster.py HOST:PORT --load COMMAND --change COMMAND [--delete COMMAND] [--namespace NAME]
        [--deletes MODE] [--parallel N] [--rounds N]

ALL RECORDS OF THE NAMESPACE ARE DELETED: it is truncated, then COMMAND of --load fills it; COMMAND of --change changes
the part of the records whose incremental backup is timed ({round} in it is the round's number). With --delete, records
are changed once more and COMMAND of --delete deletes some; then another incremental is timed, beside asbackup's reading
of all records without their bins. asbackup and asrestore are found on PATH. In each round the tools take turns: full
backup, changes, incremental backups, and a restore into the namespace, which was emptied. Shown are wall time, the
client's processor time and peak memory, the fastest round of each; bytes are those of the first round. --keep-records
starts with what is there, and leaves --load out.
"""

import argparse
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

ENVIRONMENT = {"AEROLITH_PASSWORD": "compare"}


def info(host, port, command):
    """Asks a node for one value."""
    with socket.create_connection((host, port), timeout=30) as connection:
        body = command.encode() + b"\n"
        connection.sendall(struct.pack(">Q", 2 << 56 | 1 << 48 | len(body)) + body)
        reply = connection.makefile("rb")
        length = struct.unpack(">Q", reply.read(8))[0] & ((1 << 48) - 1)
        return reply.read(length).decode().rstrip("\n").partition("\t")[2]


def objects(host, port, namespace):
    statistics = dict(part.partition("=")[::2] for part in info(host, port, f"namespace/{namespace}").split(";"))
    return int(statistics["objects"])


def truncate(host, port, namespace):
    """Deletes all records, and waits until they are gone."""
    answer = info(host, port, f"truncate-namespace:namespace={namespace}")
    if not answer.lower().startswith("ok"):
        sys.exit(f"truncate: {answer}")
    end = time.monotonic() + 120
    while objects(host, port, namespace) > 0:
        if time.monotonic() > end:
            sys.exit("the namespace does not become empty")
        time.sleep(0.2)
    # Records that are written in the very second of the truncation would be taken for older ones.
    time.sleep(2)


def timed(command):
    """Runs a command; gives back wall seconds, processor seconds, peak memory in MB."""
    os.sync()
    begin = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{output.read().decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def size(directory):
    return sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(directory) for name in names)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("address")
    options.add_argument("--namespace", default="test")
    options.add_argument("--load")
    options.add_argument("--change")
    options.add_argument("--delete")
    options.add_argument("--deletes", default="auto")
    options.add_argument("--keep-records", action="store_true")
    options.add_argument("--no-restore", action="store_true")
    options.add_argument("--parallel", default="2")
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--work", help="a directory on the disk to measure; a temporary one if not given")
    options.add_argument("--aerolith", default=os.path.join(os.path.dirname(__file__), "../../target/release/aerolith"))
    options = options.parse_args()
    host, _, port = options.address.partition(":")
    host, port, namespace = host, int(port or 3000), options.namespace
    if not options.keep_records:
        if not options.load:
            sys.exit("--load says how the namespace is filled; or give --keep-records")
        truncate(host, port, namespace)
        subprocess.run(options.load, shell=True, check=True)
    there = objects(host, port, namespace)
    print(f"{there} records in {namespace}")
    figures = {}

    def note(what, tool, figure, stored=None):
        old = figures.setdefault(what, {}).get(tool)
        fastest = figure if old is None else tuple(map(min, old[0], figure))
        figures[what][tool] = (fastest, stored if old is None else old[1])

    for number in range(1, options.rounds + 1):
        with tempfile.TemporaryDirectory(dir=options.work) as work:
            path = lambda name: os.path.join(work, name)
            theirs = lambda name: ["-h", host, "-p", str(port), "-n", namespace, "-d", path(name)]
            both = shutil.which("asbackup") is not None
            ours = [os.path.abspath(options.aerolith), "--quiet", "--repo", path("repo")]
            backup = ours + ["backup", f"aerospike://{host}:{port}/{namespace}", "--parallel", options.parallel]
            timed(ours + ["init"])
            if both:
                figure = timed(["asbackup", *theirs("full"), "--parallel", options.parallel])
                note("full backup", "asbackup", figure, size(path("full")))
            note("full backup", "aerolith", timed(backup), size(path("repo")))
            if options.change:
                time.sleep(2)
                since = time.strftime("%Y-%m-%d_%H:%M:%S")
                # What was written before the last backup's time less the margin is not read again.
                time.sleep(8)
                subprocess.run(options.change.replace("{round}", str(number)), shell=True, check=True)
                if both:
                    command = ["asbackup", *theirs("changed"), "--parallel", options.parallel]
                    figure = timed([*command, "--modified-after", since])
                    note("incremental", "asbackup", figure, size(path("changed")))
                before = size(path("repo"))
                figure = timed(backup + ["--kind", "incremental", "--deletes", options.deletes])
                note("incremental", "aerolith", figure, size(path("repo")) - before)
            if options.change and options.delete:
                time.sleep(8)
                subprocess.run(options.change.replace("{round}", f"{number}7"), shell=True, check=True)
                subprocess.run(options.delete.replace("{round}", str(number)), shell=True, check=True)
                if both:
                    command = ["asbackup", *theirs("digests"), "--parallel", options.parallel, "--no-bins"]
                    note("with deletes", "asbackup", timed(command), size(path("digests")))
                before = size(path("repo"))
                figure = timed(backup + ["--kind", "incremental", "--deletes", options.deletes])
                note("with deletes", "aerolith", figure, size(path("repo")) - before)
            if options.no_restore:
                continue
            if both:
                truncate(host, port, namespace)
                note("restore", "asrestore", timed(["asrestore", *theirs("full")]))
            truncate(host, port, namespace)
            note("restore", "aerolith", timed(ours + ["restore", "latest", f"aerospike://{host}:{port}/{namespace}"]))
    print(f"{'':12} {'':10} {'wall':>9} {'cpu':>9} {'memory':>8} {'stored':>10}")
    for what, by_tool in figures.items():
        for tool, ((wall, cpu, memory), stored) in by_tool.items():
            shown = "" if stored is None else f"{stored / 1e6:7.1f} MB"
            print(f"{what:12} {tool:10} {wall:7.2f} s {cpu:7.2f} s {memory:5.0f} MB {shown:>10}")
        others = [figure for tool, (figure, _) in by_tool.items() if tool != "aerolith"]
        if others and "aerolith" in by_tool:
            ours = by_tool["aerolith"][0]
            print(f"{'':12} {'':10} {ours[0] / others[0][0]:7.2f}   {ours[1] / others[0][1]:7.2f}   of theirs")


if __name__ == "__main__":
    main()
