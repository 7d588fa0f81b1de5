"""Large payloads and results on disk: one file for one content, compressed where that saves room, gone with its last
job, checked when it is read, and refused whole when the disk is full."""
import hashlib
import os
import random
import sqlite3
import subprocess

import grpc
import pytest
from private_daemon import DidNotStart

LARGE = 1 << 20
DISK_MIB = 32


def dull(size=LARGE):
    return (b"much the same text, line after line\n" * (size // 36 + 1))[:size]


def noise(seed, size=LARGE):
    return random.Random(seed).randbytes(size)


def folder_of(daemon):
    return os.path.join(daemon.state, "futured.db.files")


def files_of(daemon):
    return sorted(os.listdir(folder_of(daemon))) if os.path.isdir(folder_of(daemon)) else []


def result_of(api, job):
    (first, *pieces) = api.stream("Jobs", "GetResult", api.words.GetResultRequest(id=job))
    return b"".join(piece.data for piece in pieces)


def put_queue_on_hold(api):
    api.call("Queues", "Pause", api.words.PauseQueueRequest(name="default"))


def let_queue_go(api):
    api.call("Queues", "Resume", api.words.ResumeQueueRequest(name="default"))


def spoil(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))


def test_one_content_is_one_file_whoever_submits_it_and_however_often(daemon, api):
    payload = noise(1)
    jobs = api.submit_tasks("echo", 3, payload) + api.submit_tasks("echo", 1, payload)
    outcomes = api.wait(jobs)
    assert {outcome.state for outcome in outcomes.values()} == {api.words.JOB_STATE_SUCCEEDED}
    assert all(outcome.result_elided and outcome.result_bytes == LARGE for outcome in outcomes.values())
    assert {result_of(api, job) for job in jobs} == {payload}
    # The results are the same content once more.
    assert files_of(daemon) == [hashlib.sha256(payload).hexdigest()]
    with open(os.path.join(folder_of(daemon), files_of(daemon)[0]), "rb") as file:
        assert file.read() == payload
    assert os.stat(folder_of(daemon)).st_mode & 0o777 == 0o700


def test_small_ones_stay_in_the_database(daemon, api):
    (job,) = api.submit_tasks("echo", 1, noise(2, 200_000))
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    assert result_of(api, job) == noise(2, 200_000)
    assert files_of(daemon) == []


def test_what_saves_room_is_compressed_with_a_frame_that_any_zstd_reads(daemon, api):
    (job,) = api.submit_tasks("echo", 1, dull())
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    assert files_of(daemon) == [hashlib.sha256(dull()).hexdigest() + ".zst"]
    assert os.path.getsize(os.path.join(folder_of(daemon), files_of(daemon)[0])) < LARGE // 10
    assert result_of(api, job) == dull()


def test_the_level_is_a_setting_and_0_is_never(make_daemon, api_of):
    daemon = make_daemon("[daemon]\ncompression_level = 0\n").start()
    api = api_of(daemon)
    (job,) = api.submit_tasks("echo", 1, dull())
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    assert files_of(daemon) == [hashlib.sha256(dull()).hexdigest()]
    with pytest.raises(DidNotStart) as refused:
        make_daemon("[daemon]\ncompression_level = 10\n").start()
    assert "[daemon] compression_level: must be 0 (never) to 9" in refused.value.stderr


def test_accepted_jobs_have_their_payload_after_a_kill(daemon, api, api_of):
    put_queue_on_hold(api)
    payloads = [noise(3), dull()]
    jobs = [api.submit_tasks("echo", 1, payload)[0] for payload in payloads]
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    let_queue_go(api)
    for job, payload in zip(jobs, payloads):
        assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
        assert result_of(api, job) == payload


@pytest.mark.parametrize("harm", [os.unlink, spoil], ids=["gone", "damaged"])
def test_a_job_whose_file_is_lost_fails_and_says_which(daemon, api, api_of, harm):
    put_queue_on_hold(api)
    (lost,) = api.submit_tasks("echo", 1, noise(4))
    (sound,) = api.submit_tasks("echo", 1, noise(5))
    daemon.kill()
    path = os.path.join(folder_of(daemon), hashlib.sha256(noise(4)).hexdigest())
    harm(path)
    daemon.start()
    api = api_of(daemon)
    let_queue_go(api)
    outcome = api.outcome(lost)
    assert (outcome.state, outcome.cause.kind) == (api.words.JOB_STATE_FAILED, api.words.CAUSE_KIND_PAYLOAD_LOST)
    assert path in outcome.cause.message
    assert api.outcome(sound).state == api.words.JOB_STATE_SUCCEEDED

    # It cannot be retried, but its payload can be brought again.
    (entry,) = api.call("Jobs", "Retry", api.words.RetryRequest(ids=[api.words.IdRange(first=lost)])).entries
    assert entry.error.code == grpc.StatusCode.DATA_LOSS.value[0] and path in entry.error.message
    (again,) = api.submit_tasks("echo", 1, noise(4))
    assert api.outcome(again).state == api.words.JOB_STATE_SUCCEEDED
    assert result_of(api, again) == noise(4)


@pytest.mark.parametrize("harm", [os.unlink, spoil], ids=["gone", "damaged"])
def test_a_result_whose_file_is_lost_is_data_loss_that_names_it(daemon, api, harm):
    (lost,) = api.submit_tasks("echo", 1, noise(6))
    (sound,) = api.submit_tasks("echo", 1, b"small")
    api.wait([lost, sound])
    path = os.path.join(folder_of(daemon), files_of(daemon)[0])
    harm(path)
    outcomes = api.wait([lost, sound])
    assert outcomes[lost].result_elided and outcomes[sound].result[0].data == b"small"
    with pytest.raises(grpc.RpcError) as caught:
        result_of(api, lost)
    assert caught.value.code() == grpc.StatusCode.DATA_LOSS
    assert "RESULT_LOST" in caught.value.details() and path in caught.value.details()


def test_files_that_no_job_needs_go_with_the_next_start(daemon, api, api_of):
    (first,) = api.submit_tasks("noop", 1, noise(7))
    (second,) = api.submit_tasks("noop", 1, noise(7))
    (other,) = api.submit_tasks("noop", 1, noise(8))
    api.wait([first, second, other])
    kept = hashlib.sha256(noise(7)).hexdigest()
    for name in (hashlib.sha256(b"orphan").hexdigest(), kept + ".part-7-0"):
        with open(os.path.join(folder_of(daemon), name), "wb") as file:
            file.write(b"orphan")

    def start_without(*jobs):
        daemon.kill()
        with sqlite3.connect(os.path.join(daemon.state, "futured.db")) as database:
            database.executemany("DELETE FROM jobs WHERE id = ?", [(job,) for job in jobs])
            database.executemany("DELETE FROM outcomes WHERE job = ?", [(job,) for job in jobs])
        database.close()
        daemon.start()
        return files_of(daemon)

    assert start_without(first, other) == [kept]
    assert api_of(daemon).get(second).payload_bytes > LARGE
    assert start_without(second) == []


def test_a_submit_that_is_refused_leaves_no_file(daemon, api):
    with pytest.raises(grpc.RpcError) as caught:
        api.submit_tasks("no_such_task", 1, noise(9))
    assert caught.value.code() != grpc.StatusCode.OK
    assert files_of(daemon) == []


def test_a_stream_keeps_the_order_of_its_batches(daemon, api):
    words = api.words
    sizes = [LARGE, 10, LARGE, 10, 10, LARGE]

    def batches():
        for number, size in enumerate(sizes):
            item = api.task_item(noise(100 + number, size))
            yield words.SubmitStreamRequest(client_ref=number, spec=words.JobSpec(task="echo"), items=[item])

    receipts = [receipt for answer in api.both("Jobs", "SubmitStream", batches()) for receipt in answer.receipts]
    assert [receipt.client_ref for receipt in receipts] == list(range(len(sizes)))
    assert not any(receipt.error.code for receipt in receipts)
    jobs = [receipt.first_id for receipt in receipts]
    assert jobs == sorted(jobs)
    api.wait(jobs)
    assert [result_of(api, job) for job in jobs] == [noise(100 + number, size) for number, size in enumerate(sizes)]


@pytest.fixture
def small_disk(make_daemon):
    """A daemon whose state lies on a small file system of its own, in a mount namespace of its own."""
    daemon = make_daemon()
    os.mkdir(daemon.state)
    namespace = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mount = f'mount -t tmpfs -o size={DISK_MIB}m small "{daemon.state}" && exec "$@"'
    daemon.wrap = [*namespace, "sh", "-c", mount, "sh"]
    return daemon.start()


def test_a_full_disk_refuses_the_submit_and_nothing_of_it_is_left(small_disk, api_of):
    daemon, api = small_disk, api_of(small_disk)
    words = api.words
    # Through the daemon's own view of the file system: the mount is visible to nobody else.
    state = f"/proc/{daemon.process.pid}/root{daemon.state}"
    folder = os.path.join(state, "futured.db.files")
    api.outcome(api.submit_tasks("noop", 1, noise(20))[0])
    before = os.listdir(folder)
    free = os.statvfs(state)
    with open(os.path.join(state, "filler"), "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, max(free.f_bavail * free.f_frsize - LARGE // 2, 1))

    with pytest.raises(grpc.RpcError) as caught:
        api.submit_tasks("noop", 1, noise(21))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "disk" in caught.value.details() and "No space left" in caught.value.details()
    batch = words.SubmitStreamRequest(spec=words.JobSpec(task="noop"), items=[api.task_item(noise(22))])
    ((receipt,),) = [answer.receipts for answer in api.both("Jobs", "SubmitStream", iter([batch]))]
    assert receipt.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert os.listdir(folder) == before

    # Only what has no room is refused: others go on.
    assert api.outcome(api.submit_tasks("noop", 1, b"small")[0]).state == words.JOB_STATE_SUCCEEDED
    os.unlink(os.path.join(state, "filler"))
    assert api.outcome(api.submit_tasks("noop", 1, noise(21))[0]).state == words.JOB_STATE_SUCCEEDED


def test_the_files_can_be_read_without_the_daemon(daemon, api, tmp_path):
    zstd = "/usr/bin/zstd"
    if not os.path.exists(zstd):
        pytest.skip("there is no zstd program here")
    # More than one frame.
    api.outcome(api.submit([api.task_item(dull(4_000_000))], task="noop")[0])
    (name,) = files_of(daemon)
    told = subprocess.run([zstd, "-dc", os.path.join(folder_of(daemon), name)], capture_output=True, check=True)
    assert hashlib.sha256(told.stdout).hexdigest() + ".zst" == name
