"""PrivateDaemon: futured in a folder of its own, for tests, benchmarks and the demo. Standard library only."""
import json
import os
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

from leftovers import carrying, command_of, ended_within

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("FUTURED_BIN", os.path.join(ROOT, "build", "bin"))
MARK = "FUTURED_DAEMON_MARK"  # in the environment of all that one PrivateDaemon starts


def program(name):
    return os.path.join(BIN, name)


class DidNotStart(Exception):
    """The daemon ended, or was not ready in time. `code` is its exit code, None when it had to be killed."""

    def __init__(self, code, stderr):
        super().__init__(f"futured did not start (exit code {code}): {stderr.strip()}")
        self.code = code
        self.stderr = stderr


class PrivateDaemon:
    """Owns a folder with state, socket and log. Use as a context manager: leaving it ends every process it started, and
    raises when one had to be killed for it."""

    def __init__(self, config="", env=None, base=None, wrap=None):
        self.folder = tempfile.mkdtemp(prefix="fut-", dir=base)  # short: a socket path has at most 107 bytes
        self.state = os.path.join(self.folder, "state")
        self.socket = os.path.join(self.folder, "s")
        self.log = os.path.join(self.folder, "log")
        self.mark = secrets.token_hex(8)
        self.process = None
        self.wrap = wrap or []  # put before the command, e.g. prlimit
        self.env = {**os.environ, MARK: self.mark, "FUTURED_ADDRESS": "unix:" + self.socket, **(env or {})}
        self.arguments = ["--socket", self.socket, "--state", self.state]
        if config:
            path = os.path.join(self.folder, "futured.toml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(config)
            self.arguments += ["--config", path]

    # ---- the daemon

    def start(self, seconds=30):
        """Returns when the daemon has said READY=1 (the protocol of systemd's Type=notify); raises DidNotStart."""
        notify = os.path.join(self.folder, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
            if os.path.exists(notify):
                os.unlink(notify)
            inbox.bind(notify)
            inbox.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    [*self.wrap, program("futured"), *self.arguments],
                    env={**self.env, "NOTIFY_SOCKET": notify},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self._await_ready(inbox, time.monotonic() + seconds)
        return self

    def _await_ready(self, inbox, deadline):
        watch = os.pidfd_open(self.process.pid)
        try:
            while True:
                left = deadline - time.monotonic()
                ready, _, _ = select.select([inbox, watch], [], [], max(0.0, left))
                if inbox in ready:
                    message, ancillary, _, _ = inbox.recvmsg(4096, socket.CMSG_SPACE(12))
                    sender = struct.unpack("iii", ancillary[0][2])[0] if ancillary else 0
                    if sender == self.process.pid and b"READY=1" in message.split(b"\n"):
                        return
                elif watch in ready:
                    raise DidNotStart(self.process.wait(), self.log_text())
                elif left <= 0:
                    self.kill()
                    raise DidNotStart(None, self.log_text())
        finally:
            os.close(watch)

    def kill(self, sig=signal.SIGKILL):
        """Ends the daemon alone; its spawner and workers go on. Returns its exit code."""
        self.process.send_signal(sig)
        return self.process.wait(30)

    def log_text(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def processes(self):
        """Pids of all that this daemon started, itself included, in whatever session they are now."""
        return carrying(self.mark, MARK)

    def processes_running(self, name):
        """Those among them whose executable has this name."""
        found = []
        for pid in self.processes():
            try:
                if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == name:
                    found.append(pid)
            except OSError:
                continue
        return found

    # ---- its clients

    def fut(self, *arguments, input=None, timeout=60, env=None, check=False, cwd=None):
        """Runs `fut` to its end; standard output and error are text."""
        done = subprocess.run(
            [program("fut"), *map(str, arguments)],
            env={**self.env, **(env or {})},
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            cwd=cwd,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"fut {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
        return done

    def fut_json(self, *arguments, **options):
        """The JSON objects that `fut … --json` prints, one a line."""
        done = self.fut(*arguments, "--json", check=True, **options)
        return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]

    def start_fut(self, *arguments, **options):
        """Starts `fut` and returns its Popen; ends with the daemon if the caller does not end it."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([program("fut"), *map(str, arguments)], env=self.env, text=True, **options)

    # ---- the end

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        left = self.end()
        if kind is None and left:
            raise AssertionError("left running after shutdown: " + "; ".join(left))

    def end(self, seconds=15):
        """Ends every process and removes the folder. Returns what had to be killed."""
        left = self.end_processes(seconds)
        shutil.rmtree(self.folder, ignore_errors=True)
        return left

    def end_processes(self, seconds=15):
        """Asks daemon and spawner to end and kills what does not. Returns what had to be killed."""
        pids = self.processes()
        for name in ("futured", "futured-spawner"):
            for pid in self.processes_running(name):
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
            ended_within(self.processes_running(name), seconds)
        if self.process is not None:
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        left = []
        for pid in ended_within(pids, 3.0):
            left.append(f"{pid} {command_of(pid)}")
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process is not None:
            self.process.wait(seconds)
        return left
