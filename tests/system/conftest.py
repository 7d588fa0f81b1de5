"""Fixtures: private daemons that leave nothing behind, the public API over plain gRPC, and gates that jobs report to."""
import os
import select
import signal
import sys
import time

import pytest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

from private_daemon import PrivateDaemon  # noqa: E402
from wire import Api, compile_api  # noqa: E402


# Started behind a shell's "&", we and all that we start would be deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def api_modules(tmp_path_factory):
    """The messages of proto/futured/v1, compiled as any other client's author would."""
    return compile_api(tmp_path_factory.mktemp("proto"))


@pytest.fixture
def make_daemon():
    """Makes private daemons, not yet started; at the end each must end by itself, with all it started."""
    made = []

    def make(config="", **options):
        made.append(PrivateDaemon(config, **options))
        return made[-1]

    yield make
    left = []
    for daemon in made:
        print(f"---- log of {daemon.folder}\n{daemon.log_text()}")  # pytest shows it when the test failed
        left += daemon.end()
    assert not left, "left running after SIGTERM: " + "; ".join(left)


@pytest.fixture
def daemon(make_daemon):
    return make_daemon().start()


@pytest.fixture
def api_of(api_modules):
    """Connects to a daemon; all connections close with the test."""
    opened = []

    def connect(daemon):
        opened.append(Api(api_modules, daemon.socket))
        return opened[-1]

    yield connect
    for api in opened:
        api.close()


@pytest.fixture
def api(api_of, daemon):
    return api_of(daemon)


class Gate:
    """A named pipe that jobs write lines into, so that a test waits for what happened instead of for a while."""

    def __init__(self, path):
        self.path = str(path)
        os.mkfifo(self.path)
        self.pipe = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)  # read and write: neither end ever waits to open it
        self.seen = b""

    def line(self, seconds=20):
        """The next line that a job wrote."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.seen:
            ready, _, _ = select.select([self.pipe], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no job wrote to the gate within {seconds} s"
            self.seen += os.read(self.pipe, 65536)
        line, self.seen = self.seen.split(b"\n", 1)
        return line.decode()

    def close(self):
        os.close(self.pipe)


@pytest.fixture
def gate(tmp_path):
    opened = Gate(tmp_path / "gate")
    yield opened
    opened.close()
