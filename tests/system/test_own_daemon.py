"""A user's own daemon: the first `fut` starts it, two at once start one, `fut shutdown` ends it."""
import os
import secrets
import shutil
import signal
import subprocess
import tempfile

import pytest
from leftovers import carrying, command_of, ended_within
from private_daemon import program


class Home:
    """Where one user's daemon lives, found by XDG_STATE_HOME and XDG_RUNTIME_DIR alone."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="fut-")
        self.state = os.path.join(self.folder, "state")
        self.runtime = os.path.join(self.folder, "run")
        os.mkdir(self.state)
        os.mkdir(self.runtime, 0o700)
        self.mark = secrets.token_hex(8)
        self.env = {k: v for k, v in os.environ.items() if k not in ("FUTURED_ADDRESS", "FUTURED_IDLE_EXIT")}
        self.env.update(XDG_STATE_HOME=self.state, XDG_RUNTIME_DIR=self.runtime, FUTURED_DAEMON_MARK=self.mark)

    def start(self, *arguments):
        return subprocess.Popen(
            [program("fut"), *map(str, arguments)],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def fut(self, *arguments, timeout=60):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def running(self, name):
        found = []
        for pid in carrying(self.mark, "FUTURED_DAEMON_MARK"):
            try:
                if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == name:
                    found.append(pid)
            except OSError:
                continue
        return found

    def end(self):
        pids = carrying(self.mark, "FUTURED_DAEMON_MARK")
        left = [f"{pid} {command_of(pid)}" for pid in ended_within(pids, 5)]
        for pid in carrying(self.mark, "FUTURED_DAEMON_MARK"):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        return left


@pytest.fixture
def home():
    made = Home()
    yield made
    made.fut("shutdown")
    left = made.end()
    assert not left, "left running after fut shutdown: " + "; ".join(left)


def test_the_first_fut_starts_a_daemon_that_outlives_it(home):
    assert home.fut("run", "--", "echo", "hello").stdout == "hello\n"
    (first,) = home.running("futured")
    assert home.fut("run", "--", "echo", "again").stdout == "again\n"
    assert home.running("futured") == [first]
    assert os.path.isdir(os.path.join(home.state, "futured"))


def test_many_fut_at_once_start_one_daemon(home):
    together = [home.start("run", "--", "echo", number) for number in range(6)]
    for number, process in enumerate(together):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, f"{number}\n"), err
    assert len(home.running("futured")) == 1
    assert len(home.running("futured-spawner")) == 1


def test_no_start_starts_nothing(home):
    done = home.fut("ls", "--no-start")
    assert done.returncode not in (0, 124)
    assert home.runtime in done.stderr
    assert home.running("futured") == []


def test_shutdown_ends_daemon_spawner_and_workers(home):
    home.fut("run", "--", "true")
    pids = carrying(home.mark, "FUTURED_DAEMON_MARK")
    assert len(pids) >= 3
    assert home.fut("shutdown").returncode == 0
    assert ended_within(pids, 10) == []


def test_a_daemon_ends_by_itself_after_the_idle_time_of_the_environment(home):
    home.env["FUTURED_IDLE_EXIT"] = "500ms"  # one second: less is not none
    home.fut("run", "--", "true")
    pids = carrying(home.mark, "FUTURED_DAEMON_MARK")
    assert ended_within(pids, 30) == []


@pytest.mark.parametrize(("given", "seconds"), [(None, "600"), ("", "600"), ("0", "0"), ("1.5h", "5400"), ("7", "7")])
def test_the_idle_time_is_any_duration(home, given, seconds):
    if given is not None:
        home.env["FUTURED_IDLE_EXIT"] = given
    home.fut("run", "--", "true")
    (pid,) = home.running("futured")
    assert f"--idle-exit {seconds}" in command_of(pid)


@pytest.mark.parametrize("given", ["soon", "-1", "5 parsecs", "400d"])
def test_an_idle_time_that_is_none_starts_nothing(home, given):
    home.env["FUTURED_IDLE_EXIT"] = given
    done = home.fut("ls")
    assert done.returncode == 2
    assert "FUTURED_IDLE_EXIT" in done.stderr and given in done.stderr
    assert home.running("futured") == []
    del home.env["FUTURED_IDLE_EXIT"]


def test_shutdown_says_what_it_ends_and_what_it_leaves(home):
    told = home.fut("shutdown", "--help").stdout
    for word in ("nothing of it is left", "stay on disk", "again", "at most once", "SIGTERM", "--keep-workers"):
        assert word in told


def test_jobs_are_there_again_after_a_shutdown(home):
    job = home.fut("submit", "--", "echo", "kept").stdout.strip()
    assert home.fut("wait", job).returncode == 0
    home.fut("shutdown")
    assert home.fut("result", job).stdout == "kept\n"


def test_the_daemon_is_detached_from_the_terminal_of_its_starter(home):
    home.fut("run", "--", "true")
    for name in ("futured", "futured-spawner"):
        (pid,) = home.running(name)
        assert os.getsid(pid) != os.getsid(0)


def test_a_daemon_that_cannot_start_tells_every_fut_why(home):
    with open(os.path.join(home.state, "futured"), "w", encoding="ascii") as file:
        file.write("in the way\n")
    together = [home.start("ls") for _ in range(3)]
    for process in together:
        _, err = process.communicate(timeout=60)
        assert process.returncode not in (0, 124)
        assert os.path.join(home.state, "futured") in err
    os.unlink(os.path.join(home.state, "futured"))


def test_a_folder_in_tmp_that_is_not_ours_alone_is_refused(home):
    """In a mount namespace of its own, whose /tmp has a folder with our name that others may enter."""
    script = 'exec 9<"$0"; mount -t tmpfs none /tmp; mkdir -m 777 "/tmp/futured-$(id -u)"; exec /proc/self/fd/9 ls'
    namespace = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    env = {key: value for key, value in home.env.items() if key != "XDG_RUNTIME_DIR"}
    command = [*namespace, "sh", "-c", script, program("fut")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode not in (0, 124)
    assert "/tmp/futured-0" in done.stderr  # root, or mapped to root


def test_a_daemon_that_was_killed_is_started_again_by_whoever_waits_for_it(home, tmp_path):
    go = tmp_path / "go"
    os.mkfifo(go)
    follower = home.start("run", "--", "sh", "-c", f"echo up; read line <{go}; echo $line; exit 3")
    assert follower.stdout.readline() == "up\n"
    (daemon,) = home.running("futured")
    os.kill(daemon, signal.SIGKILL)
    with open(go, "w", encoding="ascii") as pipe:
        pipe.write("down\n")
    out, err = follower.communicate(timeout=60)
    assert (out, follower.returncode) == ("down\n", 3), err
    assert home.running("futured") not in ([], [daemon])
