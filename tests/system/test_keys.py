"""Idempotency keys: what is submitted again is the first job, whoever died meanwhile."""
import threading

import grpc
import pytest


def submit(api, items, key="", **spec):
    words = api.words
    request = words.SubmitRequest(spec=words.JobSpec(**spec), items=items, idempotency_key=key)
    return api.call("Jobs", "Submit", request)


def refused(call, code, *parts):
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    assert refusal.value.code() == code, refusal.value
    for part in parts:
        assert part in refusal.value.details()


def test_a_batch_with_a_key_is_accepted_once(daemon, api):
    items = [api.task_item(b"%d" % i) for i in range(20)]
    first = submit(api, items, key="nightly", task="echo")
    again = submit(api, items, key="nightly", task="echo", name="the options of the first one hold")
    assert (again.first_id, again.count, list(again.ids)) == (first.first_id, 20, [])
    assert list(first.old_items) == [] and list(again.old_items) == list(range(20))
    outcomes = api.wait(range(first.first_id, first.first_id + 20))
    assert outcomes[first.first_id + 7].result[0].data == b"7"
    found = api.call("Jobs", "Find", api.words.FindJobsRequest(idempotency_key="nightly"))
    assert (found.first_id, found.count) == (first.first_id, 20)


def test_items_have_keys_of_their_own(api):
    submit_keyed = lambda keys: submit(  # noqa: E731
        api, [api.task_item(key.encode(), idempotency_key=key) for key in keys], task="echo"
    )
    first = submit_keyed(["a", "b"])
    mixed = submit_keyed(["c", "a", "", "c"])
    made = [id for id in mixed.ids]
    assert made[1] == first.first_id
    assert made[0] == made[3] and len({*made}) == 3
    assert list(mixed.old_items) == [1, 3]
    assert {outcome.state for outcome in api.wait(sorted({*made})).values()} == {api.words.JOB_STATE_SUCCEEDED}
    found = api.call("Jobs", "Find", api.words.FindJobsRequest(idempotency_key="c"))
    assert (found.first_id, found.count) == (made[0], 1)


def test_a_key_with_other_work_is_refused_naming_both(api):
    already = grpc.StatusCode.ALREADY_EXISTS
    first = submit(api, [api.task_item(b"one")], key="k", task="echo").first_id
    named = ('"k"', f"job {first}", "fingerprint")
    refused(lambda: submit(api, [api.task_item(b"two")], key="k", task="echo"), already, *named)
    refused(lambda: submit(api, [api.task_item(b"one")] * 2, key="k", task="echo"), already, *named)
    refused(lambda: submit(api, [api.task_item(b"one")], key="k", task="noop"), already, *named)
    twice = [api.task_item(b"x", idempotency_key="t"), api.task_item(b"y", idempotency_key="t")]
    refused(lambda: submit(api, twice, task="echo"), already, "items[1].idempotency_key", "items[0].idempotency_key")


def test_bad_keys_are_refused_by_name(api):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    item = api.task_item(b"x", idempotency_key="k")
    refused(lambda: submit(api, [item], key="b", task="echo"), invalid, "idempotency_key", "items")
    refused(lambda: submit(api, [api.task_item(b"x")], key="k" * 129, task="echo"), invalid, "idempotency_key", "129")
    refused(lambda: submit(api, [api.task_item(b"x", idempotency_key="\n")], task="echo"), invalid,
            "items[0].idempotency_key")
    find = lambda key: api.call("Jobs", "Find", api.words.FindJobsRequest(idempotency_key=key))  # noqa: E731
    refused(lambda: find(""), invalid, "idempotency_key")
    refused(lambda: find("never used"), grpc.StatusCode.NOT_FOUND, "never used")


def test_a_stream_that_broke_is_replayed_without_doubles(daemon, api_of):
    """kill -9 in the middle of a stream of keyed batches: sent again from the start, each makes its jobs once."""
    api = api_of(daemon)
    words = api.words
    batches = 300
    spec = words.JobSpec(task="noop")

    def requests():
        for number in range(batches):
            yield words.SubmitStreamRequest(
                client_ref=number, spec=spec if number == 0 else None, idempotency_key=f"batch {number}",
                packed=words.PackedItems(data=b"%04d" % number * 50, sizes=[4] * 50),
            )

    receipts, half = {}, threading.Event()

    def read():
        try:
            for answer in api.both("Jobs", "SubmitStream", requests(), seconds=120):
                for receipt in answer.receipts:
                    receipts[receipt.client_ref] = receipt.first_id
                if len(receipts) > 20:
                    half.set()
        except grpc.RpcError:
            half.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert half.wait(60)
    daemon.kill()
    reader.join()

    daemon.start()
    api = api_of(daemon)
    final = {}
    for answer in api.both("Jobs", "SubmitStream", requests(), seconds=120):
        for receipt in answer.receipts:
            assert not receipt.error.message
            assert receipt.count == 50 and not receipt.ids
            final[receipt.client_ref] = receipt.first_id
    assert len(final) == batches
    assert {ref: final[ref] for ref in receipts} == receipts, "a receipted batch is the same batch again"
    ids = sorted(first + i for first in final.values() for i in range(50))
    assert len(set(ids)) == batches * 50
    assert len(api.wait(ids, seconds=120)) == batches * 50
    stored = api.call("Jobs", "List", words.ListJobsRequest(page_size=1000))
    assert min(job.id for job in stored.jobs) >= min(ids)
    listed, token = [job.id for job in stored.jobs], stored.next_page_token
    while token:
        page = api.call("Jobs", "List", words.ListJobsRequest(page_size=1000, page_token=token))
        listed += [job.id for job in page.jobs]
        token = page.next_page_token
    assert sorted(listed) == ids, "no batch made its jobs twice"


def test_outcomes_of_old_jobs_are_taken_from_wait(api):
    words = api.words
    batch = words.SubmitStreamRequest(
        spec=words.JobSpec(task="echo"), deliver_outcomes=True, idempotency_key="k",
        packed=words.PackedItems(data=b"ab", sizes=[1, 1]),
    )
    told = []
    for _ in range(2):
        answers = list(api.both("Jobs", "SubmitStream", iter([batch])))
        told.append(([r for a in answers for r in a.receipts], sum(p.count for a in answers for p in a.packed)))
    (first, told_first), (second, told_second) = told
    assert first[0].first_id == second[0].first_id
    assert (told_first, told_second) == (2, 0)
    assert list(second[0].old_items) == [0, 1]


def test_two_clients_at_once_make_one_job(daemon, api_of):
    ids, clients = [], [api_of(daemon) for _ in range(4)]

    def ask(api):
        for number in range(100):
            ids.append((number, submit(api, [api.task_item(b"x")], key=f"key {number}", task="noop").first_id))

    threads = [threading.Thread(target=ask, args=(api,)) for api in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 400 and len(set(ids)) == 100


def test_fut_submits_a_key_once_and_finds_it(daemon):
    submit = lambda *words: daemon.fut("submit", "--key", "nightly", "--", *words)  # noqa: E731
    first = submit("echo", "hello").stdout
    assert submit("echo", "hello").stdout == first
    assert daemon.fut("find", "nightly").stdout == first
    assert daemon.fut("wait", first.strip()).returncode == 0
    run = daemon.fut("run", "--key", "nightly", "--", "echo", "hello")
    assert (run.returncode, run.stdout) == (0, "hello\n")
    other = submit("echo", "something else")
    assert other.returncode == 4
    assert '"nightly"' in other.stderr and f"job {first.strip()}" in other.stderr
    missing = daemon.fut("find", "never used")
    assert missing.returncode == 4 and "never used" in missing.stderr


def test_fut_call_takes_a_key(daemon):
    words = ("call", "--detach", "--key", "once", "noop")
    assert daemon.fut(*words).stdout == daemon.fut(*words).stdout != ""
