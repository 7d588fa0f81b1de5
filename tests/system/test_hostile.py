"""Hostile jobs, in every mode: what one does ends with it, whatever it does, its end is told rightly, and everybody else is served.

What a hostile job starts carries a token as the name of its threads (tests/system/plugin/hostile.h), so that it is found in /proc
whatever its parent, its session and its environment are."""
import os
import secrets
import signal
import subprocess
import threading
import time

import pytest
from leftovers import ended_within
from private_daemon import BIN, program

FOLDER = os.path.join(os.path.dirname(BIN), "tests")
PLUGIN = os.path.join(FOLDER, "hostile.so")
PROGRAM = os.path.join(FOLDER, "hostile")
SECONDS = 60
TASK_MODES = ["process", "fresh", "thread"]
MODES = [*TASK_MODES, "command"]
KILLS_BY = ["groups", "walking"]

CONFIG = """
[pools.default]
size = 1
[pools.command]
mode = "command"
size = 1
[pools.hostile]
mode = "{mode}"
size = 1
{settings}
"""


# ---- what is seen from outside


def threads_named(token):
    """(pid, tid) of all living threads of this name."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for tid in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{tid}/stat", encoding="ascii", errors="replace") as file:
                    text = file.read()
                name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :]
                if name == token and rest[0] not in "ZX":
                    found.append((int(pid), int(tid)))
        except OSError:
            continue  # gone meanwhile
    return found


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def names_in_shared_memory():
    return {name for name in os.listdir("/dev/shm") if "fut" in name}


class Hostile:
    """A daemon with a pool for the hostile, and one of each kind for those who are served meanwhile."""

    def __init__(self, daemon, api_of, gate, mode):
        self.daemon = daemon
        self.api_of = api_of
        self.gate = gate
        self.mode = mode
        self.token = "h-" + secrets.token_hex(5)
        self.api = None
        self.failure = None
        self.rounds = 0
        self.restarts = 0
        self.over = threading.Event()
        self.thread = None

    # ---- jobs

    def submit(self, what, token=None, **spec):
        arguments = [what, token or self.token, self.gate.path]
        if self.mode == "command":
            return self.api.submit_command(PROGRAM, *arguments, pool="hostile", **spec)
        parts = [self.api.words.Part(data=argument.encode()) for argument in arguments]
        (job,) = self.api.submit([self.api.words.Item(parts=parts)], task="test.hostile", pool="hostile", **spec)
        return job

    def outcome(self, job):
        return self.api.outcome(job, SECONDS)

    def harmless(self, pool="hostile"):
        if pool == "command" or (pool == "hostile" and self.mode == "command"):
            return self.api.submit_command("true", pool=pool)
        (job,) = self.api.submit_tasks("noop", pool=pool)
        return job

    def succeeds(self, *pools):
        jobs = [self.harmless(pool) for pool in pools]
        outcomes = self.api.wait(jobs, SECONDS)
        for outcome in outcomes.values():
            assert outcome.state == self.api.words.JOB_STATE_SUCCEEDED, outcome

    def told(self, what=None, seconds=20):
        """The pid that stands in the next line of the gate, which must be of this kind."""
        pid, kind = self.gate.line(seconds).split(None, 1)
        assert what in (None, kind)
        return int(pid)

    # ---- those who are served meanwhile

    def begin(self):
        self.connect()
        self.succeeds("default", "command", "hostile")
        (self.spawner,) = self.daemon.processes_running("futured-spawner")
        self.before = self.seen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def connect(self):
        self.api = self.api_of(self.daemon)

    def serve(self):
        try:
            while not self.over.is_set():
                self.succeeds("default", "command")
                self.rounds += 1
                self.over.wait(0.02)  # leaves the machine to the others
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure

    def is_served(self):
        """Somebody is, from beginning to end, from now on."""
        wanted = self.rounds + 2  # one may be under way
        self.eventually(lambda: self.rounds >= wanted or self.failure is not None)
        assert self.failure is None, self.failure

    def stop_serving(self):
        self.over.set()
        if self.thread is not None:
            self.thread.join(SECONDS)

    def seen(self):
        return {
            "of the daemon": descriptors_of(self.daemon.process.pid),
            "of the spawner": descriptors_of(self.spawner),
            "names": names_in_shared_memory(),
        }

    def eventually(self, is_so, seconds=20):
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline:
                return False
            self.succeeds("default")
        return True

    def cancelled(self, job):
        """Its cancel is told, with what is to be told of it, and then nothing of it is left."""
        words = self.api.words
        self.api.cancel(job, wait=True)
        self.nothing_is_left()
        outcome = self.outcome(job)
        assert (outcome.state, outcome.cause.kind) == (words.JOB_STATE_CANCELLED, words.CAUSE_KIND_CANCELLED)

    def nothing_is_left(self):
        assert threads_named(self.token) == []

    def end(self):
        """All is as before: the pool serves, its worker is there, and nobody holds more than before."""
        self.is_served()
        self.stop_serving()
        assert self.failure is None, self.failure
        assert self.rounds > 1
        self.nothing_is_left()
        self.succeeds("default", "command", "hostile")
        assert self.daemon.process.poll() is None
        assert self.eventually(lambda: self.seen() == self.before), f"before {self.before}, now {self.seen()}"
        self.nothing_is_left()


@pytest.fixture
def hostile_in(make_daemon, api_of, gate):
    made = []

    def make(mode, kills_by="groups", settings="", **options):
        if mode != "command":
            settings = f"plugins = ['{PLUGIN}']\n" + settings
        if mode == "thread":
            settings = "jobs_at_once = 2\n" + settings
        daemon = make_daemon(CONFIG.format(mode=mode, settings=settings), **options)
        if kills_by == "walking":
            os.makedirs(daemon.state, mode=0o700)
            with open(os.path.join(daemon.state, "spawner.log"), "ab") as log:
                arguments = ["--state", daemon.state, "--no-cgroup", "--detach"]
                subprocess.run([program("futured-spawner"), *arguments], env=daemon.env, stderr=log, check=True)
        made.append(Hostile(daemon.start(), api_of, gate, mode))
        return made[-1].begin()

    yield make
    for each in made:
        each.stop_serving()
        for pid, _ in threads_named(each.token):  # of a test that failed
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


# ---- a job that will not end, in each way that it is ended


DEAF = {"grace_ms": 200}
# In mode thread the first thread runs no task, so no task can end it.
ENDLESS = [(what, mode) for what in ("stop", "deaf", "headless", "threads") for mode in MODES if (what, mode) != ("headless", "thread")]



@pytest.mark.parametrize("kills_by", KILLS_BY)
@pytest.mark.parametrize("what, mode", ENDLESS)
def test_who_will_not_end_is_dead_when_its_cancel_is_told(hostile_in, what, mode, kills_by):
    hostile = hostile_in(mode, kills_by)
    job = hostile.submit(what, timeouts=DEAF)
    pid = hostile.told("self" if what != "threads" else what)
    hostile.is_served()
    hostile.cancelled(job)
    assert ended_within([pid], 0) == []
    hostile.end()


@pytest.mark.parametrize("what, mode", ENDLESS)
def test_who_will_not_end_is_dead_when_its_timeout_is_told(hostile_in, what, mode):
    hostile = hostile_in(mode)
    job = hostile.submit(what, timeouts={"run_ms": 1000, "grace_ms": 200})
    pid = hostile.told()
    outcome = hostile.outcome(job)
    hostile.nothing_is_left()
    assert ended_within([pid], 0) == []
    assert outcome.state == hostile.api.words.JOB_STATE_TIMED_OUT
    assert outcome.cause.timeout == hostile.api.words.TIMEOUT_KIND_RUN
    hostile.end()


@pytest.mark.parametrize("what, mode", ENDLESS)
def test_who_will_not_end_is_dead_when_the_spawner_is(hostile_in, what, mode):
    hostile = hostile_in(mode)
    hostile.stop_serving()
    job = hostile.submit(what, at_most_once=True)
    pid = hostile.told()
    words = hostile.api.words
    hostile.api.call("Admin", "Shutdown", words.ShutdownRequest(spawner=True, grace_ms=0))
    assert ended_within([hostile.daemon.process.pid, hostile.spawner], 20) == []
    assert ended_within([pid], 0) == []
    hostile.nothing_is_left()
    hostile.daemon.process.wait()
    hostile.daemon.start()
    hostile.connect()
    outcome = hostile.outcome(job)
    assert (outcome.state, outcome.cause.kind) == (words.JOB_STATE_FAILED, words.CAUSE_KIND_MAY_HAVE_RUN)
    hostile.succeeds("default", "command", "hostile")


# ---- what a job has beside it, or leaves


KINDS = ["orphan", "stopped", "headless", "vforked", "traced", "tracer", "ungrouped", "sibling", "unadopted"]
STARTED = {"traced": 2}  # processes; 1 of the others


@pytest.mark.parametrize("kills_by", KILLS_BY)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_job_has_beside_it_is_dead_when_its_cancel_is_told(hostile_in, kind, mode, kills_by):
    hostile = hostile_in(mode, kills_by)
    job = hostile.submit("beside:" + kind, timeouts=DEAF)
    pids = [hostile.told() for _ in range(STARTED.get(kind, 1) + 1)]
    hostile.is_served()
    hostile.cancelled(job)
    assert ended_within(pids, 0) == []
    hostile.end()


# What a task of mode thread leaves lives until its worker ends, as docs/pools.md says.
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "thread"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "traced"])
def test_what_a_job_leaves_is_dead_when_its_end_is_told(hostile_in, kind, mode):
    hostile = hostile_in(mode)
    job = hostile.submit("leave:" + kind, timeouts={"run_ms": 20_000, "grace_ms": 200})
    outcome = hostile.outcome(job)
    hostile.nothing_is_left()
    assert outcome.state == hostile.api.words.JOB_STATE_SUCCEEDED, outcome.cause
    hostile.end()
