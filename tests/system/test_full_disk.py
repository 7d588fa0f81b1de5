"""A disk that fills up under the daemon: new jobs are refused, what was accepted goes on, and room mends it by itself."""
import os
import select
import signal
import time

import grpc
import pytest

DISK_MIB = 24


@pytest.fixture
def small_disk(make_daemon):
    """A daemon whose state lies on a small file system of its own, in a mount namespace of its own."""
    daemon = make_daemon()
    os.mkdir(daemon.state)
    namespace = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mount = f'mount -t tmpfs -o size={DISK_MIB}m small "{daemon.state}" && exec "$@"'
    daemon.wrap = [*namespace, "sh", "-c", mount, "sh"]
    return daemon.start()


def fill(path):
    with open(path, "wb", buffering=0) as file, pytest.raises(OSError):
        while file.write(b"\0" * 65536):
            pass


def submit_once_there_is_room(api, *argv, seconds=20):
    """A refusal says "try again"; a client that does is accepted before long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return api.submit_command(*argv)
        except grpc.RpcError as refused:
            assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, refused.details()
            assert time.monotonic() < deadline, refused.details()
            time.sleep(0.05)


def test_it_refuses_new_jobs_keeps_old_ones_and_mends_itself(small_disk, api_of, gate):
    daemon, api = small_disk, api_of(small_disk)
    words = api.words
    kept = api.submit_command("echo", "kept")
    api.wait([kept])
    os.mkfifo(gate.path + ".go")
    running = api.submit_command("sh", "-c", f"echo up >{gate.path}; read line <{gate.path}.go; echo done")
    assert gate.line() == "up"

    # Through the daemon's own view of the file system: the mount is visible to nobody else.
    filler = f"/proc/{daemon.process.pid}/root{daemon.state}/filler"
    fill(filler)
    accepted = []
    with pytest.raises(grpc.RpcError) as caught:
        for _ in range(1000):
            accepted += api.submit_tasks("noop", data=b"x" * 100_000)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, caught.value.details()
    assert "disk" in caught.value.details()

    # What runs still ends, on the room that was kept for that.
    with open(gate.path + ".go", "w", encoding="ascii") as pipe:
        pipe.write("go\n")
    outcomes = api.wait([kept, running, *accepted])
    assert {outcome.state for outcome in outcomes.values()} == {words.JOB_STATE_SUCCEEDED}
    with pytest.raises(grpc.RpcError):
        api.submit_command("true")
    told = daemon.fut("submit", "--", "true")  # over a stream
    assert told.returncode == 4 and "disk" in told.stderr, told
    assert "cannot commit" in daemon.fut("doctor").stdout

    # Nothing is left to commit, so room must be noticed without a commit.
    os.unlink(filler)
    job = submit_once_there_is_room(api, "true")
    assert api.outcome(job).state == words.JOB_STATE_SUCCEEDED


def test_it_ends_when_it_is_told_to(small_disk, api_of):
    daemon, api = small_disk, api_of(small_disk)
    fill(f"/proc/{daemon.process.pid}/root{daemon.state}/filler")
    with pytest.raises(grpc.RpcError):
        for _ in range(1000):
            api.submit_tasks("noop", data=b"x" * 100_000)
    assert daemon.kill(signal.SIGTERM) == 0


def test_who_waits_for_the_disk_is_told(small_disk, gate):
    daemon = small_disk
    job = daemon.fut("submit", "--", "sh", "-c", f"echo up >{gate.path}; exec sleep 1000", check=True).stdout.strip()
    assert gate.line() == "up"
    state = f"/proc/{daemon.process.pid}/root{daemon.state}"
    fill(f"{state}/filler")
    for _ in range(1000):
        if daemon.fut("submit", "--", "true").returncode != 0:
            break  # what was kept for outcomes has been given back
    fill(f"{state}/rest")

    with daemon.start_fut("wait", job) as waiting, daemon.start_fut("cancel", job) as cancelling:
        for fut in (waiting, cancelling):
            ready, _, _ = select.select([fut.stderr], [], [], 20)
            assert ready, "nobody said that the disk is full"
            told = fut.stderr.readline()
            assert "disk" in told and "fut doctor" in told, told
        os.unlink(f"{state}/filler")
        os.unlink(f"{state}/rest")
        assert cancelling.wait(20) == 0
        assert waiting.wait(20) == 1
