"""Whole batches, choices among parents, results that go from job to job, and bounds of failures: over kills, too."""
import grpc
import pytest
from fut_calls import submit, until

CONFIG = """
[pools.default]
mode = "process"
size = 2

[pools.command]
mode = "command"
size = 2
"""
MIB = 1 << 20


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(CONFIG).start()


def call(daemon, *words):
    return int(daemon.fut("call", "--detach", *words, check=True).stdout.split()[-1])


def shown(daemon, job):
    (found,) = daemon.fut_json("show", job)
    return found


def states(daemon, jobs):
    return [shown(daemon, job)["state"] for job in jobs]


def ended(daemon, jobs):
    daemon.fut("wait", *jobs, timeout=60)
    return states(daemon, jobs)


def result(daemon, job):
    return daemon.fut("result", job, check=True).stdout


def cause(daemon, job):
    found = shown(daemon, job)["cause"]
    return found["kind"], found["message"]


def refused(request, code, *texts):
    with pytest.raises(grpc.RpcError) as caught:
        request()
    assert caught.value.code() == code, caught.value
    for text in texts:
        assert text in caught.value.details(), caught.value.details()


# ---- Results ----------------------------------------------------------------------------------------------------


def test_a_result_becomes_an_argument(daemon):
    first = call(daemon, "--when", "go", "echo", "forty-two")
    second = call(daemon, "echo", "--result-of", str(first))
    assert states(daemon, [second]) == ["BLOCKED"]
    assert f"job {first} (blocked) to succeed" in daemon.fut("why", second, check=True).stdout
    daemon.fut("event", "set", "go", check=True)
    assert ended(daemon, [second]) == ["SUCCEEDED"]
    assert result(daemon, second).strip() == "forty-two"
    assert daemon.fut("call", "echo", "--result-of", str(second), check=True).stdout.strip() == "forty-two"


def test_a_result_goes_to_many_and_through_kills(daemon):
    first = call(daemon, "--when", "go", "echo", "x" * 100)
    jobs = [call(daemon, "echo", "--result-of", str(first)) for _ in range(40)]
    chain = [first]
    for _ in range(10):
        chain.append(call(daemon, "echo", "--result-of", str(chain[-1])))
    daemon.kill()
    daemon.start()
    assert states(daemon, [first, jobs[0], chain[-1]]) == ["BLOCKED"] * 3
    daemon.fut("event", "set", "go", check=True)
    for _ in range(3):
        daemon.kill()
        daemon.start()
    assert set(ended(daemon, jobs + chain)) == {"SUCCEEDED"}
    assert {result(daemon, job).strip() for job in (jobs[0], jobs[-1], chain[-1])} == {"x" * 100}


def test_a_result_that_is_a_file_and_one_that_is_too_much(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    (large,) = api.submit_tasks("echo", data=b"a" * 3 * MIB)

    def taker(*jobs):
        item = words.Item(parts=[words.Part(result_of=job) for job in jobs])
        return api.submit([item], task="echo")[0]

    good, bad = taker(large), taker(large, large)
    outcomes = api.wait([good, bad])
    assert outcomes[good].state == words.JOB_STATE_SUCCEEDED and outcomes[good].result_bytes == 3 * MIB
    assert outcomes[bad].cause.kind == words.CAUSE_KIND_DEPENDENCY
    assert "4194304 bytes" in outcomes[bad].cause.message, outcomes[bad].cause.message
    assert outcomes[bad].attempts == 0


def test_a_request_holds_jobs_and_what_they_return(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    first = words.Item(alias="first", parts=[words.Part(data=b"b")])
    second = words.Item(parts=[words.Part(result_of_item="first")])
    ids = api.submit([second, first], task="echo")
    outcomes = api.wait(ids)
    assert [outcomes[job].state for job in ids] == [words.JOB_STATE_SUCCEEDED] * 2
    assert outcomes[ids[0]].result[0].data == b"b"
    loop = words.Item(alias="a", parts=[words.Part(result_of_item="a")])
    refused(lambda: api.submit([loop], task="echo"), grpc.StatusCode.INVALID_ARGUMENT, "a -> a is a circle")


def test_standard_input_comes_from_a_command(daemon):
    words = submit(daemon, "--when", "go", command=("sh", "-c", "echo noise >&2; printf 'b\\na\\n'"))
    lines = submit(daemon, "--stdin-result-of", str(words), command=("sort",))
    daemon.fut("event", "set", "go", check=True)
    assert ended(daemon, [lines]) == ["SUCCEEDED"]
    assert result(daemon, lines) == "a\nb\n"
    assert shown(daemon, lines)["argv"] == ["sort"]


def test_who_takes_a_result_fails_with_its_maker(daemon):
    maker = call(daemon, "--when", "go", "fail", "no")
    taker = call(daemon, "echo", "--result-of", str(maker))
    daemon.fut("event", "set", "go", check=True)
    assert ended(daemon, [taker]) == ["FAILED"]
    assert cause(daemon, taker)[0] == "DEPENDENCY"
    late = call(daemon, "echo", "--result-of", str(maker))
    assert ended(daemon, [late]) == ["FAILED"]


def test_a_retry_takes_the_same_result(daemon):
    maker = call(daemon, "echo", "text")
    taker = call(daemon, "fail", "--result-of", str(maker))
    assert ended(daemon, [taker]) == ["FAILED"]
    again = int(daemon.fut("retry", taker, check=True).stdout.split()[-1])
    assert ended(daemon, [again]) == ["FAILED"]
    assert cause(daemon, again)[0] == "TASK_ERROR"


def test_a_result_is_kept_for_those_who_take_it(daemon):
    maker = call(daemon, "--retention", "100ms", "echo", "kept")
    other = call(daemon, "--retention", "100ms", "echo", "gone")
    taker = call(daemon, "--when", "go", "echo", "--result-of", str(maker))
    until(lambda: daemon.fut("show", other).returncode != 0)
    assert states(daemon, [maker]) == ["SUCCEEDED"]
    daemon.fut("event", "set", "go", check=True)
    assert ended(daemon, [taker]) == ["SUCCEEDED"]
    assert result(daemon, taker).strip() == "kept"


# ---- Choices, and whole batches -----------------------------------------------------------------------------------


def test_one_of_several_is_enough(daemon):
    good, bad = submit(daemon, "--when", "go"), submit(daemon, "--when", "go", command=("false",))
    never = submit(daemon, "--when", "never")
    either = submit(daemon, "--after-any", f"{bad},{good},{never}")
    neither = submit(daemon, "--after-any", str(bad))
    why = daemon.fut("why", either, check=True).stdout
    assert f"(job {bad} (blocked) to succeed or job {good} (blocked) to succeed or" in why, why
    daemon.kill()
    daemon.start()
    daemon.fut("event", "set", "go", check=True)
    assert ended(daemon, [either, neither]) == ["SUCCEEDED", "FAILED"]
    assert cause(daemon, neither)[0] == "DEPENDENCY"
    assert f"one of {bad} succeeded, {good} succeeded, {never} succeeded" in daemon.fut("show", either).stdout
    assert ended(daemon, [submit(daemon, "--after-any", f"{bad},{good}")]) == ["SUCCEEDED"]


def batch_of(daemon, api, *commands, **spec):
    """Waits for the event "go" first."""
    spec.setdefault("dependencies", [api.words.Dependency(event="go")])
    return api.submit([api.command_item(*command) for command in commands], **spec)


def test_a_job_waits_for_a_whole_batch(daemon, api_of):
    api = api_of(daemon)
    good = batch_of(daemon, api, *[("true",)] * 30)
    mixed = batch_of(daemon, api, ("true",), ("false",), ("true",))
    jobs = [submit(daemon, flag, f"batch:{batch[0]}") for flag, batch in
            [("--after-ok", good), ("--after", mixed), ("--after-ok", mixed), ("--after-failed", mixed)]]
    either = submit(daemon, "--after-any", f"batch:{mixed[0]},batch:{good[0]}")
    assert f"every job of batch {good[0]} (30 of 30 have not ended) to succeed" in daemon.fut("why", jobs[0]).stdout
    daemon.kill()
    daemon.start()
    assert states(daemon, jobs + [either]) == ["BLOCKED"] * 5
    daemon.fut("event", "set", "go", check=True)
    daemon.kill()
    daemon.start()
    wanted = ["SUCCEEDED", "SUCCEEDED", "FAILED", "FAILED", "SUCCEEDED"]
    assert ended(daemon, jobs + [either]) == wanted
    ended_before = [submit(daemon, "--after-ok", f"batch:{good[0]}"), submit(daemon, "--after-ok", f"batch:{mixed[0]}")]
    assert ended(daemon, ended_before) == ["SUCCEEDED", "FAILED"]
    assert shown(daemon, good[7])["batch_id"] == good[0]
    assert shown(daemon, jobs[0])["batch_id"] == jobs[0]


def test_a_batch_is_listed_and_cancelled(daemon, api_of):
    api = api_of(daemon)
    first, second = batch_of(daemon, api, *[("true",)] * 5), batch_of(daemon, api, *[("true",)] * 3)
    assert [job["id"] for job in daemon.fut_json("ls", "--batch", first[0], "--oldest-first")] == first
    assert daemon.fut("cancel", "--batch", second[0], "--yes", check=True).stdout == "3 cancelled\n"
    assert states(daemon, second) == ["CANCELLED"] * 3
    assert states(daemon, first) == ["BLOCKED"] * 5
    done = daemon.fut("ls", "--batch", first[1])
    assert done.returncode != 0 and f"one of batch {first[0]}" in done.stderr, done.stderr
    assert daemon.fut("ls", "--batch", "99999999").returncode != 0


def test_too_many_failures_end_a_batch(daemon, api_of):
    api = api_of(daemon)
    commands = [("false",)] * 2 + [("true",)] * 50
    ids = batch_of(daemon, api, *commands, queue="default", max_failures=1,
                   dependencies=[api.words.Dependency(event="go")])
    slow = api.submit([api.command_item("sleep", "60"), api.command_item("sh", "-c", "sleep 1; false")] +
                      [api.command_item("true")] * 500, max_failures=0)
    until(lambda: shown(daemon, slow[500])["state"] == "CANCELLED")
    assert shown(daemon, slow[0])["state"] == "RUNNING", "what runs goes on"
    kind, message = cause(daemon, slow[500])
    assert kind == "CANCELLED" and f"batch {slow[0]}" in message and "max_failures" in message, message
    daemon.fut("cancel", slow[0], check=True)
    daemon.fut("event", "set", "go", check=True)
    daemon.kill()
    daemon.start()
    found = ended(daemon, ids)
    assert found[:2] == ["FAILED", "FAILED"] and "CANCELLED" in found, found
    assert set(found[2:]) <= {"SUCCEEDED", "CANCELLED"}


def test_what_cannot_be_is_refused_by_name(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    bad, unknown = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    batch = batch_of(daemon, api, ("true",), ("true",))

    def part(**fields):
        return lambda: api.submit([words.Item(parts=[words.Part(**fields)])], task="echo")

    def after(**fields):
        return lambda: api.submit([api.command_item("true")], dependencies=[words.Dependency(**fields)])

    refused(part(result_of=10**9), unknown, "items[0].result_of", "no job 1000000000")
    refused(part(result_of=0), bad, "items[0].parts[0].result_of")
    refused(part(result_of=batch[0], content_type="text/plain"), bad, "items[0].parts[0].content_type")
    refused(part(result_of_item="nobody"), bad, "items[0].parts[0].result_of_item", "nobody")
    refused(after(batch_id=0), bad, "spec.dependencies[0].batch_id")
    refused(after(batch_id=batch[1]), bad, "spec.dependencies[0].batch_id", f"one of batch {batch[0]}")
    refused(after(batch_id=10**9), unknown, "spec.dependencies[0].batch_id")
    item = api.command_item("sort", stdin_bytes=b"x", stdin_result_of=batch[0])
    refused(lambda: api.submit([item]), bad, "items[0].command.stdin_result_of")
    cached = words.CachePolicy(enabled=True)
    refused(lambda: api.submit([words.Item(parts=[words.Part(result_of=batch[0])])], task="echo", cache=cached), bad,
            "spec.cache", "another job's result")
    for flags in (["--after-any", "x"], ["--after", "batch:"], ["--after-ok", "batch:x"]):
        done = daemon.fut("submit", *flags, "--", "true")
        assert done.returncode == 2 and flags[0] in done.stderr, done.stderr
    done = daemon.fut("call", "echo", "--result-of", "999999999")
    assert done.returncode != 0 and "--result-of" in done.stderr, done.stderr
