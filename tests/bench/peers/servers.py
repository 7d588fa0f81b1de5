"""The systems a user would pick instead, each started privately: its server, two workers, and the load generator for it."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from leftovers import ended_within

HERE = os.path.dirname(os.path.abspath(__file__))
WORKERS = 2


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(process, port, seconds=10):
    """Until the server accepts. Between two tries it waits for the server's death, which is the other thing that can happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if not ended_within([process.pid], 0.02):
                break
    raise RuntimeError(f"{process.args[0]} did not come up")


class Server:
    """A peer with a server process. Use as a context manager; its workers and files go with it."""

    name = ""
    executable = ""
    load = ""  # our generator for it, beside the other benchmark programs

    def __init__(self, programs, base):
        self.load_path = os.path.join(programs, self.load)
        self.folder = tempfile.mkdtemp(prefix="peer-", dir=base)
        self.port = free_port()
        self.processes = []

    @classmethod
    def installed(cls):
        return shutil.which(cls.executable, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def command(self):
        raise NotImplementedError

    def _spawn(self, command):
        process = subprocess.Popen(
            list(map(str, command)), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    def __enter__(self):
        await_port(self._spawn(self.command()), self.port)
        for _ in range(WORKERS):
            self._spawn([self.load_path, "worker", self.port])
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def measure(self, what, count):
        command = [self.load_path, what, str(self.port), str(count)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)


class Beanstalkd(Server):
    name, executable, load = "beanstalkd", "beanstalkd", "bench-beanstalkd"

    def command(self):
        return [self.installed(), "-l", "127.0.0.1", "-p", self.port]


class BeanstalkdDurable(Beanstalkd):
    """Every put and delete is fsynced before it is answered."""

    name = "beanstalkd -b -f0"

    def command(self):
        return [*super().command(), "-b", self.folder, "-f0"]


class Gearmand(Server):
    name, executable, load = "gearmand", "gearmand", "bench-gearmand"

    def command(self):
        quiet = ["--log-file=none", f"--pid-file={os.path.join(self.folder, 'pid')}"]
        return [self.installed(), "--listen=127.0.0.1", f"--port={self.port}", *quiet]


class PythonPool:
    """A process pool of Python's own library, in a process of its own."""

    def __init__(self, name, kind):
        self.name = name
        self.kind = kind

    def installed(self):
        return sys.executable

    def measure(self, what, count):
        command = [sys.executable, os.path.join(HERE, "pools.py"), self.kind, what, str(count)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)

    def __call__(self, _programs, _base):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


MULTIPROCESSING_POOL = PythonPool("multiprocessing.Pool", "pool")
PEERS = [
    BeanstalkdDurable,
    Beanstalkd,
    Gearmand,
    MULTIPROCESSING_POOL,
    PythonPool("ProcessPoolExecutor", "executor"),
]
