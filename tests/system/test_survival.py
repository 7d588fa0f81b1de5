"""What is accepted survives: kill -9 of the daemon, of a worker, of the spawner."""
import os
import signal
import threading

import grpc
import pytest
from leftovers import ended_within

BATCH = 500
BATCHES = 40


def submit_until_gone(api, accepted, half):
    """Submits batches one after the other; sets `half` when half are accepted, ends when the daemon is gone."""
    for number in range(BATCHES):
        try:
            accepted += api.submit_tasks("noop", BATCH, data=b"x" * 100)
        except grpc.RpcError:
            return
        if number == BATCHES // 2:
            half.set()


def test_a_kill_of_the_daemon_loses_no_accepted_job(daemon, api_of):
    accepted, half = [], threading.Event()
    submitter = threading.Thread(target=submit_until_gone, args=(api_of(daemon), accepted, half))
    submitter.start()
    assert half.wait(60)
    daemon.kill()
    submitter.join()

    daemon.start()
    api = api_of(daemon)
    assert len(set(accepted)) == len(accepted) >= BATCH * BATCHES // 2
    outcomes = api.wait(accepted, seconds=120)
    assert sorted(outcomes) == sorted(accepted)
    assert {outcome.state for outcome in outcomes.values()} == {api.words.JOB_STATE_SUCCEEDED}


def test_ids_are_never_reused_after_a_kill(daemon, api_of):
    before = api_of(daemon).submit_tasks("noop", 10)
    daemon.kill()
    daemon.start()
    assert min(api_of(daemon).submit_tasks("noop", 10)) > max(before)


def waiting_command(gate, go):
    """A shell line that reports its pid to the gate, then waits for a line from `go`."""
    return f"echo before; echo $$ >{gate.path}; read line <{go}; echo after $line; exit 3"


@pytest.fixture
def go(tmp_path):
    path = str(tmp_path / "go")
    os.mkfifo(path)
    return path


def release(path, text="released"):
    with open(path, "w", encoding="ascii") as pipe:
        pipe.write(text + "\n")


def part_of(outcome, kind):
    found = [part.data for part in outcome.result if part.content_type.startswith(f"application/x-futured-{kind}")]
    return b"".join(found).decode()


def test_a_running_command_survives_a_kill_of_the_daemon_and_is_adopted(daemon, api_of, gate, go):
    job = api_of(daemon).submit_command("sh", "-c", waiting_command(gate, go))
    pid = int(gate.line())
    daemon.kill()
    os.kill(pid, 0)

    daemon.start()
    api = api_of(daemon)
    os.kill(pid, 0)
    release(go)
    outcome = api.outcome(job)
    assert (outcome.cause.kind, outcome.cause.exit_code) == (api.words.CAUSE_KIND_COMMAND_EXIT, 3)
    assert part_of(outcome, "stdout") == "before\nafter released\n"
    assert api.get(job).attempts == 1


def run_while_the_daemon_is_away(daemon, api, gate, go):
    """Kills the daemon under a command, which then ends."""
    job = api.submit_command("sh", "-c", waiting_command(gate, go))
    pid = int(gate.line())
    daemon.kill()
    release(go)
    assert ended_within([pid], 20) == []
    return job


def test_a_command_that_ends_while_the_daemon_is_away_is_told_afterwards(daemon, api_of, gate, go):
    job = run_while_the_daemon_is_away(daemon, api_of(daemon), gate, go)
    daemon.start()
    api = api_of(daemon)
    outcome = api.outcome(job)
    assert outcome.cause.exit_code == 3
    assert part_of(outcome, "stdout") == "before\nafter released\n"
    assert api.get(job).attempts == 1


def test_a_result_is_readable_after_a_kill(daemon, api_of):
    api = api_of(daemon)
    job = api.submit_command("echo", "kept")
    first = api.outcome(job)
    daemon.kill()
    daemon.start()
    second = api_of(daemon).outcome(job)
    assert part_of(second, "stdout") == part_of(first, "stdout") == "kept\n"
    assert second.state == first.state


def test_a_terminated_daemon_loses_nothing_either(daemon, api_of):
    ids = api_of(daemon).submit_tasks("noop", 1000)
    assert daemon.kill(signal.SIGTERM) == 0
    daemon.start()
    assert len(api_of(daemon).wait(ids)) == 1000


def test_a_job_whose_worker_is_killed_runs_again(daemon, api, gate, go):
    job = api.submit_command("sh", "-c", waiting_command(gate, go))
    first = int(gate.line())
    worker = parent_of(first)
    os.kill(worker, signal.SIGKILL)
    second = int(gate.line())
    assert ended_within([first], 0) == [], "the second attempt began before the first was dead"
    assert second != first
    release(go)
    assert api.outcome(job).cause.exit_code == 3


def test_a_dead_spawner_takes_its_jobs_down_and_they_run_again(daemon, api_of, gate, go):
    job = api_of(daemon).submit_command("sh", "-c", waiting_command(gate, go))
    first = int(gate.line())
    for spawner in daemon.processes_running("futured-spawner"):
        os.kill(spawner, signal.SIGKILL)
    second = int(gate.line(seconds=60))
    assert ended_within([first], 0) == [], "the second attempt began before the first was dead"
    assert second != first
    release(go)
    assert api_of(daemon).outcome(job).cause.exit_code == 3
    assert "its workers ended with it, and what they ran runs again under the next" in daemon.log_text()


def test_a_cancel_under_way_is_answered_when_the_next_spawner_has_seen_the_job_dead(daemon, api_of, gate):
    api = api_of(daemon)
    job = api.submit_command("sh", "-c", f"trap '' TERM; echo $$ >{gate.path}; while :; do sleep 1000; done")
    pid = int(gate.line())
    (entry,) = api.cancel(job, grace_ms=600_000).entries
    assert entry.disposition == api.words.CANCEL_DISPOSITION_STOPPING
    asker = threading.Thread(target=lambda: api.cancel(job, wait=True))
    asker.start()
    for spawner in daemon.processes_running("futured-spawner"):
        os.kill(spawner, signal.SIGKILL)
    asker.join(60)
    assert ended_within([pid], 0) == []
    assert api.outcome(job).state == api.words.JOB_STATE_CANCELLED


COMMANDS = '[pools.command]\nmode = "command"\nsize = {}\n'


def test_what_a_smaller_pool_cannot_adopt_is_dead_before_it_runs_again(make_daemon, api_of, gate, go):
    daemon = make_daemon(COMMANDS.format(3)).start()
    api = api_of(daemon)
    jobs = [api.submit_command("sh", "-c", waiting_command(gate, go)) for _ in range(3)]
    first = [int(gate.line()) for _ in jobs]
    daemon.kill()
    with open(os.path.join(daemon.folder, "futured.toml"), "w", encoding="utf-8") as file:
        file.write(COMMANDS.format(1))

    daemon.start()
    for _ in jobs:
        assert int(gate.line()) not in first
        assert ended_within(first, 0) == [], "a second attempt began before the first was dead"
        release(go)
    outcomes = api_of(daemon).wait(jobs)
    assert [outcomes[job].cause.exit_code for job in jobs] == [3, 3, 3]


def test_a_pool_that_is_down_keeps_no_other_from_going_on(make_daemon, api_of, gate, go, tmp_path):
    broken = tmp_path / "broken.so"
    broken.write_text("no library")
    daemon = make_daemon(COMMANDS.format(1) + f'[pools.broken]\nmode = "process"\nplugins = ["{broken}"]\n').start()
    job = run_while_the_daemon_is_away(daemon, api_of(daemon), gate, go)
    daemon.start()
    assert api_of(daemon).outcome(job).cause.exit_code == 3
    assert "broken.so" in daemon.log_text()


def parent_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


# More than memory keeps: the last ones lie in the backlog, on disk.
BEYOND_MEMORY = 400_000


def test_jobs_on_disk_time_out_in_a_paused_queue_after_a_kill_too(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    api.call("Queues", "Pause", words.PauseQueueRequest(name="default"))
    packed = words.PackedItems(data=b"x" * 100 * 10_000, sizes=[100] * 10_000)

    def batches(timeouts):
        for ref in range(1, BEYOND_MEMORY // 10_000 + 1):
            spec = words.JobSpec(task="noop") if ref < BEYOND_MEMORY // 10_000 else words.JobSpec(task="noop", timeouts=timeouts)
            yield words.SubmitStreamRequest(client_ref=ref, spec=spec, packed=packed)

    def last_id(timeouts):
        last = 0
        for answer in api.both("Jobs", "SubmitStream", batches(timeouts)):
            for receipt in answer.receipts:
                assert not receipt.HasField("error"), receipt.error
                last = max(last, receipt.first_id + receipt.count - 1)
        return last

    last = last_id(words.Timeouts(queue_ms=1500))
    (timed_later,) = api.submit_tasks("noop", timeouts=words.Timeouts(total_ms=4000))
    assert api.get(last).state == words.JOB_STATE_QUEUED
    outcomes = api.wait([last - 9_999, last])
    assert {outcome.cause.timeout for outcome in outcomes.values()} == {words.TIMEOUT_KIND_QUEUE}
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    outcome = api.outcome(timed_later)
    assert (outcome.state, outcome.cause.timeout) == (words.JOB_STATE_TIMED_OUT, words.TIMEOUT_KIND_TOTAL)
    assert api.get(last - 10_000).state == words.JOB_STATE_QUEUED, "without a timeout it waits on"
