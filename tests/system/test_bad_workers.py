"""Workers that do what no worker should. Each costs its own attempt; the daemon and its other jobs go on."""
import os
import signal

import pytest
from leftovers import ended_within
from private_daemon import BIN

PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(f"[pools.default]\nsize = 2\nplugins = ['{PLUGIN}']\n").start()


@pytest.fixture(autouse=True)
def unharmed(daemon, api):
    """The same daemon goes on running tasks on both its workers, as before."""
    yield
    outcomes = api.wait(api.submit_tasks("echo", 200, data=b"well"))
    assert {outcome.result[0].data for outcome in outcomes.values()} == {b"well"}
    assert api.info().pid == daemon.process.pid
    assert daemon.process.poll() is None


def run(api, task, argument=None, **spec):
    item = api.words.Item(parts=[] if argument is None else [api.words.Part(data=str(argument).encode())])
    (job,) = api.submit([item], task=task, **spec)
    return api.outcome(job)


def test_a_task_that_fails_tells_class_and_message(api):
    outcome = run(api, "test.flaky", 2)
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert outcome.cause.kind == api.words.CAUSE_KIND_TASK_ERROR
    assert (outcome.cause.error_class, outcome.cause.message) == ("Flaky", "not this time")


def test_a_task_that_fails_twice_succeeds_at_its_third_attempt(api):
    outcome = run(api, "test.flaky", 3, retries={"max_attempts": 5})
    assert outcome.state == api.words.JOB_STATE_SUCCEEDED
    assert outcome.result[0].data == b"3"


def test_a_task_that_refuses_a_retry_is_not_tried_again(api):
    outcome = run(api, "test.hopeless", retries={"max_attempts": 5})
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert api.get(outcome.id).attempts == 1


def test_arguments_that_do_not_fit_are_an_error_of_their_own_and_not_tried_again(api):
    outcome = run(api, "test.flaky", "three", retries={"max_attempts": 5})
    assert outcome.cause.kind == api.words.CAUSE_KIND_BAD_PAYLOAD
    assert outcome.cause.error_class == "BadArgument"
    assert api.get(outcome.id).attempts == 1


def test_a_worker_that_crashes_once_costs_one_attempt_and_no_retry(api, tmp_path):
    outcome = run(api, "test.crash_once", tmp_path / "proof")
    assert outcome.state == api.words.JOB_STATE_SUCCEEDED
    assert outcome.result[0].data == b"second time"


def test_a_job_that_crashes_every_worker_is_given_up(api):
    outcome = run(api, "test.crash")
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert outcome.cause.kind == api.words.CAUSE_KIND_QUARANTINED
    assert outcome.cause.signal == 6
    assert outcome.cause.message == "it took down 3 workers; the last time: the worker was ended by signal 6"
    told = api.get(outcome.id, details=True)
    assert told.attempts == 3
    causes = [(attempt.number, attempt.cause.kind, attempt.cause.signal) for attempt in told.attempt_history]
    assert causes == [(number, api.words.CAUSE_KIND_WORKER_DIED, 6) for number in (1, 2, 3)]
    pids = [attempt.worker_pid for attempt in told.attempt_history]
    assert len(set(pids)) == 3 and 0 not in pids
    assert all(attempt.worker.startswith("default/") for attempt in told.attempt_history)


def test_the_crash_budget_is_the_jobs_own_and_apart_from_its_attempts(api):
    outcome = run(api, "test.crash", crashes_max=1, retries={"max_attempts": 5})
    assert (outcome.cause.kind, outcome.attempts) == (api.words.CAUSE_KIND_QUARANTINED, 1)
    assert run(api, "test.crash", crashes_max=4).attempts == 4


def test_a_result_over_its_bound_is_an_error_of_its_own_and_not_tried_again(api):
    outcome = run(api, "test.too_large", retries={"max_attempts": 5})
    assert outcome.cause.kind == api.words.CAUSE_KIND_RESULT_TOO_LARGE
    assert "268435456 bytes" in outcome.cause.message
    assert outcome.attempts == 1


def test_a_task_that_gets_no_memory_is_out_of_memory(api):
    outcome = run(api, "test.no_memory", retries={"max_attempts": 2})
    assert outcome.cause.kind == api.words.CAUSE_KIND_OUT_OF_MEMORY
    assert outcome.attempts == 2


def test_a_worker_that_claims_not_to_have_taken_its_job_is_killed_and_its_job_ends_as_it_was_to(api, gate):
    item = api.words.Item(parts=[api.words.Part(data=gate.path.encode())])
    (job,) = api.submit([item], task="test.untake", timeouts={"grace_ms": 300})
    pid = int(gate.line())
    api.cancel(job, wait=True)
    assert api.outcome(job).state == api.words.JOB_STATE_CANCELLED
    assert ended_within([pid], 0) == []


def test_workers_that_are_stopped_are_replaced_and_their_jobs_run(api):
    words = api.words
    before = [worker.pid for worker in api.call("Workers", "List", words.ListWorkersRequest(pool="default")).workers]
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    jobs = api.submit_tasks("noop", 3)
    outcomes = api.wait(jobs, seconds=120)
    assert {outcome.state for outcome in outcomes.values()} == {words.JOB_STATE_SUCCEEDED}
    assert ended_within(before, 30) == []
    first = next(job for job in (api.get(job, details=True) for job in jobs) if job.attempts > 1)
    assert "took nothing" in first.attempt_history[0].cause.message


def test_a_worker_that_exits_in_the_middle_of_a_job_is_told_with_its_code(api):
    outcome = run(api, "test.exit", 7)
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert outcome.cause.exit_code == 7


def test_a_worker_that_hangs_is_killed_at_its_run_timeout(api, gate):
    outcome = run(api, "test.hang", gate.path, timeouts={"run_ms": 300, "grace_ms": 200})
    assert outcome.state == api.words.JOB_STATE_TIMED_OUT
    assert ended_within([int(gate.line())], 0) == []


def test_a_worker_that_ignores_its_stop_is_killed_after_the_grace(api, gate):
    item = api.words.Item(parts=[api.words.Part(data=gate.path.encode())])
    (job,) = api.submit([item], task="test.hang", timeouts={"grace_ms": 200})
    pid = int(gate.line())
    api.cancel(job, wait=True)
    assert api.outcome(job).state == api.words.JOB_STATE_CANCELLED
    assert ended_within([pid], 0) == []


def test_a_worker_that_closes_its_descriptors_and_returns_has_done_its_job_and_is_replaced(api):
    """Its report lies in shared memory and counts; nothing could ever wake or end the worker again, so it goes."""
    for _ in range(4):  # more often than the pool has workers: one that is not replaced would be met again
        outcome = run(api, "test.close_and_return")
        assert outcome.state == api.words.JOB_STATE_SUCCEEDED, outcome.cause
        assert outcome.cause.kind == api.words.CAUSE_KIND_NONE
        assert outcome.attempts == 1
        assert ended_within([int(outcome.result[0].data)], 20) == []
        assert run(api, "noop").state == api.words.JOB_STATE_SUCCEEDED


def test_what_a_task_leaves_running_has_ended_when_its_job_has(api):
    outcome = run(api, "test.leave_and_return")
    assert outcome.state == api.words.JOB_STATE_SUCCEEDED, outcome.cause
    assert ended_within([int(outcome.result[0].data)], 0) == []


def test_a_child_that_comes_back_from_the_task_reports_nothing(api):
    for _ in range(20):
        outcome = run(api, "test.fork_and_return")
        assert (outcome.state, outcome.result[0].data) == (api.words.JOB_STATE_SUCCEEDED, b"parent")


def test_what_a_task_leaves_running_has_ended_when_its_job_has_failed(api):
    outcome = run(api, "test.leave_and_throw")
    assert (outcome.state, outcome.cause.error_class) == (api.words.JOB_STATE_FAILED, "Left")
    assert ended_within([int(outcome.cause.message)], 0) == []


def test_what_a_task_leaves_running_has_ended_when_its_job_is_cancelled(api, gate):
    item = api.words.Item(parts=[api.words.Part(data=gate.path.encode())])
    (job,) = api.submit([item], task="test.leave_and_stop", timeouts={"grace_ms": 20_000})
    left = int(gate.line())
    api.cancel(job, wait=True)
    assert api.outcome(job).state == api.words.JOB_STATE_CANCELLED
    assert ended_within([left], 0) == []


def test_a_worker_that_closes_its_descriptors_and_hangs_is_ended(api, gate):
    outcome = run(api, "test.close_and_hang", gate.path, timeouts={"run_ms": 500, "grace_ms": 100})
    assert api.words.JobState.Name(outcome.state) in ("JOB_STATE_FAILED", "JOB_STATE_TIMED_OUT")
    assert ended_within([int(gate.line())], 0) == []


@pytest.mark.parametrize("seed", range(1, 9))
def test_garbage_in_every_byte_of_the_channel_costs_that_worker_only(api, seed):
    outcome = run(api, "test.scribble", seed, timeouts={"run_ms": 3000, "grace_ms": 100})
    # A job may be done before its garbage is looked at; then its worker pays alone.
    assert outcome.state in (
        api.words.JOB_STATE_FAILED,
        api.words.JOB_STATE_TIMED_OUT,
        api.words.JOB_STATE_SUCCEEDED,
    )
    assert run(api, "noop").state == api.words.JOB_STATE_SUCCEEDED


@pytest.mark.parametrize("seed", range(1, 25))
def test_garbage_in_one_word_of_the_header_harms_no_other_job(api, seed):
    outcome = run(api, "test.scribble_word", seed, timeouts={"run_ms": 3000, "grace_ms": 100})
    assert outcome.state in (
        api.words.JOB_STATE_FAILED,
        api.words.JOB_STATE_TIMED_OUT,
        api.words.JOB_STATE_SUCCEEDED,
    )
