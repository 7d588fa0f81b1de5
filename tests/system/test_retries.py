"""Retries by class, by what tasks ask for, the crash budget over restarts, and the history of attempts."""
import os
import signal

import grpc
import pytest
from private_daemon import BIN

PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(f"[pools.default]\nsize = 2\nplugins = ['{PLUGIN}']\n").start()


def run(api, task, argument, **spec):
    item = api.words.Item(parts=[api.words.Part(data=str(argument).encode())])
    (job,) = api.submit([item], task=task, **spec)
    return api.outcome(job)


# ---- Classes


@pytest.mark.parametrize(
    "classes, attempts",
    [
        ({}, 3),
        ({"only_classes": ["Flaky"]}, 3),
        ({"only_classes": ["TASK_ERROR"]}, 3),
        ({"only_classes": ["Other"]}, 1),
        ({"except_classes": ["Flaky"]}, 1),
        ({"except_classes": ["Other", "TIMEOUT"]}, 3),
        ({"only_classes": ["Flaky"], "except_classes": ["Flaky"]}, 1),
    ],
)
def test_a_task_is_tried_again_by_the_class_of_its_error(api, classes, attempts):
    outcome = run(api, "test.fails_as", "Flaky", retries={"max_attempts": 5, **classes})
    assert outcome.attempts == attempts
    assert outcome.state == (api.words.JOB_STATE_SUCCEEDED if attempts == 3 else api.words.JOB_STATE_FAILED)


@pytest.mark.parametrize(
    "script, only, attempts",
    [
        ("exit 75", "exit:75", 3),
        ("exit 7", "exit:75", 1),
        ("exit 7", "COMMAND_EXIT", 3),
        ("kill -9 $$", "signal:9", 3),
        ("kill -9 $$", "COMMAND_EXIT", 1),
    ],
)
def test_a_command_is_tried_again_by_how_it_ended(api, script, only, attempts):
    job = api.submit_command("sh", "-c", script, retries={"max_attempts": 3, "only_classes": [only]})
    assert api.outcome(job).attempts == attempts


def test_the_classes_survive_a_restart(daemon, api_of):
    retries = {"max_attempts": 9, "backoff_ms": 1_500, "only_classes": ["exit:75"], "except_classes": ["TIMEOUT"]}
    path = os.path.join(daemon.folder, "second")
    api = api_of(daemon)
    script = f"test -e {path} && exit 7; touch {path}; exit 75"
    job = api.submit_command("sh", "-c", script, retries=retries, crashes_max=8)
    while not api.get(job, details=True).attempt_history:
        pass
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    told = api.get(job, details=True)
    assert list(told.spec.retries.only_classes) == ["exit:75"]
    assert list(told.spec.retries.except_classes) == ["TIMEOUT"]
    assert told.spec.crashes_max == 8
    outcome = api.outcome(job)
    assert (outcome.cause.exit_code, outcome.attempts) == (7, 2), "exit code 7 is not retried"


@pytest.mark.parametrize("entry", ["", "x" * 129, "two\nlines", "WORKER_DIED", "CANCELLED"])
def test_a_class_that_no_retry_could_follow_is_refused_by_name(api, entry):
    with pytest.raises(grpc.RpcError) as caught:
        api.submit_tasks("noop", retries={"only_classes": [entry]})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "spec.retries.only_classes[0]" in caught.value.details()


# ---- What a task asks for


def test_a_task_that_refuses_a_retry_says_so_in_its_cause(api):
    (job,) = api.submit([api.words.Item()], task="test.do_not_retry", retries={"max_attempts": 5})
    outcome = api.outcome(job)
    assert (outcome.cause.error_class, outcome.cause.retry_refused, outcome.attempts) == ("NoSuchUser", True, 1)


def test_a_delay_that_a_task_asks_for_takes_the_place_of_a_long_backoff(api):
    outcome = run(api, "test.retry_after", 5, retries={"max_attempts": 2, "backoff_ms": 3_600_000})
    assert (outcome.state, outcome.result[0].data) == (api.words.JOB_STATE_SUCCEEDED, b"2")


def test_a_delay_that_a_task_asks_for_is_bounded_by_the_jobs_longest_backoff(api):
    outcome = run(api, "test.retry_after", 10**12, retries={"max_attempts": 2, "backoff_ms_max": 20})
    assert outcome.state == api.words.JOB_STATE_SUCCEEDED


def test_a_delay_gives_no_attempt_that_the_job_does_not_have(api):
    outcome = run(api, "test.retry_after", 5)
    assert (outcome.state, outcome.attempts) == (api.words.JOB_STATE_FAILED, 1)


# ---- The crash budget


def worker_of(api, job):
    """The worker's pid, once it has taken the job."""
    while True:
        told = api.get(job, details=True)
        if told.state == api.words.JOB_STATE_RUNNING and told.attempt_history[-1].worker_pid:
            return told.attempt_history[-1].worker_pid


def test_crashes_count_on_over_a_restart_of_the_daemon(daemon, api_of):
    api = api_of(daemon)
    (job,) = api.submit([api.task_item(b"600000")], task="sleep", crashes_max=2)
    os.kill(worker_of(api, job), signal.SIGSEGV)
    while not any(attempt.cause.signal for attempt in api.get(job, details=True).attempt_history):
        pass
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    os.kill(worker_of(api, job), signal.SIGBUS)
    outcome = api.outcome(job)
    assert outcome.cause.kind == api.words.CAUSE_KIND_QUARANTINED
    assert outcome.cause.signal == signal.SIGBUS
    history = api.get(job, details=True).attempt_history
    assert [attempt.cause.signal for attempt in history] == [signal.SIGSEGV, signal.SIGBUS]


def test_quarantined_jobs_are_listed_and_replayed_with_one_command(daemon, api):
    (bad,) = api.submit([api.words.Item()], task="test.crash", crashes_max=1)
    failed = api.submit_command("false")
    api.wait([bad, failed])
    (listed,) = daemon.fut_json("ls", "--quarantined")
    assert (listed["id"], listed["cause"]["kind"], listed["cause"]["signal"]) == (bad, "QUARANTINED", 6)
    (told,) = daemon.fut_json("retry", "--quarantined")
    assert told["id"] == bad and told["new_id"] > failed
    assert api.outcome(told["new_id"]).cause.kind == api.words.CAUSE_KIND_QUARANTINED
    (again,) = daemon.fut_json("retry", "--quarantined")
    assert again["id"] == told["new_id"], "what was retried is not retried twice"


def test_jobs_are_listed_by_cause(api):
    failed = api.submit_command("false")
    slow = api.submit_command("sleep", "600", timeouts={"run_ms": 50})
    fine = api.submit_command("true")
    api.wait([failed, slow, fine])

    def listed(*causes):
        request = api.words.ListJobsRequest(filter=api.words.JobFilter(causes=causes))
        return [job.id for job in api.call("Jobs", "List", request).jobs]

    assert listed(api.words.CAUSE_KIND_COMMAND_EXIT) == [failed]
    assert listed(api.words.CAUSE_KIND_TIMEOUT, api.words.CAUSE_KIND_COMMAND_EXIT) == [slow, failed]
    with pytest.raises(grpc.RpcError) as caught:
        listed(api.words.CAUSE_KIND_NONE)
    assert "filter.causes[0]" in caught.value.details()


# ---- History


def test_each_attempt_keeps_its_own_history(daemon, api):
    script = 'echo out $FUTURED_ATTEMPT; echo err $FUTURED_ATTEMPT >&2; test $FUTURED_ATTEMPT = 3 || exit $FUTURED_ATTEMPT'
    job = api.submit_command("sh", "-c", script, retries={"max_attempts": 5})
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    told = api.get(job, details=True)
    assert [attempt.number for attempt in told.attempt_history] == [1, 2, 3]
    for attempt in told.attempt_history:
        assert 0 < told.submitted_us <= attempt.started_us <= attempt.finished_us
        assert attempt.worker.startswith("command/") and attempt.worker_pid > 0 and attempt.epoch == 1
        assert attempt.peak_memory_bytes > 0
    first, second, third = told.attempt_history
    assert (first.state, first.cause.exit_code) == (api.words.JOB_STATE_FAILED, 1)
    assert (first.cause.stdout_tail, first.cause.stderr_tail) == (b"out 1\n", b"err 1\n")
    assert (second.cause.exit_code, second.cause.stderr_tail) == (2, b"err 2\n")
    assert third.state == api.words.JOB_STATE_SUCCEEDED
    assert not api.get(job).attempt_history, "only with details"

    shown = daemon.fut("show", job).stdout
    assert "ATTEMPT" in shown and "exit 2" in shown and third.worker in shown
    (line,) = daemon.fut_json("show", job)
    assert [attempt["number"] for attempt in line["attempt_history"]] == [1, 2, 3]
    assert line["attempt_history"][1]["cause"]["stderr_tail"] == "err 2\n"
    assert line["attempt_history"][0]["worker_pid"] == first.worker_pid
    assert line["spec"]["retries"]["max_attempts"] == 5


def test_a_job_that_failed_for_good_shows_its_last_attempt_once_with_its_output(api):
    job = api.submit_command("sh", "-c", "echo no >&2; exit 3")
    api.outcome(job)
    (only,) = api.get(job, details=True).attempt_history
    assert (only.number, only.state, only.cause.exit_code) == (1, api.words.JOB_STATE_FAILED, 3)
    assert only.cause.stderr_tail == b"no\n"
    assert only.worker_pid > 0


def test_the_history_of_a_job_that_simply_succeeded_is_its_end(api):
    (job,) = api.submit_tasks("noop")
    api.outcome(job)
    (only,) = api.get(job, details=True).attempt_history
    assert (only.number, only.state) == (1, api.words.JOB_STATE_SUCCEEDED)
    assert only.started_us <= only.finished_us


def test_the_history_of_a_running_job_ends_with_the_attempt_under_way(api, gate):
    job = api.submit_command("sh", "-c", f"echo up >{gate.path}; exec sleep 600")
    gate.line()
    pid = worker_of(api, job)
    (now,) = api.get(job, details=True).attempt_history
    assert (now.number, now.state, now.worker_pid, now.epoch) == (1, api.words.JOB_STATE_RUNNING, pid, 1)
    api.cancel(job, wait=True)


def test_fut_knows_the_classes_and_the_crash_budget(daemon, api):
    options = ("--attempts", "3", "--retry-only", "exit:75", "--retry-except", "TIMEOUT", "--crashes", "2")
    done = daemon.fut("submit", *options, "--", "sh", "-c", "exit 7", check=True)
    job = int(done.stdout)
    assert api.outcome(job).attempts == 1
    spec = api.get(job, details=True).spec
    assert (list(spec.retries.only_classes), list(spec.retries.except_classes)) == (["exit:75"], ["TIMEOUT"])
    assert spec.crashes_max == 2
    wrong = daemon.fut("submit", "--retry-only", "WORKER_DIED", "--", "true")
    assert wrong.returncode == 4 and "--retry-only" in wrong.stderr and "--crashes" in wrong.stderr
