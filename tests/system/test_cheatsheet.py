"""`fut bench cheatsheet`: every row is there, by itself and with a daemon that is given, and nothing is left behind."""
import json
import os
import pathlib
import secrets
import select
import shutil
import signal
import subprocess
import tempfile

import pytest
from leftovers import carrying, command_of, ended_within
from private_daemon import program

MARK = "FUTURED_DAEMON_MARK"
QUICK_BYTES = (64 << 10, 1 << 20, 8 << 20)
PAYLOADS = [f"payload_{way}_{size}" for size in QUICK_BYTES for way in ("grpc", "segment")]
ROWS = [
    "worker_memory", "io_serial", "io_thread", "io_async", "cpu_serial", "cpu_thread", "cpu_process", "cpu_speeds",
    "map_serial", "map_process", "switch_threads", "round_trip", *PAYLOADS, "cache", "rate",
]  # fmt: skip
TIMES = [name for name in ROWS if name not in ("worker_memory", "cpu_speeds", "cache", "rate")]
RATIO_TO = {
    "io_thread": "io_serial", "io_async": "io_serial", "cpu_thread": "cpu_serial", "cpu_process": "cpu_serial",
    "map_process": "map_serial", "round_trip": "switch_threads",
    **{f"payload_segment_{size}": f"payload_grpc_{size}" for size in QUICK_BYTES},
}  # fmt: skip


class Alone:
    """`fut` with folders of its own for the private daemon and for the user's, which must not be started."""

    def __init__(self, folder):
        self.folder = folder
        self.temporary = folder / "t"
        self.temporary.mkdir()
        self.mark = secrets.token_hex(8)
        self.env = {**os.environ, MARK: self.mark, "TMPDIR": str(self.temporary)}
        self.env["XDG_STATE_HOME"] = self.env["XDG_RUNTIME_DIR"] = str(folder / "user")

    def start(self, *arguments):
        return subprocess.Popen(
            [program("fut"), "bench", "cheatsheet", *arguments],
            env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def check_nothing_left(self):
        left = [f"{pid} {command_of(pid)}" for pid in ended_within(carrying(self.mark, MARK), 5)]
        assert not left, "left running: " + "; ".join(left)
        assert list(self.temporary.iterdir()) == []
        assert not (self.folder / "user").exists()

    def kill_all(self):
        for pid in carrying(self.mark, MARK):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.fixture
def alone():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fut-"))  # short: a socket path has at most 107 bytes
    made = Alone(folder)
    yield made
    made.kill_all()
    shutil.rmtree(folder, ignore_errors=True)


def rows_of(text):
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["row"] for row in rows] == ROWS
    return {row["row"]: row for row in rows}


def check_not_built_or_measured(rows, name, field):
    """The daemon is asked: what it lacks it has refused by the name of the field."""
    if rows[name]["measured"]:
        return
    assert rows[name]["standing"] == "not_built"
    assert rows[name]["why"] == "the daemon does not have it"
    assert field in rows[name]["refusal"]


def test_every_row_is_measured_and_nothing_is_left(alone):
    process = alone.start("--quick", "--json")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err + out
    rows = rows_of(out)
    for name in TIMES:
        assert rows[name]["measured"], rows[name]
        assert rows[name]["seconds"] > 0
    for name, base in RATIO_TO.items():
        assert rows[name]["ratio_to"] == base
        assert rows[name]["ratio"] == pytest.approx(rows[base]["seconds"] / rows[name]["seconds"])
    assert rows["io_serial"]["seconds"] >= 20 * 0.02, "20 sleeps of 20 ms, in a row, cannot be shorter"
    assert rows["worker_memory"]["bytes"] > 0
    assert rows["worker_memory"]["workers"] >= 1
    assert rows["cpu_speeds"]["process"] == rows["cpu_process"]["ratio"]
    assert rows[f"payload_grpc_{8 << 20}"]["jobs"] == 2, "a job takes 4 MiB inline"
    check_not_built_or_measured(rows, "cache", "cache")
    check_not_built_or_measured(rows, "rate", "rate")
    alone.check_nothing_left()


def first_row(process, seconds=90):
    """Waits until a row is there, and so a daemon."""
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    assert ready, f"no row within {seconds} s"
    return json.loads(process.stdout.readline())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process_and_no_folder(alone, how):
    process = alone.start("--json")
    assert first_row(process)["row"] == ROWS[0]
    assert list(alone.temporary.glob("futured-bench-*/s")), "it is this daemon that has to go"
    process.send_signal(how)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    alone.check_nothing_left()


def test_a_daemon_that_is_given_is_measured_and_says_what_it_has_no_pool_for(daemon):
    done = daemon.fut("bench", "cheatsheet", "--quick", "--json", "--address", "unix:" + daemon.socket, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = rows_of(done.stdout)
    for name, mode in (("io_thread", "thread"), ("io_async", "async"), ("cpu_thread", "thread")):
        assert rows[name]["standing"] == "not_set_up"
        assert f'[pools.{mode}] with mode = "{mode}"' in rows[name]["why"]
    assert not rows["cpu_speeds"]["measured"]
    assert rows["cpu_process"]["pool"] == "default"
    assert daemon.process.poll() is None, "a daemon that was given goes on"
    assert daemon.fut("run", "--", "echo", "still here").stdout == "still here\n"


def test_it_refuses_to_start_none(alone):
    process = alone.start("--quick", "--no-start")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--no-start" in err
    assert "--address" in err
    alone.check_nothing_left()


def test_help_has_examples_and_a_wrong_option_is_named(alone):
    process = alone.start("--help")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "fut bench cheatsheet --quick --json" in out
    process = alone.start("--quik")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--quik" in err
    alone.check_nothing_left()
