"""What a running task streams: its chunks, its log, its progress. Read live, resumed, and kept with the job."""
import json
import os
import pty

import pytest
from private_daemon import BIN

PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(f"[pools.default]\nsize = 2\nplugins = ['{PLUGIN}']\n").start()


def submit(api, task, *arguments, **spec):
    data = [argument if isinstance(argument, bytes) else str(argument).encode() for argument in arguments]
    parts = [api.words.Part(data=each) for each in data]
    (job,) = api.submit([api.words.Item(parts=parts)], task=task, **spec)
    return job


def await_running(api, job):
    """A task may be heard of before the daemon knows that it was taken."""
    for _ in range(10_000):
        if api.get(job).state == api.words.JOB_STATE_RUNNING:
            return
    raise AssertionError(f"job {job} is {api.get(job).state}")


def read(api, job, **fields):
    return api.stream("Jobs", "ReadOutput", api.words.ReadOutputRequest(id=job, **fields))


def bytes_of(answers, kind):
    return b"".join(answer.data for answer in answers if answer.kind == kind)


def test_chunks_are_read_while_the_task_runs_and_again_when_it_has_ended(api, gate):
    words = api.words
    job = submit(api, "test.stream", "first;second;", gate.path)
    pid = gate.line()
    answers = read(api, job, kind=words.OUTPUT_KIND_EMITTED, follow=True)
    live = b""
    for answer in answers:
        live += answer.data
        if live == b"first;second;":
            break
    await_running(api, job)
    api.cancel(job)
    rest = list(answers)
    assert rest[-1].end and rest[-1].outcome.state == words.JOB_STATE_CANCELLED
    assert pid

    stored = list(read(api, job, kind=words.OUTPUT_KIND_EMITTED))
    assert bytes_of(stored, words.OUTPUT_KIND_EMITTED) == b"first;second;stopped;"
    resumed = list(read(api, job, kind=words.OUTPUT_KIND_EMITTED, emitted_offset=6))
    assert (resumed[0].offset, bytes_of(resumed, words.OUTPUT_KIND_EMITTED)) == (6, b"second;stopped;")


def followed(answers, size):
    """The first `size` bytes of one stream, as they come."""
    seen = b""
    for answer in answers:
        assert answer.offset == len(seen) and not answer.dropped_bytes
        seen += answer.data
        if len(seen) >= size:
            break
    return seen


TEXT = b"".join(b"%07d\n" % number for number in range(375_000))  # more than is kept of live output


def test_who_comes_late_gets_all_that_a_running_task_has_emitted(api, gate):
    words = api.words
    job = submit(api, "test.stream", TEXT, gate.path)
    gate.line()
    await_running(api, job)
    now = list(read(api, job, kind=words.OUTPUT_KIND_EMITTED))
    assert bytes_of(now, words.OUTPUT_KIND_EMITTED) == TEXT and not any(answer.dropped_bytes for answer in now)
    answers = read(api, job, kind=words.OUTPUT_KIND_EMITTED, follow=True)
    assert followed(answers, len(TEXT)) == TEXT
    assert api.get(job).state == words.JOB_STATE_RUNNING
    api.cancel(job)
    rest = list(answers)
    assert bytes_of(rest, words.OUTPUT_KIND_EMITTED) == b"stopped;"
    assert rest[-1].end and not any(answer.dropped_bytes for answer in rest)


def test_who_follows_after_a_restart_gets_all_that_was_emitted_before(api_of, daemon, gate):
    api = api_of(daemon)
    words = api.words
    job = submit(api, "test.stream", TEXT, gate.path)
    gate.line()
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    answers = read(api, job, kind=words.OUTPUT_KIND_EMITTED, follow=True)
    assert followed(answers, len(TEXT)) == TEXT
    api.cancel(job)
    assert bytes_of(answers, words.OUTPUT_KIND_EMITTED) == b"stopped;"


def test_what_only_the_worker_remembers_is_waited_for_and_other_streams_go_on(api_of, daemon, gate, tmp_path):
    api = api_of(daemon)
    words = api.words
    go, on = str(tmp_path / "go"), str(tmp_path / "on")  # of one alone the second reader may see the first writer's end
    os.mkfifo(go)
    os.mkfifo(on)
    script = f"echo before; echo up >{gate.path}; read line <{go}; echo other >&2; read line <{on}; echo after"
    job = api.submit_command("sh", "-c", script)
    assert gate.line() == "up"
    assert followed(read(api, job, kind=words.OUTPUT_KIND_STDOUT, follow=True), 7) == b"before\n"
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    answers = read(api, job, follow=True)
    release(go)
    seen = []
    for answer in answers:
        seen.append(answer)
        if answer.kind == words.OUTPUT_KIND_STDERR:
            break
    release(on)
    seen += answers
    assert bytes_of(seen, words.OUTPUT_KIND_STDOUT) == b"before\nafter\n"
    assert bytes_of(seen, words.OUTPUT_KIND_STDERR) == b"other\n"
    assert not any(answer.dropped_bytes for answer in seen)


def release(path):
    with open(path, "w", encoding="ascii") as pipe:
        pipe.write("go\n")


def test_chunks_and_log_are_no_part_of_the_result(api):
    words = api.words
    job = submit(api, "count", 3, 0)
    outcome = api.outcome(job)
    assert [part.data for part in outcome.result] == [b"3"]
    assert outcome.result_bytes == 1
    (first, *pieces) = api.stream("Jobs", "GetResult", words.GetResultRequest(id=job))
    assert list(first.part_sizes) == [1] and b"".join(piece.data for piece in pieces) == b"3"
    assert bytes_of(read(api, job), words.OUTPUT_KIND_EMITTED) == b"1\n2\n3\n"


def test_a_task_that_failed_keeps_what_it_emitted_and_logged(api):
    words = api.words
    job = submit(api, "test.emit_and_throw", "half a result")
    outcome = api.outcome(job)
    assert outcome.state == words.JOB_STATE_FAILED and not outcome.result
    answers = list(read(api, job))
    assert bytes_of(answers, words.OUTPUT_KIND_EMITTED) == b"half a result"
    assert bytes_of(answers, words.OUTPUT_KIND_LOG).endswith(b" ERROR cannot go on\n")


def test_of_a_stream_over_its_bound_head_and_tail_are_kept_and_the_gap_is_told(api):
    words = api.words
    mib = 80
    job = submit(api, "test.emit_much", mib)
    assert api.outcome(job).state == words.JOB_STATE_SUCCEEDED
    answers = list(read(api, job, kind=words.OUTPUT_KIND_EMITTED))
    kept = sum(len(answer.data) for answer in answers)
    dropped = sum(answer.dropped_bytes for answer in answers)
    assert kept == 64 << 20 and kept + dropped == mib << 20
    tail = list(read(api, job, kind=words.OUTPUT_KIND_EMITTED, tail_bytes=1 << 20))
    assert bytes_of(tail, words.OUTPUT_KIND_EMITTED) == bytes([mib - 1]) * (1 << 20)


def test_progress_is_shown_with_a_running_job_and_told_to_who_follows(api, gate):
    words = api.words
    job = submit(api, "test.progress", 0.25, b"reading \xff", gate.path)
    gate.line()
    for answer in read(api, job, follow=True, progress=True):
        if answer.progress_message:
            break
    assert (answer.progress, answer.progress_message, answer.data) == (0.25, "reading \ufffd", b"")
    await_running(api, job)
    seen = api.get(job)
    assert (seen.progress, seen.progress_message) == (0.25, answer.progress_message)
    listed = api.call("Jobs", "List", words.ListJobsRequest(filter=words.JobFilter(states=[words.JOB_STATE_RUNNING])))
    assert [(entry.id, entry.progress) for entry in listed.jobs] == [(job, 0.25)]
    api.cancel(job, kill_at_once=True, wait=True)
    assert api.get(job).progress == 0


def test_the_last_sign_of_life_of_a_running_job_is_told(api, daemon, gate, tmp_path):
    words = api.words
    job = submit(api, "test.beat_until", tmp_path / "quiet", gate.path)

    def await_alive(after_us):
        for _ in range(10_000):
            seen = api.get(job)
            if seen.state == words.JOB_STATE_RUNNING and seen.alive_us > after_us:
                return seen
        raise AssertionError(f"{seen.alive_us} is not after {after_us}")

    first = await_alive(0)
    assert first.alive_us >= first.started_us
    await_alive(first.alive_us + 1_000)  # not the same one, on a clock that is converted anew
    (shown,) = daemon.fut_json("show", job)
    assert shown["alive_us"] > first.alive_us
    assert "last sign of life" in daemon.fut("show", job, check=True).stdout
    api.cancel(job, kill_at_once=True, wait=True)
    assert api.get(job).alive_us == 0


def test_fut_follows_progress_in_json(api, daemon, gate):
    job = submit(api, "test.progress", 0.25, "reading", gate.path)
    gate.line()
    with daemon.start_fut("logs", "-f", "--json", job) as following:
        assert json.loads(following.stdout.readline()) == {"progress": 0.25, "message": "reading", "attempt": 1}
        api.cancel(job, kill_at_once=True, wait=True)
        assert following.wait(20) == 0


def test_heartbeats_are_told_to_who_follows(api, daemon):
    beating = submit(api, "test.beat", "heartbeat", 30, 0.05, timeouts={"heartbeat_ms": 300})
    quiet = submit(api, "test.beat", "heartbeat", 30, 0.05)
    submitted = api.get(beating).submitted_us
    told = [answer for answer in read(api, beating, follow=True, heartbeats=True) if answer.alive_us]
    assert 2 <= len(told) <= 10, "one for each time that the daemon looked"
    assert all(submitted < answer.alive_us for answer in told)
    assert {answer.attempt for answer in told} == {1}
    assert not [answer for answer in read(api, quiet, follow=True, heartbeats=True) if answer.alive_us]
    job = submit(api, "test.beat", "heartbeat", 1000, 0.05, timeouts={"heartbeat_ms": 300})
    with daemon.start_fut("logs", "-f", "--json", job) as following:
        assert json.loads(following.stdout.readline())["alive_us"] > submitted
        api.cancel(job, kill_at_once=True, wait=True)
        assert following.wait(20) == 0


@pytest.mark.parametrize("verb", ["logs -f", "attach"])
def test_a_terminal_shows_progress_and_heartbeats_of_what_it_follows(api, daemon, verb):
    job = submit(api, "test.beat", "progress", 1000, 0.05, timeouts={"heartbeat_ms": 300})
    screen, program = pty.openpty()
    with daemon.start_fut(*verb.split(), job, stderr=program) as following:
        os.close(program)
        shown = b""
        while b"alive at" not in shown:
            shown += os.read(screen, 4096)
        assert b"] " in shown, "the progress stands beside it"
        api.cancel(job, kill_at_once=True, wait=True)
        following.wait(20)
    os.close(screen)


def test_a_heartbeat_does_not_wipe_an_unfinished_line(daemon):
    screen, program = pty.openpty()
    script = "printf 'Building: '; for i in 1 2 3 4 5 6; do printf .; sleep 0.2; done; echo done"
    with daemon.start_fut("run", "--heartbeat-timeout", "500ms", "--", "sh", "-c", script,
                          stdout=program, stderr=program) as running:
        os.close(program)
        shown = b""
        while b"done" not in shown:
            shown += os.read(screen, 4096)
        assert running.wait(20) == 0
    os.close(screen)
    assert shown.startswith(b"Building: ......done"), shown


def test_a_stream_that_nobody_reads_goes_on_without_the_daemon(api_of, daemon, gate):
    api = api_of(daemon)
    words = api.words
    job = submit(api, "test.stream", "a;b;c;", gate.path)
    gate.line()
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    api.cancel(job, wait=True)
    assert bytes_of(read(api, job), words.OUTPUT_KIND_EMITTED) == b"a;b;c;stopped;"


def test_fut_follows_chunks_on_standard_output_and_the_log_on_standard_error(daemon):
    (job,) = daemon.fut_json("call", "--detach", "test.talk", "hello")
    done = daemon.fut("logs", "-f", job["id"], check=True)
    assert done.stdout == "hello"
    assert done.stderr.endswith(" WARNING hello\n")
    assert daemon.fut("logs", "--emitted", job["id"], check=True).stderr == ""
    assert daemon.fut("logs", "--log", job["id"], check=True).stdout == ""
    streams = {line["stream"] for line in daemon.fut_json("logs", job["id"])}
    assert streams == {"emitted", "log"}
