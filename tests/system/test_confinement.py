"""What the settings of a pool keep its jobs from: seen by commands and tasks that look at themselves."""
import glob
import os
import signal
import subprocess

import grpc
import pytest
from leftovers import ended_within
from private_daemon import BIN, MARK, DidNotStart

PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")
NOBODY = 65534
# What finds the processes of a test must stay in their environment.
FOUND_BY = [MARK, "FUTURED_RUN_MARK"]


def gives(*namespaces):
    return subprocess.run(["unshare", *namespaces, "true"], capture_output=True, check=False).returncode == 0


def has_nobody():
    with open("/etc/passwd", encoding="utf-8") as users:
        return any(line.startswith("nobody:") and line.split(":")[2] == str(NOBODY) for line in users)


needs_root = pytest.mark.skipif(os.geteuid() != 0 or not has_nobody(), reason="needs root, and a user nobody")
needs_network = pytest.mark.skipif(not gives("-n") and not gives("-Un"), reason="no namespaces to be had")


class Pool:
    """A daemon with one worker in one pool, `command` or `default`, of these settings."""

    def __init__(self, daemon, api_of):
        self.daemon = daemon.start()
        self.api = api_of(daemon)

    def succeeded(self, job):
        outcome = self.api.outcome(job)
        assert outcome.state == self.api.words.JOB_STATE_SUCCEEDED, outcome
        return outcome.result[0].data.decode() if outcome.result else ""

    def shell(self, script, **command):
        (job,) = self.api.submit([self.api.command_item("sh", "-c", script, **command)])
        return self.succeeded(job)

    def submit_task(self, task, *arguments, **spec):
        parts = [self.api.words.Part(data=str(argument).encode()) for argument in arguments]
        (job,) = self.api.submit([self.api.words.Item(parts=parts)], task=task, **spec)
        return job

    def look_around(self, files=0):
        """What a task sees of itself, by name; it leaves so many files behind."""
        seen = self.succeeded(self.submit_task("test.look_around", files))
        return dict(line.split(None, 1) for line in seen.splitlines())

    def work(self):
        """What lies in the directories of all slots."""
        return glob.glob(os.path.join(self.daemon.state, "work", "slot-*", "*"))


@pytest.fixture
def pool(make_daemon, api_of):
    def make(settings, mode="command", is_reachable=False, **options):
        name = "command" if mode == "command" else "default"
        plugins = "" if mode == "command" else f"plugins = ['{PLUGIN}']\n"
        daemon = make_daemon(f"[pools.{name}]\nmode = '{mode}'\nsize = 1\n{plugins}{settings}\n", **options)
        if is_reachable:
            os.mkdir(daemon.state)
            for folder in (daemon.folder, daemon.state):
                os.chmod(folder, 0o711)
        return Pool(daemon, api_of)

    return make


# ---- limits, nice, privileges


def test_a_command_has_the_limits_of_its_pool(pool):
    limited = pool("limits = { nofile = 64, core = 0 }")
    assert limited.shell("ulimit -Sn; ulimit -Hn; ulimit -Hc") == "64\n64\n0\n"


def test_limits_of_commands_do_not_cut_their_output(pool):
    limited = pool("limits = { fsize = 4096, nofile = 16 }")
    api = limited.api
    job = api.submit_command("head", "-c", "100000", "/dev/zero")
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    answers = api.stream("Jobs", "ReadOutput", api.words.ReadOutputRequest(id=job))
    assert b"".join(answer.data for answer in answers) == b"\0" * 100_000


@pytest.mark.parametrize("mode", ["process", "fresh"])
def test_a_task_has_the_limits_of_its_pool(pool, mode):
    limited = pool("limits = { nofile = 123 }\nnice = 6\nno_new_privileges = true", mode)
    seen = limited.look_around()
    assert (seen["nofile"], seen["nice"], seen["NoNewPrivs:"]) == ("123", "6", "1")


def test_a_command_is_as_nice_as_its_pool_and_gains_nothing(pool):
    confined = pool("nice = 5\nno_new_privileges = true")
    assert confined.shell("nice; grep NoNewPrivs /proc/self/status").split() == ["5", "NoNewPrivs:", "1"]


# ---- environment


def test_only_what_is_allowed_is_inherited(pool):
    allowed = ", ".join(f"'{name}'" for name in ["PATH", "KEPT", *FOUND_BY])
    settings = f"env_allow = [{allowed}]\nenv = {{ ADDED = 'by the pool' }}"
    confined = pool(settings, env={"KEPT": "yes", "DROPPED": "a-secret"})
    names = {line.split("=")[0] for line in confined.shell("env").splitlines()}
    assert {"KEPT", "ADDED", "FUTURED_INSTANCE", "FUTURED_JOB_ID"} <= names
    assert names <= {"PATH", "KEPT", "ADDED", *FOUND_BY, "PWD", "SHLVL", "OLDPWD", "_"} | {
        name for name in names if name.startswith("FUTURED_")
    }
    assert "a-secret" not in confined.shell("tr '\\0' '\\n' </proc/$PPID/environ"), "of the worker, in its memory"


def test_without_a_list_or_with_a_star_everything_is_inherited(pool):
    for settings in ("", "env_allow = ['*']"):
        assert pool(settings, env={"KEPT": "yes"}).shell("echo $KEPT") == "yes\n"


# ---- network


@needs_network
def test_without_a_network_there_is_a_loopback_that_works(pool):
    confined = pool("no_network = true")
    devices = confined.shell("cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert confined.shell("readlink /proc/self/ns/net").strip() != os.readlink("/proc/self/ns/net")
    talk = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname());"
        "print('talked')"
    )
    assert confined.shell(f'/usr/bin/python3 -c "{talk}"') == "talked\n"
    assert confined.shell("id -u") == f"{os.geteuid()}\n"


# ---- user


@needs_root
def test_a_command_runs_as_the_user_and_cannot_go_back(pool):
    confined = pool("user = 'nobody'")
    assert confined.shell("id -u; id -ru; grep -E '^(Uid|CapEff)' /proc/self/status").split() == [
        str(NOBODY), str(NOBODY), "Uid:", *[str(NOBODY)] * 4, "CapEff:", "0" * 16,
    ]  # fmt: skip
    assert "0" not in confined.shell("id -G").split()
    assert confined.shell("cat /proc/$PPID/environ 2>&1 || true").endswith("Permission denied\n"), "of its worker"
    assert confined.shell("echo out >/dev/stdout") == "out\n"


@needs_root
def test_long_output_of_another_user_is_kept_and_read(pool):
    api = pool("user = 'nobody'").api
    job = api.submit_command("sh", "-c", "head -c 3000000 /dev/zero; echo end")
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    answers = api.stream("Jobs", "ReadOutput", api.words.ReadOutputRequest(id=job))
    assert b"".join(answer.data for answer in answers) == b"\0" * 3_000_000 + b"end\n"


@needs_root
def test_long_output_is_not_that_of_another_user_whatever_it_is_called(pool):
    confined = pool("user = 'nobody'")
    api = confined.api
    other = NOBODY - 1
    folder = os.path.join(confined.daemon.state, "output", "users", str(other))
    job = api.submit_command("sh", "-c", "head -c 3000000 /dev/zero; echo end")
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    (own,) = glob.glob(os.path.join(confined.daemon.state, "output", "users", str(NOBODY), "*.stdout"))
    os.mkdir(folder)
    planted = os.path.join(folder, os.path.basename(own))
    with open(planted, "wb") as file:
        file.write(b"x" * 3_000_004)
    os.chown(planted, other, other)
    request = api.words.ReadOutputRequest(id=job)
    assert b"".join(answer.data for answer in api.stream("Jobs", "ReadOutput", request))[-4:] == b"end\n"
    os.unlink(own)
    with pytest.raises(grpc.RpcError) as lost:
        list(api.stream("Jobs", "ReadOutput", request))
    assert lost.value.code() == grpc.StatusCode.DATA_LOSS


@needs_root
def test_a_command_of_another_user_is_stopped_and_tells_its_stacks(pool):
    api = pool("user = 'nobody'").api
    script = "trap '' TERM; (setsid sleep 1000 &); while :; do sleep 0.05; done"
    job = api.submit_command("sh", "-c", script, timeouts={"soft_ms": 200, "grace_ms": 200})
    outcome = api.outcome(job)
    assert outcome.state == api.words.JOB_STATE_TIMED_OUT
    stacks = api.get(job, details=True).cause.stacks
    assert "process " in stacks and " sh -c trap" in stacks


@needs_root
@pytest.mark.parametrize("mode", ["process", "fresh"])
def test_a_task_runs_as_the_user_streams_and_tells_its_stacks(pool, mode):
    confined = pool("user = 'nobody'", mode)
    api = confined.api
    seen = confined.look_around()
    assert seen["Uid:"].split() == [str(NOBODY)] * 4
    job = confined.submit_task("test.emit_much", 3)
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED
    request = api.words.ReadOutputRequest(id=job, kind=api.words.OUTPUT_KIND_EMITTED)
    assert sum(len(answer.data) for answer in api.stream("Jobs", "ReadOutput", request)) == 3 << 20
    job = confined.submit_task("test.spin", "/dev/null", timeouts={"soft_ms": 200, "grace_ms": 200})
    assert api.outcome(job).state == api.words.JOB_STATE_TIMED_OUT
    assert "spins_for_ever(" in api.get(job, details=True).cause.stacks


# ---- private directory


def test_each_command_begins_in_an_empty_directory_that_goes_with_it(pool, tmp_path):
    confined = pool("private_directory = true")
    places = [confined.shell("pwd; ls -A; echo left >file; mkdir -p a/b; chmod 500 a").strip() for _ in range(2)]
    assert len(set(places)) == 2
    assert all(place.startswith(os.path.join(confined.daemon.state, "work", "slot-")) for place in places)
    assert confined.work() == []
    assert confined.shell("pwd", cwd=os.fsencode(tmp_path)) == f"{tmp_path}\n"


def test_what_a_killed_worker_left_is_removed_by_the_next_one(pool, gate, tmp_path):
    confined = pool("private_directory = true")
    proof = tmp_path / "was-here"
    script = (
        f"ls -A ..; echo left >file; [ -e {proof} ] && exit 0;"
        f"touch {proof}; echo $PPID >{gate.path}; exec sleep 1000"
    )
    job = confined.api.submit_command("sh", "-c", script)
    worker = int(gate.line())
    assert len(confined.work()) == 1
    os.kill(worker, signal.SIGKILL)
    assert len(confined.succeeded(job).split()) == 1, "its own, and nothing of the attempt before"
    assert ended_within([worker], 0) == []
    assert confined.work() == []


@pytest.mark.parametrize("mode", ["process", "fresh"])
def test_each_task_begins_in_an_empty_directory_that_goes_with_it(pool, mode):
    confined = pool("private_directory = true", mode)
    places = set()
    for _ in range(3):
        seen = confined.look_around(files=1)
        assert seen["entries"] == "0"
        places.add(seen["directory"])
        assert confined.work() == []
    assert len(places) == 3
    assert all(place.startswith(os.path.join(confined.daemon.state, "work", "slot-")) for place in places)


@needs_root
@pytest.mark.parametrize("mode", ["command", "process"])
def test_a_private_directory_belongs_to_the_user(pool, mode):
    confined = pool("user = 'nobody'\nprivate_directory = true", mode, is_reachable=True)
    if mode == "command":
        assert confined.shell("echo mine >file; stat -c '%u %a' . file").split() == [str(NOBODY), "700", str(NOBODY), "644"]
        assert confined.shell('cd "$(pwd)" && echo reached') == "reached\n"
    else:
        assert confined.look_around(files=1)["entries"] == "0"
    assert confined.work() == []


# ---- what cannot be


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ("user = 'no-such-user'", "[pools.x]: user: this machine has no user \"no-such-user\""),
        ("limits = { files = 3 }", '[pools.x]: limits."files": must be '),
        ("limits = { nofile = -1 }", "[pools.x] limits: nofile must be a whole number, 0 or more"),
        ("limits = 3", "[pools.x] limits: must be a table of whole numbers"),
        ("nice = 20", "[pools.x]: nice: must be -20 to 19"),
        ("no_network = 1", "[pools.x] no_network: must be true or false"),
        ("env_allow = 'PATH'", "[pools.x] env_allow: must be a list of strings"),
        ("mode = 'thread'\nprivate_directory = true", "[pools.x]: private_directory: "),
    ],
)
def test_bad_settings_are_refused_by_name(make_daemon, settings, complaint):
    daemon = make_daemon(f"[pools.x]\n{settings}\n")
    with pytest.raises(DidNotStart) as caught:
        daemon.start()
    assert complaint in caught.value.stderr


@pytest.mark.parametrize("mode", ["command", "process"])
def test_a_pool_that_cannot_be_confined_runs_nothing_and_says_why(pool, mode):
    confined = pool(f"limits = {{ nofile = {1 << 40} }}", mode)
    name = "command" if mode == "command" else "default"
    (shown,) = confined.daemon.fut_json("pool", "show", name)
    assert f"limits.nofile: {1 << 40} is more than the " in shown["problem"]
    assert shown["workers"] == 0


def test_fut_leaves_commands_in_their_private_directory_but_for_a_cwd(pool, tmp_path):
    daemon = pool("private_directory = true").daemon
    work = os.path.join(daemon.state, "work")
    for verb in (["run", "--", "pwd"], ["run", "--pool", "command", "--", "pwd"], ["map", "--", "sh", "-c", "pwd", ":::", "1"]):
        assert daemon.fut(*verb, cwd=tmp_path, check=True).stdout.startswith(work)
    job = daemon.fut("submit", "--", "pwd", cwd=tmp_path, check=True).stdout.strip()
    daemon.fut("wait", job, check=True)
    assert daemon.fut("result", job).stdout.startswith(work)
    assert daemon.fut("run", "--cwd", ".", "--", "pwd", cwd=tmp_path, check=True).stdout == f"{tmp_path}\n"


@needs_root
def test_a_directory_that_the_user_cannot_reach_is_named(pool):
    confined = pool("user = 'nobody'\nprivate_directory = true")  # the daemon's folder is of mode 0700
    (shown,) = confined.daemon.fut_json("pool", "show", "command")
    assert "cannot enter" in shown["problem"] and "chmod o+x" in shown["problem"]
