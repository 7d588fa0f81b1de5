"""Segments outlive the daemon where jobs or results need them."""
import array
import os
import signal

import pytest
from private_daemon import BIN
from segments import SegmentSocket
from test_watch import Watch

PLUGIN = os.path.join(os.path.dirname(BIN), "tests", "misbehaving.so")
NUMBERS = [float(n) for n in range(1000)]


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(f"[pools.default]\nsize = 1\nplugins = ['{PLUGIN}']\n").start()


@pytest.fixture
def segments_of():
    """Connects to a daemon's segment socket."""
    opened = []

    def connect(daemon):
        opened.append(SegmentSocket(daemon.socket))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def array_item(words, segment, count=len(NUMBERS)):
    part = words.Part(segment=words.SegmentSlice(id=segment, begin=0, end=8 * count),
                      array=words.ArrayShape(dtype="float64", shape=[count]))
    return words.Item(parts=[part])


def pause(api):
    api.call("Queues", "Pause", api.words.PauseQueueRequest(name="default"))


def resume(api):
    api.call("Queues", "Resume", api.words.ResumeQueueRequest(name="default"))


def value_of(outcome):
    return float(b"".join(part.data for part in outcome.result))


def held(api):
    """Ids of the segments that the daemon has."""
    return {segment.id for segment in api.call("Segments", "List", api.words.ListSegmentsRequest()).segments}


@pytest.fixture(params=["kill", "stop"])
def restart(request):
    """Restarts the daemon: after SIGKILL, or as a service manager does."""
    def again(daemon):
        daemon.kill(signal.SIGKILL if request.param == "kill" else signal.SIGTERM)
        return daemon.start()
    return again


def test_jobs_that_wait_keep_their_arrays_through_a_restart(daemon, api_of, segments_of, restart):
    api, socket = api_of(daemon), segments_of(daemon)
    pause(api)
    first, second = socket.put_doubles(NUMBERS), socket.put_doubles(NUMBERS[:10])
    nobodys = socket.put_doubles(NUMBERS)
    jobs = api.submit([array_item(api.words, first), array_item(api.words, second, 10)], task="sum")
    jobs += api.submit([array_item(api.words, first)], task="sum")
    assert held(api) == {first, second, nobodys}

    api = api_of(restart(daemon))
    assert held(api) == {first, second}, "what only a connection had is gone with it"
    resume(api)
    outcomes = api.wait(jobs)
    assert [value_of(outcomes[job]) for job in jobs] == [sum(NUMBERS), sum(NUMBERS[:10]), sum(NUMBERS)]
    assert not held(api), "and with the last job that needs it a segment goes"


def test_of_jobs_that_ended_before_nothing_is_kept(daemon, api_of, segments_of, restart):
    api, socket = api_of(daemon), segments_of(daemon)
    done = socket.put_doubles(NUMBERS)
    api.wait(api.submit([array_item(api.words, done)], task="sum"))
    assert held(api) == {done}, "its connection has it still"
    api = api_of(restart(daemon))
    assert not held(api)


def test_a_result_is_read_through_a_restart(daemon, api_of, segments_of, restart):
    (job,) = api_of(daemon).submit_tasks("test.ones", data=b"5")
    api_of(daemon).wait([job])
    for _ in range(2):
        restart(daemon)
        assert array.array("d", segments_of(daemon).result(job)).tolist() == [1.0] * 5
    (job,) = api_of(daemon).submit_tasks("test.ones", data=b"3")
    api_of(daemon).wait([job])
    assert array.array("d", segments_of(daemon).result(job)).tolist() == [1.0] * 3


def kill_spawner(daemon):
    (spawner,) = daemon.processes_running("futured-spawner")
    os.kill(spawner, signal.SIGKILL)


def test_the_next_spawner_is_given_what_the_daemon_has(daemon, api_of, segments_of):
    api, socket = api_of(daemon), segments_of(daemon)
    api.call("Queues", "Create", api.words.CreateQueueRequest(name="other"))
    pause(api)
    (job,) = api.submit([array_item(api.words, socket.put_doubles(NUMBERS))], task="sum")
    api.wait(api.submit_tasks("noop", queue="other"))  # its pool's worker is there
    watch = Watch(api, workers=True)
    kill_spawner(daemon)

    def is_replaced(events):
        ended = [event.worker.ended for event in events
                 if event.WhichOneof("what") == "worker" and event.worker.worker.pool == "default"]
        return True in ended and not ended[-1]

    watch.until_holds(is_replaced)
    watch.close()
    daemon.kill()
    api = api_of(daemon.start())
    resume(api)
    assert value_of(api.outcome(job)) == sum(NUMBERS)


def test_a_worker_cannot_hand_out_a_segment_that_is_not_its_own(daemon, api_of, segments_of):
    api, socket = api_of(daemon), segments_of(daemon)
    secret = socket.put_doubles(NUMBERS)
    (job,) = api.submit_tasks("test.name_segment", data=str(secret).encode())
    outcome = api.outcome(job)
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert outcome.cause.error_class == "ResultNotKept"
    assert not outcome.result


def test_when_spawner_and_daemon_are_gone_the_job_says_so(daemon, api_of, segments_of):
    api, socket = api_of(daemon), segments_of(daemon)
    pause(api)
    (job,) = api.submit([array_item(api.words, socket.put_doubles(NUMBERS))], task="sum")
    daemon.kill()
    kill_spawner(daemon)
    api = api_of(daemon.start())
    resume(api)
    assert api.outcome(job).cause.kind == api.words.CAUSE_KIND_PAYLOAD_LOST
