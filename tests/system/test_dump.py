"""Arrays in files: what a job returned is dumped, told, cut into rows, and worked on by the next job."""
import array
import json
import os
import random
import struct
import subprocess

import pytest
from private_daemon import BIN, program

TASKS = os.path.join(os.path.dirname(BIN), "plugins", "libtext_tasks.so")


def npy(path, values, shape, descr="<f8", fortran=False):
    """As numpy.save writes it."""
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape!r}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + values)
    return path


def doubles(numbers):
    return array.array("d", numbers).tobytes()


@pytest.fixture
def numbers(tmp_path):
    """x.npy: 1000 rows of 100, counted from 0."""
    return npy(tmp_path / "x.npy", doubles(range(100_000)), (1000, 100))


@pytest.fixture
def dumped(daemon, numbers):
    """The same array, as a job returned it, in every form by its name."""
    (job,) = daemon.fut("call", "--detach", "echo", "--array", numbers, check=True).stdout.split()
    daemon.fut("wait", job, check=True)
    for name, options in {"z.fut": [], "p.fut": ["--compress", "none"], "y.npy": []}.items():
        daemon.fut("dump", *options, job, numbers.parent / name, check=True)
    return numbers.parent


# ---- arrays as arguments


@pytest.mark.parametrize(
    "rows, begin, end", [("", 0, 1000), ("[0:10]", 0, 10), ("[:10]", 0, 10), ("[990:]", 990, 1000), ("[5:5]", 5, 5)]
)
@pytest.mark.parametrize("name", ["x.npy", "z.fut", "p.fut"])
def test_a_task_works_on_an_array_in_a_file_or_on_its_rows(daemon, dumped, name, rows, begin, end):
    done = daemon.fut("call", "sum", "--array", f"{dumped / name}{rows}", check=True)
    assert float(done.stdout) == sum(range(begin * 100, end * 100))


def test_arrays_are_arguments_at_their_places(make_daemon, numbers, tmp_path):
    daemon = make_daemon(f"[pools.default]\nsize = 1\nplugins = ['{TASKS}']\n").start()
    small = npy(tmp_path / "small.npy", doubles([1, 2, 3]), (3,))
    scaled = tmp_path / "scaled.fut"
    for words in (["scale", "--array", small, "2"], ["--array", small, "scale", "--", "2"]):
        (job,) = daemon.fut("call", "--detach", *words, check=True).stdout.split()
        daemon.fut("wait", job, check=True)
        daemon.fut("dump", job, scaled, check=True)
        daemon.fut("load", scaled, "--output", tmp_path / "raw", check=True)
        assert (tmp_path / "raw").read_bytes() == doubles([2, 4, 6])
    refused = daemon.fut("call", "scale", "2", "--array", small)
    assert refused.returncode == 1 and "could not read its arguments" in refused.stderr
    parts = daemon.fut_json("call", "echo", "a", "--array", small, "b", "--array", f"{small}[0:1]")[0]["result"]
    assert [part["data"] for part in parts if "array" not in part["content_type"]] == ["a", "b"]
    assert ["array" in part["content_type"] for part in parts] == [False, True, False, True]


def test_an_array_may_be_larger_than_arguments_may(daemon, tmp_path):
    size = 16 * 1024 * 1024
    large = npy(tmp_path / "large.npy", bytes(size), (size // 8,))
    assert daemon.fut("call", "sum", "--array", large, check=True).stdout == "0\n"


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: npy(path, doubles([1, 2]), (2, 1), fortran=True), ["Fortran order", "ascontiguousarray"]),
        (lambda path: npy(path, doubles([1, 2]), (2,), descr=">f8"), ["big end first", "astype"]),
        (lambda path: npy(path, doubles([1, 2]), (3,)), ["cut short"]),
        (lambda path: path.write_text("1 2 3"), ["it is no array"]),
        (lambda path: None, ["No such file"]),
        (os.mkfifo, ["no regular file"]),
    ],
)
def test_what_is_no_array_is_refused_before_anything_is_submitted(daemon, tmp_path, make, words):
    make(tmp_path / "bad")
    done = daemon.fut("call", "sum", "--array", tmp_path / "bad")
    assert done.returncode == 2
    for word in ["--array: ", str(tmp_path / "bad"), *words]:
        assert word in done.stderr
    assert daemon.fut_json("ls") == []


def test_rows_that_there_are_not_are_refused(daemon, numbers):
    done = daemon.fut("call", "sum", "--array", f"{numbers}[990:1001]")
    assert done.returncode == 4
    assert str(numbers) in done.stderr and "990..1001" in done.stderr


# ---- dump


def test_dump_stores_what_a_job_returned_in_the_form_that_the_name_asks_for(dumped):
    assert (dumped / "y.npy").read_bytes() == (dumped / "x.npy").read_bytes()
    plain = (dumped / "p.fut").read_bytes()
    assert plain[4096:] == doubles(range(100_000))
    assert len((dumped / "z.fut").read_bytes()) < len(plain) / 4


def mix(value):
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) % 2**64
    return value ^ value >> 31


def stable_hash(data, before=0):
    value = mix((before + 0x9E3779B97F4A7C15 + len(data)) % 2**64)
    for at in range(0, len(data), 8):
        value = mix(value ^ int.from_bytes(data[at : at + 8], "little"))
    return value


def test_a_file_is_what_its_page_says(dumped):
    """Read by the words of docs/formats/array_file.md alone."""
    for name, compressed in {"p.fut": 0, "z.fut": 1}.items():
        content = (dumped / name).read_bytes()
        version, flags, dimensions = struct.unpack_from("<HHI", content, 8)
        begin, in_memory, size, data_hash, block = struct.unpack_from("<QQQQQ", content, 16)
        assert (content[:8], version, flags, dimensions) == (b"\x89FUT\r\n\x1a\n", 1, compressed, 2)
        assert content[56:72] == b"float64".ljust(16, b"\0")
        assert struct.unpack_from("<QQ", content, 72) == (1000, 100)
        assert struct.unpack_from("<Q", content, 504) == (stable_hash(content[:504]),)
        assert (in_memory, block) == (800_000, 1024 * 1024)
        if compressed:
            end, index_hash = struct.unpack_from("<QQ", content, begin + size)
            assert (end, index_hash) == (size, stable_hash(struct.pack("<Q", size)))
            assert content[begin : begin + 4] == b"\x28\xb5\x2f\xfd"  # a zstd frame
        else:
            assert (begin, size, data_hash) == (4096, 800_000, stable_hash(content[4096:]))
    with open(os.path.join(os.path.dirname(__file__), "../../docs/formats/array_file.md"), encoding="utf-8") as page:
        published = {}
        exec(page.read().split("```python\n")[1].split("```")[0], published)  # noqa: S102
    assert published["stable_hash"](b"abc" * 7, 5) == stable_hash(b"abc" * 7, 5)


def test_dump_takes_any_bytes_and_any_part(daemon, tmp_path):
    (job,) = daemon.fut("call", "--detach", "echo", "first", "second", check=True).stdout.split()
    daemon.fut("wait", job, check=True)
    (told,) = daemon.fut_json("dump", "--part", 1, job, tmp_path / "second.npy")
    assert told["id"] == int(job) and (told["dtype"], told["shape"], told["format"]) == ("uint8", [6], "npy")
    daemon.fut("load", tmp_path / "second.npy", "--output", tmp_path / "raw", check=True)
    assert (tmp_path / "raw").read_bytes() == b"second"
    missing = daemon.fut("dump", "--part", 2, job, tmp_path / "third")
    assert missing.returncode == 4 and "2 parts" in missing.stderr
    assert not (tmp_path / "third").exists()


def test_what_does_not_get_smaller_is_left_plain(daemon, tmp_path):
    noise = npy(tmp_path / "noise.npy", random.Random(7).randbytes(2 << 20), (2 << 20,), descr="|u1")
    (job,) = daemon.fut("call", "--detach", "echo", "--array", noise, check=True).stdout.split()
    daemon.fut("wait", job, check=True)
    (told,) = daemon.fut_json("dump", "--compress", 19, job, tmp_path / "noise.fut")
    assert told["format"] == "plain"


def test_dump_leaves_files_alone_when_there_is_nothing_to_store(daemon, gate, tmp_path):
    kept = tmp_path / "kept.fut"
    kept.write_text("kept")
    (open_job,) = daemon.fut("submit", "--", "sh", "-c", f"echo up >{gate.path}; exec sleep 1000").stdout.split()
    assert gate.line() == "up"
    done = daemon.fut("dump", open_job, kept)
    assert done.returncode == 4 and f"fut wait {open_job}" in done.stderr
    daemon.fut("cancel", open_job, check=True)
    (failed,) = daemon.fut("submit", "--", "false", check=True).stdout.split()
    daemon.fut("wait", failed)
    done = daemon.fut("dump", failed, kept)
    assert done.returncode == 1 and "exit code 1" in done.stderr
    assert daemon.fut("dump", 987654, kept).returncode == 4
    assert kept.read_text() == "kept"
    assert os.listdir(tmp_path).count("kept.fut") == 1 and not [n for n in os.listdir(tmp_path) if ".part-" in n]


@pytest.mark.parametrize(
    "words, told",
    [
        (["--compress", "23"], "--compress: \"23\""),
        (["--compress", "much"], "--compress: \"much\""),
        (["--compress", "3", "1", "x.npy"], "never compressed"),
    ],
)
def test_options_of_dump_that_cannot_be_right_are_refused(daemon, words, told):
    done = daemon.fut("dump", *words, *([] if "x.npy" in words else ["1", "x.fut"]))
    assert done.returncode == 2 and told in done.stderr


def test_a_full_disk_leaves_no_half_file_and_is_told(daemon, tmp_path):
    noise = npy(tmp_path / "noise.npy", random.Random(7).randbytes(2 << 20), (2 << 20,), descr="|u1")
    (job,) = daemon.fut("call", "--detach", "echo", "--array", noise, check=True).stdout.split()
    daemon.fut("wait", job, check=True)
    small = tmp_path / "small"
    small.mkdir()
    script = (
        'mount -t tmpfs -o size=1m small "$1" && echo before >"$1/a.fut" || exit 99\n'
        '"$2" dump "$3" "$1/a.fut"; code=$?\n'
        'ls -A "$1"; cat "$1/a.fut"; exit $code'
    )
    namespace = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    done = subprocess.run(
        [*namespace, "sh", "-c", script, "sh", small, program("fut"), job],
        env=daemon.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (4, "a.fut\nbefore\n"), done
    assert "No space left" in done.stderr and "make room" in done.stderr


# ---- load


def test_load_tells_and_checks_without_a_daemon(dumped, tmp_path):
    def load(*words):
        return subprocess.run(
            [program("fut"), "--no-start", "--address", f"unix:{tmp_path}/nobody", "load", *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    told = json.loads(load("--json", dumped / "z.fut").stdout)
    assert told["file"] == str(dumped / "z.fut")
    assert (told["dtype"], told["shape"], told["format"]) == ("float64", [1000, 100], "zstd")
    assert (told["bytes"], told["file_bytes"]) == (800_000, os.path.getsize(dumped / "z.fut"))
    assert told["ratio"] == pytest.approx(told["bytes"] / told["file_bytes"]) and told["checksum"] is True
    lines = dict(line.split(None, 1) for line in load(dumped / "y.npy").stdout.splitlines())
    assert (lines["dtype"], lines["shape"], lines["format"]) == ("float64", "1000x100", "npy")
    assert "no checksum" in lines["checked"]


@pytest.mark.parametrize("name", ["z.fut", "p.fut", "y.npy"])
def test_load_writes_rows_as_bare_bytes(daemon, dumped, name):
    wanted = doubles(range(1000, 2000))
    (told,) = daemon.fut_json("load", dumped / name, "--slice", "10:20", "--output", dumped / "raw")
    assert (told["shape"], told["bytes"]) == ([10, 100], 8000)
    assert (dumped / "raw").read_bytes() == wanted
    piped = subprocess.run(
        [program("fut"), "load", dumped / name, "--slice", "10:20", "--output", "-"],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert piped.stdout == wanted


def test_damage_is_found_wherever_it_is(daemon, dumped):
    for name in ("z.fut", "p.fut"):
        sound = (dumped / name).read_bytes()
        bad = dumped / "bad.fut"
        for at in (8, 20, 100, 504, len(sound) // 2, len(sound) - 1):
            bad.write_bytes(sound[:at] + bytes([sound[at] ^ 0x41]) + sound[at + 1 :])
            done = daemon.fut("load", bad)
            assert done.returncode == 4 and f"{bad}: " in done.stderr, (name, at, done)
        for content in (sound[:-1], sound[:300], sound + b"x"):
            bad.write_bytes(content)
            done = daemon.fut("load", bad)
            assert done.returncode == 4 and f"{bad}: it " in done.stderr, (name, len(content), done)


@pytest.mark.parametrize(
    "words, told",
    [
        (["--slice", "1:2"], "--output"),
        (["--slice", "2", "--output", "-"], "BEGIN:END"),
        (["--output", "-", "--json"], "--json"),
    ],
)
def test_options_of_load_that_cannot_be_right_are_refused(daemon, numbers, words, told):
    done = daemon.fut("load", numbers, *words)
    assert done.returncode == 2 and told in done.stderr
