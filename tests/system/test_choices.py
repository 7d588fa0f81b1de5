"""Jobs chosen by a filter: listed, cancelled, retried."""
import os
import socket

import grpc
import pytest

DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


def refused(call, code, *names):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for name in names:
        assert name in caught.value.details(), caught.value.details()


def paused(api, name):
    words = api.words
    api.call("Queues", "Create", words.CreateQueueRequest(name=name))
    api.call("Queues", "Pause", words.PauseQueueRequest(name=name))
    return name


def cancel(api, wait=True, **fields):
    words = api.words
    request = words.CancelRequest(filter=words.JobFilter(**fields), wait=wait, reason="chosen")
    return api.call("Jobs", "Cancel", request)


def retry(api, **fields):
    return api.call("Jobs", "Retry", api.words.RetryRequest(filter=api.words.JobFilter(**fields)))


# ---- Cancel


def test_a_cancel_by_queue_ends_all_of_it_and_nothing_else(api):
    words = api.words
    nightly, other = paused(api, "nightly"), paused(api, "other")
    chosen = api.submit_tasks("noop", 2500, queue=nightly)
    left = api.submit_tasks("noop", 3, queue=other)
    told = cancel(api, queue=nightly)
    assert (told.cancelled, told.stopping, told.already_ended, told.not_found) == (2500, 0, 0, 0)
    assert {entry.id for entry in told.entries} == set(chosen)
    assert api.outcome(chosen[0]).cause.message == "cancelled: chosen"
    assert all(api.get(job).state == words.JOB_STATE_QUEUED for job in left)
    assert cancel(api, queue=nightly).cancelled == 0


def test_a_cancel_of_what_is_queued_leaves_what_runs(api, gate):
    words = api.words
    running = api.submit_command("sh", "-c", f"echo up >{gate.path}; exec sleep 600", name="mine")
    gate.line()
    while api.get(running).state != words.JOB_STATE_RUNNING:
        pass
    waiting = api.submit_tasks("noop", 2, queue=paused(api, "later"), name="mine")
    told = cancel(api, name="mine", states=[words.JOB_STATE_QUEUED])
    assert (told.cancelled, sorted(entry.id for entry in told.entries)) == (2, waiting)
    assert api.get(running).state == words.JOB_STATE_RUNNING
    told = cancel(api, name="mine", pool="command")
    assert [entry.id for entry in told.entries] == [running]
    assert api.outcome(running).state == words.JOB_STATE_CANCELLED


def test_a_cancel_that_would_mean_everything_or_nothing_is_refused_by_name(api):
    words = api.words
    refused(lambda: cancel(api), INVALID, "filter", "every job")
    refused(lambda: cancel(api, states=[words.JOB_STATE_FAILED]), INVALID, "filter.states[0]", "FAILED")
    refused(lambda: cancel(api, causes=[words.CAUSE_KIND_TIMEOUT]), INVALID, "filter.causes[0]")
    refused(lambda: cancel(api, labels={"a": "b"}), UNIMPLEMENTED, "filter.labels")
    refused(lambda: cancel(api, batch_id=1), grpc.StatusCode.NOT_FOUND, "filter.batch_id")
    both = words.CancelRequest(ids=[words.IdRange(first=1)], filter=words.JobFilter(queue="default"))
    refused(lambda: api.call("Jobs", "Cancel", both), INVALID, "filter", "ids")
    refused(lambda: api.call("Jobs", "Cancel", words.CancelRequest()), INVALID, "ids", "filter")


@pytest.fixture
def stranger(make_daemon, api_of, api_modules):
    """An Api of the owner, and one over TCP, of whom nothing is known."""
    from wire import Api

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    daemon = make_daemon()
    daemon.arguments += ["--listen", address]
    owner = api_of(daemon.start())
    unknown = Api(api_modules, daemon.socket)
    unknown.channel.close()
    unknown.channel = grpc.insecure_channel(address)
    yield owner, unknown
    unknown.close()


def test_a_filter_takes_the_callers_own_jobs_only(stranger):
    owner, unknown = stranger
    queue = paused(owner, "shared")
    owners = owner.submit_tasks("noop", 2, queue=queue)
    (own,) = unknown.submit_tasks("noop", queue=queue)
    assert [entry.id for entry in cancel(unknown, queue=queue).entries] == [own]
    refused(lambda: cancel(unknown, owner_uid=os.getuid()), DENIED, "filter.owner_uid")
    assert sorted(entry.id for entry in cancel(owner, queue=queue).entries) == owners


def test_fut_cancel_says_how_many_and_asks_nobody_who_is_no_terminal(daemon):
    daemon.fut("queue", "create", "nightly", check=True)
    daemon.fut("queue", "pause", "nightly", check=True)
    for _ in range(3):
        daemon.fut("submit", "--queue", "nightly", "--", "true", check=True)
    done = daemon.fut("cancel", "--queue", "nightly", "--state", "queued", check=True)
    assert done.stdout == "3 cancelled\n"
    assert daemon.fut_json("cancel", "--queue", "nightly", "--yes") == [{"cancelled": 0, "stopping": 0, "already_ended": 0}]
    for wrong in (["cancel"], ["cancel", "--yes"], ["cancel", "--queue", "q", "7"], ["cancel", "--state", "failed"]):
        assert daemon.fut(*wrong).returncode == 2, wrong


# ---- Retry


def test_a_retry_takes_what_did_not_succeed_once_and_the_oldest_first(api):
    words = api.words
    failed = api.submit_tasks("fail", 3, name="mine")
    good = api.submit_tasks("noop", 2, name="mine")
    others = api.submit_tasks("fail", 1)
    api.wait(failed + good + others)
    told = retry(api, name="mine")
    assert [entry.id for entry in told.entries] == failed
    assert (told.retried, told.refused, told.go_on_until_id) == (3, 0, 0)
    again = [entry.new_id for entry in told.entries]
    api.wait(again)
    told = retry(api, name="mine")  # of the new ones, for the old ones were retried
    assert [entry.id for entry in told.entries] == again
    refused(lambda: retry(api), INVALID, "filter")
    refused(lambda: retry(api, states=[words.JOB_STATE_SUCCEEDED]), INVALID, "filter.states[0]", "SUCCEEDED")
    assert list(retry(api, name="mine", states=[words.JOB_STATE_TIMED_OUT]).entries) == []


# ---- List


def test_a_list_may_be_oldest_first(api):
    words = api.words
    ids = api.submit_tasks("noop", 25, name="paged")
    api.wait(ids)

    def listed(**fields):
        seen, token = [], ""
        while True:
            request = words.ListJobsRequest(
                filter=words.JobFilter(name="paged", **fields), page_size=10, page_token=token, oldest_first=True)
            page = api.call("Jobs", "List", request)
            seen += [job.id for job in page.jobs]
            token = page.next_page_token
            if not token:
                return seen

    assert listed() == ids
    assert listed(ids=[words.IdRange(first=ids[3], last=ids[17])]) == ids[3:18]
    assert listed(states=[words.JOB_STATE_RUNNING]) == []


def test_a_list_may_be_of_one_pool(api, daemon):
    words = api.words
    command = api.submit_command("true")
    tasks = api.submit_tasks("noop", 2)
    api.wait([command, *tasks])

    def listed(pool):
        return [job.id for job in api.call("Jobs", "List", words.ListJobsRequest(filter=words.JobFilter(pool=pool))).jobs]

    assert listed("command") == [command]
    assert listed("default") == tasks[::-1]
    assert listed("nowhere") == []
    shown = daemon.fut_json("ls", "--pool", "default", "--oldest-first")
    assert [job["id"] for job in shown] == tasks
