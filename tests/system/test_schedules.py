"""Delayed jobs and schedules: they start when their time has come, once, whoever died meanwhile."""
import datetime
import time

import grpc
import pytest

SECOND = 1_000_000  # in µs


def now_us():
    return time.time_ns() // 1000


def until(condition, seconds=30):
    """What condition() returns once that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def submit_delayed(daemon, *options, command=("true",)):
    done = daemon.fut("submit", *options, "--", *command, check=True)
    return int(done.stdout)


def shown(daemon, job):
    (found,) = daemon.fut_json("show", job)
    return found


def firings(daemon, name):
    """The last firing and its job, as the schedule tells them."""
    (found,) = daemon.fut_json("schedule", "show", name)
    return found


def jobs_named(daemon, name):
    return daemon.fut_json("ls", "--all", "--name", name)


# ---- delayed jobs


def test_a_job_starts_when_its_time_has_come_and_not_before(daemon):
    job = submit_delayed(daemon, "--in", "3s")
    waits = shown(daemon, job)
    assert waits["state"] == "SCHEDULED", waits
    assert "may not start before" in waits["why"], waits
    start_at = waits["start_at_us"]
    assert start_at > now_us()
    assert daemon.fut("wait", job, timeout=60).returncode == 0
    ended = shown(daemon, job)
    assert ended["state"] == "SUCCEEDED", ended
    assert ended["started_us"] >= start_at, ended
    assert ended["start_at_us"] == start_at, "it stays told"


def test_delayed_jobs_are_listed_and_counted_and_say_why(daemon):
    job = submit_delayed(daemon, "--in", "1h")
    (listed,) = daemon.fut_json("ls", "--state", "scheduled")
    assert listed["id"] == job and listed["state"] == "SCHEDULED", listed
    assert "in 59 min" in daemon.fut("ls", check=True).stdout or "in 1 h" in daemon.fut("ls", check=True).stdout
    (queue,) = [queue for queue in daemon.fut_json("queue", "ls") if queue["name"] == "default"]
    assert (queue["scheduled"], queue["queued"]) == (1, 0), queue
    assert "may not start before" in daemon.fut("why", job, check=True).stdout


def test_a_time_by_the_clock_and_nonsense(daemon):
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)
    word = later.strftime("%Y-%m-%dT%H:%M:%SZ")
    job = submit_delayed(daemon, "--at", word)
    assert shown(daemon, job)["start_at_us"] == int(later.timestamp()) * SECOND
    for word in ["2020-01-01T08:00", "2026-02-30T08:00", "tomorrow", "2026-12-01", "2026-12-01T08:00X"]:
        done = daemon.fut("submit", "--at", word, "--", "true")
        assert done.returncode == 2 and "--at" in done.stderr, (word, done.stderr)
    done = daemon.fut("submit", "--in", "0s", "--", "true")
    assert done.returncode == 2 and "--in" in done.stderr, done.stderr
    assert daemon.fut("submit", "--in", "1s", "--at", "2036-01-01T08:00", "--", "true").returncode == 2
    done = daemon.fut("submit", "--in", "1h", "--total-timeout", "1m", "--", "true")
    assert done.returncode == 4 and "total_timeout" in done.stderr, done.stderr


def test_the_api_refuses_a_start_that_cannot_be(api):
    def refusal(**spec):
        with pytest.raises(grpc.RpcError) as error:
            api.submit_command("true", **spec)
        return error.value.code(), error.value.details()

    code, details = refusal(start_at_us=now_us() + 3600 * SECOND, start_after_ms=5)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "start_after_ms" in details
    code, details = refusal(start_at_us=now_us() + 20 * 366 * 86400 * SECOND)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "start_at_us" in details
    code, details = refusal(start_after_ms=-1)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "start_after_ms" in details


def test_a_delayed_job_is_cancelled(daemon):
    job = submit_delayed(daemon, "--in", "1h")
    assert daemon.fut("cancel", job).returncode == 0
    assert shown(daemon, job)["state"] == "CANCELLED"
    assert daemon.fut_json("ls", "--state", "scheduled") == []


def test_delayed_jobs_outlive_kills_and_those_that_were_due_meanwhile_run(daemon):
    soon = submit_delayed(daemon, "--in", "2s")
    late = submit_delayed(daemon, "--in", "1h")
    daemon.kill()
    time.sleep(3)
    daemon.start()
    assert daemon.fut("wait", soon, timeout=60).returncode == 0
    assert shown(daemon, late)["state"] == "SCHEDULED"
    daemon.kill()
    daemon.start()
    assert shown(daemon, soon)["state"] == "SUCCEEDED"
    assert shown(daemon, late)["state"] == "SCHEDULED"


def test_a_large_batch_waits_on_disk_and_runs(api):
    jobs = api.submit_tasks("noop", count=5_000, start_after_ms=2_000)
    outcomes = api.wait(jobs, seconds=120)
    assert len(outcomes) == 5_000
    assert {outcome.state for outcome in outcomes.values()} == {api.words.JOB_STATE_SUCCEEDED}


# ---- schedules


def test_a_schedule_fires_again_and_again(daemon):
    daemon.fut("schedule", "add", "tick", "--every", "1s", "--name", "tick", "--", "true", check=True)
    until(lambda: len(jobs_named(daemon, "tick")) >= 3)
    daemon.fut("schedule", "pause", "tick", check=True)
    count = len(jobs_named(daemon, "tick"))
    time.sleep(2.5)
    assert len(jobs_named(daemon, "tick")) == count, "a paused one fires nothing"
    assert "next_us" not in firings(daemon, "tick")
    daemon.fut("schedule", "resume", "tick", check=True)
    until(lambda: len(jobs_named(daemon, "tick")) > count)
    daemon.fut("schedule", "rm", "tick", check=True)
    assert daemon.fut_json("schedule", "ls") == []
    assert daemon.fut("schedule", "show", "tick").returncode == 4


def test_cron_with_seconds_and_a_task(daemon):
    daemon.fut("schedule", "add", "beat", "--cron", "* * * * * *", "--tz", "UTC", "--name", "beat", "--call", "noop", check=True)
    until(lambda: len(jobs_named(daemon, "beat")) >= 2)
    told = firings(daemon, "beat")
    assert told["task"] == "noop" and told["last_us"] % SECOND == 0, told


def test_each_firing_is_made_once_across_kills(daemon):
    daemon.fut("schedule", "add", "tick", "--every", "1s", "--name", "tick", "--catch-up", "100", "--", "true", check=True)
    begun = time.monotonic()
    for pause in [0.7, 1.9, 0.2, 1.3]:
        time.sleep(pause)
        daemon.kill()
        daemon.start()
    daemon.fut("schedule", "pause", "tick", check=True)
    told = firings(daemon, "tick")
    jobs = jobs_named(daemon, "tick")
    # No absence was long enough to miss any: as many jobs as intervals, and the last of them is of the last firing.
    assert max(job["id"] for job in jobs) == told["last_job_id"], told
    elapsed = time.monotonic() - begun
    assert 3 <= len(jobs) <= elapsed + 1, (len(jobs), elapsed)


def test_missed_firings_are_made_up_as_the_policy_says(daemon):
    for name, policy in [("none", "skip"), ("newest", "one"), ("three", "3")]:
        daemon.fut("schedule", "add", name, "--every", "1s", "--name", name, "--catch-up", policy, "--overlap", "allow", "--", "true", check=True)
    daemon.kill()
    time.sleep(20)
    daemon.start()
    for name in ["none", "newest", "three"]:
        until(lambda: jobs_named(daemon, name))
    # Those of the last ten seconds are late, not missed: all of them have these. In the first turn of the daemon each
    # job is submitted at the same time, and there the policies add 0, 1 and 3.
    def made_at_once(name):
        jobs = jobs_named(daemon, name)
        first = min(job["submitted_us"] for job in jobs)
        return sum(job["submitted_us"] == first for job in jobs)

    counts = [made_at_once(name) for name in ["none", "newest", "three"]]
    assert counts[0] >= 8, counts
    # The three were put one after the other, so that one interval more or less may be late.
    assert counts[1] - counts[0] in (0, 1, 2) and counts[2] - counts[1] in (1, 2, 3), counts
    assert counts[2] > counts[0], counts


def test_overlap_skip_drops_and_replace_cancels(daemon):
    daemon.fut("schedule", "add", "skips", "--every", "1s", "--overlap", "skip", "--name", "skips", "--", "sleep", "60", check=True)
    daemon.fut("schedule", "add", "replaces", "--every", "1s", "--overlap", "replace", "--name", "replaces", "--", "sleep", "60", check=True)
    until(lambda: len(jobs_named(daemon, "replaces")) >= 3)
    states = [job["state"] for job in jobs_named(daemon, "replaces")]
    assert states.count("CANCELLED") >= 2, states
    assert sum(state in ("RUNNING", "QUEUED") for state in states) <= 1, "never two at once"
    assert len(jobs_named(daemon, "skips")) == 1
    for name in ["skips", "replaces"]:
        daemon.fut("schedule", "rm", name, check=True)


def test_nonsense_is_refused_with_the_field_and_the_way_out(daemon):
    def refusal(*arguments):
        done = daemon.fut("schedule", "add", "x", *arguments)
        assert done.returncode in (2, 4), done
        return done.stderr

    assert "minute" in refusal("--cron", "61 * * * *", "--", "true")
    assert "never fires" in refusal("--cron", "0 0 30 2 *", "--", "true")
    assert "no time zone" in refusal("--cron", "0 8 * * *", "--tz", "Europe/Nowhere", "--", "true")
    assert "no time zone" in refusal("--cron", "0 8 * * *", "--tz", "../../etc/passwd", "--", "true")
    assert "--every" in refusal("--every", "10ms", "--", "true")
    assert "--cron" in refusal("--", "true")
    assert "--overlap" in refusal("--every", "1m", "--overlap", "perhaps", "--", "true")
    assert "--catch-up" in refusal("--every", "1m", "--catch-up", "0", "--", "true")
    assert "no task" in refusal("--every", "1m", "--call", "no such task")
    # What would mean nothing is not offered, and what is refused is told by its flag.
    assert "--in" in refusal("--every", "1m", "--in", "5s", "--", "true")
    assert "--cache" in refusal("--every", "1m", "--cache", "--", "true")
    assert "--after" in refusal("--every", "1m", "--after", "1", "--", "true")
    assert "fut: --queue: " in refusal("--every", "1m", "--queue", "q" * 200, "--", "true")
    assert "fut: --needs: " in refusal("--every", "1m", "--needs", "n" * 200 + "=1", "--", "true")
    offered = daemon.fut("schedule", "add", "--help").stdout
    for flag in ("--at ", "--in ", "--after", "--when", "--cache"):
        assert flag not in offered, flag
    assert daemon.fut_json("schedule", "ls") == []


def test_the_next_firings_are_told_by_the_clocks_of_the_zone(daemon):
    daemon.fut("schedule", "add", "morning", "--cron", "0 8 * * *", "--tz", "Asia/Kolkata", "--", "true", check=True)
    times = [told["firing_us"] for told in daemon.fut_json("schedule", "next", "morning", "-n", "3")]
    assert len(times) == 3
    assert [second - first for first, second in zip(times, times[1:])] == [86400 * SECOND] * 2
    assert all(at // SECOND % 86400 == (2 * 60 + 30) * 60 for at in times), "08:00 there is 02:30 UTC"
    assert firings(daemon, "morning")["next_us"] == times[0]


def test_schedules_outlive_the_daemon(daemon):
    daemon.fut("schedule", "add", "nightly", "--cron", "0 2 * * *", "--tz", "Europe/Berlin", "--jitter", "10m", "--", "true", check=True)
    before = firings(daemon, "nightly")
    daemon.kill()
    daemon.start()
    assert firings(daemon, "nightly") == before, "the jitter too"
