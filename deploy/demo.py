#!/usr/bin/python3
"""The demo: a private daemon doing real work. Run it with ./dev demo; it checks what it shows, and leaves nothing running."""
import hashlib
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "system")]

from private_daemon import BIN, PrivateDaemon, program  # noqa: E402
from wire import Api, compile_api  # noqa: E402

NOOP_JOBS = 20_000
BATCH = 500


class Wrong(Exception):
    """The demo saw something that should not be."""


def expect(condition, what):
    if not condition:
        raise Wrong(what)


def say(text=""):
    print(text, flush=True)


def show(command):
    say("   $ " + command)


def files_of_this_repository():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    names = [name for name in listed.split("\0") if name and os.path.isfile(os.path.join(ROOT, name))]
    expect(names, "git lists no files here")
    return names


def hash_files(daemon):
    """sha256 of every file of this repository, a job each"""
    names = files_of_this_repository()
    show("git ls-files | fut map --task sha256 --files")
    done = subprocess.run(
        [program("fut"), "map", "--task", "sha256", "--files"],
        input="\n".join(names) + "\n",
        stdout=subprocess.PIPE,  # standard error stays ours: a terminal shows the progress bar
        env=daemon.env,
        cwd=ROOT,
        text=True,
        check=True,
    )
    hashes = done.stdout.split()
    expect(len(hashes) == len(names), f"{len(hashes)} hashes of {len(names)} files")
    for name, told in zip(names, hashes):
        with open(os.path.join(ROOT, name), "rb") as file:
            expect(told == hashlib.sha256(file.read()).hexdigest(), f"the hash of {name} is wrong")
    return f"{len(names)} files, in order; every hash is what hashlib says"


def sum_array(daemon):
    """the sum of a 64 MiB float64 array in a forked worker, handed over in shared memory"""
    show("build/examples/sum_array")
    example = os.path.join(os.path.dirname(BIN), "examples", "sum_array")
    done = subprocess.run([example], env=daemon.env, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        say("   " + line)
    return "the worker's sum is the client's own"


def follow(daemon):
    """a command whose output is followed live"""
    line = 'for n in 1 2 3; do echo "line $n, written at $(date +%T.%N | cut -c1-12)"; sleep 0.3; done; exit 7'
    show(f"fut run -- sh -c '{line}'")
    arrivals = []
    with daemon.start_fut("run", "--", "sh", "-c", line, stderr=None) as running:
        for text in running.stdout:
            arrivals.append(time.perf_counter())
            say("   " + text.rstrip())
    expect(len(arrivals) == 3 and arrivals[-1] - arrivals[0] > 0.4, "the lines did not come while the command ran")
    expect(running.returncode == 7, f"fut run exited with {running.returncode}, not with the command's 7")
    return "three lines, each as it was written, and the command's own exit code: 7"


def retry(daemon):
    """a job that fails, is tried again and then succeeds"""
    show("fut run --attempts 5 --backoff 50ms -- ./fails-twice")
    tries = os.path.join(daemon.folder, "tries")
    line = f'echo x >>{tries}; test "$(wc -l <{tries})" -ge 3 && echo "third time lucky"'
    done = daemon.fut("run", "--attempts", 5, "--backoff", "50ms", "--", "sh", "-c", line)
    expect(done.returncode == 0 and "third time lucky" in done.stdout, f"it did not succeed: {done.stderr}")
    with open(tries, encoding="ascii") as file:
        attempts = len(file.readlines())
    expect(attempts == 3, f"{attempts} attempts, not 3")
    return "two attempts failed, the third succeeded"


def time_out(daemon):
    """a job that exceeds its run timeout and is killed"""
    show("fut run --timeout 500ms -- sleep 1000")
    pid_file = os.path.join(daemon.folder, "pid")
    done = daemon.fut("run", "--timeout", "500ms", "--", "sh", "-c", f"echo $$ >{pid_file}; exec sleep 1000")
    expect(done.returncode == 124, f"exit code {done.returncode}, not 124: {done.stderr}")
    say("   " + done.stderr.strip())
    with open(pid_file, encoding="ascii") as file:
        expect(not os.path.exists(f"/proc/{file.read().strip()}"), "the command still runs")
    return "exit code 124, and its process is gone"


def survive(daemon):
    """20,000 no-op jobs, kill -9 of the daemon half-way, restart, and the count of results"""
    with tempfile.TemporaryDirectory() as folder:
        words = compile_api(folder)
    api = Api(words, daemon.socket)
    ids = []
    while len(ids) < NOOP_JOBS // 2:
        ids += api.submit_tasks("noop", BATCH)
    daemon.kill()
    api.close()
    say(f"   {len(ids):,} jobs accepted; kill -9 {daemon.process.pid}")
    start = time.perf_counter()
    daemon.start()
    say(f"   restarted as {daemon.process.pid} after {time.perf_counter() - start:.2f} s")
    api = Api(words, daemon.socket)
    while len(ids) < NOOP_JOBS:
        ids += api.submit_tasks("noop", BATCH)
    outcomes = api.wait(ids, seconds=120)
    api.close()
    expect(len(set(ids)) == NOOP_JOBS, "a job id was given out twice")
    succeeded = sum(outcome.state == words.JOB_STATE_SUCCEEDED for outcome in outcomes.values())
    expect(succeeded == NOOP_JOBS, f"{succeeded} results of {NOOP_JOBS} jobs")
    return f"results: {succeeded:,} of {NOOP_JOBS:,}"


STEPS = [hash_files, sum_array, follow, retry, time_out, survive]


def main():
    start = time.perf_counter()
    with PrivateDaemon() as daemon:
        daemon.start()
        say(f"futured demo: a private daemon, pid {daemon.process.pid}, ready in {time.perf_counter() - start:.2f} s,")
        say(f"with an embedded SQLite store in {daemon.state}")
        for number, step in enumerate(STEPS, 1):
            say(f"\n{number}. {step.__doc__}")
            begin = time.perf_counter()
            told = step(daemon)
            say(f"   => {told}   [{time.perf_counter() - begin:.2f} s]")
    say(f"\nAll of it in {time.perf_counter() - start:.1f} s. The daemon, its spawner and its workers have ended.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Wrong as wrong:
        print(f"demo: WRONG: {wrong}", file=sys.stderr)
        sys.exit(1)
