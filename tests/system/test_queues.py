"""Queues: options, changes, draining, bounds, purging, deleting, and who goes to the front."""
import signal
import threading
import time

import grpc
import pytest

NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


def refused(call, code, *parts):
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    assert refusal.value.code() == code, refusal.value
    for part in parts:
        assert part in refusal.value.details(), refusal.value.details()
    return refusal.value


def create(api, name, **options):
    words = api.words
    return api.call("Queues", "Create", words.CreateQueueRequest(name=name, options=words.QueueOptions(**options)))


def update(api, name, *fields, **options):
    words = api.words
    request = words.UpdateQueueRequest(name=name, options=words.QueueOptions(**options), fields=fields)
    return api.call("Queues", "Update", request)


def get(api, name):
    return api.call("Queues", "Get", api.words.GetQueueRequest(name=name))


def named(api, verb, name):
    return api.call("Queues", verb, getattr(api.words, f"{verb}QueueRequest")(name=name))


def paused(api, name, **options):
    create(api, name, **options)
    return named(api, "Pause", name)


def restart(daemon):
    daemon.kill(signal.SIGKILL)
    daemon.start()


def test_options_are_kept_over_a_restart_and_changed_by_name(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    options = dict(
        concurrency_max=3, rate=words.RateLimit(rate=50, per_ms=2000, burst=7), queued_jobs_max=100,
        pools=["default", ""], fair=True, default_retries=words.Retries(max_attempts=3, jitter=0.5),
        default_timeouts=words.Timeouts(run_ms=30_000), default_retention_ms=60_000,
    )
    made = create(api, "full", **options)
    assert made.created_us > 0 and made.options.rate.burst == 7
    assert create(api, "full", **options).created_us == made.created_us
    refused(lambda: create(api, "full", concurrency_max=4), grpc.StatusCode.ALREADY_EXISTS, '"full"', "other options")
    changed = update(api, "full", "queued_jobs_max", "rate", queued_jobs_max=200)
    assert changed.options.queued_jobs_max == 200
    assert not changed.options.HasField("rate")
    assert changed.options.concurrency_max == 3
    restart(daemon)
    kept = get(api_of(daemon), "full")
    assert kept.options == changed.options and kept.created_us == made.created_us


def test_what_is_wrong_is_refused_by_name(api):
    words = api.words
    refused(lambda: create(api, "q", rate=words.RateLimit(rate=-1)), INVALID, "options.rate.rate")
    refused(lambda: create(api, "q", rate=words.RateLimit(rate=float("nan"))), INVALID, "options.rate.rate")
    refused(lambda: create(api, "q", concurrency_max=2**31), EXHAUSTED, "options.concurrency_max")
    refused(lambda: create(api, "q", pools=["none"]), NOT_FOUND, "options.pools", '"none"')
    refused(lambda: get(api, "q"), NOT_FOUND, '"q"')
    create(api, "q")
    refused(lambda: update(api, "q", "speed"), INVALID, "fields[0]", "speed")
    refused(lambda: update(api, "q"), INVALID, "fields")
    refused(lambda: update(api, "q", "rate", queued_jobs_max=1), INVALID, "options.queued_jobs_max")
    refused(lambda: update(api, "none", "rate"), NOT_FOUND, '"none"')


def test_jobs_get_what_their_queue_gives(api):
    words = api.words
    create(api, "patient", default_retries=words.Retries(max_attempts=3), default_timeouts=words.Timeouts(run_ms=500))
    (job,) = [api.submit_command("sh", "-c", "exec sleep 1000", queue="patient")]
    outcome = api.wait([job])[job]
    assert outcome.state == words.JOB_STATE_TIMED_OUT and outcome.attempts == 3
    update(api, "patient", "default_retries")
    later = api.submit_command("false", queue="patient")
    own = api.submit_command("false", queue="patient", retries=words.Retries(max_attempts=2))
    outcomes = api.wait([later, own])
    assert outcomes[later].attempts == 1 and outcomes[own].attempts == 2


def test_a_draining_queue_finishes_what_it_has(daemon, api_of):
    api = api_of(daemon)
    paused(api, "old")
    job = api.submit_command("true", queue="old")
    assert named(api, "Drain", "old").draining
    refused(lambda: api.submit_command("true", queue="old"), PRECONDITION, '"old"', "draining", "resume")
    restart(daemon)
    api = api_of(daemon)
    assert get(api, "old").draining and get(api, "old").paused
    refused(lambda: api.submit_command("true", queue="old"), PRECONDITION, "draining")
    refused(lambda: named(api, "Delete", "old"), PRECONDITION, '"old"', "1 jobs")
    assert not named(api, "Resume", "old").draining
    assert api.wait([job])[job].state == api.words.JOB_STATE_SUCCEEDED
    assert api.wait([api.submit_command("true", queue="old")])


def test_a_full_queue_refuses_and_says_when_to_come_again(daemon, api_of):
    api = api_of(daemon)
    paused(api, "small", queued_jobs_max=3)
    api.submit_tasks("noop", 2, queue="small")
    refusal = refused(lambda: api.submit_tasks("noop", 2, queue="small"), EXHAUSTED, '"small"', "queued_jobs_max of 3")
    assert int(dict(refusal.trailing_metadata())["futured-retry-after-ms"]) > 0
    refused(lambda: api.submit_tasks("noop", 4, queue="small"), INVALID, "never fit")
    restart(daemon)
    api = api_of(daemon)
    refused(lambda: api.submit_tasks("noop", 2, queue="small"), EXHAUSTED, "it has 2 jobs")
    ids = list(api.submit_tasks("noop", 1, queue="small"))
    named(api, "Resume", "small")
    api.wait(ids)


def test_bytes_are_counted_over_a_restart(daemon, api_of):
    api = api_of(daemon)
    paused(api, "small", queued_bytes_max=100_000)
    api.submit_tasks("echo", 3, data=b"x" * 30_000, queue="small")
    before = get(api, "small").queued_bytes
    assert 90_000 <= before < 100_000
    restart(daemon)
    api = api_of(daemon)
    assert get(api, "small").queued_bytes == before
    refused(lambda: api.submit_tasks("echo", 1, data=b"x" * 30_000, queue="small"), EXHAUSTED, "queued_bytes_max")
    named(api, "Purge", "small")
    assert get(api, "small").queued_bytes == 0


def test_a_stream_into_a_full_queue_is_slowed_and_loses_nothing(api):
    words = api.words
    paused(api, "small", queued_jobs_max=20)
    count = 50

    def requests():
        for number in range(count):
            spec = words.JobSpec(task="noop", queue="small")
            yield words.SubmitStreamRequest(client_ref=number + 1, spec=spec, items=[api.task_item()] * 10)

    receipts = []

    def read():
        for response in api.both("Jobs", "SubmitStream", requests(), seconds=60):
            receipts.extend(response.receipts)

    reader = threading.Thread(target=read)
    reader.start()
    deadline = time.monotonic() + 20
    while get(api, "small").queued < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert get(api, "small").queued == 20
    named(api, "Resume", "small")
    reader.join(60)
    assert not reader.is_alive()
    assert [receipt.client_ref for receipt in receipts] == list(range(1, count + 1))
    assert all(not receipt.HasField("error") and receipt.count == 10 for receipt in receipts)
    ids = [id for receipt in receipts for id in range(receipt.first_id, receipt.first_id + 10)]
    assert len(api.wait(ids)) == 10 * count


def test_front_goes_first_over_a_restart(make_daemon, api_of, tmp_path):
    daemon = make_daemon('[pools.command]\nmode = "command"\nsize = 1\n').start()
    api = api_of(daemon)
    paused(api, "line", pools=["command"])
    said = tmp_path / "said"
    for word, front in (("a", False), ("b", False), ("c", True), ("d", True)):
        api.submit_command("sh", "-c", f"echo {word} >>{said}", queue="line", front=front)
    restart(daemon)
    api = api_of(daemon)
    ids = [job.id for job in api.call("Jobs", "List", api.words.ListJobsRequest()).jobs]
    named(api, "Resume", "line")
    api.wait(ids)
    assert said.read_text().split() == ["d", "c", "a", "b"]


def test_a_purge_cancels_what_is_queued_however_much(daemon, api_of):
    api = api_of(daemon)
    paused(api, "bulk")
    last = 0
    for _ in range(10):
        last = list(api.submit_tasks("noop", 2000, data=b"x" * 5000, queue="bulk"))[-1]
    purged = named(api, "Purge", "bulk")
    assert purged.cancelled == 20_000
    queue = get(api, "bulk")
    assert queue.queued == 0 and queue.queued_bytes == 0 and queue.cancelled == 20_000
    outcome = api.wait([last])[last]
    assert outcome.state == api.words.JOB_STATE_CANCELLED and "purged" in outcome.cause.message
    named(api, "Delete", "bulk")
    refused(lambda: get(api, "bulk"), NOT_FOUND, '"bulk"')
    assert api.get(last).state == api.words.JOB_STATE_CANCELLED, "an ended job outlives its queue"
    restart(daemon)
    refused(lambda: get(api_of(daemon), "bulk"), NOT_FOUND, '"bulk"')


def test_the_default_queue_is_not_deleted(api):
    refused(lambda: named(api, "Delete", "default"), PRECONDITION, "always exists")


def test_figures(api):
    create(api, "busy")
    ids = [api.submit_command("true", queue="busy"), api.submit_command("false", queue="busy")]
    api.wait(ids)
    queue = get(api, "busy")
    assert (queue.succeeded, queue.failed, queue.queued, queue.running) == (1, 1, 0, 0)
    assert 0 <= queue.wait_p50_us <= queue.wait_p99_us < 60_000_000


def test_fut_queue(daemon):
    made = daemon.fut_json("queue", "create", "mail", "--rate", "10/s", "--burst", "5", "--max-jobs", "100",
                           "--max-bytes", "1GiB", "--retries", "3", "--run-timeout", "30s", "--pool", "command")[0]
    assert made["options"]["rate"] == {"starts": 10, "per_ms": 1000, "burst": 5}
    assert made["options"]["queued_bytes_max"] == 1 << 30
    assert made["options"]["default_retries"]["max_attempts"] == 3
    changed = daemon.fut_json("queue", "set", "mail", "--rate", "none", "--backoff", "2s")[0]["options"]
    assert changed["rate"] is None and changed["queued_jobs_max"] == 100
    assert changed["default_retries"]["max_attempts"] == 3 and changed["default_retries"]["backoff_ms"] == 2000
    shown = daemon.fut("queue", "show", "mail").stdout
    assert "30 s" in shown and "1.0 GiB" in shown
    assert daemon.fut_json("queue", "drain", "mail")[0]["draining"] is True
    assert daemon.fut_json("queue", "resume", "mail")[0]["draining"] is False
    assert daemon.fut_json("queue", "purge", "mail")[0]["cancelled"] == 0
    assert daemon.fut("queue", "rm", "mail").returncode == 0
    gone = daemon.fut("queue", "show", "mail")
    assert gone.returncode == 4 and '"mail"' in gone.stderr
    nothing = daemon.fut("queue", "set", "default")
    assert nothing.returncode == 2 and "--max-jobs" in nothing.stderr
    bad = daemon.fut("queue", "set", "default", "--rate", "fast")
    assert bad.returncode == 2 and "--rate" in bad.stderr
