"""The C++ client in the middle of its calls when the daemon is killed under it, or it itself: nothing is lost or told twice."""
import json
import os
import subprocess

import pytest
from private_daemon import BIN

BUILD = os.path.dirname(BIN)


class Program:
    """A program that tells how far it is, line by line."""

    def __init__(self, daemon, folder, name, *arguments):
        command = [os.path.join(BUILD, folder, name), *map(str, arguments)]
        self.process = subprocess.Popen(command, env=daemon.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def line(self):
        line = self.process.stdout.readline()
        assert line, "it ended: " + self.process.stderr.read()
        return line.rstrip("\n")

    def rest(self):
        """The rest of what it says, once it has ended well."""
        out = self.process.stdout.read()
        assert self.process.wait(30) == 0, self.process.stderr.read()
        return out

    def kill(self):
        self.process.kill()
        self.process.wait(30)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def start(daemon):
    started = []

    def start_program(folder, name, *arguments):
        started.append(Program(daemon, folder, name, *arguments))
        return started[-1]

    yield start_program
    for program in started:
        program.kill()


@pytest.fixture
def driver(start):
    return lambda *arguments: start("tests", "client_driver", *arguments)


@pytest.mark.parametrize("what", ["pipeline", "map"])
def test_every_completion_comes_once_across_a_kill_of_the_daemon(daemon, driver, what):
    count = 100_000
    client = driver(what, count)
    assert client.line() == "under way"
    daemon.kill()
    daemon.start()
    tally = json.loads(client.rest())
    assert (tally["once"], tally["wrong"]) == (count, 0)
    assert tally["right"] + tally["in_doubt"] == count
    assert tally["right"] > 0


def test_a_pipeline_with_keys_leaves_nothing_in_doubt_and_makes_no_job_twice(daemon, driver, api_of):
    count = 50_000
    client = driver("keyed", count)
    assert client.line() == "under way"
    daemon.kill()
    daemon.start()
    tally, found = client.rest().splitlines()
    assert json.loads(tally) == {"once": count, "right": count, "wrong": 0, "in_doubt": 0}
    assert found == "17", "the job of key 7, with its result"
    words = api_of(daemon).words
    request = words.ListJobsRequest(page_size=1)
    newest = api_of(daemon).call("Jobs", "List", request).jobs[0].id
    known = [words.IdRange(first=1, last=newest)]
    unknown = 0
    for answer in api_of(daemon).stream("Jobs", "Wait", words.WaitRequest(ids=known, results=words.RESULT_DELIVERY_NONE)):
        unknown += sum(max(gap.last, gap.first) - gap.first + 1 for gap in answer.unknown)
    assert newest - unknown == count


def test_waits_go_on_across_two_kills_of_the_daemon(daemon, driver):
    count = 5_000
    client = driver("wait", count)
    assert client.line() == "waiting"
    for _ in range(2):
        daemon.kill()
        daemon.start()
    daemon.fut("queue", "resume", "held", check=True)
    assert json.loads(client.rest()) == {"once": count, "right": count, "wrong": 0, "in_doubt": 0}


def test_what_a_killed_client_was_told_exists_and_can_be_taken_up(daemon, driver, api):
    client = driver("submit")
    acknowledged = [int(client.line()) for _ in range(3)]
    client.kill()
    outcomes = api.wait(acknowledged)
    assert {outcome.state for outcome in outcomes.values()} == {api.words.JOB_STATE_SUCCEEDED}
    assert [outcomes[job].result[0].data for job in acknowledged] == [b"1000", b"2000", b"3000"]


def test_output_is_followed_across_a_kill_of_the_daemon(daemon, driver, api, gate, tmp_path):
    go, on = str(tmp_path / "go"), str(tmp_path / "on")  # of one alone the second reader may see the first writer's end
    os.mkfifo(go)
    os.mkfifo(on)
    first, second, last = (f"seq {begin + 1} {begin + 10_000}" for begin in (0, 10_000, 20_000))
    ready = f"echo ready >{gate.path}; read word"
    line = f"{first}; {ready} <{go}; {second}; {ready} <{on}; {last}"
    job = api.submit_command("sh", "-c", line)
    client = driver("output", job)
    assert gate.line() == "ready"
    assert client.line() == "1"
    daemon.kill()
    release(go)
    assert gate.line() == "ready"  # the second part was written while nobody listened
    daemon.start()
    for number in range(2, 20_001):  # live: the command still runs
        assert client.line() == str(number)
    release(on)
    assert client.rest().splitlines() == [str(number) for number in range(20_001, 30_001)] + ["SUCCEEDED"]


def test_who_leaves_an_output_stream_leaves_the_job(driver, api, gate):
    job = api.submit_command("sh", "-c", f"echo running >{gate.path}; sleep 1000")
    assert gate.line() == "running"
    assert driver("glance", job).rest() == "left\n"
    assert api.get(job).state == api.words.JOB_STATE_RUNNING
    api.cancel(job, kill_at_once=True)


def release(path):
    with open(path, "w", encoding="ascii") as pipe:
        pipe.write("go\n")


def test_a_job_is_taken_up_after_a_kill_of_both_sides(daemon, start, gate, tmp_path):
    """The example that shows it, with the daemon killed too."""
    go = str(tmp_path / "go")
    os.mkfifo(go)
    line = f"echo running >{gate.path}; read word <{go}; echo survived"
    example = start("examples", "reattach_after_kill", line)
    assert example.line().startswith("its submitter was killed; taking up job ")
    assert gate.line() == "running"
    daemon.kill()
    release(go)
    daemon.start()
    assert example.rest() == "survived\n"
