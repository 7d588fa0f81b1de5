"""Jobs submitted by fut, and what is waited for."""
import time


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def submit(daemon, *flags, command=("true",)):
    return int(daemon.fut("submit", *flags, "--", *command, check=True).stdout.split()[-1])
