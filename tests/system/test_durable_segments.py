"""Arrays on disk: those that a durable submit hands in, and what is sent once and named by its digest."""
import array
import hashlib
import os
import random
import signal
import sqlite3
import threading

import grpc
import pytest
from segments import SegmentSocket
from test_payload_files import files_of, folder_of, let_queue_go, put_queue_on_hold, small_disk, spoil  # noqa: F401
from test_remote_arrays import download, pieces, refusal, send
from test_segments import array_item, value_of

MIB = 1 << 20
COUNT = 100_000
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def doubles(seed, count=COUNT):
    numbers = random.Random(seed)
    return [float(numbers.randrange(1000)) for _ in range(count)]


def bytes_of(numbers):
    return array.array("d", numbers).tobytes()


def digest_of(numbers):
    return "sha256:" + hashlib.sha256(bytes_of(numbers)).hexdigest()


def name_of(numbers):
    return digest_of(numbers).removeprefix("sha256:")


def stored_names(daemon):
    """Of the contents, without how they are packed and who holds them."""
    return sorted({name[:64] for name in files_of(daemon)})


@pytest.fixture
def daemon(make_daemon):
    return make_daemon("[pools.default]\nsize = 1\n").start()


@pytest.fixture
def segments_of():
    opened = []

    def connect(daemon):
        opened.append(SegmentSocket(daemon.socket))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def submit_stored(api, numbers, segment, jobs=1, **spec):
    request = api.words.SubmitRequest(spec=api.words.JobSpec(task="sum", durable_segments=True, **spec),
                                      items=[array_item(api.words, segment, len(numbers))] * jobs)
    receipt = api.call("Jobs", "Submit", request)
    assert not receipt.volatile_payload
    return list(range(receipt.first_id, receipt.first_id + jobs))


def restart_all(daemon):
    """As after the loss of the machine: no memory of daemon, spawner and workers is left."""
    spawners = daemon.processes_running("futured-spawner")
    daemon.kill()
    for spawner in spawners:
        os.kill(spawner, signal.SIGKILL)
    return daemon.start()


def upload(api, numbers, **first):
    shape = api.words.ArrayShape(dtype="float64", shape=[len(numbers)])
    content = bytes_of(numbers)
    return send(api, {"bytes": len(content), "array": shape, "durable": True, **first}, pieces(content))


def get(api, digest):
    return api.call("Segments", "Get", api.words.GetSegmentRequest(digest=digest))


def digest_item(api, digest):
    return api.words.Item(parts=[api.words.Part(digest=digest)])


# ---- Segments that a submit hands in


def test_a_durable_submit_outlives_everything_with_its_array(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(1)
    put_queue_on_hold(api)
    jobs = submit_stored(api, numbers, segments_of(daemon).put_doubles(numbers), 3)
    assert stored_names(daemon) == [name_of(numbers)], "one file, before the answer"
    api = api_of(restart_all(daemon))
    let_queue_go(api)
    outcomes = api.wait(jobs)
    assert [value_of(outcomes[job]) for job in jobs] == [sum(numbers)] * 3
    assert api.call("Admin", "Stats", api.words.StatsRequest()).counters["stored_segment_bytes"] == 8 * COUNT, "once"


def test_while_its_memory_is_there_workers_map_that(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(2)
    segment = segments_of(daemon).put_doubles(numbers)
    (job,) = submit_stored(api, numbers, segment)
    assert value_of(api.outcome(job)) == sum(numbers)
    assert api.call("Admin", "Stats", api.words.StatsRequest()).counters["stored_segment_bytes"] == 0, "nothing was read"


def test_rows_of_one_segment_share_its_file(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(3)
    put_queue_on_hold(api)
    segment = segments_of(daemon).put_doubles(numbers)
    words = api.words
    items = [words.Item(parts=[words.Part(segment=words.SegmentSlice(id=segment, begin=8 * n, end=8 * (n + 1000)),
                                          array=words.ArrayShape(dtype="float64", shape=[1000]))])
             for n in (0, 1000, COUNT - 1000)]
    jobs = api.submit(items, task="sum", durable_segments=True)
    assert stored_names(daemon) == [name_of(numbers)]
    api = api_of(restart_all(daemon))
    let_queue_go(api)
    outcomes = api.wait(jobs)
    assert [value_of(outcomes[job]) for job in jobs] == [sum(numbers[n:n + 1000]) for n in (0, 1000, COUNT - 1000)]


def test_a_stream_stores_its_segments_too(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(4)
    put_queue_on_hold(api)
    segment = segments_of(daemon).put_doubles(numbers)
    words = api.words
    batch = words.SubmitStreamRequest(spec=words.JobSpec(task="sum", durable_segments=True),
                                      items=[array_item(words, segment, COUNT)])
    ((receipt,),) = [answer.receipts for answer in api.both("Jobs", "SubmitStream", iter([batch])) if answer.receipts]
    assert not receipt.error.code and not receipt.volatile_payload
    api = api_of(restart_all(daemon))
    let_queue_go(api)
    assert value_of(api.outcome(receipt.first_id)) == sum(numbers)


def test_a_kill_of_the_daemon_alone_loses_nothing(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(5)
    put_queue_on_hold(api)
    (job,) = submit_stored(api, numbers, segments_of(daemon).put_doubles(numbers))
    for sig in (signal.SIGKILL, signal.SIGTERM):
        daemon.kill(sig)
        daemon.start()
    api = api_of(daemon)
    let_queue_go(api)
    assert value_of(api.outcome(job)) == sum(numbers)


@pytest.mark.parametrize("harm", [os.unlink, spoil], ids=["gone", "damaged"])
def test_a_lost_file_ends_its_jobs_and_says_which(daemon, api_of, segments_of, harm):
    api, numbers, others = api_of(daemon), doubles(6), doubles(7)
    put_queue_on_hold(api)
    (lost,) = submit_stored(api, numbers, segments_of(daemon).put_doubles(numbers))
    (sound,) = submit_stored(api, others, segments_of(daemon).put_doubles(others))
    (name,) = [name for name in files_of(daemon) if name.startswith(name_of(numbers))]
    harm(os.path.join(folder_of(daemon), name))
    api = api_of(restart_all(daemon))
    let_queue_go(api)
    outcome = api.outcome(lost)
    assert (outcome.state, outcome.cause.kind) == (api.words.JOB_STATE_FAILED, api.words.CAUSE_KIND_PAYLOAD_LOST)
    assert name_of(numbers) in outcome.cause.message
    assert value_of(api.outcome(sound)) == sum(others)


def test_who_brings_the_bytes_mends_a_damaged_file(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(8)
    put_queue_on_hold(api)
    (first,) = submit_stored(api, numbers, segments_of(daemon).put_doubles(numbers))
    (name,) = files_of(daemon)
    daemon.kill()
    spoil(os.path.join(folder_of(daemon), name))  # of the right size still
    api = api_of(restart_all(daemon))
    (second,) = submit_stored(api, numbers, segments_of(daemon).put_doubles(numbers))
    api = api_of(restart_all(daemon))
    let_queue_go(api)
    outcomes = api.wait([first, second])
    assert [value_of(outcomes[job]) for job in (first, second)] == [sum(numbers)] * 2


def test_a_retry_after_the_loss_of_everything_runs_with_the_array(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(9)
    (job,) = submit_stored(api, numbers, segments_of(daemon).put_doubles(numbers))
    api.outcome(job)
    api = api_of(restart_all(daemon))
    (entry,) = api.call("Jobs", "Retry", api.words.RetryRequest(ids=[api.words.IdRange(first=job)])).entries
    assert not entry.error.code, entry
    assert value_of(api.outcome(entry.new_id)) == sum(numbers)


def test_the_file_goes_with_its_last_job(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(10)
    jobs = submit_stored(api, numbers, segments_of(daemon).put_doubles(numbers), 2)
    api.wait(jobs)

    def start_without(*gone):
        daemon.kill()
        with sqlite3.connect(os.path.join(daemon.state, "futured.db")) as database:
            database.executemany("DELETE FROM jobs WHERE id = ?", [(job,) for job in gone])
            database.executemany("DELETE FROM outcomes WHERE job = ?", [(job,) for job in gone])
        database.close()
        daemon.start()
        return stored_names(daemon)

    assert start_without(jobs[0]) == [name_of(numbers)]
    assert start_without(jobs[1]) == []


def test_retention_takes_the_file_with_the_job(make_daemon, api_of, segments_of):
    daemon = make_daemon("[pools.default]\nsize = 1\n").start()
    api, numbers = api_of(daemon), doubles(11)
    (job,) = submit_stored(api, numbers, segments_of(daemon).put_doubles(numbers), retention_ms=1)
    api.outcome(job)
    for _ in range(400):
        if not files_of(daemon):
            break
        threading.Event().wait(0.05)
    assert not files_of(daemon)


def test_what_cannot_be_stored_is_refused_and_leaves_nothing(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(12)
    segment = segments_of(daemon).put_doubles(numbers)
    code, told = refusal(lambda: submit_stored(api, numbers, segment, queue="no_such_queue"))
    assert code != grpc.StatusCode.OK, told
    code, told = refusal(lambda: submit_stored(api, numbers, segment + 12345))
    assert code == NOT_FOUND and str(segment + 12345) in told
    assert files_of(daemon) == []


def test_without_segments_the_option_changes_nothing(daemon, api_of):
    api = api_of(daemon)
    jobs = api.submit([api.task_item(b"x")], task="echo", durable_segments=True)
    assert api.outcome(jobs[0]).state == api.words.JOB_STATE_SUCCEEDED
    spec = api.words.JobSpec(task="noop", durable_segments=True)
    schedule = api.words.Schedule(name="s", every_ms=60_000, spec=spec, item=api.task_item(b""))
    code, told = refusal(lambda: api.call("Schedules", "Put", api.words.PutScheduleRequest(schedule=schedule)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "durable_segments" in told


def test_a_full_disk_refuses_and_nothing_is_left(small_disk, api_of, segments_of):  # noqa: F811
    daemon, api = small_disk, api_of(small_disk)
    numbers = doubles(13, 300_000)
    state = f"/proc/{daemon.process.pid}/root{daemon.state}"
    api.outcome(api.submit_tasks("noop", 1, random.Random(1).randbytes(300_000))[0])
    folder = os.path.join(state, "futured.db.files")
    before = os.listdir(folder)
    free = os.statvfs(state)
    with open(os.path.join(state, "filler"), "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, max(free.f_bavail * free.f_frsize - MIB // 2, 1))
    segment = segments_of(daemon).put_doubles(numbers)
    code, told = refusal(lambda: submit_stored(api, numbers, segment))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "No space left" in told
    code, told = refusal(lambda: upload(api, numbers))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "No space left" in told
    assert os.listdir(folder) == before
    assert refusal(lambda: get(api, digest_of(numbers)))[0] == NOT_FOUND
    os.unlink(os.path.join(state, "filler"))
    (job,) = submit_stored(api, numbers, segment)
    assert value_of(api.outcome(job)) == sum(numbers)


@pytest.mark.parametrize("seed", [1, 2])
def test_losses_at_any_moment_lose_no_job_and_no_array(make_daemon, api_of, segments_of, seed):
    daemon, chance = make_daemon("[pools.default]\nsize = 3\n").start(), random.Random(seed)
    api, arrays = api_of(daemon), [doubles(100 + n, 50_000) for n in range(6)]
    put_queue_on_hold(api)
    wanted = {}
    socket = segments_of(daemon)
    for numbers in arrays:
        wanted.update((job, sum(numbers)) for job in submit_stored(api, numbers, socket.put_doubles(numbers), 3))
        digest = upload(api, numbers).digest
        wanted.update((job, sum(numbers)) for job in api.submit([digest_item(api, digest)] * 3, task="sum"))
    let_queue_go(api)
    for _ in range(4):
        threading.Event().wait(chance.random() * 0.05)
        if chance.random() < 0.5:
            restart_all(daemon)
        else:
            daemon.kill()
            daemon.start()
    api = api_of(daemon)
    outcomes = api.wait(list(wanted))
    assert {job: value_of(outcome) for job, outcome in outcomes.items()} == wanted
    assert stored_names(daemon) == sorted(name_of(numbers) for numbers in arrays)


def test_a_cancel_while_the_array_is_read_ends_the_job(daemon, api_of, segments_of):
    api, numbers = api_of(daemon), doubles(14, 2_000_000)
    put_queue_on_hold(api)
    jobs = submit_stored(api, numbers, segments_of(daemon).put_doubles(numbers), 3)
    api = api_of(restart_all(daemon))
    let_queue_go(api)
    api.cancel(jobs[0])  # before its offer is made, or behind it: its neighbours run in any case
    outcomes = api.wait(jobs)
    assert outcomes[jobs[0]].state in (api.words.JOB_STATE_CANCELLED, api.words.JOB_STATE_SUCCEEDED)
    assert [value_of(outcomes[job]) for job in jobs[1:]] == [sum(numbers)] * 2


# ---- What is sent once


def test_a_durable_upload_is_named_by_many_jobs_and_outlives_everything(daemon, api_of):
    api, numbers = api_of(daemon), doubles(20)
    sent = upload(api, numbers, digest=digest_of(numbers))
    assert (sent.digest, sent.durable, sent.bytes) == (digest_of(numbers), True, 8 * COUNT)
    first = api.submit([digest_item(api, sent.digest)] * 3, task="sum")
    assert [value_of(outcome) for outcome in api.wait(first).values()] == [sum(numbers)] * 3
    api = api_of(restart_all(daemon))
    assert get(api, sent.digest) == sent
    words = api.words
    rows = words.Part(segment=words.SegmentSlice(id=sent.id, begin=800, end=1600),
                      array=words.ArrayShape(dtype="float64", shape=[100]))
    whole, some = api.submit([digest_item(api, sent.digest), words.Item(parts=[rows])], task="sum")
    outcomes = api.wait([whole, some])
    assert value_of(outcomes[whole]) == sum(numbers) and value_of(outcomes[some]) == sum(numbers[100:200])
    assert download(api, sent.id, 8, 24) == bytes_of(numbers[1:3])


def test_the_same_content_again_is_the_same_upload(daemon, api_of):
    api, numbers = api_of(daemon), doubles(21)
    assert upload(api, numbers) == upload(api, numbers)
    assert len(api.call("Segments", "List", api.words.ListSegmentsRequest()).segments) == 1
    assert stored_names(daemon) == [name_of(numbers)]


def test_release_takes_the_file_unless_a_job_needs_it(daemon, api_of):
    api, numbers, others = api_of(daemon), doubles(22), doubles(23)
    kept, gone = upload(api, numbers), upload(api, others)
    put_queue_on_hold(api)
    (job,) = api.submit([digest_item(api, kept.digest)], task="sum")
    for one in (kept, gone):
        api.call("Segments", "Release", api.words.ReleaseSegmentRequest(id=one.id))
    for one in (kept, gone):
        code, told = refusal(lambda one=one: get(api, one.digest))
        assert code == NOT_FOUND and one.digest in told
    code, _ = refusal(lambda: api.call("Segments", "Release", api.words.ReleaseSegmentRequest(id=kept.id)))
    assert code == NOT_FOUND
    for _ in range(400):
        if stored_names(daemon) == [name_of(numbers)]:
            break
        threading.Event().wait(0.05)
    assert stored_names(daemon) == [name_of(numbers)]
    api = api_of(restart_all(daemon))
    assert stored_names(daemon) == [name_of(numbers)]
    let_queue_go(api)
    assert value_of(api.outcome(job)) == sum(numbers)


@pytest.mark.parametrize("digest, code", [
    ("sha256:" + "0" * 64, NOT_FOUND),
    ("sha256:" + "0" * 63, grpc.StatusCode.INVALID_ARGUMENT),
    ("sha256:" + "G" * 64, grpc.StatusCode.INVALID_ARGUMENT),
    ("0" * 64, grpc.StatusCode.INVALID_ARGUMENT),
    ("md5:" + "0" * 32, grpc.StatusCode.INVALID_ARGUMENT),
])
def test_a_digest_that_names_nothing_is_refused(daemon, api_of, digest, code):
    api = api_of(daemon)
    found, told = refusal(lambda: api.submit([digest_item(api, digest)], task="sum"))
    assert found == code and "items[0].parts[0].digest" in told
    assert code != NOT_FOUND or (digest in told and "upload" in told)
    found, told = refusal(lambda: get(api, digest))
    assert found == code and "digest" in told


def test_shapes_and_stretches_must_fit(daemon, api_of):
    api, numbers = api_of(daemon), doubles(24)
    sent, words = upload(api, numbers), api.words
    wrong = words.Part(digest=sent.digest, array=words.ArrayShape(dtype="float64", shape=[COUNT + 1]))
    code, told = refusal(lambda: api.submit([words.Item(parts=[wrong])], task="sum"))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "array" in told
    beyond = words.Part(segment=words.SegmentSlice(id=sent.id, begin=0, end=8 * COUNT + 8))
    code, told = refusal(lambda: api.submit([words.Item(parts=[beyond])], task="sum"))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and str(8 * COUNT) in told
    never = words.Part(segment=words.SegmentSlice(id=sent.id ^ 1))
    code, told = refusal(lambda: api.submit([words.Item(parts=[never])], task="sum"))
    assert code == NOT_FOUND
    code, told = refusal(lambda: api.call("Segments", "Get", words.GetSegmentRequest(id=1, digest=sent.digest)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("first, messages, code", [
    ({"bytes": 4, "digest": "sha256:" + "0" * 64}, [b"abcd"], "INVALID_ARGUMENT"),
    ({"bytes": 4}, [b"abc"], "INVALID_ARGUMENT"),
    ({"bytes": 4}, [b"abcde"], "INVALID_ARGUMENT"),
    ({"bytes": 1 << 35}, [], "RESOURCE_EXHAUSTED"),
])
def test_a_bad_durable_upload_is_refused_and_leaves_nothing(daemon, api_of, first, messages, code):
    api = api_of(daemon)
    found, told = refusal(lambda: send(api, {"durable": True, **first}, messages))
    assert found == grpc.StatusCode[code], told
    assert files_of(daemon) == []
    assert api.call("Admin", "Stats", api.words.StatsRequest()).counters["segment_bytes"] == 0


def test_an_upload_of_no_bytes_is_one_too(daemon, api_of):
    api = api_of(daemon)
    sent = send(api, {"bytes": 0, "durable": True}, [])
    assert sent.bytes == 0
    api = api_of(restart_all(daemon))
    (job,) = api.submit([digest_item(api, sent.digest)], task="sha256")
    assert b"".join(part.data for part in api.outcome(job).result).decode() in (sent.digest.removeprefix("sha256:"),)


def test_another_users_upload_is_not_there(make_daemon, api_of, api_modules):
    import socket

    from wire import Api

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    daemon = make_daemon("[pools.default]\nsize = 1\n")
    daemon.arguments += ["--listen", address]
    daemon.start()
    local, numbers = api_of(daemon), doubles(25)
    sent = upload(local, numbers)
    remote = Api(api_modules, daemon.socket)
    remote.channel.close()
    remote.channel = grpc.insecure_channel(address)
    try:
        for call in (lambda: get(remote, sent.digest), lambda: download(remote, sent.id),
                     lambda: remote.submit([digest_item(remote, sent.digest)], task="sum"),
                     lambda: remote.call("Segments", "Release", remote.words.ReleaseSegmentRequest(id=sent.id))):
            assert refusal(call)[0] == NOT_FOUND
        # Who has the bytes himself may have the file.
        assert upload(remote, numbers).digest == sent.digest
        remote.call("Segments", "Release", remote.words.ReleaseSegmentRequest(id=sent.id))
        assert get(local, sent.digest).digest == sent.digest
        assert stored_names(daemon) == [name_of(numbers)]
    finally:
        remote.close()


def test_an_upload_that_is_broken_off_or_loses_its_daemon_leaves_nothing(daemon, api_of):
    api, words = api_of(daemon), api_of(daemon).words
    method = api._method("stream_unary", "Segments", "Upload")
    came, over = threading.Event(), threading.Event()

    def messages():
        yield words.UploadRequest(bytes=8 * MIB, durable=True, data=b"x" * MIB)
        came.set()
        over.wait(30)

    call = method.future(messages(), timeout=30)
    came.wait(30)
    daemon.kill()
    over.set()
    assert call.exception(30)
    daemon.start()
    assert files_of(daemon) == []
    # A daemon that was killed between file, note and answer.
    orphan, numbers = hashlib.sha256(b"orphan").hexdigest(), doubles(26)
    sent = upload(api_of(daemon), numbers)
    daemon.kill()
    for name, content in ((orphan, b"orphan"), (name_of(numbers) + ".held-0.part-7-0", b"futured"),
                          (hashlib.sha256(b"gone").hexdigest() + ".held-0", b"futured 1\n4\n\n")):
        with open(os.path.join(folder_of(daemon), name), "wb") as file:
            file.write(content)
    daemon.start()
    assert get(api_of(daemon), sent.digest).digest == sent.digest
    assert stored_names(daemon) == [name_of(numbers)] and len(files_of(daemon)) == 2


# ---- The command line


def test_fut_uploads_once_and_calls_by_digest(daemon, tmp_path):
    numbers = doubles(30, 1000)
    file = tmp_path / "x.npy"
    head = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000,), }".ljust(117) + "\n"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + bytes_of(numbers))
    digest = daemon.fut("upload", str(file), check=True).stdout.strip()
    assert digest == digest_of(numbers)
    restart_all(daemon)
    assert float(daemon.fut("call", "sum", "--array", digest, check=True).stdout) == sum(numbers)
    assert float(daemon.fut("call", "sum", "--array", digest + "[10:20]", check=True).stdout) == sum(numbers[10:20])
    assert float(daemon.fut("call", "sum", "--array", str(file), "--durable-arrays", check=True).stdout) == sum(numbers)
    (told,) = daemon.fut_json("upload", "--bytes", str(file))
    assert told["digest"] == "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    daemon.fut("upload", "--release", digest, check=True)
    done = daemon.fut("call", "sum", "--array", digest)
    assert done.returncode != 0 and digest in done.stderr and "upload" in done.stderr
    for wrong in (["upload"], ["upload", str(file), "--release", digest], ["upload", str(tmp_path / "none")],
                  ["upload", "--release", "sha256:1"]):
        assert daemon.fut(*wrong).returncode != 0
