"""Moving jobs to another queue, ageing, and what a queue gives its jobs of retries."""
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


def create(api, name, **options):
    words = api.words
    return api.call("Queues", "Create", words.CreateQueueRequest(name=name, options=words.QueueOptions(**options)))


def get(api, name):
    return api.call("Queues", "Get", api.words.GetQueueRequest(name=name))


def named(api, verb, name):
    return api.call("Queues", verb, getattr(api.words, f"{verb}QueueRequest")(name=name))


def paused(api, name, **options):
    create(api, name, **options)
    return named(api, "Pause", name)


def move(api, to, ids=(), source=""):
    words = api.words
    ranges = [words.IdRange(first=first, last=last) for first, last in ids]
    return api.call("Queues", "Move", words.MoveJobsRequest(ids=ranges, from_queue=source, to_queue=to))


def restart(daemon):
    daemon.kill(signal.SIGKILL)
    daemon.start()


def in_queue(api, name):
    words = api.words
    request = words.ListJobsRequest(filter=words.JobFilter(queue=name), page_size=1000)
    return sorted(job.id for job in api.call("Jobs", "List", request).jobs)


def test_jobs_of_every_kind_go_and_outlive_a_kill(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    paused(api, "from")
    paused(api, "to")
    ready = list(api.submit_tasks("noop", 3, queue="from"))
    (delayed,) = api.submit_tasks("noop", queue="from", start_after_ms=3_600_000)
    (blocked,) = api.submit_tasks("noop", queue="from", dependencies=[words.Dependency(job_id=ready[0])])
    told = move(api, "to", [(ready[0], blocked)])
    assert told.moved == 5 and not told.entries
    assert (get(api, "from").queued, get(api, "from").scheduled, get(api, "from").blocked) == (0, 0, 0)
    assert (get(api, "to").queued, get(api, "to").scheduled, get(api, "to").blocked) == (3, 1, 1)
    assert get(api, "from").queued_bytes == 0
    restart(daemon)
    api = api_of(daemon)
    assert (get(api, "to").queued, get(api, "to").scheduled, get(api, "to").blocked) == (3, 1, 1)
    assert in_queue(api, "to") == [*ready, delayed, blocked] and in_queue(api, "from") == []
    assert api.get(delayed).state == api.words.JOB_STATE_SCHEDULED
    named(api, "Delete", "from")
    named(api, "Resume", "to")
    outcomes = api.wait([*ready, blocked])
    assert all(outcome.state == api.words.JOB_STATE_SUCCEEDED for outcome in outcomes.values())


def test_a_long_queue_goes_whole_and_in_order(daemon, api_of):
    api = api_of(daemon)
    paused(api, "long")
    paused(api, "there")
    ids = []
    for _ in range(6):
        ids += list(api.submit_tasks("noop", 2000, data=b"x" * 100, queue="long"))
    told = move(api, "there", source="long")
    assert told.moved == len(ids) and told.running == 0
    assert get(api, "there").queued == len(ids) and get(api, "long").queued == 0
    restart(daemon)
    api = api_of(daemon)
    assert get(api, "there").queued == len(ids) and get(api, "long").queued == 0
    named(api, "Resume", "there")
    api.wait(ids)
    assert get(api, "there").succeeded == len(ids)


def test_a_kill_in_the_middle_leaves_each_job_in_one_queue(daemon, api_of):
    api = api_of(daemon)
    paused(api, "here")
    paused(api, "there")
    ids = []
    for _ in range(10):
        ids += list(api.submit_tasks("noop", 2000, queue="here"))

    def ask():
        try:
            move(api, "there", source="here")
        except grpc.RpcError:
            pass  # its daemon is gone

    asking = threading.Thread(target=ask)
    asking.start()
    other = api_of(daemon)
    deadline = time.monotonic() + 60
    while get(other, "there").queued == 0 and time.monotonic() < deadline:
        pass
    restart(daemon)
    asking.join()
    api = api_of(daemon)
    assert get(api, "here").queued + get(api, "there").queued == len(ids)
    named(api, "Resume", "here")
    named(api, "Resume", "there")
    outcomes = api.wait(ids)
    assert all(outcome.state == api.words.JOB_STATE_SUCCEEDED for outcome in outcomes.values())
    assert get(api, "here").succeeded + get(api, "there").succeeded == len(ids)


def test_what_runs_stays_and_the_others_are_told(api):
    words = api.words
    create(api, "busy")
    paused(api, "away")
    running = api.submit_command("sh", "-c", "exec sleep 1000", queue="busy")
    deadline = time.monotonic() + 60
    while api.get(running).state != words.JOB_STATE_RUNNING and time.monotonic() < deadline:
        time.sleep(0.01)
    ended = api.submit_command("true", queue="busy")
    api.wait([ended])
    (there,) = api.submit_tasks("noop", queue="away")
    told = move(api, "away", [(running, there), (9_999_999, 9_999_999)])
    assert (told.moved, told.running, told.already_ended, told.already_there, told.not_found) == (0, 1, 1, 1, 1)
    said = {entry.id: entry.disposition for entry in told.entries}
    assert said == {
        running: words.MOVE_DISPOSITION_RUNNING,
        ended: words.MOVE_DISPOSITION_ALREADY_ENDED,
        there: words.MOVE_DISPOSITION_ALREADY_THERE,
        9_999_999: words.MOVE_DISPOSITION_NOT_FOUND,
    }
    api.call("Jobs", "Cancel", words.CancelRequest(ids=[words.IdRange(first=running, last=running)], kill_at_once=True))


def test_a_bound_and_wrong_requests_are_refused(api):
    paused(api, "a")
    paused(api, "small", queued_jobs_max=2)
    paused(api, "picky", pools=["command"])
    ids = list(api.submit_tasks("noop", 3, queue="a"))
    whole = [(ids[0], ids[-1])]
    refused(lambda: move(api, "small", whole), EXHAUSTED, '"small"', "queued_jobs_max of 2")
    assert get(api, "small").queued == 0 and get(api, "a").queued == 3
    refused(lambda: move(api, "picky", whole), PRECONDITION, '"picky"', '"default"')
    refused(lambda: move(api, "none", whole), NOT_FOUND, '"none"')
    refused(lambda: move(api, "a", source="none"), NOT_FOUND, '"none"')
    refused(lambda: move(api, "a", source="a"), INVALID, "to_queue")
    refused(lambda: move(api, "a"), INVALID, "ids")
    refused(lambda: move(api, "", whole), INVALID, "to_queue")
    refused(lambda: move(api, "a", whole, source="small"), INVALID, "from_queue")
    named(api, "Drain", "small")
    refused(lambda: move(api, "small", whole[:1]), PRECONDITION, "draining")
    assert move(api, "a", source="small").moved == 0


def test_a_later_step_that_is_refused_is_told_with_what_was_moved(api):
    paused(api, "many")
    paused(api, "tight", queued_jobs_max=1500)
    api.submit_tasks("noop", 2000, queue="many")
    told = move(api, "tight", source="many")
    assert told.moved == 1000 and "queued_jobs_max of 1500" in told.refused.message
    assert get(api, "tight").queued == 1000 and get(api, "many").queued == 1000


def test_fut_moves(daemon):
    daemon.fut("queue", "create", "x", check=True)
    daemon.fut("queue", "pause", "x", check=True)
    daemon.fut("queue", "create", "y", check=True)
    daemon.fut("queue", "pause", "y", check=True)
    ids = [daemon.fut("submit", "-q", "x", "--", "true", check=True).stdout.strip() for _ in range(3)]
    assert daemon.fut("mv", ids[0], "--to", "y", check=True).stdout == "1 moved\n"
    told = daemon.fut_json("queue", "move", "x", "y")[0]
    assert told["moved"] == 2 and told["refused"] == ""
    unknown = daemon.fut("mv", "999999", "--to", "x")
    assert unknown.returncode == 4 and "999999" in unknown.stderr and "not found" in unknown.stderr
    nowhere = daemon.fut("mv", ids[0], "--to", "nowhere")
    assert nowhere.returncode == 4 and '"nowhere"' in nowhere.stderr
    shown = daemon.fut("show", ids[0], check=True).stdout
    assert " y" in shown


def test_ageing_lets_nobody_starve(daemon, api_of):
    """One urgent job after the other is there all the time; the one that is not comes up by waiting."""
    made = daemon.fut_json("queue", "create", "aged", "--discipline", "priority", "--ageing", "100ms",
                           "--concurrency", "1")[0]
    assert made["options"]["ageing_ms"] == 100
    api = api_of(daemon)
    words = api.words
    named(api, "Pause", "aged")
    low = api.submit_command("true", queue="aged")
    flood = [api.submit_command("sleep", "0.02", queue="aged", priority=3) for _ in range(5)]
    named(api, "Resume", "aged")
    deadline = time.monotonic() + 60
    while not api.get(low).state == words.JOB_STATE_SUCCEEDED:
        assert time.monotonic() < deadline, "it starves"
        if get(api, "aged").queued < 5:
            flood.append(api.submit_command("sleep", "0.02", queue="aged", priority=3))
    busy = daemon.fut("queue", "set", "aged", "--ageing", "1s")
    if get(api, "aged").queued:
        assert busy.returncode == 4 and "--ageing" in busy.stderr
    api.wait(flood)
    restart(daemon)
    assert daemon.fut_json("queue", "set", "aged", "--ageing", "1s")[0]["options"]["ageing_ms"] == 1000
    wrong = daemon.fut("queue", "create", "plain", "--ageing", "1s")
    assert wrong.returncode == 4 and "fifo" in wrong.stderr


def test_a_queue_says_which_errors_are_tried_again(daemon, api_of):
    made = daemon.fut_json("queue", "create", "choosy", "--retries", "3", "--retry-only", "exit:75")[0]
    assert made["options"]["default_retries"]["only_classes"] == ["exit:75"]
    restart(daemon)
    api = api_of(daemon)
    assert list(get(api, "choosy").options.default_retries.only_classes) == ["exit:75"]
    tried = api.submit_command("sh", "-c", "exit 75", queue="choosy")
    once = api.submit_command("sh", "-c", "exit 76", queue="choosy")
    own = api.submit_command("sh", "-c", "exit 76", queue="choosy", retries={"max_attempts": 2, "only_classes": ["exit:76"]})
    outcomes = api.wait([tried, once, own])
    assert [outcomes[job].attempts for job in (tried, once, own)] == [3, 1, 2]
    memory = api.words.Retries(max_attempts=3, memory_factor=2, memory_bytes_max=1 << 30)
    create(api, "hungry", default_retries=memory)
    job = api.submit_command("true", queue="hungry")  # its pool has no memory_max: the queue's factor is left out
    assert api.wait([job])[job].state == api.words.JOB_STATE_SUCCEEDED


def test_a_weight_of_nothing_is_refused(daemon):
    for verb in ("create", "set"):
        none = daemon.fut("queue", verb, "default" if verb == "set" else "w", "--weight", "0")
        assert none.returncode == 2 and "--weight" in none.stderr and "pause" in none.stderr
