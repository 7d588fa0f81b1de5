"""Modes of a pool, and when a worker is replaced: what one job finds of those before it."""
import os

import pytest
from private_daemon import BIN, DidNotStart
from task_calls import call, log_of, results

PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")


@pytest.fixture
def pool(make_daemon, api_of):
    """An API to a daemon whose pool has one worker and these settings."""

    def make(**settings):
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        daemon = make_daemon(f"[pools.default]\nsize = 1\nplugins = ['{PLUGIN}']\n{lines}").start()
        return api_of(daemon)

    return make


def who(api, count=1):
    """(pid, jobs run before) of each of so many jobs."""
    return [tuple(map(int, text.split())) for text in results(api, call(api, "test.who", count=count))]


# ---- process, fresh


def test_a_worker_of_mode_process_is_reused_and_says_so(pool):
    seen = who(pool(), count=5)
    assert {pid for pid, _ in seen} == {seen[0][0]}
    assert [before for _, before in seen] == [0, 1, 2, 3, 4]


def test_every_job_of_mode_fresh_has_a_process_of_its_own(pool):
    api = pool(mode="'fresh'")
    seen = who(api, count=20)
    assert len({pid for pid, _ in seen}) == 20
    assert {before for _, before in seen} == {0}
    for what in ("directory", "environment", "umask", "descriptor", "signals", "limits", "thread"):
        results(api, call(api, "test.leave_changed", what))
    assert who(api)[0][1] == 0


def test_a_fresh_job_streams_is_stopped_and_times_out(pool, gate):
    api = pool(mode="'fresh'")
    words = api.words
    (streaming,) = call(api, "test.emit_much", 2000)
    assert api.outcome(streaming).state == words.JOB_STATE_SUCCEEDED
    (sleeping,) = call(api, "sleep", 1000)
    api.cancel(sleeping, wait=True)
    assert api.outcome(sleeping).state == words.JOB_STATE_CANCELLED
    (spinning,) = call(api, "test.spin", gate.path, timeouts={"soft_ms": 300, "grace_ms": 300})
    assert api.outcome(spinning).state == words.JOB_STATE_TIMED_OUT
    assert f"worker {gate.line()}, job {spinning}, attempt 1" in api.get(spinning, details=True).cause.stacks
    assert who(api)[0][1] == 0


@pytest.mark.parametrize("task, argument, told", [("test.crash", None, ("signal", 6)), ("test.exit", 3, ("exit_code", 3)),
                                                  ("test.exit", 0, ("exit_code", 0))])
def test_a_fresh_job_that_dies_takes_only_itself_down(pool, task, argument, told):
    api = pool(mode="'fresh'")
    (dead,) = call(api, task, *([] if argument is None else [argument]))
    outcome = api.outcome(dead)
    assert outcome.state == api.words.JOB_STATE_FAILED
    field, value = told
    assert getattr(outcome.cause, field) == value
    assert who(api)[0][1] == 0


def test_fresh_jobs_share_arrays_and_give_them_back(pool):
    api = pool(mode="'fresh'")
    for size in (10_000, 60_000):
        assert results(api, call(api, "echo", "x" * size, count=30)) == ["x" * size] * 30


def test_fresh_jobs_go_on_without_the_daemon(make_daemon, api_of, gate):
    daemon = make_daemon(f"[pools.default]\nmode = 'fresh'\nsize = 1\nplugins = ['{PLUGIN}']\n").start()
    (job,) = call(api_of(daemon), "test.stream", "a;b;c;", gate.path)
    task = int(gate.line())
    daemon.kill()
    os.kill(task, 0)
    daemon.start()
    api = api_of(daemon)
    assert api.get(job).attempts == 1
    api.cancel(job, wait=True)
    assert api.outcome(job).state == api.words.JOB_STATE_CANCELLED
    assert who(api)[0][1] == 0


# ---- thread


THREADS = {"mode": "'thread'", "jobs_at_once": 4}


def met(api, gate, tmp_path, count):
    """So many jobs that have all begun; they end when `go` is there."""
    go = tmp_path / "go"
    jobs = call(api, "test.meet", gate.path, go, count=count)
    for _ in range(count):
        gate.line()
    return jobs, go


def test_a_worker_of_mode_thread_runs_several_jobs_at_once(pool, gate, tmp_path):
    api = pool(**THREADS)
    jobs, go = met(api, gate, tmp_path, 4)
    go.touch()
    seen = [tuple(map(int, text.split())) for text in results(api, jobs)]
    assert len({pid for pid, _ in seen}) == 1
    assert len({thread for _, thread in seen}) == 4
    assert len(results(api, call(api, "noop", count=1000))) == 1000
    assert {pid for pid, _ in who(api, count=8)} == {seen[0][0]}


def test_each_thread_is_stopped_by_itself(pool, gate, tmp_path):
    api = pool(**THREADS)
    jobs, go = met(api, gate, tmp_path, 2)
    (sleeping,) = call(api, "sleep", 1000)
    (soft,) = call(api, "test.stream", "a;", gate.path, timeouts={"soft_ms": 200, "grace_ms": 5000})
    gate.line()
    api.cancel(sleeping, wait=True)
    assert api.outcome(sleeping).state == api.words.JOB_STATE_CANCELLED
    assert api.outcome(soft).state == api.words.JOB_STATE_TIMED_OUT
    go.touch()
    results(api, jobs)
    assert [api.get(job).attempts for job in jobs] == [1, 1]


def test_a_job_that_ignores_its_stop_ends_its_worker_and_its_neighbours_run_again_at_no_charge(pool, gate, tmp_path):
    api = pool(**THREADS)
    words = api.words
    jobs, go = met(api, gate, tmp_path, 2)
    (spinning,) = call(api, "test.spin", gate.path, timeouts={"soft_ms": 200, "grace_ms": 100})
    gate.line()
    assert api.outcome(spinning).state == words.JOB_STATE_TIMED_OUT
    assert "spins_for_ever(" in api.get(spinning, details=True).cause.stacks
    go.touch()
    results(api, jobs)
    for job in jobs:
        history = api.get(job, details=True).attempt_history
        assert len(history) == 2
        assert "brought down by another job" in history[0].cause.message


@pytest.mark.parametrize("how, told", [("abort", 6), ("segv", 11), ("overflow", 11), ("exit", 0)])
def test_who_brings_a_worker_down_is_charged_and_its_neighbours_are_not(pool, gate, tmp_path, how, told):
    api = pool(**THREADS)
    jobs, go = met(api, gate, tmp_path, 3)
    (guilty,) = call(api, "test.bring_down", how, crashes_max=1)
    outcome = api.outcome(guilty)
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert outcome.cause.kind == api.words.CAUSE_KIND_QUARANTINED
    assert outcome.cause.signal == told
    go.touch()
    results(api, jobs)
    for job in jobs:
        assert "brought down by another job" in api.get(job, details=True).attempt_history[0].cause.message


def test_threads_go_on_without_the_daemon_and_end_with_their_spawner(make_daemon, api_of, gate, tmp_path):
    daemon = make_daemon(
        f"[pools.default]\nmode = 'thread'\njobs_at_once = 4\nsize = 1\nplugins = ['{PLUGIN}']\n").start()
    jobs, go = met(api_of(daemon), gate, tmp_path, 4)
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    go.touch()
    assert len({text.split()[0] for text in results(api, jobs)}) == 1
    assert {api.get(job).attempts for job in jobs} == {1}


@pytest.mark.parametrize("setting, complaint", [
    ("jobs_per_worker_max = 5", "jobs_per_worker_max: mode thread has no moment between two jobs"),
    ("memory_max = '1GiB'", "memory_max: the jobs of mode thread share one process"),
    ("private_directory = true", "private_directory: the jobs of mode thread share one process"),
    ("jobs_at_once = 100", "jobs_at_once: must be 1 to 63"),
    ("jobs_at_once = 63\nsize = 30", "jobs at once in all pools together: at most 1024"),
])
def test_what_threads_cannot_have_is_refused_by_name(make_daemon, setting, complaint):
    with pytest.raises(DidNotStart) as caught:
        make_daemon(f"[pools.default]\nmode = 'thread'\n{setting}\n").start()
    assert complaint in caught.value.stderr


# ---- when a worker is replaced


def test_a_worker_is_replaced_after_so_many_jobs(pool):
    seen = who(pool(jobs_per_worker_max=3), count=9)
    assert [before for _, before in seen] == [0, 1, 2] * 3
    assert len({pid for pid, _ in seen}) == 3


def test_a_worker_that_has_grown_is_replaced(pool):
    api = pool(rss_max="'48MiB'", leaks="'ignore'")
    before = who(api)[0][0]
    assert who(api)[0][0] == before
    results(api, call(api, "test.leave_changed", "memory"))
    assert who(api)[0][0] != before


@pytest.mark.parametrize("what, words", [
    ("directory", "working directory, now /tmp"),
    ("environment", "environment variables"),
    ("umask", "now 0000"),
    ("descriptor", "open descriptors"),
    ("thread", "threads: 1, now 2"),
    ("signals", "blocked signals"),
    ("limits", "resource limits"),
])
def test_what_a_job_leaves_changed_is_told_and_the_worker_replaced(pool, what, words):
    api = pool()
    before = who(api)[0][0]
    (job,) = call(api, "test.leave_changed", what)
    results(api, [job])
    assert "this job left its worker changed: " in log_of(api, job)
    assert words in log_of(api, job)
    assert who(api) != [(before, 2)]
    assert who(api)[0][0] != before


def test_the_audit_can_only_warn_or_be_off(pool):
    api = pool(leaks="'warn'")
    before = who(api)[0][0]
    jobs = call(api, "test.leave_changed", "umask") + call(api, "test.leave_changed", "umask")
    results(api, jobs)
    assert "umask" in log_of(api, jobs[0])
    assert not log_of(api, jobs[1]), "what was told once is how things are"
    assert who(api)[0][0] == before
    api = pool(leaks="'ignore'")
    (job,) = call(api, "test.leave_changed", "umask")
    results(api, [job])
    assert not log_of(api, job)


def test_what_a_job_tidies_up_is_no_leak(pool):
    api = pool()
    before = who(api)[0][0]
    jobs = call(api, "test.join", count=50) + call(api, "echo", "x" * 200_000, count=5)
    results(api, jobs)
    assert who(api)[0][0] == before
    assert not any(log_of(api, job) for job in jobs)


@pytest.mark.parametrize("settings, complaint", [
    ("mode = 'fast'", "[pools.x] mode: \"fast\": must be process, fresh, thread, async or command"),
    ("leaks = 'maybe'", "[pools.x] leaks: \"maybe\": must be replace, warn or ignore"),
    ("rss_max = '1 GB'", "[pools.x] rss_max: must be a number of bytes, such as \"512MiB\""),
    ("jobs_per_worker_max = -1", "[pools.x] jobs_per_worker_max: -1 is out of bounds"),
    ("jobs_at_once = 4", "[pools.x]: jobs_at_once: mode process runs one job at a time"),
    ("mode = 'fresh'\nleaks = 'warn'", "[pools.x]: leaks: mode fresh leaves nothing of a job to its worker"),
    ("mode = 'command'\njobs_per_worker_max = 5", "[pools.x]: jobs_per_worker_max: mode command leaves nothing"),
    ("idle_ms = 100", "[pools.x] idle_ms: this pool keeps all its workers"),
    ("mode = 'thread'\nleaks = 'warn'", "[pools.x] leaks: the jobs of mode thread share one process"),
    ("mode = 'fresh'\nprocesses_max = 1", "[pools.x]: processes_max: mode fresh needs 2"),
    ("memory_max = 100", "[pools.x]: memory_max: a worker needs"),
    ("env_allow = []", "[pools.x] env_allow: names nothing"),
])
def test_bad_settings_are_refused_by_name(make_daemon, settings, complaint):
    daemon = make_daemon(f"[pools.x]\n{settings}\n")
    with pytest.raises(DidNotStart) as caught:
        daemon.start()
    assert complaint in caught.value.stderr
