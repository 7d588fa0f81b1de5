"""Semaphores and limits of queues: how many run at once, in what order, and that nothing held is lost."""
import time

import pytest

CONFIG = """
[pools.command]
mode = "command"
size = 4
"""


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(CONFIG).start()


def submit(daemon, *flags, command=("sleep", "60")):
    return int(daemon.fut("submit", *flags, "--", *command, check=True).stdout.split()[-1])


def states(daemon, jobs):
    return [daemon.fut_json("show", job)[0]["state"] for job in jobs]


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def held(daemon, name):
    return next(one["held"] for one in daemon.fut_json("semaphore", "ls") if one["name"] == name)


def test_no_more_jobs_run_than_there_are_permits(daemon):
    daemon.fut("semaphore", "set", "gpu", "2", check=True)
    jobs = [submit(daemon, "--needs", "gpu") for _ in range(4)]
    until(lambda: states(daemon, jobs).count("RUNNING") == 2)
    assert held(daemon, "gpu") == 2
    why = daemon.fut("why", jobs[3], check=True).stdout
    assert "semaphore \"gpu\"" in why and "2 of 2" in why, why
    daemon.fut("cancel", jobs[0], check=True)
    until(lambda: states(daemon, jobs[1:]).count("RUNNING") == 2)
    daemon.fut("cancel", *jobs[1:], check=True)
    until(lambda: held(daemon, "gpu") == 0)


def test_needs_that_can_never_be_met_are_refused(daemon):
    daemon.fut("semaphore", "set", "gpu", "2", check=True)
    too_many = daemon.fut("submit", "--needs", "gpu=3", "--", "true")
    assert too_many.returncode != 0 and "more than the 2" in too_many.stderr, too_many.stderr
    unknown = daemon.fut("submit", "--needs", "license", "--", "true")
    assert unknown.returncode != 0 and "no semaphore \"license\"" in unknown.stderr, unknown.stderr


def test_a_semaphore_that_jobs_need_stays(daemon):
    daemon.fut("semaphore", "set", "gpu", "1", check=True)
    job = submit(daemon, "--needs", "gpu")
    refused = daemon.fut("semaphore", "rm", "gpu")
    assert refused.returncode != 0 and "1 job needs it" in refused.stderr, refused.stderr
    daemon.fut("cancel", job, check=True)
    until(lambda: daemon.fut("semaphore", "rm", "gpu").returncode == 0)
    assert daemon.fut_json("semaphore", "ls") == []


def test_what_runs_holds_its_permits_over_a_killed_daemon(daemon):
    daemon.fut("semaphore", "set", "gpu", "1", check=True)
    first = submit(daemon, "--needs", "gpu")
    until(lambda: states(daemon, [first]) == ["RUNNING"])
    second = submit(daemon, "--needs", "gpu")
    daemon.kill()
    daemon.start()
    assert held(daemon, "gpu") == 1
    assert states(daemon, [first, second]) == ["RUNNING", "QUEUED"]
    daemon.fut("cancel", first, check=True)
    until(lambda: states(daemon, [second]) == ["RUNNING"])
    daemon.fut("cancel", second, check=True)


def test_a_queue_keeps_to_its_concurrency(daemon):
    daemon.fut("queue", "create", "narrow", "--concurrency", "1", check=True)
    jobs = [submit(daemon, "--queue", "narrow") for _ in range(3)]
    until(lambda: states(daemon, jobs) == ["RUNNING", "QUEUED", "QUEUED"])
    assert "concurrency_max of 1" in daemon.fut("why", jobs[1], check=True).stdout
    daemon.fut("cancel", jobs[0], check=True)
    until(lambda: states(daemon, jobs[1:]) == ["RUNNING", "QUEUED"])
    daemon.fut("cancel", *jobs[1:], check=True)


def test_a_queue_keeps_to_its_rate(daemon):
    daemon.fut("queue", "create", "slow", "--rate", "5/s", "--burst", "2", check=True)
    began = time.monotonic()
    jobs = [submit(daemon, "--queue", "slow", command=("true",)) for _ in range(12)]
    daemon.fut("wait", *jobs, check=True)
    assert time.monotonic() - began >= 1.9  # two at once, then ten at five a second
