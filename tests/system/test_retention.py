"""Ended jobs go when their time has come; what is left of them is a clear answer."""
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
