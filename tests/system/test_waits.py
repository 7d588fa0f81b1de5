"""Tasks that wait for other jobs: their slots are lent, cycles are refused, and no wait is lost, whoever dies meanwhile."""
import os
import signal
import time

import pytest
from private_daemon import BIN, DidNotStart
from task_calls import call, results

PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "waits.so")
EXAMPLES = os.path.join(os.path.dirname(BIN), "plugins", "libnested_tasks.so")
C_TASKS = os.path.join(os.path.dirname(BIN), "plugins", "libc_tasks.so")
MODES = ["process", "fresh", "thread", "async"]


def config_of(mode="process", size=1, more=""):
    at_once = "jobs_at_once = 2" if mode in ("thread", "async") else ""
    return f"""
[pools.default]
mode = '{mode}'
size = {size}
plugins = ['{PLUGIN}', '{EXAMPLES}', '{C_TASKS}']
{at_once}
{more}
[queues.narrow]
"""


def task_of(mode, name):
    return name.replace("waits.", "waits.async_") if mode == "async" else name


def one(api, task, *arguments, **spec):
    (job,) = call(api, task, *arguments, **spec)
    return job


def until(holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(config_of(size=2)).start()


# ---- what is lent


@pytest.mark.parametrize("mode", MODES)
def test_a_recursion_ends_in_a_small_pool(make_daemon, api_of, mode):
    api = api_of(make_daemon(config_of(mode, 2)).start())
    fib = "awaited_fib" if mode == "async" else "fib"
    assert results(api, call(api, fib, 6)) == ["8"]
    if mode != "async":
        assert results(api, call(api, "total", 0, 40)) == [str(sum(range(40)))]


@pytest.mark.parametrize("mode", MODES)
def test_a_pool_of_one_does_not_starve_itself(make_daemon, api_of, mode):
    api = api_of(make_daemon(config_of(mode)).start())
    task = task_of(mode, "waits.for_child")
    parents = call(api, task, "", "echo", "hello", "default", count=3)
    assert results(api, parents) == ["5 [text/plain]hello"] * 3


def test_the_place_in_its_queue_is_lent(make_daemon, api_of):
    daemon = make_daemon(config_of()).start()
    assert daemon.fut("queue", "set", "narrow", "--concurrency", "1").returncode == 0
    api = api_of(daemon)
    parent = one(api, "waits.for_child", "", "echo", "hello", "narrow", queue="narrow")
    assert results(api, [parent]) == ["5 [text/plain]hello"]


def test_a_pool_is_of_its_size_again_afterwards(make_daemon, api_of, gate, tmp_path):
    daemon = make_daemon(config_of()).start()
    api = api_of(daemon)
    go = tmp_path / "go"
    parent = one(api, "waits.for_child", gate.path, "waits.until", go, "default")
    child = int(gate.line())
    until(lambda: api.get(child).state == api.words.JOB_STATE_RUNNING)
    others = call(api, "waits.until", go, count=3)
    assert {api.get(job).state for job in others} == {api.words.JOB_STATE_QUEUED}, "one runs beside the one that waits"
    go.touch()
    results(api, [parent, child] + others)


def test_as_many_wait_as_may_and_the_next_one_is_refused(make_daemon, api_of):
    api = api_of(make_daemon(config_of(more="waiting_max = 3")).start())
    assert results(api, call(api, "waits.deep", 3)) == ["the end"]
    (told,) = results(api, call(api, "waits.deep", 8))
    assert told.startswith("RESOURCE_EXHAUSTED: ") and "waiting_max" in told


def test_no_wait_at_all_where_nobody_may(make_daemon, api_of):
    api = api_of(make_daemon(config_of(more="waiting_max = 0")).start())
    (told,) = results(api, call(api, "waits.deep", 1))
    assert told.startswith("RESOURCE_EXHAUSTED: ")


@pytest.mark.parametrize("value", ["-1", "'many'", "1000000"])
def test_a_waiting_max_that_is_none_is_refused(make_daemon, value):
    with pytest.raises(DidNotStart) as caught:
        make_daemon(config_of(more=f"waiting_max = {value}")).start()
    assert "waiting_max: must be 0 to 1024" in caught.value.stderr


# ---- what is told


@pytest.mark.parametrize("mode", ["process", "async"])
def test_outcomes(make_daemon, api_of, mode):
    api = api_of(make_daemon(config_of(mode, 2)).start())
    on = task_of(mode, "waits.on")
    failed = one(api, "waits.fails")
    large = one(api, "waits.bytes", 60_000)
    (told,) = results(api, call(api, on, f"{failed} {large}"))
    assert told == "6 TASK_ERROR Broken it is broken; 5 [text/plain]" + "x" * 60_000
    too_large, array = one(api, "waits.bytes", 70_000), one(api, "waits.array")
    (told,) = results(api, call(api, on, too_large))
    assert told.startswith("FAILED_PRECONDITION: ") and f"job {too_large}" in told and "65536" in told
    (told,) = results(api, call(api, on, array))
    assert told.startswith("FAILED_PRECONDITION: ") and "segment" in told
    assert results(api, call(api, on, 987654)) == ["NOT_FOUND: no job 987654"]
    assert results(api, call(api, on, 0)) == ["NOT_FOUND: no job 0"]
    assert results(api, call(api, on, "")) == [""]
    (told,) = results(api, call(api, on, " ".join([str(failed)] * 1001)))
    assert told.startswith("INVALID_ARGUMENT: ") and "1000" in told


def test_a_cycle_is_refused_and_named(daemon, api_of):
    api = api_of(daemon)
    parent = one(api, "waits.in_a_cycle")
    (told,) = results(api, [parent])
    child = parent + 1
    # Whichever of the two asks last.
    assert f"job {parent} -> job {child} -> job {parent}" in told or f"job {child} -> job {parent} -> job {child}" in told
    assert "FAILED_PRECONDITION" in told
    itself = one(api, "waits.on", child + 1)
    assert itself == child + 1
    assert results(api, [itself]) == [f"FAILED_PRECONDITION: the wait would never end: job {itself} -> job {itself}"]


def test_who_waits_is_told_by_fut(daemon, api_of, gate, tmp_path):
    api = api_of(daemon)
    go = tmp_path / "go"
    parent = one(api, "waits.for_child", gate.path, "waits.until", go, "default")
    child = int(gate.line())
    until(lambda: list(api.get(parent).waits_for) == [child])
    why = api.call("Jobs", "Why", api.words.WhyRequest(id=parent))
    assert why.text.startswith(f"running: waits for job {child};") and list(why.waits_for) == [child]
    assert f"RUNNING (waits for {child})" in daemon.fut("ls").stdout
    assert ["waits", "for", str(child)] in [line.split() for line in daemon.fut("show", parent).stdout.splitlines()]
    assert daemon.fut_json("show", parent)[0]["waits_for"] == [child]
    go.touch()
    results(api, [parent])
    assert list(api.get(parent).waits_for) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_timeout_ends_the_wait_and_nothing_else(make_daemon, api_of, gate, tmp_path, mode):
    api = api_of(make_daemon(config_of(mode, 2)).start())
    go = tmp_path / "go"
    job = one(api, task_of(mode, "waits.until"), go)
    waiting = one(api, task_of(mode, "waits.a_while"), job, 20, gate.path)
    assert gate.line().strip() == "not yet"
    go.touch()
    assert results(api, [waiting]) == [f"5 [text/plain]{go}"]


def test_a_wait_that_is_given_up_lends_no_more(make_daemon, api_of, tmp_path):
    api = api_of(make_daemon(config_of("async", 2)).start())
    go = tmp_path / "go"
    job = one(api, "waits.async_until", go)
    assert results(api, call(api, "waits.async_gives_up", job)) == ["5 [text/plain]xxx"]
    go.touch()
    results(api, [job])


@pytest.mark.parametrize("mode", MODES)
def test_a_cancel_ends_a_wait_at_once_and_the_child_goes_on(make_daemon, api_of, gate, tmp_path, mode):
    api = api_of(make_daemon(config_of(mode)).start())
    go = tmp_path / "go"
    parent = one(api, task_of(mode, "waits.for_child"), gate.path, task_of(mode, "waits.until"), go, "default")
    child = int(gate.line())
    until(lambda: list(api.get(parent).waits_for) == [child])
    api.cancel(parent, wait=True)
    assert api.outcome(parent).state == api.words.JOB_STATE_CANCELLED
    go.touch()
    results(api, [child])


def test_timeouts_of_who_waits(daemon, api_of, gate, tmp_path):
    api = api_of(daemon)
    go = tmp_path / "go"
    job = one(api, "waits.until", go)
    beating = one(api, "waits.on", job, timeouts=api.words.Timeouts(heartbeat_ms=100))
    limited = one(api, "waits.on", job, timeouts=api.words.Timeouts(run_ms=1_000))
    assert api.outcome(limited).state == api.words.JOB_STATE_TIMED_OUT  # ten heartbeats later
    assert api.get(beating).state == api.words.JOB_STATE_RUNNING
    go.touch()
    results(api, [job, beating])


def test_in_c(daemon, api_of):
    api = api_of(daemon)
    assert results(api, call(api, "c.hand_on_and_wait", "c.repeat", "ha", 3)) == ["hahaha"]
    outcome = api.outcome(one(api, "c.hand_on_and_wait", "waits.fails"))
    assert (outcome.state, outcome.cause.error_class) == (api.words.JOB_STATE_FAILED, "Broken")
    outcome = api.outcome(one(api, "c.hand_on_and_wait", "no.such.task"))
    assert outcome.cause.error_class == "NOT_FOUND"


# ---- who dies meanwhile


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_a_wait_outlives_the_daemon(make_daemon, api_of, gate, tmp_path, mode, sig):
    daemon = make_daemon(config_of(mode)).start()
    api = api_of(daemon)
    go = tmp_path / "go"
    parent = one(api, task_of(mode, "waits.for_child"), gate.path, task_of(mode, "waits.until"), go, "default")
    child = int(gate.line())
    until(lambda: list(api.get(parent).waits_for) == [child])
    until(lambda: api.get(child).state == api.words.JOB_STATE_RUNNING)
    daemon.kill(sig)
    api = api_of(daemon.start())
    until(lambda: list(api.get(parent).waits_for) == [child])
    assert api.get(child).state == api.words.JOB_STATE_RUNNING
    go.touch()
    assert results(api, [parent]) == [f"5 [text/plain]{go}"]
    assert api.get(parent).attempts == 1 and api.get(child).attempts == 1


@pytest.mark.parametrize("mode", ["process", "async"])
def test_a_child_that_ends_while_no_daemon_is_there_ends_the_wait(make_daemon, api_of, gate, tmp_path, mode):
    daemon = make_daemon(config_of(mode)).start()
    api = api_of(daemon)
    go = tmp_path / "go"
    parent = one(api, task_of(mode, "waits.for_child"), gate.path, task_of(mode, "waits.until"), go, "default")
    child = int(gate.line())
    until(lambda: list(api.get(parent).waits_for) == [child])
    until(lambda: api.get(child).state == api.words.JOB_STATE_RUNNING)
    daemon.kill()
    go.touch()
    time.sleep(0.2)  # the child goes on without us
    api = api_of(daemon.start())
    assert results(api, [parent]) == [f"5 [text/plain]{go}"]


def test_a_recursion_goes_on_through_deaths(make_daemon, api_of):
    daemon = make_daemon(config_of(size=2)).start()
    api = api_of(daemon)
    top = one(api, "fib", 7)
    for _ in range(5):
        time.sleep(0.15)
        daemon.kill()
        api = api_of(daemon.start())
    assert results(api, [top]) == ["13"]


def test_a_worker_that_dies_waiting_is_replaced_and_its_job_runs_again(make_daemon, api_of, gate, tmp_path):
    daemon = make_daemon(config_of(size=2)).start()
    api = api_of(daemon)
    go = tmp_path / "go"
    parent = one(api, "waits.for_child", gate.path, "waits.until", go, "default")
    child = int(gate.line())
    until(lambda: list(api.get(parent).waits_for) == [child])
    (attempt,) = api.get(parent, details=True).attempt_history
    os.kill(attempt.worker_pid, signal.SIGKILL)
    second = int(gate.line())  # of the second attempt
    assert second != child
    go.touch()
    results(api, [parent, child, second])


def test_a_task_that_would_hold_the_thread_of_others_is_refused(make_daemon, api_of):
    api = api_of(make_daemon(config_of("async")).start())
    job = one(api, "waits.bytes", 1)
    (told,) = results(api, call(api, "waits.on", job))
    assert told.startswith("FAILED_PRECONDITION: ") and "co_await context.wait" in told


def test_stand_ins_move_when_pools_change(make_daemon, api_of, gate, tmp_path):
    daemon = make_daemon(config_of()).start()
    api = api_of(daemon)
    go = tmp_path / "go"
    parent = one(api, "waits.for_child", gate.path, "waits.until", go, "default")
    child = int(gate.line())
    until(lambda: api.get(child).state == api.words.JOB_STATE_RUNNING)
    daemon.kill()
    with open(daemon.arguments[daemon.arguments.index("--config") + 1], "a", encoding="utf-8") as file:
        file.write(f"[pools.zoo]\nmode = 'process'\nsize = 3\nplugins = ['{PLUGIN}']\n")
    api = api_of(daemon.start())
    until(lambda: list(api.get(parent).waits_for) == [child])
    go.touch()
    assert results(api, [parent, child]) == [f"5 [text/plain]{go}", str(go)]
