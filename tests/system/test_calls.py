"""The calls of the API one by one: lists, waits, reads, queues, and who may do what."""
import json
import os
import socket

import grpc
import pytest

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
ONE_WORKER = '[pools.command]\nmode = "command"\nsize = 1\n'


def refused(call, code, *names):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for name in names:
        assert name in caught.value.details(), caught.value.details()


def ranges(api, *jobs):
    return [api.words.IdRange(first=job) for job in jobs]


def ids_of(answers):
    told = []
    for answer in answers:
        told += [outcome.id for outcome in answer.outcomes]
        for packed in answer.packed:
            offsets = packed.id_offsets or range(packed.count)
            told += [packed.first_id + offset for offset in offsets]
    return told


def held(api, gate):
    """A command that runs until it is cancelled, and that the daemon knows to run."""
    job = api.submit_command("sh", "-c", f"echo up >{gate.path}; exec sleep 1000")
    assert gate.line() == "up"
    await_state(api, job, api.words.JOB_STATE_RUNNING)
    return job


def await_state(api, job, state):
    for _ in range(10_000):
        if api.get(job).state == state:
            return
    raise AssertionError(f"job {job} is {api.get(job).state}, not {state}")


def end(api, *jobs):
    words = api.words
    api.call("Jobs", "Cancel", words.CancelRequest(ids=ranges(api, *jobs), kill_at_once=True, wait=True))


# ---- Waiting


def test_every_outcome_of_a_wait_comes_once_however_it_ended(api):
    words = api.words
    ids = api.submit_tasks("noop", 3000)
    failing = api.submit_command("false")
    asked = [words.IdRange(first=ids[0], last=ids[-1]), words.IdRange(first=ids[10], last=ids[20])]
    asked += ranges(api, failing)
    for mode in (words.WAIT_MODE_ALL, words.WAIT_MODE_AS_COMPLETED):
        answers = list(api.stream("Jobs", "Wait", words.WaitRequest(ids=asked, mode=mode)))
        assert sorted(ids_of(answers)) == ids + [failing]
        assert answers[-1].end == words.WAIT_END_SATISFIED and answers[-1].remaining == 0
        assert not any(answer.end for answer in answers[:-1])


def test_the_first_failure_ends_a_wait_for_it(api, gate):
    words = api.words
    slow = held(api, gate)
    bad = api.submit_command("false")
    request = words.WaitRequest(ids=ranges(api, slow, bad), mode=words.WAIT_MODE_FIRST_FAILURE)
    answers = list(api.stream("Jobs", "Wait", request))
    assert ids_of(answers) == [bad]
    assert (answers[-1].end, answers[-1].remaining) == (words.WAIT_END_SATISFIED, 1)
    end(api, slow)


def test_outcomes_come_as_jobs_complete(api, gate):
    words = api.words
    slow = held(api, gate)
    quick = api.submit_command("true")
    request = words.WaitRequest(ids=ranges(api, slow, quick), mode=words.WAIT_MODE_AS_COMPLETED)
    stream = api.stream("Jobs", "Wait", request)
    assert ids_of([next(stream)]) == [quick]
    end(api, slow)
    assert ids_of(list(stream)) == [slow]


def test_what_has_ended_is_told_however_short_the_timeout(api, gate):
    words = api.words
    slow = held(api, gate)
    done = api.submit_command("true")
    api.wait([done])
    answers = list(api.stream("Jobs", "Wait", words.WaitRequest(ids=ranges(api, slow, done), timeout_ms=1)))
    assert ids_of(answers) == [done]
    assert answers[-1].end == words.WAIT_END_TIMED_OUT
    end(api, slow)


def test_results_are_left_out_when_nobody_wants_them(api):
    words = api.words
    (job,) = api.submit_tasks("echo", data=b"abc")
    request = words.WaitRequest(ids=ranges(api, job), results=words.RESULT_DELIVERY_NONE)
    (answer,) = api.stream("Jobs", "Wait", request)
    (outcome,) = answer.outcomes
    assert outcome.result_elided and outcome.result_bytes == 3 and not outcome.result


def test_waits_that_cannot_be_right_are_refused(api):
    words = api.words
    for request, name in (
        (words.WaitRequest(ids=[words.IdRange(first=0)]), "ids[0].first"),
        (words.WaitRequest(ids=[words.IdRange(first=5, last=2)]), "ids[0].last"),
        (words.WaitRequest(ids=ranges(api, 1), timeout_ms=-1), "timeout_ms"),
        (words.WaitRequest(ids=ranges(api, 1), mode=17), "mode"),
    ):
        refused(lambda request=request: list(api.stream("Jobs", "Wait", request)), INVALID, name)
    many = words.WaitRequest(ids=[words.IdRange(first=1, last=1_000_001)])
    refused(lambda: list(api.stream("Jobs", "Wait", many)), EXHAUSTED, "ids[0]")


# ---- The stream


def test_a_half_closed_stream_ends_when_all_is_told(api):
    words = api.words
    batches = [
        words.SubmitStreamRequest(
            client_ref=number,
            spec=words.JobSpec(task="echo") if number == 1 else None,
            packed=words.PackedItems(data=b"ab" * 500, sizes=[2] * 500),
            deliver_outcomes=True,
        )
        for number in range(1, 21)
    ]
    order, receipted, told = [], set(), []
    for answer in api.both("Jobs", "SubmitStream", iter(batches)):
        for receipt in answer.receipts:
            assert not receipt.error.message
            order.append(receipt.client_ref)
            receipted.update(range(receipt.first_id, receipt.first_id + receipt.count))
        now = ids_of([answer])
        assert receipted.issuperset(now), "a receipt precedes the outcomes of its jobs"
        told += now
    assert order == list(range(1, 21))
    assert sorted(told) == sorted(receipted) and len(told) == 10_000


def test_a_batch_whose_outcomes_nobody_wants_is_receipted_all_the_same(api):
    words = api.words
    batch = words.SubmitStreamRequest(
        client_ref=7, spec=words.JobSpec(task="noop"), packed=words.PackedItems(sizes=[0] * 10_000)
    )
    answers = list(api.both("Jobs", "SubmitStream", iter([batch] * 10)))
    receipts = [receipt for answer in answers for receipt in answer.receipts]
    assert [receipt.count for receipt in receipts] == [10_000] * 10
    assert not ids_of(answers)
    first, last = receipts[0].first_id, receipts[-1].first_id + 9_999
    request = words.WaitRequest(ids=[words.IdRange(first=first, last=last)], results=words.RESULT_DELIVERY_NONE)
    assert len(ids_of(api.stream("Jobs", "Wait", request, seconds=120))) == 100_000


def test_a_refused_spec_holds_until_the_next_one(api):
    words = api.words
    item = api.task_item()
    messages = [
        words.SubmitStreamRequest(client_ref=1, spec=words.JobSpec(task="noop", priority=1, task_version="1"), items=[item]),
        words.SubmitStreamRequest(client_ref=2, items=[item]),
        words.SubmitStreamRequest(client_ref=3, spec=words.JobSpec(task="noop"), items=[item]),
        words.SubmitStreamRequest(client_ref=4, items=[item]),
    ]
    answers = list(api.both("Jobs", "SubmitStream", iter(messages)))
    receipts = [receipt for answer in answers for receipt in answer.receipts]
    assert [receipt.client_ref for receipt in receipts] == [1, 2, 3, 4]
    assert [receipt.error.field for receipt in receipts] == ["spec.task_version"] * 2 + ["", ""]
    assert receipts[0].error.code == UNIMPLEMENTED.value[0]


def test_bytes_that_are_no_message_end_the_stream(api):
    stream = api.channel.stream_stream("/futured.v1.Jobs/SubmitStream")
    refused(lambda: list(stream(iter([b"\xff" * 100]), timeout=10)), INVALID, "SubmitStreamRequest")


def test_a_client_that_does_not_read_is_cut_off_and_its_jobs_go_on(api):
    """80 MiB of results that nobody takes are over the 64 MiB that are kept for a stream."""
    words = api.words
    data = b"x" * 16_000
    batches = [
        words.SubmitStreamRequest(
            client_ref=number,
            spec=words.JobSpec(task="echo"),
            packed=words.PackedItems(data=data * 100, sizes=[len(data)] * 100),
            deliver_outcomes=True,
        )
        for number in range(1, 71)
    ]
    stream = api.both("Jobs", "SubmitStream", iter(batches), seconds=120)
    receipted = []
    while len(receipted) < 7000:  # the receipts only: what comes with them is all that this client ever reads
        job = api.submit_command("true")
        api.wait([job])
        stats = api.call("Admin", "Stats", words.StatsRequest())
        if stats.succeeded >= 7000:
            break
    refused(lambda: [None for _ in stream], EXHAUSTED, "too slowly")
    stats = api.call("Admin", "Stats", words.StatsRequest())
    assert stats.succeeded >= 7000
    assert stats.counters["inbox_bytes"] == 0


def test_a_stopping_daemon_ends_its_streams(api, daemon):
    words = api.words
    waiting = api.stream("Jobs", "Wait", words.WaitRequest(ids=ranges(api, api.submit_command("sleep", "1000"))))
    ended = []

    def until_ended():
        yield words.SubmitStreamRequest(client_ref=1, spec=words.JobSpec(task="noop"), items=[api.task_item()])
        daemon.process.wait(30)  # the stream stays open for as long as the daemon lives

    stream = api.both("Jobs", "SubmitStream", until_ended())
    assert next(stream).receipts[0].count == 1
    api.call("Admin", "Shutdown", words.ShutdownRequest(spawner=True))
    for call in (waiting, stream):
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        ended.append(caught.value.code())
    assert ended == [grpc.StatusCode.UNAVAILABLE] * 2
    assert daemon.process.wait(30) == 0


# ---- Looking


def test_a_list_is_newest_first_and_comes_in_pages(api):
    words = api.words
    ids = api.submit_tasks("noop", 25, name="paged")
    api.wait(ids)
    seen, token = [], ""
    while True:
        request = words.ListJobsRequest(filter=words.JobFilter(name="paged"), page_size=10, page_token=token)
        page = api.call("Jobs", "List", request)
        seen += [job.id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(ids, reverse=True)


def test_filters_hold_together(api, gate):
    words = api.words
    running = held(api, gate)
    failed = api.submit_command("false", name="mine")
    done = api.submit_tasks("noop", 2, name="mine")
    api.wait([failed, *done])

    def listed(**fields):
        return [job.id for job in api.call("Jobs", "List", words.ListJobsRequest(filter=words.JobFilter(**fields))).jobs]

    assert listed(states=[words.JOB_STATE_RUNNING]) == [running]
    assert listed(states=[words.JOB_STATE_FAILED], name="mine") == [failed]
    assert listed(task="noop") == done[::-1]
    assert listed(ids=[words.IdRange(first=done[0])]) == [done[0]]
    assert listed(owner_uid=os.getuid() + 1) == []
    assert listed(states=[words.JOB_STATE_QUEUED]) == []
    assert listed(states=[words.JOB_STATE_RUNNING, words.JOB_STATE_FAILED]) == [failed, running]
    refused(lambda: listed(labels={"a": "b"}), UNIMPLEMENTED, "filter.labels")
    refused(lambda: listed(states=[99]), INVALID, "filter.states[0]")
    bad_token = words.ListJobsRequest(page_token="x")
    refused(lambda: api.call("Jobs", "List", bad_token), INVALID, "page_token")
    end(api, running)


def test_details_tell_the_spec_and_every_attempt(api):
    job = api.submit_command("sh", "-c", "echo no >&2; exit 3", retries={"max_attempts": 2}, name="twice")
    api.wait([job])
    told = api.get(job, details=True)
    assert [bytes(word) for word in told.command.argv][:2] == [b"sh", b"-c"]
    assert (told.spec.name, told.spec.retries.max_attempts, told.pool) == ("twice", 2, "command")
    assert [(attempt.number, attempt.cause.exit_code) for attempt in told.attempt_history] == [(1, 3), (2, 3)]
    assert told.submitted_us <= told.started_us <= told.finished_us


def test_why_names_what_a_job_waits_for(make_daemon, api_of, gate):
    api = api_of(make_daemon(ONE_WORKER).start())
    words = api.words

    def why(job):
        return api.call("Jobs", "Why", words.WhyRequest(id=job)).text

    running = held(api, gate)
    assert "running" in why(running) and "command/" in why(running)
    queued = api.submit_command("true")
    assert why(queued) == (
        'queued: waits until a worker of pool "command" is free: 1 worker for 1 queued job of queue "default"'
    )
    api.call("Queues", "Pause", words.PauseQueueRequest(name="default"))
    assert why(queued) == 'queued: waits for queue "default", which is paused: fut queue resume default frees it'
    api.call("Queues", "Resume", words.ResumeQueueRequest(name="default"))
    end(api, running)
    api.wait([queued])
    assert "SUCCEEDED" in why(queued)
    retrying = api.submit_command("false", retries={"max_attempts": 2, "backoff_ms": 60_000})
    await_state(api, retrying, words.JOB_STATE_SCHEDULED)
    assert "attempt 2" in why(retrying)
    while api.get(retrying).next_attempt_us == 0:  # known once the attempt is on disk
        assert api.get(retrying).state == words.JOB_STATE_SCHEDULED
    end(api, retrying)
    refused(lambda: why(987654), NOT_FOUND, "987654")


def test_why_tells_the_place_in_the_queue(make_daemon, api_of, gate):
    api = api_of(make_daemon(ONE_WORKER).start())
    words = api.words

    def place(job):
        answer = api.call("Jobs", "Why", words.WhyRequest(id=job))
        return answer.position, answer.position_estimated

    running = held(api, gate)
    jobs = [api.submit_command("true") for _ in range(3)]
    assert [place(job) for job in jobs] == [(1, False), (2, False), (3, False)]
    assert place(running) == (0, False)
    api.cancel(jobs[0], wait=True)
    assert [place(job) for job in jobs] == [(0, False), (1, False), (2, False)]
    end(api, running)
    api.wait(jobs)
    assert place(jobs[2]) == (0, False)


def test_results_can_be_read_in_part(api):
    words = api.words
    item = words.Item(parts=[words.Part(data=b"0123456789"), words.Part(data=b"x" * 3_000_000)])
    (job,) = api.submit([item], task="echo")
    outcome = api.outcome(job)
    assert outcome.result_elided and outcome.result_bytes == 3_000_010

    def read(**fields):
        return list(api.stream("Jobs", "GetResult", words.GetResultRequest(id=job, **fields)))

    whole = read()
    assert list(whole[0].part_sizes) == [10, 3_000_000] and not whole[0].outcome.result[0].data
    assert b"".join(piece.data for piece in whole if piece.part == 1) == b"x" * 3_000_000
    assert [piece.data for piece in read(part=0, begin=2, end=5)[1:]] == [b"234"]
    refused(lambda: read(part=2), INVALID, "part")
    refused(lambda: read(part=0, begin=5, end=11), INVALID, "end")


def test_the_result_of_a_job_that_runs_is_no_result_yet(api, gate):
    job = held(api, gate)
    request = api.words.GetResultRequest(id=job)
    refused(lambda: list(api.stream("Jobs", "GetResult", request)), PRECONDITION, str(job))
    end(api, job)


def test_output_is_read_from_an_offset_or_from_its_tail(api):
    words = api.words
    job = api.submit_command("sh", "-c", "echo 0123456789; echo err >&2")
    api.wait([job])

    def read(**fields):
        answers = list(api.stream("Jobs", "ReadOutput", words.ReadOutputRequest(id=job, **fields)))
        assert answers[-1].end and answers[-1].outcome.state == words.JOB_STATE_SUCCEEDED
        return b"".join(answer.data for answer in answers)

    assert read() == b"0123456789\nerr\n"
    assert read(kind=words.OUTPUT_KIND_STDERR) == b"err\n"
    assert read(kind=words.OUTPUT_KIND_STDOUT, stdout_offset=8) == b"89\n"
    assert read(kind=words.OUTPUT_KIND_STDOUT, tail_bytes=3) == b"89\n"
    refused(lambda: read(attempt=2), NOT_FOUND, "attempt 2")
    assert read(kind=words.OUTPUT_KIND_LOG) == b""
    refused(lambda: read(kind=9), INVALID, "kind", "9")


def test_a_follower_that_comes_late_gets_the_whole_output(api, gate, tmp_path):
    words = api.words
    go = str(tmp_path / "go")
    os.mkfifo(go)
    script = f"head -c 3000000 /dev/zero; echo up >{gate.path}; read line <{go}; echo end"
    job = api.submit_command("sh", "-c", script)
    assert gate.line() == "up"
    now = list(api.stream("Jobs", "ReadOutput", words.ReadOutputRequest(id=job)))
    assert now[-1].end and not now[-1].HasField("outcome")
    following = api.stream("Jobs", "ReadOutput", words.ReadOutputRequest(id=job, follow=True))
    answers = [next(following)]
    with open(go, "w", encoding="ascii") as pipe:
        pipe.write("go\n")
    answers += following
    assert b"".join(answer.data for answer in answers) == b"\0" * 3_000_000 + b"end\n"
    assert not any(answer.dropped_bytes for answer in now + answers)
    api.wait([job])
    whole = b"".join(answer.data for answer in api.stream("Jobs", "ReadOutput", words.ReadOutputRequest(id=job)))
    assert whole == b"\0" * 3_000_000 + b"end\n"


def test_of_a_running_job_only_the_last_attempt_is_read(api, gate):
    words = api.words
    script = f"echo $FUTURED_ATTEMPT; [ $FUTURED_ATTEMPT = 2 ] || exit 1; echo up >{gate.path}; exec sleep 1000"
    job = api.submit_command("sh", "-c", script, retries={"max_attempts": 2})
    assert gate.line() == "up"
    await_state(api, job, words.JOB_STATE_RUNNING)

    def read(**fields):
        return api.stream("Jobs", "ReadOutput", words.ReadOutputRequest(id=job, **fields))

    for other in (1, 99):
        refused(lambda: list(read(attempt=other)), NOT_FOUND, f"attempt {other} is not kept", "the last one, 2,")
    assert not list(read(attempt=2))[-1].HasField("outcome")
    first = next(read(attempt=1, follow=True))
    assert (first.attempt, first.data) == (2, b"2\n")
    never = read(attempt=3, follow=True)
    end(api, job)
    (last,) = never
    assert last.end and last.outcome.state == words.JOB_STATE_CANCELLED


# ---- Changing


def test_a_queue_keeps_its_order_and_can_be_paused(api):
    words = api.words
    options = words.QueueOptions(discipline=words.QUEUE_DISCIPLINE_LIFO)
    made = api.call("Queues", "Create", words.CreateQueueRequest(name="q", options=options))
    assert made.options.discipline == words.QUEUE_DISCIPLINE_LIFO
    again = api.call("Queues", "Create", words.CreateQueueRequest(name="q", options=options))
    assert again.name == "q"
    fifo = words.CreateQueueRequest(name="q", options=words.QueueOptions(discipline=words.QUEUE_DISCIPLINE_FIFO))
    refused(lambda: api.call("Queues", "Create", fifo), grpc.StatusCode.ALREADY_EXISTS, "q")
    ageing = words.CreateQueueRequest(name="r", options=words.QueueOptions(ageing_ms=2))
    refused(lambda: api.call("Queues", "Create", ageing), grpc.StatusCode.INVALID_ARGUMENT, "options.ageing_ms")
    refused(lambda: api.call("Queues", "Pause", words.PauseQueueRequest(name="none")), NOT_FOUND, "none")
    refused(lambda: api.call("Queues", "Move", words.MoveJobsRequest(to_queue="q")),
            grpc.StatusCode.INVALID_ARGUMENT, "ids")
    assert api.call("Queues", "Pause", words.PauseQueueRequest(name="q")).paused
    (job,) = api.submit_tasks("noop", queue="q")
    assert api.call("Queues", "Get", words.GetQueueRequest(name="q")).queued == 1
    assert not api.call("Queues", "Resume", words.ResumeQueueRequest(name="q")).paused
    api.wait([job])
    assert {"default", "q"} <= {queue.name for queue in api.call("Queues", "List", words.ListQueuesRequest()).queues}


def test_cancelling_many_says_what_became_of_each(make_daemon, api_of, gate):
    api = api_of(make_daemon(ONE_WORKER).start())
    words = api.words
    running = held(api, gate)
    (ended,) = api.submit_tasks("noop")
    api.wait([ended])
    api.call("Queues", "Pause", words.PauseQueueRequest(name="default"))  # or a worker might have been offered the next
    queued = [api.submit_command("true") for _ in range(5)]
    request = words.CancelRequest(ids=ranges(api, running, *queued, ended, 987654), reason="enough")
    answer = api.call("Jobs", "Cancel", request)
    assert (answer.stopping, answer.cancelled, answer.already_ended, answer.not_found) == (1, 5, 1, 1)
    assert len(answer.entries) == 8
    assert "enough" in api.outcome(queued[0]).cause.message
    end(api, running)
    assert api.outcome(running).state == words.JOB_STATE_CANCELLED
    refused(lambda: api.cancel(1, grace_ms=-1), INVALID, "grace_ms")
    refused(lambda: api.call("Jobs", "Cancel", words.CancelRequest()), INVALID, "ids")


def test_ten_thousand_queued_jobs_are_cancelled_in_one_call(api):
    words = api.words
    api.call("Queues", "Pause", words.PauseQueueRequest(name="default"))
    ids = api.submit_tasks("noop", 10_000)
    answer = api.call("Jobs", "Cancel", words.CancelRequest(ids=[words.IdRange(first=ids[0], last=ids[-1])]))
    assert answer.cancelled == 10_000


def test_what_has_not_ended_is_not_retried(api, gate):
    words = api.words
    running = held(api, gate)
    done = api.submit_command("sh", "-c", "cat; exit 2")
    api.wait([done])
    answer = api.call("Jobs", "Retry", words.RetryRequest(ids=ranges(api, running, done, 987654)))
    by_id = {entry.id: entry for entry in answer.entries}
    assert by_id[running].error.code == PRECONDITION.value[0]
    assert by_id[987654].error.code == NOT_FOUND.value[0]
    assert api.outcome(by_id[done].new_id).cause.exit_code == 2
    end(api, running)


# ---- Who asks


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
    unknown.fut = lambda *words: daemon.fut("--address", address, *words)
    yield owner, unknown
    unknown.close()


def test_who_cannot_be_known_may_look_but_not_touch(stranger, gate):
    owner, unknown = stranger
    words = owner.words
    assert unknown.info().your_uid == 65534
    job = held(owner, gate)
    assert unknown.get(job).state == words.JOB_STATE_RUNNING
    refused(lambda: unknown.cancel(job), DENIED, str(job))
    refused(lambda: unknown.call("Admin", "Shutdown", words.ShutdownRequest()), DENIED, "65534")
    end(owner, job)
    answer = unknown.call("Jobs", "Retry", words.RetryRequest(ids=ranges(owner, job)))
    assert answer.entries[0].error.code == DENIED.value[0]
    (own,) = unknown.submit_tasks("noop")
    assert owner.get(own).owner_uid == 65534


def test_fut_retries_of_all_that_failed_what_is_the_callers(stranger):
    owner, unknown = stranger
    (others,) = owner.submit_tasks("fail", data=b"of the owner")
    (own,) = unknown.submit_tasks("fail", data=b"of nobody known")
    owner.wait([others, own])
    done = unknown.fut("retry", "--failed", "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [own]


def test_only_loopback_is_listened_on(make_daemon):
    from private_daemon import DidNotStart

    daemon = make_daemon()
    daemon.arguments += ["--listen", "0.0.0.0:7711"]
    with pytest.raises(DidNotStart) as caught:
        daemon.start()
    assert "loopback" in caught.value.stderr


def test_a_second_daemon_cannot_take_the_socket(make_daemon, daemon, api):
    from private_daemon import DidNotStart

    second = make_daemon()
    second.arguments[second.arguments.index("--socket") + 1] = daemon.socket
    with pytest.raises(DidNotStart) as caught:
        second.start()
    assert daemon.socket in caught.value.stderr
    assert api.info().pid == daemon.process.pid


def test_the_daemon_tells_about_itself(api, daemon):
    words = api.words
    info = api.info()
    assert (info.pid, info.socket, info.state_dir) == (daemon.process.pid, daemon.socket, daemon.state)
    assert {pool.name for pool in info.pools} >= {"default", "command"}
    api.wait(api.submit_tasks("noop", 10))
    stats = api.call("Admin", "Stats", words.StatsRequest())
    assert stats.submitted >= 10 and stats.commits >= 1 and stats.rss_bytes > 0 and stats.database_bytes > 0
    text = api.call("Admin", "Debug", words.DebugRequest()).text
    assert set(text) == {"core", "pools", "store"}
    workers = api.call("Workers", "List", words.ListWorkersRequest(measure_memory=True)).workers
    assert workers and all(worker.pid > 0 and worker.rss_bytes > 0 for worker in workers)
    assert api.call("Segments", "List", words.ListSegmentsRequest()).bytes_max > 0
    refused(lambda: api.channel.unary_unary("/futured.v1.Jobs/Nonsense")(b"", timeout=10), UNIMPLEMENTED, "Jobs/Nonsense")
