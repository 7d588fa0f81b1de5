"""Jobs that wait for jobs and for named events: each goes on when it may, once, whoever died meanwhile."""
import grpc
import pytest
from fut_calls import submit, until

CONFIG = """
[pools.command]
mode = "command"
size = 2
"""
GONE = "no job"


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(CONFIG).start()


def shown(daemon, job):
    (found,) = daemon.fut_json("show", job)
    return found


def states(daemon, jobs):
    return [shown(daemon, job)["state"] for job in jobs]


def ended(daemon, jobs):
    daemon.fut("wait", *jobs, timeout=60)
    return states(daemon, jobs)


def refused(call, code, *texts):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value
    for text in texts:
        assert text in caught.value.details(), caught.value.details()


def test_a_job_waits_for_its_parent_and_says_so(daemon):
    parent = submit(daemon, command=("sleep", "60"))
    child = submit(daemon, "--after-ok", str(parent), "--when", "go")
    until(lambda: states(daemon, [parent]) == ["RUNNING"])
    assert states(daemon, [child]) == ["BLOCKED"]
    why = daemon.fut("why", child, check=True).stdout
    assert f"blocked: waits for job {parent} (running) to succeed and event \"go\"" in why, why
    assert [job["id"] for job in daemon.fut_json("ls", "--state", "blocked")] == [child]
    (queue,) = [one for one in daemon.fut_json("queue", "ls") if one["name"] == "default"]
    assert (queue["blocked"], queue["scheduled"]) == (1, 0), queue
    (event,) = daemon.fut_json("event", "ls")
    assert (event["name"], event["set"], event["waiting_jobs"]) == ("go", False, 1), event
    daemon.fut("event", "set", "go", check=True)
    assert states(daemon, [child]) == ["BLOCKED"], "its parent has not ended"
    daemon.fut("cancel", parent, check=True)
    assert ended(daemon, [child]) == ["FAILED"]
    cause = shown(daemon, child)["cause"]
    assert cause["kind"] == "DEPENDENCY" and f"job {parent} ended CANCELLED" in cause["message"], cause
    assert f"after ok    {parent}" in daemon.fut("show", child, check=True).stdout


def test_every_condition_is_kept(daemon):
    good, bad = submit(daemon, "--when", "go"), submit(daemon, "--when", "go", command=("false",))
    both = f"{good},{bad}"
    jobs = [submit(daemon, flag, parents) for flag, parents in
            [("--after", both), ("--after-ok", str(good)), ("--after-ok", both), ("--after-failed", str(bad)),
             ("--after-failed", str(good))]]
    behind = submit(daemon, "--after-failed", str(jobs[2]))
    daemon.fut("event", "set", "go", check=True)
    assert ended(daemon, jobs + [behind]) == ["SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED", "FAILED", "SUCCEEDED"]
    # All parents have ended now: the same is judged at the submit.
    again = [submit(daemon, flag, parents) for flag, parents in
             [("--after", both), ("--after-ok", str(good)), ("--after-ok", both), ("--after-failed", str(bad)),
              ("--after-failed", str(good))]]
    assert ended(daemon, again) == ["SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED", "FAILED"]
    assert shown(daemon, again[2])["attempts"] == 0


def test_a_killed_daemon_changes_nothing(daemon):
    parent = submit(daemon, command=("sleep", "60"))
    until(lambda: states(daemon, [parent]) == ["RUNNING"])
    child = submit(daemon, "--after", str(parent))
    grandchild = submit(daemon, "--after-ok", str(child))
    waits = submit(daemon, "--when", "go")
    daemon.fut("event", "set", "other", check=True)
    daemon.kill()
    daemon.start()
    assert states(daemon, [parent, child, grandchild, waits]) == ["RUNNING", "BLOCKED", "BLOCKED", "BLOCKED"]
    assert {one["name"]: one["set"] for one in daemon.fut_json("event", "ls")} == {"go": False, "other": True}
    daemon.fut("cancel", parent, check=True)
    assert ended(daemon, [child, grandchild]) == ["SUCCEEDED", "SUCCEEDED"]
    daemon.fut("event", "set", "go", check=True)
    daemon.kill()
    daemon.start()
    assert ended(daemon, [waits, submit(daemon, "--when", "go")]) == ["SUCCEEDED", "SUCCEEDED"]
    daemon.fut("event", "clear", "go", check=True)
    daemon.kill()
    daemon.start()
    last = submit(daemon, "--when", "go")
    assert states(daemon, [last]) == ["BLOCKED"]
    daemon.fut("cancel", last, check=True)
    assert states(daemon, [last]) == ["CANCELLED"]


def test_kills_in_a_row_lose_no_link_of_a_chain(daemon, tmp_path):
    log = tmp_path / "log"
    jobs = [submit(daemon, "--when", "go", command=("sh", "-c", f"echo 0 >> {log}"))]
    for number in range(1, 30):
        jobs.append(submit(daemon, "--after-ok", str(jobs[-1]), command=("sh", "-c", f"echo {number} >> {log}")))
    daemon.fut("event", "set", "go", check=True)
    for _ in range(4):
        daemon.kill()
        daemon.start()
    assert ended(daemon, jobs) == ["SUCCEEDED"] * len(jobs)
    # At least once, and in this order.
    seen = list(dict.fromkeys(int(line) for line in log.read_text().split()))
    assert seen == list(range(30))


def test_a_request_holds_a_whole_graph(daemon, api_of):
    api = api_of(daemon)
    words = api.words

    def item(alias, *parents, command=("true",)):
        made = api.command_item(*command)
        made.alias = alias
        for parent in parents:
            made.dependencies.add(item=parent, condition=words.DEPENDENCY_CONDITION_SUCCEEDED)
        return made

    ids = api.submit([item("join", "left", "right"), item("left", "fetch"), item("right", "fetch"), item("fetch")])
    assert {outcome.state for outcome in api.wait(ids).values()} == {words.JOB_STATE_SUCCEEDED}
    details = api.get(ids[0], details=True).spec.dependencies
    assert [(one.job_id, one.holds) for one in details] == [(ids[1], True), (ids[2], True)]
    times = {job: api.get(job) for job in ids}
    assert times[ids[0]].started_us >= times[ids[1]].finished_us
    refused(lambda: api.submit([item("a", "b"), item("b", "c"), item("c", "a")]), grpc.StatusCode.INVALID_ARGUMENT,
            "a -> b -> c -> a is a circle")
    refused(lambda: api.submit([item("a", "nobody")]), grpc.StatusCode.INVALID_ARGUMENT,
            "items[0].dependencies[0].item", "nobody")


def test_a_graph_of_many_jobs_fails_as_one(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    commands = [api.command_item("false")] + [api.command_item("true") for _ in range(2999)]
    for index, made in enumerate(commands):
        made.alias = f"n{index}"
        for back in (1, 7, 50):
            if index >= back:
                made.dependencies.add(item=f"n{index - back}", condition=words.DEPENDENCY_CONDITION_SUCCEEDED)
    commands[0].dependencies.add(event="go")
    ids = api.submit(commands)
    api.call("Events", "Set", words.SetEventRequest(name="go"))
    outcomes = api.wait(ids)
    assert {one.cause.kind for job, one in outcomes.items() if job != ids[0]} == {words.CAUSE_KIND_DEPENDENCY}


def test_a_time_and_a_dependency_hold_both(daemon):
    job = submit(daemon, "--when", "go", "--in", "2s")
    assert states(daemon, [job]) == ["BLOCKED"]
    daemon.fut("event", "set", "go", check=True)
    assert states(daemon, [job]) == ["SCHEDULED"]
    daemon.kill()
    daemon.start()
    assert ended(daemon, [job]) == ["SUCCEEDED"]
    found = shown(daemon, job)
    assert found["started_us"] >= found["start_at_us"]


def test_what_cannot_be_is_refused_by_name(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    bad = grpc.StatusCode.INVALID_ARGUMENT

    def submit_with(**dependency):
        return lambda: api.submit([api.command_item("true")], dependencies=[words.Dependency(**dependency)])

    refused(submit_with(job_id=10**9), grpc.StatusCode.NOT_FOUND, "spec.dependencies[0].job_id", f"{GONE} 1000000000")
    refused(submit_with(job_id=2**63), grpc.StatusCode.NOT_FOUND, "spec.dependencies[0].job_id")
    refused(submit_with(), bad, "spec.dependencies[0]")
    refused(submit_with(job_id=0), bad, "spec.dependencies[0].job_id")
    refused(submit_with(event="", condition=1), bad, "spec.dependencies[0].event")
    refused(submit_with(event="go", condition=1), bad, "spec.dependencies[0].condition")
    refused(submit_with(event="x" * 129), bad, "spec.dependencies[0].event")
    refused(submit_with(job_id=1, condition=7), bad, "spec.dependencies[0].condition")
    refused(submit_with(item="a"), bad, "spec.dependencies[0].item")
    many = [words.Dependency(event=str(number)) for number in range(1001)]
    refused(lambda: api.submit([api.command_item("true")], dependencies=many), grpc.StatusCode.RESOURCE_EXHAUSTED,
            "spec.dependencies")
    refused(lambda: api.call("Events", "Set", words.SetEventRequest()), bad, "name")
    refused(lambda: api.call("Events", "Clear", words.ClearEventRequest(name="a\nb")), bad, "name")
    for flags in (["--after", "x"], ["--after-ok", "1,,2"], ["--after-failed", ""]):
        done = daemon.fut("submit", *flags, "--", "true")
        assert done.returncode == 2 and flags[0] in done.stderr, done.stderr
    done = daemon.fut("submit", "--after", "999999999", "--", "true")
    assert done.returncode != 0 and "--after" in done.stderr and GONE in done.stderr, done.stderr


def test_a_parent_that_is_not_kept_any_more_is_refused(make_daemon):
    daemon = make_daemon('[retention]\nage = "1s"\n' + CONFIG).start()
    parent = submit(daemon)
    daemon.fut("wait", parent, timeout=60)
    child = submit(daemon, "--after", str(parent), "--when", "go")
    until(lambda: daemon.fut("show", parent).returncode != 0)
    done = daemon.fut("submit", "--after", str(parent), "--", "true")
    assert done.returncode != 0 and "[retention]" in done.stderr, done.stderr
    daemon.fut("event", "set", "go", check=True)
    assert daemon.fut("wait", child, timeout=60).returncode == 0, "it was judged when it was submitted"


def test_a_purge_and_a_drain_know_blocked_jobs(daemon):
    daemon.fut("queue", "create", "side", check=True)
    job = submit(daemon, "-q", "side", "--when", "go")
    assert "1" in daemon.fut("queue", "rm", "side").stderr
    assert states(daemon, [job]) == ["BLOCKED"]
    daemon.fut("queue", "drain", "side", check=True)
    assert daemon.fut("submit", "-q", "side", "--when", "go", "--", "true").returncode != 0
    daemon.fut("queue", "purge", "side", check=True)
    assert states(daemon, [job]) == ["CANCELLED"]
    daemon.fut("queue", "rm", "side", check=True)


def test_a_watch_tells_that_a_job_is_let_go(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    stream = api.stream("Jobs", "Watch", words.WatchRequest())
    next(stream)
    job = api.submit([api.command_item("true")], dependencies=[words.Dependency(event="go")])[0]
    api.call("Events", "Set", words.SetEventRequest(name="go"))
    seen = []
    for answer in stream:
        seen += [event.job.state for event in answer.events if event.job.id == job]
        if words.JOB_STATE_SUCCEEDED in seen:
            break
    assert seen[:2] == [words.JOB_STATE_BLOCKED, words.JOB_STATE_QUEUED], seen


def test_all_jobs_that_there_are_not_are_named_with_the_flag_that_was_used(daemon):
    known = submit(daemon)
    ended(daemon, [known])
    one = daemon.fut("submit", "--after-ok", "900", "--", "true")
    assert one.returncode == 4 and one.stderr.startswith("fut: --after-ok: no job 900: there never was, "), one.stderr
    several = daemon.fut("submit", "--after", f"{known},900,901", "--after", "902", "--", "true")
    assert several.stderr.startswith("fut: --after: no jobs 900, 901, 902: there never were, "), several.stderr
    many = daemon.fut("submit", "--after-failed", "1000-1030", "--", "true")
    assert many.stderr.startswith("fut: --after-failed: no jobs 1000, 1001, "), many.stderr
    assert "1009 and 21 more" in many.stderr, many.stderr


def test_why_tells_what_would_let_it_go_on(daemon):
    parent = submit(daemon, command=("sleep", "60"))
    child = submit(daemon, "--after-failed", str(parent))
    until(lambda: states(daemon, [parent]) == ["RUNNING"])
    why = daemon.fut("why", child, check=True).stdout
    assert f"waits for job {parent} (running) to end without success" in why, why
    daemon.fut("cancel", parent, check=True)
