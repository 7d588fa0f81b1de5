"""Watch: what happens to jobs, as it happens, resumed where it broke off."""
import json
import threading

import grpc
import pytest


class Watch:
    """A watch on a thread of its own."""

    def __init__(self, api, **request):
        words = api.words
        self.stream = api.stream("Jobs", "Watch", words.WatchRequest(**request), seconds=120)
        first = next(self.stream)
        self.begins = (first.epoch, first.sequence)
        self.gap = first.gap
        self.events = list(first.events)
        self.arrived = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for answer in self.stream:
                with self.arrived:
                    self.gap = self.gap or answer.gap
                    self.events += answer.events
                    self.arrived.notify_all()
        except grpc.RpcError:
            pass

    def until(self, count, seconds=30):
        return self.until_holds(lambda events: len(events) >= count, seconds)

    def until_holds(self, condition, seconds=30):
        with self.arrived:
            assert self.arrived.wait_for(lambda: condition(self.events), seconds), self.events
            return list(self.events)

    def close(self):
        self.stream.cancel()


def states(api, events):
    return [(event.job.id, api.words.JobState.Name(event.job.state)[len("JOB_STATE_"):]) for event in events]


def test_each_change_is_told_once_and_in_order(api):
    watch = Watch(api)
    first, second = api.submit_tasks("noop", 2, name="mine")
    api.wait([first, second])
    events = watch.until(6)
    watch.close()
    told = states(api, events)
    for job in (first, second):
        assert [state for id, state in told if id == job] == ["QUEUED", "RUNNING", "SUCCEEDED"]
    sequences = [event.sequence for event in events]
    assert sequences == list(range(sequences[0], sequences[0] + 6))
    assert {event.epoch for event in events} == {watch.begins[0]}
    assert {(event.job.task, event.job.name, event.job.queue) for event in events} == {("noop", "mine", "default")}
    assert not watch.gap


def test_a_watch_goes_on_where_another_ended(api):
    watch = Watch(api)
    jobs = api.submit_tasks("noop", 3)
    api.wait(jobs)
    events = watch.until(9)
    watch.close()
    later = api.submit_tasks("noop", 2)
    api.wait(later)
    resumed = Watch(api, epoch=events[4].epoch, sequence=events[4].sequence)
    rest = resumed.until(4 + 6)
    resumed.close()
    assert not resumed.gap
    assert [event.sequence for event in rest] == list(range(events[4].sequence + 1, events[4].sequence + 11))
    assert {event.job.id for event in rest[4:]} == set(later)


def test_filters_take_only_what_they_name(api):
    watch = Watch(api, filter=api.words.JobFilter(states=[api.words.JOB_STATE_FAILED]))
    api.wait(api.submit_tasks("noop", 5))
    failed = api.submit_command("/bin/sh", "-c", "exit 3")
    events = watch.until(1)
    watch.close()
    assert states(api, events) == [(failed, "FAILED")]
    assert events[0].job.cause.exit_code == 3


def test_a_filter_by_cause_takes_ends_only(api):
    words = api.words
    watch = Watch(api, filter=words.JobFilter(causes=[words.CAUSE_KIND_COMMAND_EXIT]))
    api.wait([api.submit_command("/bin/sh", "-c", "kill -9 $$")])
    failed = api.submit_command("/bin/sh", "-c", "exit 3", retries={"max_attempts": 2})
    events = watch.until(1)
    watch.close()
    assert states(api, events) == [(failed, "FAILED")]


def test_reports_of_progress_are_told_after_the_start_and_before_the_end(api):
    watch, silent = Watch(api, progress=True), Watch(api)
    (job,) = api.submit([api.words.Item(parts=[api.words.Part(data=b"3"), api.words.Part(data=b"0.05")])], task="count")
    api.wait([job])
    words = api.words
    events = watch.until_holds(lambda events: events and events[-1].job.state == words.JOB_STATE_SUCCEEDED)
    told = [(event.job.progress, event.job.progress_message) if event.job.reported else event.job.state for event in events]
    assert told[:2] == [words.JOB_STATE_QUEUED, words.JOB_STATE_RUNNING]
    assert told[-1] == words.JOB_STATE_SUCCEEDED
    reports = told[2:-1]
    assert reports and reports == sorted(reports)
    assert len(silent.until(3)) == 3
    watch.close()
    silent.close()


def test_queues_and_workers_are_told_to_who_asks(api):
    words = api.words
    watch, silent = Watch(api, queues=True, workers=True), Watch(api)
    api.call("Queues", "Create", words.CreateQueueRequest(name="seen", options=words.QueueOptions(
        discipline=words.QUEUE_DISCIPLINE_LIFO)))
    api.call("Queues", "Pause", words.PauseQueueRequest(name="seen"))
    events = watch.until(2)
    assert [(event.queue.queue.name, event.queue.queue.paused) for event in events] == [("seen", False), ("seen", True)]
    assert events[0].queue.queue.options.discipline == words.QUEUE_DISCIPLINE_LIFO
    api.wait(api.submit([words.Item()], task="crash", crashes_max=1))
    workers = [event.worker for event in watch.until(2 + 3 + 2) if event.WhichOneof("what") == "worker"]
    ended, came = workers[:2]
    assert ended.ended and ended.signal != 0 and not came.ended
    assert (ended.worker.pool, ended.worker.slot) == (came.worker.pool, came.worker.slot)
    assert came.worker.pid != ended.worker.pid and came.worker.generation > ended.worker.generation
    assert {event.WhichOneof("what") for event in silent.until(3)} == {"job"}
    watch.close()
    silent.close()


def test_another_life_of_the_daemon_is_a_gap(daemon, api_of):
    api = api_of(daemon)
    watch = Watch(api)
    api.wait(api.submit_tasks("noop", 1))
    last = watch.until(3)[-1]
    watch.close()
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    again = Watch(api, epoch=last.epoch, sequence=last.sequence)
    assert again.gap and again.begins[0] > last.epoch
    api.wait(api.submit_tasks("noop", 1))
    again.until(3)
    again.close()


def test_bad_watches_are_refused_by_name(api):
    def refusal(**request):
        with pytest.raises(grpc.RpcError) as error:
            next(api.stream("Jobs", "Watch", api.words.WatchRequest(**request)))
        return error.value.code(), error.value.details()

    code, text = refusal(filter=api.words.JobFilter(batch_id=3))
    assert code == grpc.StatusCode.UNIMPLEMENTED and "filter.batch_id" in text
    code, text = refusal(epoch=1, sequence=10**9)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "sequence" in text
    code, text = refusal(epoch=10**6, sequence=1)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "epoch" in text
    code, text = refusal(filter=api.words.JobFilter(states=[99]))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "states" in text


def test_who_reads_slowly_is_told_of_the_gap(api):
    """Nothing is kept for a client that does not read: it falls behind, and goes on from what there is."""
    words = api.words
    stream = api.stream("Jobs", "Watch", words.WatchRequest(), seconds=120)
    next(stream)
    for _ in range(8):
        api.wait(api.submit_tasks("noop", 10_000), seconds=60)
    seen, gap = 0, False
    for answer in stream:
        gap = gap or answer.gap
        seen += len(answer.events)
        if answer.events and answer.events[-1].sequence >= 240_000:
            break
    stream.cancel()
    assert gap and seen < 240_000


def test_heartbeats_are_told_when_asked_for(api, daemon):
    watch, silent = Watch(api, heartbeats=True), Watch(api)
    parts = [api.words.Part(data=word) for word in (b"20", b"0.05")]
    (job,) = api.submit([api.words.Item(parts=parts)], task="count", timeouts={"heartbeat_ms": 200})
    api.wait([job])
    assert len(silent.until(3)) == 3
    events = watch.until(4)
    alive = [event for event in events if event.job.alive_us]
    assert alive and all(0 <= event.time_us - event.job.alive_us < 5_000_000 for event in alive)
    assert {event.job.state for event in alive} == {api.words.JOB_STATE_RUNNING}
    watch.close()
    silent.close()


def test_fut_watch_survives_the_daemon(daemon, api_of):
    watch = daemon.start_fut("watch", "--json", "--name", "seen", "-n", "4")
    try:
        wait_for_watch(api_of(daemon))
        api = api_of(daemon)
        api.wait(api.submit_tasks("noop", 1, name="seen"))
        lines = [json.loads(watch.stdout.readline()) for _ in range(3)]
        assert [line["state"] for line in lines] == ["QUEUED", "RUNNING", "SUCCEEDED"]
        daemon.kill()
        daemon.start()
        line = json.loads(watch.stdout.readline())  # at once: there may never be another event
        assert line["event"] == "gap" and line["gap"] and line["epoch"] > lines[0]["epoch"]
        wait_for_watch(api_of(daemon))
        api_of(daemon).submit_tasks("noop", 1, name="seen")
        line = json.loads(watch.stdout.readline())
        assert line["state"] == "QUEUED" and "gap" not in line
        assert watch.wait(30) == 0
    finally:
        watch.kill()
        watch.wait()


def test_fut_watch_tells_of_an_ended_job_at_once(daemon, api):
    (good, bad) = api.submit_tasks("noop", 1)[0], api.submit_command("sh", "-c", "exit 3")
    api.wait([good, bad])
    done = daemon.fut("watch", good, bad, timeout=20)
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert f"{good} SUCCEEDED noop" in first and f"{bad} FAILED " in second and "exit code 3" in second
    (line,) = daemon.fut_json("watch", bad, timeout=20)
    assert (line["event"], line["id"], line["state"], line["cause"]["exit_code"]) == ("job", bad, "FAILED", 3)
    assert line["time_us"] == daemon.fut_json("show", bad)[0]["finished_us"]
    assert daemon.fut("watch", bad, "--state", "succeeded", timeout=20).stdout == ""


def test_fut_watch_since_tells_of_an_end_before_it(daemon, api):
    watch = Watch(api)  # so that everything is recorded
    (early,) = api.submit_tasks("noop", 1)
    api.wait([early])
    (late,) = api.submit_tasks("noop", 1)
    api.wait([late])
    succeeded = api.words.JOB_STATE_SUCCEEDED
    ended = next(event for event in watch.until(6) if (event.job.id, event.job.state) == (early, succeeded))
    since = f"{ended.epoch}:{ended.sequence}"
    done = daemon.fut_json("watch", early, late, "--since", since, timeout=20)
    assert [(line["id"], line["state"]) for line in done] == [
        (late, "QUEUED"), (late, "RUNNING"), (late, "SUCCEEDED"), (early, "SUCCEEDED")]  # fmt: skip
    assert [line["state"] for line in daemon.fut_json("watch", early, "--since", since, timeout=20)] == ["SUCCEEDED"]
    assert daemon.fut("watch", early, "--since", since, "--state", "failed", timeout=20).stdout == ""
    watch.close()


def test_a_watch_says_once_that_all_is_told_that_was_there(api):
    watch = Watch(api)
    api.wait(api.submit_tasks("noop", 3))
    events = watch.until(9)
    for place in ({}, {"epoch": events[0].epoch, "sequence": events[0].sequence}):
        request = api.words.WatchRequest(filter=api.words.JobFilter(name="mine"), **place)
        stream = api.stream("Jobs", "Watch", request)
        answer = next(stream)
        while not answer.caught_up:
            answer = next(stream)
        assert answer.sequence >= events[-1].sequence
        api.wait(api.submit_tasks("noop", 1, name="mine"))
        assert not next(stream).caught_up
        stream.cancel()
    watch.close()


def test_fut_watch_ends_with_the_last_of_its_jobs(daemon, api):
    api.call("Queues", "Pause", api.words.PauseQueueRequest(name="default"))
    jobs = api.submit_tasks("noop", 2)
    with daemon.start_fut("watch", *jobs, 987654, "--state", "succeeded") as watch:
        assert "987654" in watch.stderr.readline()  # so the watch is in place
        api.call("Queues", "Resume", api.words.ResumeQueueRequest(name="default"))
        out, _ = watch.communicate(timeout=20)
    assert watch.returncode == 4
    assert sorted(int(line.split()[1]) for line in out.splitlines()) == sorted(jobs)
    assert all("SUCCEEDED" in line for line in out.splitlines())


def test_fut_watch_of_unknown_jobs_is_refused(daemon):
    done = daemon.fut("watch", 987654, timeout=20)
    assert (done.returncode, done.stdout) == (4, "")
    assert "no job 987654" in done.stderr


def wait_for_watch(api):
    """Until some watch is in place: what happens before is not told to it."""
    for _ in range(600):
        stats = api.call("Admin", "Stats", api.words.StatsRequest())
        if stats.counters["event_watches"] > 0:
            return
        threading.Event().wait(0.05)
    pytest.fail("no watch came")
