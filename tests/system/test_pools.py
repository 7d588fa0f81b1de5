"""Pools, tasks and workers as people see them: `fut pool`, `fut task` and `fut worker`, in words and in JSON."""
import os
import shutil
import signal
import time

import pytest
from private_daemon import BIN
from test_watch import Watch

ONE_WORKER = '[pools.command]\nmode = "command"\nsize = 1\n'
SETTINGS = """
[pools.default]
size = 2
nice = 5
jobs_per_worker_max = 100
rss_max = "1GiB"
leaks = "warn"
limits = { nofile = 512, core = 0 }
no_new_privileges = true
"""


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(ONE_WORKER + "[pools.default]\nsize = 2\n").start()


def pool_of(daemon, name):
    (pool,) = daemon.fut_json("pool", "show", name)
    return pool


def worker_of(daemon):
    (worker,) = daemon.fut_json("worker", "ls", "--pool", "command")
    return worker


# ---- size


@pytest.mark.parametrize("mode", ["process", "command", "thread"])
def test_a_pool_grows_while_jobs_wait_and_shrinks_when_it_is_idle(make_daemon, api_of, mode):
    threads = "jobs_at_once = 2\n" if mode == "thread" else ""
    daemon = make_daemon(f"[pools.p]\nmode = '{mode}'\nsize = '1..3'\nidle_ms = 100\n{threads}").start()
    api = api_of(daemon)

    def submit(count, program, task, data=b""):
        if mode == "command":
            return [api.submit_command(*program, pool="p") for _ in range(count)]
        return api.submit_tasks(task, count, data=data, pool="p")

    api.wait(submit(1, ["true"], "noop"))  # the first worker is there
    watch = Watch(api, workers=True)

    def workers(events):
        """How many came, less those that went."""
        told = {(event.worker.worker.pid, event.worker.ended) for event in events
                if event.WhichOneof("what") == "worker" and event.worker.worker.pool == "p"}
        return sum(-1 if ended else 1 for _, ended in told)

    jobs = submit(6 if mode == "thread" else 3, ["sleep", "600"], "sleep", b"600")
    watch.until_holds(lambda events: workers(events) == 2)
    pool = pool_of(daemon, "p")
    assert (pool["workers"], pool["workers_busy"], pool["workers_min"], pool["workers_max"]) == (3, 3, 1, 3)
    assert "1 to 3; more come while jobs wait, and go when idle for 100 ms" in daemon.fut("pool", "show", "p").stdout
    daemon.fut("cancel", *jobs, check=True)
    watch.until_holds(lambda events: workers(events) == 0)
    assert pool_of(daemon, "p")["workers"] == 1
    watch.close()
    (job,) = submit(1, ["true"], "noop")
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED


def test_a_pool_of_none_gets_a_worker_for_its_first_job(make_daemon):
    daemon = make_daemon("[pools.command]\nmode = 'command'\nsize = '0..2'\nidle_ms = 50\n").start()
    assert pool_of(daemon, "command")["workers"] == 0
    for _ in range(2):
        assert daemon.fut("run", "--", "echo", "hello", check=True).stdout == "hello\n"


# ---- pools


def test_pool_ls_tells_mode_workers_and_jobs_run(daemon):
    for _ in range(3):
        daemon.fut("run", "--", "true", check=True)
    pools = {pool["name"]: pool for pool in daemon.fut_json("pool", "ls")}
    assert set(pools) == {"default", "command"}
    command = pools["command"]
    assert (command["mode"], command["workers"], command["workers_max"]) == ("COMMAND", 1, 1)
    assert (command["workers_busy"], command["jobs_run"], command["tasks"]) == (0, 3, [])
    assert (pools["default"]["mode"], pools["default"]["workers_max"]) == ("PROCESS", 2)
    assert {"noop", "sha256"} <= {task["name"] for task in pools["default"]["tasks"]}
    assert not any("problem" in pool for pool in pools.values())

    header, *rows = daemon.fut("pool", "ls", check=True).stdout.splitlines()
    assert header.split() == ["POOL", "MODE", "WORKERS", "BUSY", "RUN", "TASKS", "FORK", "PROBLEM"]
    (row,) = [row.split() for row in rows if row.startswith("command ")]
    assert row[1:6] == ["COMMAND", "1/1", "0", "3", "-"]


def test_pool_show_tells_a_busy_worker(daemon, gate):
    (job,) = daemon.fut("submit", "--", "sh", "-c", f"echo on >{gate.path}; exec sleep 600", check=True).stdout.split()
    gate.line()
    assert pool_of(daemon, "command")["workers_busy"] == 1
    assert "workers     1 of 1 ready, 1 busy" in daemon.fut("pool", "show", "command", check=True).stdout.splitlines()
    daemon.fut("cancel", job, check=True)


def test_jobs_of_workers_that_are_gone_count(daemon):
    daemon.fut("run", "--", "true", check=True)
    before = worker_of(daemon)["pid"]
    os.kill(before, signal.SIGKILL)
    daemon.fut("run", "--", "true", check=True)
    assert worker_of(daemon)["pid"] != before
    assert pool_of(daemon, "command")["jobs_run"] == 2


def test_pool_show_tells_how_long_a_start_took_where_it_was_seen(daemon):
    daemon.fut("run", "--", "true", check=True)
    pool = pool_of(daemon, "command")
    assert 0 < pool["zygote_start_us"] < 30_000_000
    assert 0 < pool["fork_us"] < 30_000_000
    daemon.kill()
    daemon.start()
    pool = pool_of(daemon, "command")  # its zygote and its worker went on
    assert "zygote_start_us" not in pool and "fork_us" not in pool


def test_settings_are_shown_as_they_were_set(make_daemon):
    daemon = make_daemon(SETTINGS).start()
    shown = daemon.fut("pool", "show", "default", check=True).stdout.splitlines()
    first = next(at for at, line in enumerate(shown) if line.startswith("settings "))
    settings = [line[12:] for line in shown[first : first + 7]]
    assert settings[:-1] == [
        "jobs_per_worker_max = 100",
        'rss_max = "1GiB"',
        'leaks = "warn"',
        "limits = { core = 0, nofile = 512 }",
        "nice = 5",
        "no_new_privileges = true",
    ]
    assert ["TASK", "VERSION"] in [line.split() for line in shown[first + 6 :]]
    settings = pool_of(daemon, "default")["settings"]
    assert (settings["nice"], settings["jobs_per_worker_max"], settings["rss_bytes_max"]) == (5, 100, 1 << 30)
    assert (settings["leaks"], settings["limits"]) == ("warn", {"core": 0, "nofile": 512})
    assert (settings["jobs_at_once"], settings["user"], settings["no_network"]) == (1, "", False)


def test_settings_that_nobody_set_are_not_shown(daemon):
    shown = daemon.fut("pool", "show", "default", check=True).stdout
    assert "settings" not in shown and " = " not in shown
    assert pool_of(daemon, "default")["settings"]["leaks"] == "replace"


def test_a_pool_that_cannot_run_says_why(make_daemon, tmp_path):
    broken = tmp_path / "broken.so"
    broken.write_text("no library")
    daemon = make_daemon(f'[pools.broken]\nmode = "process"\nplugins = ["{broken}"]\n').start()
    pool = pool_of(daemon, "broken")
    assert pool["workers"] == 0 and "broken.so" in pool["problem"]
    shown = daemon.fut("pool", "show", "broken", check=True).stdout.splitlines()
    assert any(line.startswith("problem ") and "broken.so" in line for line in shown)
    assert f'settings    plugins = ["{broken}"]' in shown
    (row,) = [row for row in daemon.fut("pool", "ls", check=True).stdout.splitlines() if row.startswith("broken ")]
    assert "broken.so" in row


@pytest.mark.parametrize(
    "arguments",
    [("pool", "show", "nowhere"), ("task", "ls", "--pool", "nowhere"), ("worker", "ls", "--pool", "nowhere")],
)
def test_an_unknown_pool_is_named(daemon, arguments):
    done = daemon.fut(*arguments)
    assert (done.returncode, done.stdout) == (4, "")
    assert 'no pool "nowhere"' in done.stderr


@pytest.mark.parametrize("arguments", [("pool", "show"), ("pool",), ("task",)])
def test_what_is_missing_is_refused(daemon, arguments):
    done = daemon.fut(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"fut {' '.join(arguments)} --help" in done.stderr


@pytest.mark.parametrize("verb", ["pool", "pool ls", "pool show", "task", "task ls", "worker ls"])
def test_every_verb_has_an_example(daemon, verb):
    done = daemon.fut(*verb.split(), "--help", check=True)
    assert "Examples:\n  fut " + verb.split()[0] in done.stdout


# ---- tasks


def test_task_ls_tells_the_tasks_of_each_pool(daemon):
    tasks = daemon.fut_json("task", "ls")
    assert {"noop", "sha256"} <= {task["name"] for task in tasks}
    assert all(set(task) == {"name", "version", "pool"} and task["pool"] == "default" for task in tasks)
    assert daemon.fut_json("task", "ls", "--pool", "default") == tasks
    assert daemon.fut_json("task", "ls", "--pool", "command") == []

    header, *rows = daemon.fut("task", "ls", check=True).stdout.splitlines()
    assert header.split() == ["TASK", "VERSION", "POOL"]
    assert [row.split()[0] for row in rows] == [task["name"] for task in tasks]


# ---- workers


def test_worker_ls_tells_the_time_of_commands_that_have_ended(daemon):
    daemon.fut("run", "--", "sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done", check=True)
    worker = worker_of(daemon)
    assert worker["cpu_us"] >= 10_000
    assert 0 < worker["cpu_share"] <= 2
    header, row = daemon.fut("worker", "ls", "--pool", "command", check=True).stdout.splitlines()
    assert {"CPU", "SHARE", "TREE"} <= set(header.split())
    assert "%" in row


def test_worker_ls_counts_what_runs_below_a_worker(daemon, gate):
    script = f"sleep 600 & echo on >{gate.path}; wait"
    (job,) = daemon.fut("submit", "--", "sh", "-c", script, check=True).stdout.split()
    gate.line()
    worker = worker_of(daemon)
    assert worker["processes"] >= 3  # the worker, the shell, its sleep
    assert worker["tree_rss_bytes"] > worker["rss_bytes"] > 0
    daemon.fut("cancel", job, check=True)


def test_a_worker_that_was_taken_over_keeps_its_age(daemon):
    daemon.fut("run", "--", "sleep", "2.5", check=True)
    before = worker_of(daemon)
    daemon.kill()
    daemon.start()
    after = worker_of(daemon)
    assert after["pid"] == before["pid"]
    assert abs(after["started_us"] - before["started_us"]) < 1_500_000


# ---- reload


MISBEHAVING = os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")
EXAMPLE = os.path.join(os.path.dirname(BIN), "plugins", "libtext_tasks.so")


@pytest.fixture
def plugin(tmp_path):
    """A plugin's path; calling it puts another file there."""
    path = tmp_path / "plugin.so"

    def put(source):
        fresh = tmp_path / "fresh.so"
        shutil.copy(source, fresh)
        fresh.rename(path)
        return path

    put(MISBEHAVING)
    return put


def tasks_of(daemon, pool="default"):
    return {task["name"] for task in daemon.fut_json("pool", "show", pool)[0]["tasks"]}


@pytest.mark.parametrize("mode", ["process", "fresh", "thread"])
def test_a_reload_takes_up_changed_plugins_and_running_jobs_end_on_the_old_ones(
        make_daemon, api_of, plugin, gate, tmp_path, mode):
    path = plugin(MISBEHAVING)
    threads = "jobs_at_once = 2\n" if mode == "thread" else ""
    daemon = make_daemon(f"[pools.default]\nmode = '{mode}'\nsize = 2\n{threads}plugins = ['{path}']\n").start()
    api = api_of(daemon)
    go = tmp_path / "go"
    parts = [api.words.Part(data=word.encode()) for word in (gate.path, str(go))]
    (running,) = api.submit([api.words.Item(parts=parts)], task="test.meet")
    pid = gate.line()
    plugin(EXAMPLE)
    assert "tasks loaded" in daemon.fut("pool", "reload", "default", check=True).stdout
    assert "greet" in tasks_of(daemon) and "test.meet" not in tasks_of(daemon)
    greeted = [daemon.fut("call", "greet", "you", "1", check=True).stdout for _ in range(8)]
    assert len(set(greeted)) == 1
    go.touch()
    outcome = api.outcome(running)
    assert outcome.state == api.words.JOB_STATE_SUCCEEDED
    assert outcome.result[0].data.decode().split()[0] == pid
    assert api.get(running).attempts == 1
    plugin(MISBEHAVING)
    daemon.fut("pool", "reload", "default", check=True)
    assert "test.meet" in tasks_of(daemon)
    # Two zygotes and two workers of each.
    deadline = time.monotonic() + 20
    while len(daemon.processes_running("futured-zygote")) > 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(daemon.processes_running("futured-zygote")) == 6, "those of before are gone"


def test_a_plugin_that_does_not_load_changes_nothing(make_daemon, plugin, tmp_path):
    path = plugin(EXAMPLE)
    daemon = make_daemon(f"[pools.default]\nsize = 1\nplugins = ['{path}']\n").start()
    broken = tmp_path / "broken"
    broken.write_text("no plugin")
    plugin(broken)
    refused = daemon.fut("pool", "reload", "default")
    assert refused.returncode == 4
    assert 'pool "default" goes on as before' in refused.stderr and str(path) in refused.stderr
    assert "greet" in tasks_of(daemon)
    assert daemon.fut("call", "greet", "you", "1").returncode == 0
    plugin(MISBEHAVING)
    daemon.fut("pool", "reload", "default", check=True)
    assert "test.meet" in tasks_of(daemon)
    assert daemon.fut("pool", "reload", "nowhere").returncode == 4


def test_a_reloaded_pool_and_its_jobs_survive_the_daemon(make_daemon, api_of, plugin, gate, tmp_path):
    path = plugin(EXAMPLE)
    daemon = make_daemon(f"[pools.default]\nsize = 1\nplugins = ['{path}']\n").start()
    plugin(MISBEHAVING)
    daemon.fut("pool", "reload", "default", check=True)
    api = api_of(daemon)
    go = tmp_path / "go"
    parts = [api.words.Part(data=word.encode()) for word in (gate.path, str(go))]
    (running,) = api.submit([api.words.Item(parts=parts)], task="test.meet")
    gate.line()
    daemon.kill()
    daemon.start()
    go.touch()
    api = api_of(daemon)
    assert api.outcome(running).state == api.words.JOB_STATE_SUCCEEDED
    assert api.get(running).attempts == 1
    assert "test.meet" in tasks_of(daemon)
