"""Mode async: many coroutine jobs on one thread of one process."""
import os
import time

import pytest
from private_daemon import BIN, DidNotStart
from task_calls import call, log_of, results

PLUGINS = [os.path.join(os.path.dirname(BIN), "tests", name) for name in ("coroutines.so", "misbehaving.so")]
ASYNC = f"[pools.default]\nmode = 'async'\nsize = 1\nplugins = {PLUGINS}\n"


@pytest.fixture
def api(make_daemon, api_of):
    return api_of(make_daemon(ASYNC).start())


@pytest.fixture
def go(tmp_path):
    return tmp_path / "go"


def met(api, gate, go, count):
    """So many jobs that have all begun; they end when `go` is there."""
    jobs = call(api, "async.meet", gate.path, go, count=count)
    for _ in range(count):
        gate.line()
    return jobs


def test_thousands_run_at_once_in_one_process(make_daemon, api_of, gate, go):
    api = api_of(make_daemon(ASYNC + "jobs_at_once = 3000\n").start())
    jobs = call(api, "async.meet", gate.path, go, count=3000)
    for _ in range(3000):
        gate.line()
    go.touch()
    assert len(set(results(api, jobs))) == 1


def test_more_than_may_run_at_once_wait_their_turn(make_daemon, api_of, gate, go):
    api = api_of(make_daemon(ASYNC + "jobs_at_once = 3\n").start())
    jobs = met(api, gate, go, 3)
    (fourth,) = call(api, "async.meet", gate.path, go)
    time.sleep(0.2)
    assert api.get(fourth).state == api.words.JOB_STATE_QUEUED
    go.touch()
    results(api, jobs + [fourth])


def test_what_waits_blocks_nothing_behind_it(api, gate, go):
    (first,) = met(api, gate, go, 1)
    for _ in range(20):
        results(api, call(api, "echo", "x" * 10_000, count=1000)[-1:])
    go.touch()
    results(api, [first])


@pytest.mark.parametrize("mode", ["async", "process", "fresh", "thread"])
def test_a_coroutine_task_runs_in_every_mode(make_daemon, api_of, gate, tmp_path, mode):
    api = api_of(make_daemon(ASYNC.replace("'async'", f"'{mode}'")).start())
    assert results(api, call(api, "async.sum", 1000)) == ["500500"]
    assert results(api, call(api, "async.views", "a", "bc", "d")) == ["a+bc+d"]
    assert results(api, call(api, "async.leaves_waits")) == ["ended"]
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (reading,) = call(api, "async.read_fifo", fifo, gate.path)
    gate.line()
    fifo.write_text("through the pipe")
    assert results(api, [reading]) == ["through the pipe"]
    (stopped,) = call(api, "async.until_stopped", gate.path)
    gate.line()
    api.cancel(stopped, wait=True)
    assert api.outcome(stopped).state == api.words.JOB_STATE_CANCELLED
    proof = tmp_path / "proof"
    (tidy,) = call(api, "async.tidy", gate.path, proof)
    gate.line()
    api.cancel(tidy, wait=True)
    assert proof.read_text().strip() == "1"


@pytest.mark.parametrize("mode", ["async", "process"])
@pytest.mark.parametrize("task, error_class, words", [
    ("async.fails", "Deep", "from within"),
    ("async.wait_for_file", "std::system_error", "Operation not supported"),
    ("async.wait_for_nothing", "std::system_error", "Bad file descriptor"),
])
def test_what_a_coroutine_throws_is_its_error(make_daemon, api_of, mode, task, error_class, words):
    api = api_of(make_daemon(ASYNC.replace("'async'", f"'{mode}'")).start())
    (job,) = call(api, task)
    cause = api.outcome(job).cause
    assert (cause.error_class, words in cause.message) == (error_class, True), cause


def test_wrong_arguments_are_refused_by_place(api):
    (job,) = call(api, "async.sum", "many")
    outcome = api.outcome(job)
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert "argument 1" in outcome.cause.message
    (job,) = call(api, "async.sum", 1, 2)
    assert "argument" in api.outcome(job).cause.message


def test_each_job_is_stopped_by_itself(api, gate, go):
    jobs = met(api, gate, go, 5)
    api.cancel(jobs[1], wait=True)
    (late,) = call(api, "sleep", 1000, timeouts={"run_ms": 200})
    assert api.outcome(late).state == api.words.JOB_STATE_TIMED_OUT
    (soft,) = call(api, "async.until_stopped", gate.path, timeouts={"soft_ms": 200, "grace_ms": 5000})
    assert results(api, [soft]) == ["stopped for reason 3"]
    go.touch()
    results(api, jobs[:1] + jobs[2:])
    assert api.outcome(jobs[1]).state == api.words.JOB_STATE_CANCELLED
    assert {api.get(job).attempts for job in jobs} == {1}


def test_who_went_on_after_a_soft_timeout_hears_of_a_cancel(api, gate, tmp_path):
    proof = tmp_path / "proof"
    (job,) = call(api, "async.stops_twice", gate.path, proof, timeouts={"soft_ms": 100, "grace_ms": 30_000})
    gate.line()
    gate.line()  # it was stopped once, and waits again
    api.cancel(job, wait=True)
    assert proof.read_text().split() == ["3", "1"]


def test_a_job_that_ignores_its_stop_ends_the_worker_and_its_neighbours_run_again_at_no_charge(api, gate, go):
    jobs = met(api, gate, go, 3)
    (deaf,) = call(api, "async.deaf", gate.path, timeouts={"run_ms": 200, "grace_ms": 100})
    assert api.outcome(deaf).state == api.words.JOB_STATE_TIMED_OUT
    go.touch()
    results(api, jobs)
    for job in jobs:
        history = api.get(job, details=True).attempt_history
        assert len(history) == 2
        assert "brought down by another job" in history[0].cause.message


@pytest.mark.parametrize("how, told", [("abort", 6), ("segv", 11), ("exit", 0), ("close", 0)])
def test_who_brings_a_worker_down_is_charged_and_its_neighbours_are_not(api, gate, go, how, told):
    jobs = met(api, gate, go, 3)
    (guilty,) = call(api, "async.bring_down", how, crashes_max=1)
    cause = api.outcome(guilty).cause
    assert (cause.kind, cause.signal) == (api.words.CAUSE_KIND_QUARANTINED, told)
    go.touch()
    results(api, jobs)
    for job in jobs:
        assert "brought down by another job" in api.get(job, details=True).attempt_history[0].cause.message


def test_an_at_most_once_job_does_not_run_again_when_its_neighbour_crashes(api, gate, go):
    (once,) = call(api, "async.meet", gate.path, go, at_most_once=True)
    gate.line()
    (guilty,) = call(api, "async.bring_down", "abort", crashes_max=1)
    api.outcome(guilty)
    assert api.outcome(once).state == api.words.JOB_STATE_FAILED
    assert api.outcome(once).cause.kind == api.words.CAUSE_KIND_MAY_HAVE_RUN
    assert "brought down by another job" in api.outcome(once).cause.message


def test_who_holds_up_the_others_is_told_so_and_killed_when_it_is_too_long(api, gate, go):
    (slow,) = call(api, "async.hog", gate.path, 300)
    results(api, [slow])
    assert "held up all jobs of its worker for 3" in log_of(api, slow)
    jobs = met(api, gate, go, 2)
    (hog,) = call(api, "async.hog", gate.path, 100_000, timeouts={"soft_ms": 200, "grace_ms": 200})
    outcome = api.outcome(hog)
    assert outcome.state == api.words.JOB_STATE_TIMED_OUT
    assert "spins(" in api.get(hog, details=True).cause.stacks
    go.touch()
    results(api, jobs)


def test_jobs_go_on_without_the_daemon(make_daemon, api_of, gate, go):
    daemon = make_daemon(ASYNC).start()
    jobs = met(api_of(daemon), gate, go, 200)
    (short,) = call(api_of(daemon), "sleep", 1)
    daemon.kill()
    time.sleep(1.2)
    daemon.start()
    api = api_of(daemon)
    results(api, [short])
    (cancelled,) = jobs[:1]
    api.cancel(cancelled, wait=True)
    go.touch()
    assert len(set(results(api, jobs[1:]))) == 1
    assert {api.get(job).attempts for job in jobs} == {1}


def test_streams_arrays_and_maps_of_calls(api):
    streams = call(api, "async.stream", 50, count=20)
    for job in streams:
        api.outcome(job)
        asked = api.words.ReadOutputRequest(id=job, kind=api.words.OUTPUT_KIND_EMITTED)
        text = b"".join(answer.data for answer in api.stream("Jobs", "ReadOutput", asked)).decode()
        assert text.splitlines() == [str(n) for n in range(50)]
    (array,) = call(api, "async.array", 1000)
    outcome = api.outcome(array)
    assert outcome.state == api.words.JOB_STATE_SUCCEEDED


def test_the_example_plugin(make_daemon, api_of, tmp_path):
    plugin = os.path.join(os.path.dirname(BIN), "plugins", "libcoroutine_tasks.so")
    api = api_of(make_daemon(f"[pools.default]\nmode = 'async'\nsize = 1\nplugins = ['{plugin}']\n").start())
    there = tmp_path / "there"
    (never,) = call(api, "poll", tmp_path / "never", 2)
    jobs = call(api, "poll", there, 1000) + call(api, "when_there", there)
    (stopped,) = call(api, "when_there", tmp_path / "never")
    assert results(api, [never]) == ["false"]
    there.touch()
    assert results(api, jobs) == ["true", str(there)]
    api.cancel(stopped, wait=True)
    assert "has not come" in log_of(api, stopped)
    assert results(api, call(api, "tidy", 1)) == ["slept"]
    (tidying,) = call(api, "tidy", 600_000)
    api.cancel(tidying, wait=True)
    assert api.outcome(tidying).state == api.words.JOB_STATE_CANCELLED


@pytest.mark.parametrize("mode", ["async", "process", "fresh", "thread"])
def test_a_submit_is_awaited(make_daemon, api_of, mode):
    api = api_of(make_daemon(ASYNC.replace("'async'", f"'{mode}'")).start())
    parents = call(api, "async.submits", 20, count=10)
    numbers = [int(word) for text in results(api, parents) for word in text.split()]
    assert len(set(numbers)) == 200
    api.wait(numbers)
    assert {api.get(number).parent_id for number in numbers} == set(parents)
    assert results(api, call(api, "async.submits_nothing")) == ["NOT_FOUND"]
    assert results(api, call(api, "async.submits_beside")) == ["0 1"]


def until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_others_go_on_while_no_daemon_answers_a_submit(make_daemon, api_of, gate, tmp_path):
    daemon = make_daemon(ASYNC).start()
    go, proof, ticks = (tmp_path / name for name in ("go", "proof", "ticks"))
    (parent,) = call(api_of(daemon), "async.submits_at", gate.path, go, proof)
    gate.line()
    (other,) = call(api_of(daemon), "async.ticks", ticks)
    until(ticks.exists)
    daemon.kill()
    go.touch()
    before = ticks.stat().st_size
    until(lambda: ticks.stat().st_size > before + 20)
    assert not proof.exists()
    api = api_of(daemon.start())
    results(api, [parent])
    first, second = (int(word) for word in proof.read_text().split())
    api.wait([first, second])
    assert first != second and api.get(first).parent_id == parent
    api.cancel(other, wait=True)


@pytest.mark.parametrize("setting, complaint", [
    ("jobs_per_worker_max = 5", "jobs_per_worker_max: mode async has no moment between two jobs"),
    ("memory_max = '1GiB'", "memory_max: the jobs of mode async share one process"),
    ("private_directory = true", "private_directory: the jobs of mode async share one process"),
    ("jobs_at_once = 100000", "jobs_at_once: must be 2 to 16384"),
    ("jobs_at_once = 1", "jobs_at_once: must be 2 to 16384; for one at a time use mode process"),
    ("leaks = 'warn'", "leaks: the jobs of mode async share one process"),
])
def test_what_coroutines_cannot_have_is_refused_by_name(make_daemon, setting, complaint):
    with pytest.raises(DidNotStart) as caught:
        make_daemon(f"[pools.default]\nmode = 'async'\n{setting}\n").start()
    assert complaint in caught.value.stderr
