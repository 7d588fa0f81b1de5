"""Arrays over TCP: what the segment socket does on the daemon's machine, through Segments.Upload and Download."""
import array
import hashlib
import os
import socket
import subprocess
import threading
import time

import grpc
import pytest
from private_daemon import BIN

MIB = 1 << 20
NUMBERS = [float(n) for n in range(300_000)]  # more than two messages of a MiB
BYTES = array.array("d", NUMBERS).tobytes()
EXAMPLE = os.path.join(os.path.dirname(BIN), "examples", "sum_array")


@pytest.fixture
def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def daemon(make_daemon, address):
    made = make_daemon("[pools.default]\nsize = 1\n")
    made.arguments += ["--listen", address]
    return made.start()


@pytest.fixture
def local(daemon, api_of):
    return api_of(daemon)


@pytest.fixture
def remote(daemon, address, api_modules):
    from wire import Api

    api = Api(api_modules, daemon.socket)
    api.channel.close()
    api.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    yield api
    api.close()


def pieces(content):
    return [content[at:at + MIB] for at in range(0, len(content), MIB)]


def send(api, first, messages):
    """The segment that an upload makes; raises grpc.RpcError."""
    words = api.words
    method = api._method("stream_unary", "Segments", "Upload")
    return method(iter([words.UploadRequest(**first), *(words.UploadRequest(data=data) for data in messages)]), timeout=30)


def put_numbers(api, **more):
    shape = api.words.ArrayShape(dtype="float64", shape=[len(NUMBERS)])
    return send(api, {"bytes": len(BYTES), "array": shape, **more}, pieces(BYTES))


def download(api, segment, begin=0, end=0):
    """Checks the offsets, too."""
    words = api.words
    request = words.DownloadRequest(slice=words.SegmentSlice(id=segment, begin=begin, end=end))
    content = b""
    for piece in api.stream("Segments", "Download", request):
        assert piece.offset == begin + len(content)
        assert 0 < len(piece.data) <= MIB
        content += piece.data
    return content


def held(api):
    return api.call("Segments", "List", api.words.ListSegmentsRequest())


def is_empty(api):
    stats = api.call("Admin", "Stats", api.words.StatsRequest())
    return stats.counters["segments"] == 0 and stats.counters["segment_bytes"] == 0


def becomes_empty(api, seconds=20):
    until = time.monotonic() + seconds
    while not is_empty(api):
        assert time.monotonic() < until, held(api)
        time.sleep(0.05)


def refusal(do):
    with pytest.raises(grpc.RpcError) as caught:
        do()
    return caught.value.code(), caught.value.details()


def test_an_uploaded_array_is_summed_and_read_back(remote, local):
    segment = put_numbers(remote, digest="sha256:" + hashlib.sha256(BYTES).hexdigest())
    assert (segment.bytes, segment.owner_uid, segment.array.dtype) == (len(BYTES), 65534, "float64")
    assert [one.id for one in held(local).segments] == [segment.id]  # the daemon's own user sees all
    words = remote.words
    part = words.Part(segment=words.SegmentSlice(id=segment.id), array=segment.array)
    (job,) = remote.submit([words.Item(parts=[part])], task="sum")
    outcome = remote.wait([job])[job]
    assert float(b"".join(part.data for part in outcome.result)) == sum(NUMBERS)
    assert download(remote, segment.id) == BYTES
    assert download(remote, segment.id, 8, 8 + MIB + 16) == BYTES[8:8 + MIB + 16]
    assert download(remote, segment.id, 16, 24) == BYTES[16:24]
    code, told = refusal(lambda: download(remote, segment.id, 0, len(BYTES) + 1))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and str(len(BYTES)) in told


def test_release_gives_the_room_back(remote):
    segment = put_numbers(remote)
    assert not is_empty(remote)
    remote.call("Segments", "Release", remote.words.ReleaseSegmentRequest(id=segment.id))
    becomes_empty(remote)
    code, _ = refusal(lambda: download(remote, segment.id))
    assert code == grpc.StatusCode.NOT_FOUND


def test_what_a_user_uploads_is_not_for_those_over_tcp(remote, local):
    segment = send(local, {"bytes": 5}, [b"hello"])
    assert download(local, segment.id) == b"hello"
    for call in (lambda: download(remote, segment.id),
                 lambda: remote.call("Segments", "Release", remote.words.ReleaseSegmentRequest(id=segment.id))):
        code, told = refusal(call)
        assert code == grpc.StatusCode.PERMISSION_DENIED and str(segment.id) in told


@pytest.mark.parametrize("first, messages, code, names", [
    ({"bytes": 4}, [b"abcde"], "INVALID_ARGUMENT", "more than the 4"),
    ({"bytes": 4}, [b"abc"], "INVALID_ARGUMENT", "after 3 of 4"),
    ({"bytes": 4, "digest": "sha256:" + "0" * 64}, [b"abcd"], "INVALID_ARGUMENT", "digest"),
    ({"bytes": 4, "digest": "md5:0"}, [b"abcd"], "INVALID_ARGUMENT", "digest"),
    ({"bytes": 4, "compression": 1}, [b"abcd"], "INVALID_ARGUMENT", "zstd"),
    ({"bytes": 4, "compression": 7}, [b"abcd"], "INVALID_ARGUMENT", "compression"),
    ({"bytes": 1 << 36}, [], "RESOURCE_EXHAUSTED", "quota"),
    ({"bytes": (1 << 36) + 1}, [], "RESOURCE_EXHAUSTED", "bytes"),
])
def test_a_bad_upload_is_refused_and_leaves_nothing(remote, first, messages, code, names):
    found, told = refusal(lambda: send(remote, first, messages))
    assert found == grpc.StatusCode[code], told
    assert names in told
    assert is_empty(remote)


def test_a_shape_of_another_size_is_refused(remote):
    shape = remote.words.ArrayShape(dtype="float64", shape=[3])
    code, told = refusal(lambda: send(remote, {"bytes": 8, "array": shape}, [b"x" * 8]))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "array.shape" in told
    assert is_empty(remote)


def test_frames_of_zstd_are_unpacked(remote):
    try:
        frames = [subprocess.run(["zstd", "-q", "-c", f"--stream-size={len(one)}"], input=one, capture_output=True,
                                 check=True).stdout for one in pieces(BYTES)]
    except FileNotFoundError:
        pytest.skip("zstd is not installed; the unit tests make frames of their own")
    segment = send(remote, {"bytes": len(BYTES), "compression": 1}, frames)
    assert download(remote, segment.id) == BYTES


def test_a_client_that_goes_away_in_the_middle_takes_no_room(remote, local):
    words = remote.words
    method = remote._method("stream_unary", "Segments", "Upload")
    over = threading.Event()

    def messages():
        yield words.UploadRequest(bytes=64 * MIB, data=b"x" * MIB)
        over.wait(30)

    call = method.future(messages(), timeout=30)
    until = time.monotonic() + 20
    while is_empty(local):
        assert time.monotonic() < until
        time.sleep(0.05)
    call.cancel()
    over.set()
    becomes_empty(local)


def test_the_clients_arrays_work_over_tcp(daemon, remote, address):
    done = subprocess.run([EXAMPLE], env={**daemon.env, "FUTURED_ADDRESS": address}, capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    becomes_empty(remote)  # a client that closes releases what it put
