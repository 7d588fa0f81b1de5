"""What people are told of stops under way, of workers with many jobs, and of the files of large payloads."""
import os
import time

import grpc
import pytest


def until_true(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not so within {seconds} s")


# ---- Stops


def test_a_stop_under_way_is_told_with_its_reason_and_its_end(api, daemon, gate):
    words = api.words
    script = f"trap '' TERM; echo up >{gate.path}; while :; do sleep 0.1; done"
    job = api.submit_command("sh", "-c", script)
    gate.line()
    until_true(lambda: api.get(job).state == words.JOB_STATE_RUNNING)
    assert not api.get(job).HasField("stop")
    assert "stopping" not in daemon.fut("show", job, check=True).stdout
    api.cancel(job, grace_ms=60_000, reason="wrong input")

    told = api.get(job)
    assert told.state == words.JOB_STATE_RUNNING
    assert (told.stop.why, told.stop.reason, told.stop.killed) == (words.CAUSE_KIND_CANCELLED, "wrong input", False)
    assert 55_000_000 <= told.stop.kill_at_us - told.stop.since_us <= 65_000_000
    shown = daemon.fut("show", job, check=True).stdout
    assert "stopping    since " in shown and "will be killed at " in shown and "wrong input" in shown
    (line,) = daemon.fut_json("show", job)
    assert line["stop"]["reason"] == "wrong input" and line["stop"]["kill_at_us"] > line["stop"]["since_us"]
    assert "RUNNING (stopping)" in daemon.fut("ls", check=True).stdout
    why = daemon.fut("why", job, check=True).stdout
    assert "stopping for" in why and "will be killed in" in why and "cancelled: wrong input" in why

    api.cancel(job, kill_at_once=True, wait=True)
    assert api.outcome(job).state == words.JOB_STATE_CANCELLED
    assert not api.get(job).HasField("stop")


def test_a_soft_timeout_under_way_is_told_too(api, gate):
    words = api.words
    script = f"trap '' TERM; echo up >{gate.path}; while :; do sleep 0.1; done"
    job = api.submit_command("sh", "-c", script, timeouts={"soft_ms": 300, "grace_ms": 60_000})
    gate.line()
    stop = until_true(lambda: api.get(job).HasField("stop") and api.get(job).stop)
    assert (stop.why, stop.timeout) == (words.CAUSE_KIND_TIMEOUT, words.TIMEOUT_KIND_SOFT)
    assert "soft_timeout" in api.call("Jobs", "Why", words.WhyRequest(id=job)).text
    api.cancel(job, kill_at_once=True, wait=True)


# ---- Workers


MANY = """
[pools.default]
mode = '{mode}'
size = 1
jobs_at_once = {most}
"""


@pytest.mark.parametrize("mode, most", [("thread", 4), ("async", 64)])
def test_a_worker_is_told_once_with_all_that_it_runs(make_daemon, api_of, mode, most):
    daemon = make_daemon(MANY.format(mode=mode, most=most)).start()
    api = api_of(daemon)
    words = api.words
    jobs = api.submit_tasks("sleep", 3, data=b"600")

    def worker_with_all():
        workers = api.call("Workers", "List", words.ListWorkersRequest(pool="default")).workers
        assert len(workers) == 1, workers
        return workers[0] if workers[0].jobs_running == len(jobs) else None

    worker = until_true(worker_with_all)
    assert worker.jobs_max == most
    assert list(worker.job_ids) == jobs
    (line,) = daemon.fut_json("worker", "ls", "--pool", "default")
    assert (line["jobs_running"], line["jobs_max"], line["job_ids"]) == (len(jobs), most, jobs)
    assert f"3 of {most}: {jobs[0]} {jobs[1]} {jobs[2]}" in daemon.fut("worker", "ls", check=True).stdout
    shown = daemon.fut("pool", "show", "default", check=True).stdout
    assert f"3 of {most} running" in shown
    assert len(daemon.fut_json("pool", "show", "default")[0]["worker_list"]) == 1
    for job in jobs:
        api.cancel(job, kill_at_once=True, wait=True)


# ---- Watch


def test_a_watch_from_the_start_tells_all_that_is_kept(api, daemon):
    words = api.words
    first = api.stream("Jobs", "Watch", words.WatchRequest(), seconds=60)
    next(first)  # recording begins
    job = api.submit_command("true")
    api.wait([job])
    states = []
    for answer in api.stream("Jobs", "Watch", words.WatchRequest(from_start=True), seconds=60):
        assert not answer.gap
        states += [event.job.state for event in answer.events if event.job.id == job]
        if words.JOB_STATE_SUCCEEDED in states:
            break
    assert states[0] == words.JOB_STATE_QUEUED
    lines = daemon.fut_json("watch", "--since", "0:0", "-n", "1")
    assert (lines[0]["id"], lines[0]["state"]) == (job, "QUEUED")
    with pytest.raises(grpc.RpcError) as caught:
        next(api.stream("Jobs", "Watch", words.WatchRequest(from_start=True, epoch=1, sequence=1), seconds=20))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "from_start" in caught.value.details()
    first.cancel()


def test_a_watch_of_no_queue_is_refused(api, daemon):
    request = api.words.WatchRequest(filter=api.words.JobFilter(queue="nosuch"))
    with pytest.raises(grpc.RpcError) as caught:
        list(api.stream("Jobs", "Watch", request, seconds=20))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND and '"nosuch"' in caught.value.details()
    done = daemon.fut("watch", "--queue", "nosuch", timeout=30)
    assert done.returncode == 4 and 'no queue "nosuch"' in done.stderr


# ---- Payload files


def test_stats_and_doctor_know_the_files_of_large_payloads(api, daemon):
    counters = api.call("Admin", "Stats", api.words.StatsRequest()).counters
    assert (counters["content_files"], counters["content_bytes"], counters["content_writable"]) == (0, 0, 1)
    (job,) = api.submit_tasks("noop", data=os.urandom(400 * 1024))
    api.wait([job])
    counters = api.call("Admin", "Stats", api.words.StatsRequest()).counters
    assert counters["content_files"] == 1 and counters["content_bytes"] >= 400 * 1024

    def findings():
        return [line for line in daemon.fut_json("doctor") if line["check"] == "payloads"]

    (found,) = findings()
    assert found["health"] == "ok" and "1 files" in found["found"]
    folder = os.path.join(daemon.state, "futured.db.files")
    for name in ("a" * 64 + ".part-0-1", "notes.txt"):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write("x")
    warnings = [line["found"] for line in findings() if line["health"] == "warning"]
    assert len(warnings) == 2 and "orphaned" in warnings[0] and "not futured's" in warnings[1]


# ---- More memory


@pytest.mark.parametrize("flags, words", [
    (["--retry-memory", "inf", "--retry-memory-max", "1GiB"], '--retry-memory: "inf" is no number above 1'),
    (["--retry-memory", "nan", "--retry-memory-max", "1GiB"], '--retry-memory: "nan" is no number above 1'),
    (["--retry-memory", "1e9", "--retry-memory-max", "1GiB"], "up to 100"),
    (["--retry-memory", "2", "--retry-memory-max", "5000TiB"], "--retry-memory-max: 5000TiB is over"),
])
def test_memory_that_no_machine_has_is_refused_as_a_wrong_command_line(daemon, flags, words):
    done = daemon.fut("submit", "--attempts", "2", *flags, "--", "true")
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
