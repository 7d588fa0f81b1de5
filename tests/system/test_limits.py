"""A pool's memory_max and processes_max: who goes over one ends, and alone, whatever this machine keeps the limit by."""
import os
import re
import secrets
import signal
import subprocess

import pytest
from leftovers import carrying, ended_within
from private_daemon import BIN, program

CONFIG = f"""
[pools.default]
size = 2
plugins = ['{os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")}']
memory_max = "64MiB"

[pools.command]
mode = "command"
size = 2
memory_max = "64MiB"

[pools.many]
mode = "command"
size = 1
processes_max = 32
"""
# What the machine can bear, should nobody end it.
MIB = b"1024"
EATER = """
import time
eaten = []
for mib in range(1024):
    eaten.append(b"x" * (1 << 20))
time.sleep(60)
"""
BOMB = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
read_end, write_end = os.pipe()
os.set_blocking(read_end, False)
os.write(write_end, b"." * 300)  # each fork of all its processes takes one
word = "all"
while word == "all":
    try:
        os.read(read_end, 1)
    except BlockingIOError:
        break
    try:
        if os.fork() == 0:
            os.setsid()
    except BlockingIOError:
        word = "refused"
with open(sys.argv[1], "w") as gate:
    gate.write(word + "\\n")
time.sleep(60)
"""
MARK = "BOMB_MARK"


@pytest.fixture(params=["groups", "sampling"])
def daemon(make_daemon, request):
    """With the spawner that it starts, and with one that uses no control groups."""
    daemon = make_daemon(CONFIG)
    if request.param == "sampling":
        os.makedirs(daemon.state, mode=0o700)
        with open(os.path.join(daemon.state, "spawner.log"), "ab") as log:
            arguments = ["--state", daemon.state, "--no-cgroup", "--detach"]
            subprocess.run([program("futured-spawner"), *arguments], env=daemon.env, stderr=log, check=True)
    yield daemon.start()
    assert daemon.process.poll() is None


def is_sampled(daemon, limit):
    with open(os.path.join(daemon.state, "spawner.log"), encoding="utf-8") as log:
        told = re.search(rf"\b{limit} by (cgroup v[12]|sampling)", log.read())
    assert told, "the spawner does not tell by what it keeps its limits"
    return told[1] == "sampling"


def test_a_task_over_its_memory_ends_alone(daemon, api):
    words = api.words
    (neighbour,) = api.submit_tasks("sleep", data=b"1.5")
    outcome = api.outcome(api.submit_tasks("test.eat", data=MIB)[0])
    assert (outcome.state, outcome.cause.kind) == (words.JOB_STATE_FAILED, words.CAUSE_KIND_OUT_OF_MEMORY)
    assert outcome.attempts == 1
    assert "memory_max of its pool, 67108864 bytes" in outcome.cause.message
    assert ("sampled every 250 ms" in outcome.cause.message) == is_sampled(daemon, "memory_max")
    assert api.outcome(neighbour).state == words.JOB_STATE_SUCCEEDED
    assert api.get(neighbour).attempts == 1
    assert {end.state for end in api.wait(api.submit_tasks("noop", 20)).values()} == {words.JOB_STATE_SUCCEEDED}


def test_memory_is_a_failure_that_can_be_retried_by_its_name(api):
    retried = {"max_attempts": 2, "only_classes": ["OUT_OF_MEMORY"]}
    assert api.outcome(api.submit_tasks("test.eat", data=MIB, retries=retried)[0]).attempts == 2
    not_retried = {"max_attempts": 2, "except_classes": ["OUT_OF_MEMORY"]}
    assert api.outcome(api.submit_tasks("test.eat", data=MIB, retries=not_retried)[0]).attempts == 1


def test_a_command_over_its_memory_ends_alone(api, gate, tmp_path):
    words = api.words
    release = tmp_path / "release"
    os.mkfifo(release)
    pipe = os.open(release, os.O_RDWR | os.O_NONBLOCK)  # never waits for who reads
    neighbour = api.submit_command("sh", "-c", f"echo up >{gate.path}; read line <{release}; echo $line")
    assert gate.line() == "up"
    outcome = api.outcome(api.submit_command("python3", "-c", EATER))
    assert (outcome.state, outcome.cause.kind) == (words.JOB_STATE_FAILED, words.CAUSE_KIND_OUT_OF_MEMORY)
    assert "memory_max of its pool, 67108864 bytes" in outcome.cause.message
    os.write(pipe, b"on\n")
    ended = api.outcome(neighbour)
    assert (ended.state, ended.result[0].data) == (words.JOB_STATE_SUCCEEDED, b"on\n")
    assert api.get(neighbour).attempts == 1
    os.close(pipe)


def test_run_of_a_command_over_its_memory_exits_as_one_that_was_killed(daemon):
    done = daemon.fut("run", "--", "python3", "-c", EATER)
    assert done.returncode == 128 + signal.SIGKILL
    assert "out of memory: " in done.stderr and "memory_max of its pool, 67108864 bytes" in done.stderr


def test_a_kill_in_another_group_makes_no_kill_one_for_memory(daemon, api, gate):
    if is_sampled(daemon, "memory_max"):
        pytest.skip("without control groups the kernel kills nobody here")
    words = api.words
    job = api.submit_command("sh", "-c", f"echo $$ >{gate.path}; exec sleep 1000")
    pid = int(gate.line())
    assert api.outcome(api.submit_command("python3", "-c", EATER)).cause.kind == words.CAUSE_KIND_OUT_OF_MEMORY
    os.kill(pid, signal.SIGKILL)
    assert api.outcome(job).cause.kind == words.CAUSE_KIND_COMMAND_SIGNAL


def test_a_fork_bomb_is_contained_and_nothing_of_it_is_left(daemon, api, gate):
    words = api.words
    mark = secrets.token_hex(8)
    bomb = ["env", f"{MARK}={mark}", "python3", "-c", BOMB, gate.path]
    job = api.submit_command(*bomb, pool="many", timeouts={"grace_ms": 200})
    if is_sampled(daemon, "processes_max"):
        outcome = api.outcome(job)
        assert (outcome.state, outcome.cause.kind) == (words.JOB_STATE_FAILED, words.CAUSE_KIND_WORKER_DIED)
        assert "processes_max of its pool, 32" in outcome.cause.message
        assert "sampled every 250 ms" in outcome.cause.message
    else:
        assert gate.line() == "refused"
        bombs = carrying(mark, MARK)
        assert 1 < len(bombs) < 32, "the worker itself counts, too"
        api.cancel(job, wait=True)
        assert api.outcome(job).state == words.JOB_STATE_CANCELLED
        assert ended_within(bombs, 0) == []
    assert carrying(mark, MARK) == []
    ended = api.outcome(api.submit_command("sh", "-c", "true; true | true", pool="many"))
    assert ended.state == words.JOB_STATE_SUCCEEDED
