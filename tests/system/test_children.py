"""Jobs that tasks submit: whose they are, what is refused, and that each is made once, whoever dies meanwhile."""
import os
import signal

import pytest
from private_daemon import BIN

PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "children.so")
DEPTH_MAX = 16
ARGUMENT_BYTES_MAX = 16 * 1024
CONFIG = f"""
[pools.default]
mode = 'MODE'
size = 2
plugins = ['{PLUGIN}']
THREADS
[queues.urgent]
discipline = 'priority'
"""


def config_of(mode):
    at_once = "jobs_at_once = 2" if mode in ("thread", "async") else ""
    return CONFIG.replace("MODE", mode).replace("THREADS", at_once)


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(config_of("process")).start()


@pytest.fixture(params=["process", "fresh", "thread", "async"])
def daemon_in_each_mode(request, make_daemon):
    return make_daemon(config_of(request.param)).start()


def call(api, task, *arguments, **spec):
    parts = [api.words.Part(data=str(argument).encode()) for argument in arguments]
    return api.submit([api.words.Item(parts=parts)], task=task, **spec)[0]


def text_of(api, job, seconds=60):
    outcome = api.outcome(job, seconds)
    assert outcome.state == api.words.JOB_STATE_SUCCEEDED, outcome
    return outcome.result[0].data.decode()


def children_of(api, job, seconds=60):
    """The numbers that the task gave back."""
    return [int(word) for word in text_of(api, job, seconds).split()]


def all_jobs(api):
    token, jobs = "", []
    while True:
        page = api.call("Jobs", "List", api.words.ListJobsRequest(page_size=1000, page_token=token))
        jobs += page.jobs
        token = page.next_page_token
        if not token:
            return jobs


def made_by(api, parent):
    """The numbers of all jobs that name this parent, in their order."""
    return sorted(job.id for job in all_jobs(api) if job.parent_id == parent)


def listed(api, parent, page_size=1000):
    """The same, as the daemon finds them."""
    jobs, token = [], ""
    while True:
        request = api.words.ListJobsRequest(page_size=page_size, page_token=token)
        request.filter.parent_id = parent
        page = api.call("Jobs", "List", request)
        jobs += page.jobs
        token = page.next_page_token
        if not token:
            return sorted(job.id for job in jobs)


# ---- what a child is


def test_a_child_is_a_job_of_the_same_user_that_names_its_parent(daemon_in_each_mode, api_of):
    api = api_of(daemon_in_each_mode)
    parent = call(api, "children.many", 5)
    children = children_of(api, parent)
    assert len(set(children)) == 5 and min(children) > parent
    for number, child in enumerate(children):
        assert text_of(api, child) == str(number)
        told = api.get(child)
        assert (told.parent_id, told.owner_uid) == (parent, os.getuid())
    assert api.get(parent).parent_id == 0
    assert made_by(api, parent) == children
    assert listed(api, parent) == children


def test_children_are_listed_by_their_parent(daemon, api_of):
    api = api_of(daemon)
    first, second = (call(api, "children.many", 4) for _ in range(2))
    of_first, of_second = children_of(api, first), children_of(api, second)
    assert listed(api, first) == of_first and listed(api, second, page_size=1) == of_second
    assert listed(api, of_first[0]) == [] and listed(api, 2 ** 64 - 1) == []
    api.wait(of_first + of_second)
    assert sorted(job["id"] for job in daemon.fut_json("ls", "--parent", first)) == of_first
    refused = daemon.fut("ls", "--parent", "0")
    assert refused.returncode != 0 and "--parent" in refused.stderr


def test_one_run_may_submit_more_than_its_ring_could_hold_answers(daemon, api_of):
    api = api_of(daemon)
    parent = call(api, "children.many", 3000)
    children = children_of(api, parent, seconds=120)
    assert len(set(children)) == 3000
    api.wait(children, seconds=60)


def test_a_child_has_the_options_it_was_given(daemon, api_of):
    api = api_of(daemon)
    child = int(text_of(api, call(api, "children.with", "echo", "urgent", 7, "a child")))
    outcome = api.outcome(child)
    assert (outcome.result[0].content_type, outcome.result[0].data) == ("text/x-test", b"as it is")
    told = api.get(child, details=True)
    assert (told.queue, told.priority, told.name) == ("urgent", 7, "a child")
    assert (told.spec.retries.max_attempts, told.spec.timeouts.run_ms) == (3, 20_000)


@pytest.mark.parametrize(
    "task, queue, priority, error_class, words",
    [
        ("no.such.task", "default", 0, "NOT_FOUND", ("no.such.task", "known tasks")),
        ("echo", "nowhere", 0, "NOT_FOUND", ('no queue "nowhere"',)),
        ("echo", "default", 3, "INVALID_ARGUMENT", ("priority",)),
    ],
)
def test_a_child_that_is_refused_fails_the_task_with_the_daemons_words(
    daemon, api_of, task, queue, priority, error_class, words
):
    api = api_of(daemon)
    parent = call(api, "children.with", task, queue, priority, "n")
    outcome = api.outcome(parent)
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert outcome.cause.error_class == error_class
    for word in words:
        assert word in outcome.cause.message, outcome.cause.message
    assert made_by(api, parent) == []


def test_children_of_children_end_at_a_depth_that_the_refusal_names(daemon, api_of):
    api = api_of(daemon)
    job = call(api, "children.deeper")
    for depth in range(DEPTH_MAX):
        child = int(text_of(api, job))
        assert api.get(child).parent_id == job, depth
        job = child
    refusal = text_of(api, job)
    assert refusal.startswith("RESOURCE_EXHAUSTED: ") and f"{DEPTH_MAX} jobs above it" in refusal


def test_depth_is_kept_through_a_restart(daemon, api_of):
    api = api_of(daemon)
    job = call(api, "children.deeper")
    for _ in range(3):
        job = int(text_of(api, job))
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    depth = 3
    while not text_of(api, job).startswith("RESOURCE"):
        job, depth = int(text_of(api, job)), depth + 1
    assert depth == DEPTH_MAX


def test_arguments_have_a_bound_that_the_refusal_names(daemon, api_of):
    api = api_of(daemon)
    child = int(text_of(api, call(api, "children.bytes", ARGUMENT_BYTES_MAX - 100)))
    assert len(api.outcome(child).result[0].data) == ARGUMENT_BYTES_MAX - 100
    outcome = api.outcome(call(api, "children.bytes", ARGUMENT_BYTES_MAX + 1))
    assert (outcome.state, outcome.cause.error_class) == (api.words.JOB_STATE_FAILED, "INVALID_ARGUMENT")
    assert str(ARGUMENT_BYTES_MAX) in outcome.cause.message


def test_children_go_on_when_their_parent_is_cancelled(daemon_in_each_mode, api_of, gate):
    api = api_of(daemon_in_each_mode)
    parent = call(api, "children.for_ever", gate.path)
    first = int(gate.line())
    api.cancel(parent)
    assert api.outcome(parent).state == api.words.JOB_STATE_CANCELLED
    children = made_by(api, parent)
    assert first in children
    outcomes = api.wait(children)
    assert {outcome.state for outcome in outcomes.values()} == {api.words.JOB_STATE_SUCCEEDED}


# ---- once


def test_a_retried_attempt_makes_its_children_anew_unless_they_have_a_key(daemon, api_of):
    api = api_of(daemon)
    retries = api.words.Retries(max_attempts=2)
    anew = call(api, "children.keyed", "", retries=retries)
    last = int(text_of(api, anew))
    children = made_by(api, anew)
    assert len(children) == 2 and children[-1] == last
    keyed = call(api, "children.keyed", "mine", retries=retries)
    child = int(text_of(api, keyed))
    assert made_by(api, keyed) == [child]
    # The key is the user's: what another job of his submits with it is the first one too.
    other = call(api, "children.keyed", "mine", retries=retries)
    assert int(text_of(api, other)) == child and made_by(api, other) == []


def test_a_retry_of_a_child_has_the_same_parent(daemon, api_of):
    api = api_of(daemon)
    parent = call(api, "children.many", 1)
    (child,) = children_of(api, parent)
    api.outcome(child)
    request = api.words.RetryRequest(ids=[api.words.IdRange(first=child, last=child)])
    (entry,) = api.call("Jobs", "Retry", request).entries
    assert (api.get(entry.new_id).parent_id, api.get(entry.new_id).retry_of) == (parent, child)


def test_a_child_that_is_submitted_while_no_daemon_is_there_is_made_by_the_next(daemon_in_each_mode, api_of, gate, tmp_path):
    daemon = daemon_in_each_mode
    go = str(tmp_path / "go")
    os.mkfifo(go)
    parent = call(api_of(daemon), "children.one_by_one", gate.path, go, 2)
    first = int(gate.line())
    daemon.kill()
    with open(go, "w", encoding="ascii") as pipe:  # opens once the task has the other end
        pipe.write("on\n")
    daemon.start()
    api = api_of(daemon)
    children = children_of(api, parent)
    assert len(children) == 2 and children[0] == first
    assert made_by(api, parent) == children
    assert {outcome.state for outcome in api.wait(children).values()} == {api.words.JOB_STATE_SUCCEEDED}


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_daemons_that_die_between_make_no_child_twice_and_lose_none(daemon, api_of, gate, sig):
    api = api_of(daemon)
    count = 2000
    parent = call(api, "children.many", count)
    for _ in range(6):
        # Some children further on, in the middle of one.
        seen = len(all_jobs(api))
        while len(all_jobs(api)) < min(seen + 20, count):
            pass
        daemon.kill(sig)
        daemon.start()
        api = api_of(daemon)
    children = children_of(api, parent, seconds=120)
    assert len(children) == count
    assert made_by(api, parent) == children
    numbers = {api.outcome(child).result[0].data for child in children[:: count // 50]}
    assert len(numbers) == len(children[:: count // 50])


# ---- deadline


def test_a_task_knows_when_its_run_timeout_ends(daemon_in_each_mode, api_of):
    api = api_of(daemon_in_each_mode)
    assert text_of(api, call(api, "children.time_left")) == "-1"
    limited = call(api, "children.time_left", timeouts=api.words.Timeouts(run_ms=60_000))
    assert 30_000 < int(text_of(api, limited)) <= 60_000
