#!/usr/bin/python3
"""Fails when a test run left a process behind, and ends what it left.

usage: leftovers.py MARK. Whatever ran under the environment FUTURED_RUN_MARK=MARK is part of the run: the mark is inherited
by every process that a run starts, through fork, exec and setsid, so it finds what pids and process groups would miss.
"""
import os
import select
import signal
import sys
import time

GRACE_SECONDS = 3.0  # for a process whose end was asked for just before


def carrying(mark, variable="FUTURED_RUN_MARK"):
    """Pids of living processes, other than this one, that carry the mark."""
    wanted = f"{variable}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue  # gone meanwhile, or another user's
    return found


def ended_within(pids, seconds):
    """Waits on pidfds, not by looking again; returns the pids that are still alive."""
    deadline = time.monotonic() + seconds
    alive = []
    for pid in pids:
        try:
            watch = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ready, _, _ = select.select([watch], [], [], max(0.0, deadline - time.monotonic()))
        os.close(watch)
        if not ready:
            alive.append(pid)
    return alive


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(gone)"


def main():
    mark = sys.argv[1]
    left = ended_within(carrying(mark), GRACE_SECONDS)
    if not left:
        return 0
    for pid in left:
        print(f"left running: {pid} {command_of(pid)}", file=sys.stderr)
    for _ in range(10):  # a spawner may fork while its tree is being ended
        for pid in carrying(mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not ended_within(carrying(mark), 1.0):
            break
    return 1


if __name__ == "__main__":
    sys.exit(main())
