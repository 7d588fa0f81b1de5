"""The result cache: what was asked before is answered, what is asked at once runs once, whoever died meanwhile."""
import time

import grpc
import pytest

CONFIG = """
[pools.command]
mode = "command"
size = 4
"""


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(CONFIG).start()


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path)


class Work:
    """A command that notes each run, may wait to be let on, and prints its argument."""

    def __init__(self, directory):
        self.runs_file = directory / "runs"
        self.go_file = directory / "go"

    def command(self, word="out", waits=False, ends=0):
        wait = f"while [ ! -e {self.go_file} ]; do sleep 0.02; done; " if waits else ""
        return ["sh", "-c", f"echo {word} >> {self.runs_file}; {wait}echo {word}; exit {ends}"]

    def runs(self):
        return self.runs_file.read_text().split() if self.runs_file.exists() else []

    def let_on(self):
        self.go_file.touch()


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def submit(daemon, command, *flags):
    return int(daemon.fut("submit", "--cache", *flags, "--", *command, check=True).stdout.split()[-1])


def ended(daemon, job):
    daemon.fut("wait", job, timeout=60)
    return daemon.fut_json("show", job)[0]


def result(daemon, job):
    return daemon.fut("result", job, check=True).stdout


def stats(daemon):
    return daemon.fut_json("cache", "stats")[0]


# ---- hits


def test_the_same_command_is_answered_without_running_again(daemon, work):
    first = submit(daemon, work.command())
    assert not ended(daemon, first).get("from_cache")
    second = submit(daemon, work.command(), "--cache-explain")
    told = ended(daemon, second)
    assert told["state"] == "SUCCEEDED" and told["from_cache"], told
    assert told["cache_note"] == f"hit: job {first}", told
    assert told["attempts"] == 0, told
    assert result(daemon, second) == result(daemon, first) == "out\n"
    assert work.runs() == ["out"]
    assert ended(daemon, submit(daemon, work.command("other")))["state"] == "SUCCEEDED"
    assert work.runs() == ["out", "other"]
    counts = stats(daemon)
    assert (counts["entries"], counts["hits"], counts["misses"]) == (2, 1, 2), counts


def test_a_task_is_known_by_its_arguments_and_not_by_how_they_are_written(daemon, api_of):
    api = api_of(daemon)
    words = api.words

    def ask(text, **policy):
        part = words.Part(content_type="application/json", data=text.encode())
        policy = words.CachePolicy(enabled=True, explain=True, **policy)
        (job,) = api.submit([words.Item(parts=[part])], task="echo", cache=policy)
        return api.outcome(job)

    first = ask('{"n": 1, "seed": 7}')
    assert not first.from_cache and first.cache_note.startswith("miss: no entry for task echo"), first
    again = ask('{"seed":7,"n":1}')
    assert again.from_cache and again.cache_note == f"hit: job {first.id}", again
    assert again.result[0].data == first.result[0].data
    assert not ask('{"n": 1, "seed": 8}').from_cache
    assert not ask('{"n": 1, "seed": 9}', ignored_fields=["seed"]).from_cache
    assert ask('{"seed": 10, "n": 1}', ignored_fields=["seed"]).from_cache
    assert not ask('"x"', key="mine").from_cache
    assert ask('"y"', key="mine").from_cache


def test_a_hit_needs_no_worker_and_no_running_queue(make_daemon, work):
    daemon = make_daemon(CONFIG.replace("size = 4", "size = 1")).start()
    ended(daemon, submit(daemon, work.command()))
    busy = int(daemon.fut("submit", "--", "sleep", "60", check=True).stdout)
    daemon.fut("queue", "pause", "default", check=True)
    assert ended(daemon, submit(daemon, work.command()))["from_cache"]
    daemon.fut("queue", "resume", "default", check=True)
    daemon.fut("cancel", busy, check=True)


def test_without_the_flag_everything_runs(daemon, work):
    for _ in range(2):
        daemon.fut("run", "--", *work.command(), check=True)
    assert work.runs() == ["out", "out"]
    assert stats(daemon)["entries"] == 0


def test_a_retry_runs(daemon, work):
    first = submit(daemon, work.command(ends=3), "--cache-failures")
    assert ended(daemon, first)["state"] == "FAILED"
    daemon.fut("retry", first, check=True)
    until(lambda: len(work.runs()) == 2)


def test_run_prints_what_is_kept(daemon, work):
    for _ in range(2):
        assert daemon.fut("run", "--cache", "--", *work.command(), check=True).stdout == "out\n"
    assert work.runs() == ["out"]


def test_failures_are_kept_only_when_asked(daemon, work):
    for _ in range(2):
        ended(daemon, submit(daemon, work.command(ends=3)))
    assert len(work.runs()) == 2
    for _ in range(2):
        told = ended(daemon, submit(daemon, work.command(ends=3), "--cache-failures"))
        assert told["state"] == "FAILED" and told["cause"]["exit_code"] == 3, told
    assert told["from_cache"] and len(work.runs()) == 3, told


def test_what_is_older_than_its_ttl_is_computed(daemon, work):
    first = submit(daemon, work.command(), "--cache-ttl", "1h")
    ended(daemon, first)
    assert ended(daemon, submit(daemon, work.command(), "--cache-ttl", "1h"))["from_cache"]
    assert daemon.fut_json("cache", "ls")[0]["expires_us"] > time.time_ns() // 1000
    ended(daemon, submit(daemon, work.command("short"), "--cache-ttl", "1ms"))
    time.sleep(0.01)
    assert not ended(daemon, submit(daemon, work.command("short"), "--cache-ttl", "1ms")).get("from_cache")


def test_clear_forgets(daemon, work):
    ended(daemon, submit(daemon, work.command()))
    assert [one["task"] for one in daemon.fut_json("cache", "ls")] == [""]
    assert daemon.fut("cache", "clear", "--task", "noop", check=True).stdout == "removed 0\n"
    assert daemon.fut("cache", "clear", check=True).stdout == "removed 1\n"
    assert daemon.fut_json("cache", "ls") == []
    assert not ended(daemon, submit(daemon, work.command())).get("from_cache")


# ---- at once


def test_jobs_at_once_run_once(daemon, work):
    command = work.command(waits=True)
    first = submit(daemon, command)
    until(lambda: work.runs() == ["out"])
    others = [submit(daemon, command) for _ in range(3)]
    why = daemon.fut("why", others[0], check=True).stdout
    assert f"waits for job {first}, which computes the same" in why, why
    daemon.fut("cancel", others[2], check=True)
    work.let_on()
    assert all(ended(daemon, job)["from_cache"] for job in others[:2])
    assert ended(daemon, others[2])["state"] == "CANCELLED"
    assert not ended(daemon, first).get("from_cache")
    assert work.runs() == ["out"] and stats(daemon)["joined"] == 2


def test_a_cancelled_job_takes_nobody_along(daemon, work):
    command = work.command(waits=True)
    first = submit(daemon, command)
    until(lambda: len(work.runs()) == 1)
    second, third = submit(daemon, command), submit(daemon, command)
    daemon.fut("cancel", first, check=True)
    until(lambda: len(work.runs()) == 2)
    work.let_on()
    assert not ended(daemon, second).get("from_cache")
    assert ended(daemon, third)["from_cache"]
    assert len(work.runs()) == 2


# ---- restarts


def test_what_is_kept_outlives_a_killed_daemon_and_its_job(make_daemon, work):
    daemon = make_daemon(CONFIG + '[retention]\nage = "100ms"\n').start()
    first = submit(daemon, work.command())
    daemon.fut("wait", first, timeout=60)
    until(lambda: daemon.fut("show", first).returncode == 4)
    for _ in range(2):
        daemon.kill()
        daemon.start()
        second = int(daemon.fut("submit", "--cache", "--retention", "1h", "--", *work.command(), check=True).stdout)
        told = ended(daemon, second)
        assert told["from_cache"], told
        assert result(daemon, second) == "out\n"
    assert work.runs() == ["out"]


def test_who_follows_still_follows_after_a_kill(daemon, work):
    command = work.command(waits=True)
    first = submit(daemon, command)
    until(lambda: len(work.runs()) == 1)
    second = submit(daemon, command)
    daemon.kill()
    daemon.start()
    assert f"waits for job {first}" in daemon.fut("why", second, check=True).stdout
    work.let_on()
    assert ended(daemon, second)["from_cache"]
    assert work.runs() == ["out"]


def test_large_results_are_kept(daemon, tmp_path):
    runs = tmp_path / "runs"
    command = ["sh", "-c", f"echo x >> {runs}; head -c 900000 /dev/zero | tr '\\0' a"]
    first = submit(daemon, command)
    ended(daemon, first)
    daemon.kill()
    daemon.start()
    second = submit(daemon, command, "--cache-explain")
    told = ended(daemon, second)
    if told.get("from_cache"):
        assert len(result(daemon, second)) == 900000
        assert runs.read_text() == "x\n"
    else:
        assert result(daemon, first) == result(daemon, second)


def test_the_bounds_hold(make_daemon, work):
    daemon = make_daemon(CONFIG + "[cache]\nentries_max = 2\n").start()
    for word in ("a", "b", "c"):
        ended(daemon, submit(daemon, work.command(word)))
    counts = stats(daemon)
    assert (counts["entries"], counts["evicted"]) == (2, 1), counts
    assert not ended(daemon, submit(daemon, work.command("a"))).get("from_cache")
    assert ended(daemon, submit(daemon, work.command("c")))["from_cache"]


def test_a_cache_of_nothing_keeps_nothing(make_daemon, work):
    daemon = make_daemon(CONFIG + "[cache]\nbytes_max = 0\n").start()
    for _ in range(2):
        assert not ended(daemon, submit(daemon, work.command())).get("from_cache")
    assert stats(daemon)["entries"] == 0


# ---- bad input


def refused(call, code, *names):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for name in names:
        assert name in caught.value.details(), caught.value.details()


def test_bad_policies_are_refused_by_name(api_of, daemon):
    api = api_of(daemon)
    words = api.words
    invalid = grpc.StatusCode.INVALID_ARGUMENT

    def ask(**policy):
        return lambda: api.submit([api.task_item()], task="noop", cache=words.CachePolicy(**policy))

    refused(ask(ttl_ms=5), invalid, "spec.cache.enabled")
    refused(ask(enabled=True, ttl_ms=-1), invalid, "spec.cache.ttl_ms")
    refused(ask(enabled=True, key="k", ignored_parts=[1]), invalid, "spec.cache.key")
    refused(ask(enabled=True, ignored_fields=["a"]), invalid, "spec.cache.ignored_fields", "JSON")
    refused(ask(enabled=True, key="k" * 2000), grpc.StatusCode.RESOURCE_EXHAUSTED, "spec.cache.key")
    refused(lambda: api.call("Cache", "List", words.ListCacheRequest(page_token="x")), invalid, "page_token")
    schedule = words.Schedule(name="s", every_ms=60_000, spec=words.JobSpec(task="noop", cache=words.CachePolicy(enabled=True)))
    refused(lambda: api.call("Schedules", "Put", words.PutScheduleRequest(schedule=schedule)), invalid, "schedule.spec.cache")
    assert api.call("Cache", "Stats", words.CacheStatsRequest()).entries == 0


def test_bad_flags_are_refused(daemon):
    for flags, name in ((("--cache-ttl", "0"), "--cache-ttl"), (("--cache-ignore", "seed"), "--cache-ignore")):
        done = daemon.fut("submit", *flags, "--", "true")
        assert done.returncode != 0 and name in done.stderr, done.stderr
    bad = daemon.fut("submit", "--cache-ignore", "99999999999", "--", "true")
    assert bad.returncode != 0 and "--cache-ignore" in bad.stderr, bad.stderr


# ---- what is told, and clearing a part of it


def shown_rows(daemon, job):
    rows = [line.split(None, 1) for line in daemon.fut("show", job, check=True).stdout.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def test_show_tells_the_policy_and_what_came_of_it(daemon, work):
    flags = ("--cache-key", "nightly", "--cache-ttl", "12h", "--cache-failures")
    first = submit(daemon, work.command(), *flags)
    ended(daemon, first)
    rows = shown_rows(daemon, first)
    assert rows["cache"] == "miss: it ran itself", rows
    assert rows["caching"] == "key nightly, ttl 12 h, failures, too", rows
    told = daemon.fut_json("show", first)[0]["spec"]
    assert told["cache"] is True and told["caching"]["key"] == "nightly" and told["caching"]["ttl_ms"] == 43_200_000, told
    second = submit(daemon, work.command(), *flags)
    ended(daemon, second)
    daemon.kill()
    daemon.start()
    assert shown_rows(daemon, second)["cache"] == f"hit: job {first}"
    third = int(daemon.fut("call", "--detach", "--cache-ignore", "1,seed", "--cache-ignore", "size", "echo", '{"seed": 1, "size": 2}', check=True).stdout)
    ended(daemon, third)
    assert shown_rows(daemon, third)["caching"] == "ignores part 1 field seed field size"


def test_run_says_why_it_ran_if_asked(daemon, work):
    miss = daemon.fut("run", "--cache-explain", "--", *work.command(), check=True)
    assert (miss.stdout, miss.stderr) == ("out\n", "fut: job 1: cache miss: no entry for this command with this key\n")
    hit = daemon.fut("run", "--cache-explain", "--", *work.command(), check=True)
    assert (hit.stdout, hit.stderr) == ("out\n", "fut: job 2: cache hit: job 1\n")
    assert daemon.fut("run", "--cache", "--", *work.command(), check=True).stderr == ""
    failed = daemon.fut("run", "--cache-explain", "--", *work.command("bad", ends=3))
    assert failed.returncode == 3 and "not kept: it failed, and cache_failures is not set" in failed.stderr, failed.stderr
    late = daemon.fut("run", "--cache-explain", "--timeout", "300ms", "--", *work.command("late", waits=True))
    assert late.returncode == 124 and "not kept: it ran out of time (RUN_TIMEOUT)" in late.stderr, late.stderr
    called = daemon.fut("call", "--cache-explain", "--cache-ignore", "sede", "echo", '{"seed": 1}', check=True)
    assert 'field "sede" is not among the arguments: there was nothing to ignore' in called.stderr, called.stderr


def test_fields_are_split_at_commas(daemon):
    first, second = (
        daemon.fut("call", "--cache-explain", "--cache-ignore", "b,c", "echo", text, check=True).stderr
        for text in ('{"a": 1, "b": 2, "c": 3}', '{"a": 1, "b": 4, "c": 5}')
    )
    assert "miss" in first and "hit: job 1" in second, (first, second)
    assert daemon.fut("call", "--cache-ignore", "b,,c", "echo", "{}").returncode == 2


def entries(daemon):
    return {int(entry["job_id"]): entry for entry in daemon.fut_json("cache", "ls")}


def test_one_entry_or_all_of_commands_can_be_cleared(daemon, work):
    ended(daemon, submit(daemon, work.command("a"), "--cache-key", "nightly"))
    ended(daemon, submit(daemon, work.command("b")))
    daemon.fut("call", "--cache", "echo", "1", check=True)
    ended(daemon, submit(daemon, work.command("c")))
    assert entries(daemon)[1]["given_key"] == "nightly" and entries(daemon)[2]["given_key"] == ""
    daemon.kill()
    daemon.start()
    listed = daemon.fut("cache", "ls", check=True).stdout
    assert "nightly" in listed, listed
    for flags in (("--key", "weekly"), ("--job", "99"), ("--job", "3", "--commands")):
        nothing = daemon.fut("cache", "clear", *flags)
        assert nothing.returncode == 4 and "fut cache ls" in nothing.stderr, nothing
    assert daemon.fut_json("cache", "clear", "--key", "nightly") == [{"removed": 1}]
    assert sorted(entries(daemon)) == [2, 3, 4]
    assert daemon.fut_json("cache", "clear", "--job", "2") == [{"removed": 1}]
    assert daemon.fut_json("cache", "clear", "--commands") == [{"removed": 1}]
    assert sorted(entries(daemon)) == [3]
    assert daemon.fut("cache", "clear", "--commands", "--task", "echo").returncode == 2
    assert daemon.fut("cache", "clear", "--key", "").returncode == 2
    assert daemon.fut_json("cache", "clear", "--task", "echo") == [{"removed": 1}]
    figures = daemon.fut_json("stats")[0]
    assert (figures["cache_entries"], figures["cache_hits"]) == (0, 0), figures


def test_commands_and_a_task_are_refused_together(api_of, daemon):
    api = api_of(daemon)
    words = api.words
    clear = words.ClearCacheRequest(task="echo", commands=True)
    refused(lambda: api.call("Cache", "Clear", clear), grpc.StatusCode.INVALID_ARGUMENT, "commands")
    clear = words.ClearCacheRequest(key="k" * 2000)
    refused(lambda: api.call("Cache", "Clear", clear), grpc.StatusCode.RESOURCE_EXHAUSTED, "key")
