"""The timeouts of an attempt: asked to stop at its soft_timeout, killed when it gives no sign of life."""
import os

import grpc
import pytest
from leftovers import ended_within
from private_daemon import BIN

PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")
IGNORES_TERM = "trap '' TERM; echo before; while :; do sleep 0.05; done"


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(f"[pools.default]\nsize = 2\nplugins = ['{PLUGIN}']\n").start()


def submit(api, task, *arguments, timeouts, **spec):
    parts = [api.words.Part(data=str(argument).encode()) for argument in arguments]
    (job,) = api.submit([api.words.Item(parts=parts)], task=task, timeouts=timeouts, **spec)
    return job


def timed_out(api, job, kind):
    """The end of a job that timed out so; with its stacks."""
    outcome = api.outcome(job)
    assert outcome.state == api.words.JOB_STATE_TIMED_OUT, outcome
    assert (outcome.cause.kind, outcome.cause.timeout) == (api.words.CAUSE_KIND_TIMEOUT, kind), outcome.cause
    assert not outcome.cause.stacks, "they are not sent unasked"
    return api.get(job, details=True)


def emitted(api, job):
    request = api.words.ReadOutputRequest(id=job, kind=api.words.OUTPUT_KIND_EMITTED)
    return b"".join(answer.data for answer in api.stream("Jobs", "ReadOutput", request))


# ---- soft_timeout


def test_a_task_that_stops_when_it_is_asked_to_has_timed_out(api):
    job = submit(api, "sleep", 1000, timeouts={"soft_ms": 100, "grace_ms": 60_000})
    seen = timed_out(api, job, api.words.TIMEOUT_KIND_SOFT)
    assert seen.cause.message == "stopped when its soft_timeout asked it to"
    assert not seen.cause.stacks


def test_a_task_that_returns_what_it_has_when_it_is_asked_to_stop_has_succeeded(api):
    outcome = api.outcome(submit(api, "test.partial", timeouts={"soft_ms": 100, "grace_ms": 60_000}))
    assert outcome.state == api.words.JOB_STATE_SUCCEEDED
    assert outcome.result[0].data == b"half of it"


def test_a_task_that_does_not_stop_leaves_the_stack_of_every_thread_and_nothing_else(api, gate):
    job = submit(api, "test.spin", gate.path, timeouts={"soft_ms": 100, "grace_ms": 100})
    pid = int(gate.line())
    seen = timed_out(api, job, api.words.TIMEOUT_KIND_SOFT)
    assert "did not stop within its grace" in seen.cause.message
    stacks = seen.cause.stacks
    assert f"worker {pid}, job {job}, attempt 1: 3 threads" in stacks
    assert "spins_for_ever(" in stacks and "waits_for_ever(" in stacks and "misbehaving.so" in stacks
    assert "thread" in stacks and " helper" in stacks
    assert seen.attempt_history[-1].cause.stacks == stacks
    assert not ended_within([pid], 20)


def test_a_task_that_takes_sigterm_for_itself_is_killed_all_the_same(api, gate):
    job = submit(api, "test.hang", gate.path, timeouts={"soft_ms": 100, "grace_ms": 100})
    pid = int(gate.line())
    seen = timed_out(api, job, api.words.TIMEOUT_KIND_SOFT)
    assert not seen.cause.stacks
    assert not ended_within([pid], 20)


def test_a_command_gets_sigterm_and_its_end_is_a_timeout_whatever_its_code(api):
    job = api.submit_command("sh", "-c", "trap 'echo stopping; exit 0' TERM; while :; do sleep 0.05; done",
                             timeouts={"soft_ms": 200, "grace_ms": 60_000})
    seen = timed_out(api, job, api.words.TIMEOUT_KIND_SOFT)
    assert seen.cause.message == "stopped when its soft_timeout asked it to"
    assert seen.cause.exit_code == 0


def test_a_command_that_does_not_stop_leaves_its_processes_states_and_its_output(api):
    job = api.submit_command("sh", "-c", IGNORES_TERM, timeouts={"soft_ms": 200, "grace_ms": 100})
    outcome = api.outcome(job)
    assert outcome.result[0].data == b"before\n"
    seen = timed_out(api, job, api.words.TIMEOUT_KIND_SOFT)
    assert "did not stop within its grace" in seen.cause.message
    assert "process " in seen.cause.stacks and " sh -c trap" in seen.cause.stacks
    assert "waits in: " in seen.cause.stacks and "system call: " in seen.cause.stacks


def test_a_command_that_writes_without_end_is_asked_for_its_processes_too(api):
    job = api.submit_command("sh", "-c", "trap '' TERM; while :; do echo again; done",
                             timeouts={"soft_ms": 200, "grace_ms": 100})
    seen = timed_out(api, job, api.words.TIMEOUT_KIND_SOFT)
    assert "process " in seen.cause.stacks and " sh -c trap" in seen.cause.stacks


def test_each_attempt_has_its_soft_timeout_and_keeps_its_stacks(api, gate):
    job = submit(api, "test.spin", gate.path, timeouts={"soft_ms": 100, "grace_ms": 100}, retries={"max_attempts": 2})
    pids = [gate.line(), gate.line()]
    seen = timed_out(api, job, api.words.TIMEOUT_KIND_SOFT)
    assert [attempt.state for attempt in seen.attempt_history] == [api.words.JOB_STATE_TIMED_OUT] * 2
    for attempt, pid in zip(seen.attempt_history, pids):
        assert f"worker {pid}, job {job}, attempt {attempt.number}:" in attempt.cause.stacks


# ---- heartbeat_timeout


def test_a_task_that_gives_no_sign_of_life_is_killed_with_all_it_started(api, gate):
    job = submit(api, "test.leave_and_stop", gate.path, timeouts={"heartbeat_ms": 200})
    left = int(gate.line())
    seen = timed_out(api, job, api.words.TIMEOUT_KIND_HEARTBEAT)
    assert seen.cause.message == "gave no sign of life within its heartbeat_timeout"
    assert not ended_within([left], 20)


@pytest.mark.parametrize("sign", ["heartbeat", "progress", "emit", "log"])
def test_every_sign_of_life_keeps_a_task_alive(api, sign):
    job = submit(api, "test.beat", sign, 40, 0.05, timeouts={"heartbeat_ms": 1000})
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED


def test_output_is_a_commands_sign_of_life(api):
    words = api.words
    noisy = api.submit_command("sh", "-c", "for i in $(seq 20); do echo $i; sleep 0.1; done",
                               timeouts={"heartbeat_ms": 1000})
    silent = api.submit_command("sh", "-c", "echo once; setsid sleep 1000 & sleep 1000", timeouts={"heartbeat_ms": 300})
    seen = timed_out(api, silent, words.TIMEOUT_KIND_HEARTBEAT)
    assert api.outcome(silent).result[0].data == b"once\n", "what it wrote is kept though its worker was killed"
    assert seen.attempts == 1
    assert api.outcome(noisy).state == words.JOB_STATE_SUCCEEDED


def test_what_a_killed_task_had_emitted_is_kept(api):
    job = submit(api, "test.emit_and_hang", "so far", timeouts={"heartbeat_ms": 200})
    timed_out(api, job, api.words.TIMEOUT_KIND_HEARTBEAT)
    assert emitted(api, job) == b"so far"


def test_a_heartbeat_timeout_ends_an_attempt_and_the_job_goes_on(api):
    job = submit(api, "test.silent_once", timeouts={"heartbeat_ms": 200}, retries={"max_attempts": 2})
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    first, second = api.get(job, details=True).attempt_history
    assert first.cause.timeout == api.words.TIMEOUT_KIND_HEARTBEAT
    assert second.state == api.words.JOB_STATE_SUCCEEDED


def test_the_clock_of_the_heartbeat_goes_on_over_a_restart(api_of, daemon, gate, tmp_path):
    api = api_of(daemon)
    quiet = tmp_path / "quiet"
    job = submit(api, "test.beat_until", quiet, gate.path, timeouts={"heartbeat_ms": 1000})
    pid = int(gate.line())
    daemon.kill()
    for _ in range(40):
        gate.line()  # two seconds of beats that no daemon hears
    daemon.start()
    api = api_of(daemon)
    for _ in range(40):
        gate.line()
    assert api.get(job).state == api.words.JOB_STATE_RUNNING, "the beats of the meantime count"
    quiet.touch()
    timed_out(api, job, api.words.TIMEOUT_KIND_HEARTBEAT)
    assert not ended_within([pid], 20)


# ---- bad input


@pytest.mark.parametrize(
    "timeouts, words",
    [
        ({"soft_ms": -1}, "spec.timeouts.soft_ms: -1 is negative"),
        ({"heartbeat_ms": -5}, "spec.timeouts.heartbeat_ms: -5 is negative"),
        ({"soft_ms": 3000, "run_ms": 3000}, "spec.timeouts.soft_ms: 3000 is not under the run_ms of 3000"),
    ],
)
def test_a_timeout_that_cannot_be_is_refused_by_name(api, timeouts, words):
    with pytest.raises(grpc.RpcError) as caught:
        submit(api, "noop", timeouts=timeouts)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert words in caught.value.details()


@pytest.mark.parametrize("field", ["soft_ms", "heartbeat_ms"])
def test_a_timeout_over_its_bound_is_refused_by_name(api, field):
    with pytest.raises(grpc.RpcError) as caught:
        submit(api, "noop", timeouts={field: 1 << 60})
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"spec.timeouts.{field}" in caught.value.details()


# ---- fut


def test_fut_takes_both_timeouts_and_shows_the_stacks(daemon, gate):
    done = daemon.fut("call", "--soft-timeout", "100ms", "--grace", "100ms", "test.spin", gate.path)
    assert done.returncode == 124
    assert "soft" in done.stderr.lower() and "did not stop within its grace" in done.stderr
    (job,) = daemon.fut_json("ls")
    shown = daemon.fut("show", job["id"], check=True).stdout
    assert "stacks of attempt 1:\nworker " in shown and "spins_for_ever(" in shown
    assert "spins_for_ever(" in daemon.fut_json("show", job["id"])[0]["cause"]["stacks"]
    silent = daemon.fut("run", "--heartbeat-timeout", "300ms", "--", "sleep", "1000")
    assert silent.returncode == 124
    assert "no sign of life" in silent.stderr
