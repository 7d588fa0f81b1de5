"""Ended jobs go when their time has come; what is left of them is a clear answer."""
import os
import time

CONFIG = '[retention]\nage = "1s"\nfailed_age = "1h"\n[pools.command]\nmode = "command"\nsize = 1\n'
GONE = "retention removed it"


def await_gone(daemon, job, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        shown = daemon.fut("show", str(job))
        if shown.returncode != 0:
            return shown
        time.sleep(0.2)
    raise AssertionError(f"job {job} is still kept")


def test_an_ended_job_goes_and_says_so_and_a_failed_one_stays(make_daemon):
    daemon = make_daemon(CONFIG).start()
    daemon.fut("run", "--", "true", check=True)
    assert daemon.fut("run", "--", "false").returncode != 0
    assert GONE in await_gone(daemon, 1).stderr
    assert GONE in daemon.fut("result", "1").stderr
    assert GONE in daemon.fut("logs", "1").stderr
    never = daemon.fut("show", "999999")
    assert never.returncode != 0 and GONE not in never.stderr
    assert daemon.fut("show", "2").returncode == 0
    assert [int(job["id"]) for job in daemon.fut_json("ls", "--all")] == [2]


def test_what_was_removed_stays_so_after_a_crash(make_daemon):
    daemon = make_daemon(CONFIG).start()
    daemon.fut("run", "--", "true", check=True)
    await_gone(daemon, 1)
    daemon.kill()
    daemon.start()
    assert GONE in daemon.fut("show", "1").stderr
    daemon.fut("run", "--", "true", check=True)


def test_a_job_and_a_queue_say_for_how_long(make_daemon):
    daemon = make_daemon('[retention]\nage = "1h"\n[pools.command]\nmode = "command"\nsize = 1\n').start()
    daemon.fut("queue", "create", "brief", "--retention", "300ms", check=True)
    daemon.fut("run", "--", "true", check=True)
    daemon.fut("run", "--retention", "300ms", "--", "true", check=True)
    daemon.fut("run", "-q", "brief", "--", "true", check=True)
    daemon.fut("run", "-q", "brief", "--retention", "1h", "--", "true", check=True)
    for job in (2, 3):
        assert GONE in await_gone(daemon, job).stderr
    assert sorted(int(job["id"]) for job in daemon.fut_json("ls", "--all")) == [1, 4]
    assert daemon.fut("run", "--retention", "0", "--", "true").returncode == 2


# ---- long outputs, which lie in files

LONG = ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"]


def spooled(daemon):
    folder = os.path.join(daemon.state, "output")
    return sorted(name for name in os.listdir(folder) if name != "users") if os.path.isdir(folder) else []


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def figures(daemon):
    return daemon.fut_json("stats")[0]


def test_long_output_goes_with_its_job_and_that_of_a_running_one_stays(make_daemon):
    daemon = make_daemon('[retention]\nage = "1s"\nfailed_age = "1h"\n[pools.command]\nmode = "command"\nsize = 2\n').start()
    runs = daemon.fut("submit", "--", "sh", "-c", "head -c 3000000 /dev/zero; exec sleep 600", check=True).stdout.split()[-1]
    until(lambda: spooled(daemon) == [f"{runs}.1.1.stdout"])
    assert daemon.fut("run", "--", *LONG, timeout=120, check=True).stdout == "x" * 3000000
    failed = daemon.fut("run", "--", "sh", "-c", LONG[2] + "; exit 3", timeout=120)
    assert failed.returncode == 3
    await_gone(daemon, 2)
    until(lambda: "2.1.1.stdout" not in spooled(daemon))
    assert spooled(daemon) == ["1.1.1.stdout", "3.1.1.stdout"]
    told = figures(daemon)
    assert told["trimmed_files"] >= 1 and told["trimmed_bytes"] >= 3000000, told
    until(lambda: figures(daemon)["spool_files"] == 2)
    assert len(daemon.fut("result", "3").stdout) == 3000000
    daemon.kill()
    daemon.start()
    time.sleep(2)  # a pass over the directory takes no longer
    assert spooled(daemon) == ["1.1.1.stdout", "3.1.1.stdout"]


def test_what_a_kill_left_of_long_outputs_is_found(make_daemon):
    daemon = make_daemon('[retention]\nage = "500ms"\n[pools.command]\nmode = "command"\nsize = 1\n').start()
    daemon.fut("run", "--", "true", check=True)
    await_gone(daemon, 1)
    daemon.kill()
    folder = os.path.join(daemon.state, "output")
    os.makedirs(os.path.join(folder, "users", "65534"), exist_ok=True)
    os.makedirs(os.path.join(folder, "1.1.7.log"))
    left = ["1.1.1.stdout", "1.1.2.stacks", "1.1.2.stacks.part", "users/65534/1.1.1.log"]
    foreign = ["notes.txt", "1.1.1.core", "1.stdout", "900000000.1.1.stdout", "99999999999999999999999.1.1.log"]
    for name in left + foreign:
        with open(os.path.join(folder, name), "w") as file:
            file.write("x" * 10000)
    os.symlink("/etc/passwd", os.path.join(folder, "1.1.3.stdout"))
    daemon.start()
    until(lambda: not any(os.path.exists(os.path.join(folder, name)) for name in left))
    until(lambda: not os.path.islink(os.path.join(folder, "1.1.3.stdout")))
    assert os.path.exists("/etc/passwd")
    assert all(os.path.exists(os.path.join(folder, name)) for name in foreign)
    assert os.path.isdir(os.path.join(folder, "1.1.7.log"))
    until(lambda: figures(daemon)["spool_files"] >= 1)
    assert figures(daemon)["spool_failed"] == 0
    os.rmdir(os.path.join(folder, "1.1.7.log"))


def test_long_outputs_count_for_bytes_max_and_no_more_goes_than_must(make_daemon):
    daemon = make_daemon('[retention]\nbytes_max = "20MiB"\n[pools.command]\nmode = "command"\nsize = 1\n').start()
    for _ in range(10):
        daemon.fut("run", "--", *LONG, timeout=120, check=True)
    until(lambda: 0 < figures(daemon)["kept_bytes"] <= 20 << 20 and len(spooled(daemon)) < 10)
    time.sleep(3)
    kept = spooled(daemon)
    assert [int(name.split(".")[0]) for name in kept] == sorted(int(job["id"]) for job in daemon.fut_json("ls", "--all"))
    doctor = {(one["check"], one["health"]): one["found"] for one in daemon.fut_json("doctor")}
    assert "20.0 MiB" in doctor["retention", "ok"] or "20 MiB" in doctor["retention", "ok"], doctor
    assert ("cache", "ok") in doctor


# ---- the database


def test_the_database_gives_its_room_back(make_daemon, tmp_path):
    daemon = make_daemon('[retention]\nage = "4s"\n[pools.command]\nmode = "command"\nsize = 1\n').start()
    database = os.path.join(daemon.state, "futured.db")
    big = os.urandom(150_000).hex().encode()[:200_000].decode()
    for _ in range(120):
        daemon.fut("submit", "--stdin", "--", "true", input=big, check=True)
    most = os.path.getsize(database) + os.path.getsize(database + "-wal")
    assert most > 20 << 20
    until(lambda: daemon.fut_json("ls", "--all") == [])
    until(lambda: os.path.getsize(database) < 10 << 20)
    assert os.path.getsize(database + "-wal") < 40 << 20


def test_options_and_keys_go_with_their_jobs_and_a_kill_loses_none_that_is_used(make_daemon):
    config = '[retention]\nage = "300ms"\nfailed_age = "1h"\n[pools.command]\nmode = "command"\nsize = 1\n'
    daemon = make_daemon(config).start()
    for number in range(20):
        daemon.fut("run", "--name", f"job {number}", "--key", f"key {number}", "--", "true", check=True)
    assert daemon.fut("run", "--name", "kept", "--", "false").returncode == 1
    until(lambda: len(daemon.fut_json("ls", "--all")) == 1)
    daemon.kill()
    daemon.start()
    daemon.fut("run", "--", "true", check=True)
    until(lambda: figures(daemon)["trimmed_specs"] >= 20)
    for life in range(2):
        for name in ["job 3", "kept"]:
            assert daemon.fut("run", "--name", name, "--", "false").returncode == 1
        daemon.kill()
        daemon.start()
        daemon.fut("run", "--", "true", check=True)
    assert daemon.fut("run", "--name", "again", "--key", "key 3", "--", "true").returncode == 0
    names = [job.get("name", "") for job in daemon.fut_json("ls", "--all", "--state", "failed")]
    assert sorted(names) == sorted(["kept", "job 3", "kept", "job 3", "kept"])
    daemon.kill()
    daemon.start()
    for job in daemon.fut_json("ls", "--all", "--state", "failed"):
        assert daemon.fut_json("show", str(job["id"]))[0]["name"] == job["name"]
