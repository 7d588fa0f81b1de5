"""Jobs that are ended: cancelled, timed out, retried. A kill means dead, the whole process tree."""
import os
import signal
import time

from leftovers import ended_within

# Leaves its session and its parent: a new session, whose leader exits after starting the process that stays.
DAEMONISE = """
import os, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
with open(sys.argv[1], "w") as gate: gate.write("%d\\n" % os.getpid())
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True: signal.pause()
"""

def test_cancel_kills_a_tree_that_left_its_session(api, gate):
    script = '/usr/bin/python3 -c "$0" "$1"; echo $$ >"$1"; exec sleep 1000'
    job = api.submit_command("sh", "-c", script, DAEMONISE, gate.path, timeouts={"grace_ms": 200})
    pids = [int(gate.line()), int(gate.line())]
    answer = api.cancel(job)
    assert answer.stopping + answer.cancelled == 1
    outcome = api.outcome(job)
    assert outcome.state == api.words.JOB_STATE_CANCELLED
    assert ended_within(pids, 0) == [], "CANCELLED was told while something of the tree still lived"


def test_a_cancelled_job_that_was_queued_never_runs(make_daemon, api_of, gate, tmp_path):
    daemon = make_daemon('[pools.command]\nmode = "command"\nsize = 1\n').start()
    api = api_of(daemon)
    holder = api.submit_command("sh", "-c", f"echo holding >{gate.path}; exec sleep 1000")
    assert gate.line() == "holding"
    proof = tmp_path / "ran"
    job = api.submit_command("touch", str(proof))
    assert api.cancel(job).cancelled == 1
    assert api.outcome(job).state == api.words.JOB_STATE_CANCELLED
    api.cancel(holder, kill_at_once=True)
    api.wait([holder])
    api.wait([api.submit_command("true")])  # whatever was queued before has had its turn
    assert not proof.exists()


def test_a_command_that_exceeds_its_run_timeout_is_killed(api, gate):
    started = time.monotonic()
    script = f'trap "" TERM; echo $$ >{gate.path}; while :; do sleep 1000; done'
    job = api.submit_command("sh", "-c", script, timeouts={"run_ms": 300, "grace_ms": 200})
    pid = int(gate.line())
    outcome = api.outcome(job)
    assert outcome.state == api.words.JOB_STATE_TIMED_OUT
    assert outcome.cause.timeout == api.words.TIMEOUT_KIND_RUN
    assert ended_within([pid], 0) == []
    assert 0.3 <= time.monotonic() - started < 10


def test_a_job_that_does_not_start_in_time_is_timed_out_and_never_runs(make_daemon, api_of, gate, tmp_path):
    daemon = make_daemon('[pools.command]\nmode = "command"\nsize = 1\n').start()
    api = api_of(daemon)
    holder = api.submit_command("sh", "-c", f"echo holding >{gate.path}; exec sleep 1000")
    assert gate.line() == "holding"
    proof = tmp_path / "ran"
    job = api.submit_command("touch", str(proof), timeouts={"queue_ms": 200})
    outcome = api.outcome(job)
    assert outcome.state == api.words.JOB_STATE_TIMED_OUT
    assert outcome.cause.timeout == api.words.TIMEOUT_KIND_QUEUE
    api.cancel(holder, kill_at_once=True)
    api.wait([holder])
    assert not proof.exists()


def test_the_total_timeout_spans_attempts(api):
    job = api.submit_command(
        "false", retries={"max_attempts": 1000, "backoff_ms": 50, "factor": 1.0}, timeouts={"total_ms": 400}
    )
    outcome = api.outcome(job)
    assert outcome.state == api.words.JOB_STATE_TIMED_OUT
    assert outcome.cause.timeout == api.words.TIMEOUT_KIND_TOTAL


def test_a_job_that_fails_is_tried_again_until_it_succeeds(api, tmp_path):
    tries = tmp_path / "tries"
    script = f"echo try >>{tries}; test $(wc -l <{tries}) -ge 3"
    job = api.submit_command("sh", "-c", script, retries={"max_attempts": 5, "backoff_ms": 10})
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    assert tries.read_text() == "try\n" * 3
    assert api.get(job).attempts == 3


def test_a_job_that_keeps_failing_ends_with_its_last_error(api):
    job = api.submit_command("sh", "-c", "echo oh no >&2; exit 9", retries={"max_attempts": 3})
    outcome = api.outcome(job)
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert outcome.cause.exit_code == 9
    assert b"oh no" in outcome.cause.stderr_tail
    assert api.get(job).attempts == 3


def test_retry_makes_a_new_job_that_names_the_old_one(api):
    words = api.words
    old = api.submit_command("sh", "-c", "exit 4")
    api.wait([old])
    answer = api.call("Jobs", "Retry", words.RetryRequest(ids=[words.IdRange(first=old, last=old)]))
    new = answer.entries[0].new_id
    assert new not in (0, old)
    assert api.outcome(new).cause.exit_code == 4
    assert api.get(new).retry_of == old
    assert api.get(old).state == words.JOB_STATE_FAILED


def test_a_cancelled_job_stays_cancelled_after_a_kill_of_the_daemon(daemon, api_of, gate):
    api = api_of(daemon)
    job = api.submit_command("sh", "-c", f"echo $$ >{gate.path}; exec sleep 1000")
    pid = int(gate.line())
    api.cancel(job, wait=True)
    assert ended_within([pid], 0) == []
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    assert api.outcome(job).state == api.words.JOB_STATE_CANCELLED


DEAF = "trap '' TERM; echo $$ >{}; while :; do sleep 1000; done"


def stopping(api, job, **how):
    (entry,) = api.cancel(job, **how).entries
    assert entry.disposition == api.words.CANCEL_DISPOSITION_STOPPING


def test_a_stop_that_was_told_goes_on_under_the_next_daemon(daemon, api_of, gate):
    api = api_of(daemon)
    job = api.submit_command("sh", "-c", DEAF.format(gate.path), retries={"max_attempts": 5})
    pid = int(gate.line())
    stopping(api, job, grace_ms=1000, reason="not needed")
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    outcome = api.outcome(job)
    assert (outcome.state, outcome.attempts) == (api.words.JOB_STATE_CANCELLED, 1)
    assert outcome.cause.message == "cancelled: not needed"
    assert ended_within([pid], 0) == []


def test_a_grace_that_is_long_is_still_cut_short_after_a_restart(daemon, api_of, gate):
    api = api_of(daemon)
    job = api.submit_command("sh", "-c", DEAF.format(gate.path))
    pid = int(gate.line())
    stopping(api, job, grace_ms=600_000)
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    stopping(api, job)
    api.cancel(job, kill_at_once=True, wait=True)
    assert ended_within([pid], 0) == []
    assert api.outcome(job).state == api.words.JOB_STATE_CANCELLED


def test_a_job_whose_stop_was_told_does_not_run_again_when_the_whole_machine_ends(daemon, api_of, gate):
    api = api_of(daemon)
    job = api.submit_command("sh", "-c", DEAF.format(gate.path))
    pid = int(gate.line())
    stopping(api, job, grace_ms=600_000)
    spawners = daemon.processes_running("futured-spawner")
    daemon.kill()
    for spawner in spawners:
        os.kill(spawner, signal.SIGKILL)
    daemon.start()
    api = api_of(daemon)
    assert api.outcome(job).state == api.words.JOB_STATE_CANCELLED
    assert ended_within([pid], 0) == []
