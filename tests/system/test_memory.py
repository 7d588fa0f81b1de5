"""A job that had too little memory is tried again with more, in a worker of its own, whatever the limits are kept by."""
import os
import subprocess

import grpc
import pytest
from private_daemon import BIN, program

MIB = 1 << 20
PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")
CONFIG = f"""
[pools.default]
size = 1
plugins = ['{PLUGIN}']
memory_max = "64MiB"

[pools.fresh]
mode = "fresh"
size = 1
plugins = ['{PLUGIN}']
memory_max = "64MiB"

[pools.command]
mode = "command"
size = 1
memory_max = "64MiB"

[pools.free]
mode = "command"
size = 1

[pools.threads]
mode = "thread"
jobs_at_once = 2
size = 1
"""
# Long enough that two samples see it.
EATER = """
import sys, time
eaten = [b"x" * (1 << 20) for mib in range(int(sys.argv[1]))]
time.sleep(0.6)
"""
# The same, which then says so and waits to be let go.
WAITING_EATER = """
import sys
eaten = [b"x" * (1 << 20) for mib in range(96)]
open(sys.argv[1], "w").write("up\\n")
open(sys.argv[2]).read(1)
"""
# The first attempt has 64 MiB.
TWICE = {"max_attempts": 3, "memory_factor": 2, "memory_bytes_max": 256 * MIB}


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


def call(api, task, *arguments, **spec):
    parts = [api.words.Part(data=str(argument).encode()) for argument in arguments]
    (job,) = api.submit([api.words.Item(parts=parts)], task=task, **spec)
    return job


def eat(api, pool, mib, **spec):
    if pool == "command":
        return api.submit_command("python3", "-c", EATER, str(mib), pool=pool, **spec)
    return call(api, "test.eat_for", mib, 600, pool=pool, **spec)


def limits(api, job):
    """MiB that each attempt was allowed."""
    return [attempt.memory_bytes_max // MIB for attempt in api.get(job, details=True).attempt_history]


def expect_the_pools_limit(api, pool):
    """Of an ordinary job, also right behind one that had more."""
    words = api.words
    outcome = api.outcome(eat(api, pool, 96))
    assert (outcome.state, outcome.cause.kind) == (words.JOB_STATE_FAILED, words.CAUSE_KIND_OUT_OF_MEMORY)
    assert "memory_max of its pool, 67108864 bytes" in outcome.cause.message


@pytest.mark.parametrize("pool", ["default", "fresh", "command"])
def test_the_attempt_after_one_out_of_memory_has_more_and_no_other_job(api, pool):
    words = api.words
    job = eat(api, pool, 96, retries=TWICE)
    outcome = api.outcome(job)
    assert (outcome.state, outcome.attempts) == (words.JOB_STATE_SUCCEEDED, 2), outcome.cause
    first, second = api.get(job, details=True).attempt_history
    assert (first.cause.kind, first.memory_bytes_max) == (words.CAUSE_KIND_OUT_OF_MEMORY, 64 * MIB)
    assert (second.state, second.memory_bytes_max) == (words.JOB_STATE_SUCCEEDED, 128 * MIB)
    expect_the_pools_limit(api, pool)


def test_the_cap_holds_and_is_named(api):
    words = api.words
    retries = {"max_attempts": 4, "memory_factor": 1.25, "memory_bytes_max": 90 * MIB}
    job = call(api, "test.eat", 1024, retries=retries)
    outcome = api.outcome(job)
    assert (outcome.state, outcome.cause.kind) == (words.JOB_STATE_FAILED, words.CAUSE_KIND_OUT_OF_MEMORY)
    assert "the raised limit of this attempt, 94371840 bytes" in outcome.cause.message
    assert limits(api, job) == [64, 80, 90, 90]


def test_another_failure_raises_nothing(api):
    retries = {"max_attempts": 2, "memory_factor": 2, "memory_bytes_max": 256 * MIB}
    job = api.submit_command("false", pool="command", retries=retries)
    assert api.outcome(job).attempts == 2
    assert limits(api, job) == [64, 64]


def test_jobs_behind_it_run_before_and_after(api):
    words = api.words
    before = api.submit_tasks("noop", 20, pool="default")
    job = eat(api, "default", 96, retries=TWICE)
    behind = api.submit_tasks("noop", 20, pool="default")
    ends = api.wait([*before, job, *behind])
    assert {end.state for end in ends.values()} == {words.JOB_STATE_SUCCEEDED}
    assert limits(api, job) == [64, 128]


def test_a_restart_before_the_next_attempt_lowers_nothing(daemon, api_of):
    api = api_of(daemon)
    job = eat(api, "command", 96, retries={**TWICE, "backoff_ms": 2_000})
    while not any(attempt.finished_us for attempt in api.get(job, details=True).attempt_history):
        pass
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    outcome = api.outcome(job)
    assert (outcome.state, outcome.attempts) == (api.words.JOB_STATE_SUCCEEDED, 2), outcome.cause
    assert limits(api, job) == [64, 128]
    told = api.get(job, details=True).spec.retries
    assert (told.memory_factor, told.memory_bytes_max) == (2, 256 * MIB)


def test_a_running_attempt_keeps_its_limit_over_a_restart_and_its_worker_goes_behind_it(daemon, api_of, gate, tmp_path):
    release = tmp_path / "release"
    os.mkfifo(release)
    pipe = os.open(release, os.O_RDWR | os.O_NONBLOCK)  # never waits for who reads
    api = api_of(daemon)
    script = ["python3", "-c", WAITING_EATER, gate.path, str(release)]
    job = api.submit_command(*script, pool="command", retries=TWICE)
    # Where it is sampled the first attempt may say so before it is seen.
    while True:
        assert gate.line() == "up"
        history = api.get(job, details=True).attempt_history
        if history and history[-1].memory_bytes_max == 128 * MIB:
            break
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    assert limits(api, job) == [64, 128]
    os.write(pipe, b".")
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    assert limits(api, job) == [64, 128]
    expect_the_pools_limit(api, "command")
    os.close(pipe)


@pytest.mark.parametrize("pool", ["free", "threads"])
def test_a_pool_whose_limit_cannot_be_raised_refuses_it_by_name(api, pool):
    with pytest.raises(grpc.RpcError) as caught:
        if pool == "free":
            api.submit_command("true", pool=pool, retries=TWICE)
        else:
            api.submit_tasks("noop", pool=pool, retries=TWICE)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f'memory_factor: pool "{pool}" has no memory_max' in caught.value.details()


def test_a_cap_that_is_no_more_than_the_pool_allows_is_refused(api):
    with pytest.raises(grpc.RpcError) as caught:
        api.submit_tasks("noop", pool="default", retries={**TWICE, "memory_bytes_max": 64 * MIB})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "67108864 bytes are no more than the memory_max of pool" in caught.value.details()


def test_fut_asks_for_it_and_shows_what_each_attempt_had(daemon):
    flags = ("--pool", "command", "--attempts", "3", "--retry-memory", "2", "--retry-memory-max", "256MiB")
    job = daemon.fut("submit", *flags, "--", "python3", "-c", EATER, "96", check=True).stdout.strip()
    daemon.fut("wait", job, check=True)
    shown = daemon.fut("show", job, check=True).stdout
    assert "retries     3 attempts, 2 times the memory up to 256 MiB" in shown
    assert "LIMIT" in shown and "64.0 MiB" in shown and "128 MiB" in shown
    (line,) = daemon.fut_json("show", job)
    assert [attempt["memory_bytes_max"] for attempt in line["attempt_history"]] == [64 * MIB, 128 * MIB]


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--retry-memory", "1", "--retry-memory-max", "1GiB"], "--retry-memory: \"1\" is no number above 1"),
        (["--retry-memory", "2"], "--retry-memory: say with --retry-memory-max how much"),
        (["--retry-memory-max", "1GiB"], "--retry-memory-max: say with --retry-memory how many times"),
        (["--retry-memory", "2", "--retry-memory-max", "1GB"], "--retry-memory-max: \"1GB\" is no number of bytes"),
        (["--retry-memory", "2", "--retry-memory-max", "1GiB", "--pool", "free"], "--retry-memory: pool \"free\" has no"),
        (["--retry-memory", "2", "--retry-memory-max", "1MiB"], "--retry-memory-max: 1048576 bytes are no more than the"),
    ],
)
def test_fut_says_what_is_wrong_with_it(daemon, flags, words):
    pool = () if "--pool" in flags else ("--pool", "command")
    done = daemon.fut("submit", "--attempts", "2", *pool, *flags, "--", "true")
    assert done.returncode != 0
    assert words in done.stderr
