"""What `fut` says to people: the options of a job, command lines, refusals in the words that were typed, nothing that
steers a terminal."""
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time

import pytest
from private_daemon import program


def submitted(daemon, *words):
    return daemon.fut("submit", *words, check=True).stdout.strip()


def held(daemon, *words):
    """A job that waits in a queue of its own."""
    daemon.fut("queue", "create", "still", check=True)
    daemon.fut("queue", "pause", "still", check=True)
    return submitted(daemon, "--queue", "still", *words)


def at_a_terminal(daemon, *arguments, columns=80, seconds=20):
    """What `fut` prints where standard output is a terminal, line ends aside."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    deadline = time.monotonic() + seconds
    told = b""
    with daemon.start_fut(*arguments, stdout=follower, stderr=subprocess.DEVNULL):
        os.close(follower)
        try:
            while True:
                ready, _, _ = select.select([leader], [], [], max(0.0, deadline - time.monotonic()))
                assert ready, f"fut did not end within {seconds} s; it said {told!r}"
                told += os.read(leader, 65536)
        except OSError:  # nobody has the terminal open any more
            pass
        finally:
            os.close(leader)
    return told.replace(b"\r\n", b"\n")


def closing_input(daemon, *arguments):
    line = ["sh", "-c", 'exec "$@" <&-', "sh", program("fut"), *arguments]
    return subprocess.run(line, env=daemon.env, capture_output=True, text=True, timeout=20, check=False)


# ---- show


def test_show_tells_the_options_that_were_set(daemon):
    timeouts = ("--queue-timeout", "1h", "--timeout", "2m", "--soft-timeout", "90s", "--heartbeat-timeout", "30s",
                "--total-timeout", "1d", "--grace", "10s")  # fmt: skip
    retries = ("--attempts", "3", "--backoff", "1s", "--retry-only", "exit:75", "--retry-only", "TIMEOUT",
               "--retry-except", "signal:9", "--crashes", "5")  # fmt: skip
    callbacks = ("--callback", "task:noop", "--on-failure", "sh:echo hi")
    job = held(daemon, *timeouts, *retries, *callbacks, "--", "true")
    shown = daemon.fut("show", job, check=True).stdout.splitlines()
    assert "timeouts    queue 1 h, run 2 min, soft 1 min 30 s, heartbeat 30 s, total 1 d, grace 10 s" in shown
    assert "retries     3 attempts, backoff 1 s" in shown
    assert "retry only  exit:75, TIMEOUT" in shown
    assert "never retry signal:9" in shown
    assert "crashes     quarantined after 5 workers" in shown
    assert "callbacks   2: task:noop (end, WAITING), sh:echo hi (failure, WAITING)" in shown
    (line,) = daemon.fut_json("show", job)
    assert line["spec"]["timeouts"] == {"queue_ms": 3_600_000, "soft_ms": 90_000, "run_ms": 120_000,
                                        "heartbeat_ms": 30_000, "total_ms": 86_400_000, "grace_ms": 10_000}  # fmt: skip
    assert [callback["target"] for callback in line["callbacks"]] == ["task:noop", "sh:echo hi"]


def test_show_says_nothing_of_options_that_were_not_set(daemon):
    shown = daemon.fut("show", held(daemon, "--", "true"), check=True).stdout
    for word in ("timeouts", "retries", "retry", "crashes", "callbacks"):
        assert word not in shown


def test_show_passes_bytes_on_to_a_pipe_and_no_controls_to_a_terminal(daemon):
    job = submitted(daemon, "--", "sh", "-c", r"printf 'a\033[31mb\a\tc\302\233d\n' >&2; exit 3")
    daemon.fut("wait", job)
    assert "a\x1b[31mb\a\tc\x9bd\n" in daemon.fut("show", job).stdout
    told = at_a_terminal(daemon, "show", job)
    assert b"a?[31mb?\tc?d\n" in told
    assert b"\x1b" not in told and b"\x07" not in told and b"\xc2\x9b" not in told


# ---- why


PAUSED = 'queued: waits for queue "still", which is paused: fut queue resume still frees it'


def test_why_says_what_a_job_waits_for_and_show_too(daemon):
    job = held(daemon, "--", "true")
    assert daemon.fut("why", job, check=True).stdout == f"{job} {PAUSED}; number 1 in its queue\n"
    place = {"position": 1, "position_estimated": False}
    assert daemon.fut_json("why", job) == [{"id": int(job), "why": PAUSED, **place}]
    assert f"why         {PAUSED}" in daemon.fut("show", job, check=True).stdout.splitlines()
    assert daemon.fut_json("show", job)[0]["why"] == PAUSED
    daemon.fut("queue", "resume", "still", check=True)
    daemon.fut("wait", job, check=True)
    assert daemon.fut("why", job, check=True).stdout == f"{job} ended: SUCCEEDED\n"
    assert "why" not in daemon.fut("show", job, check=True).stdout


def test_why_of_an_unknown_job_is_refused_and_the_others_are_told(daemon):
    job = held(daemon, "--", "true")
    done = daemon.fut("why", "987654", job)
    assert (done.returncode, done.stdout) == (4, f"{job} {PAUSED}; number 1 in its queue\n")
    assert "987654" in done.stderr


WAITING = ["run -q still -- true", "call -q still noop", "map -q still --task noop ::: 1 2", "wait", "attach", "wait --json"]


@pytest.mark.parametrize("verb", WAITING)
def test_who_waits_for_a_job_that_does_not_start_is_told_why_once(daemon, verb):
    job = held(daemon, "--", "true")
    named = [] if "still" in verb else [job]
    with daemon.start_fut(*verb.split(), *named) as waiting:
        line = waiting.stderr.readline()
        assert line.startswith("fut: job ") and line.endswith(f" is {PAUSED}\n")
        daemon.fut("queue", "resume", "still", check=True)
        out, rest = waiting.communicate(timeout=20)
    assert (waiting.returncode, rest) == (0, "")
    assert "waits for" not in out


# ---- map


def test_map_tells_of_a_later_job_that_does_not_start(daemon):
    daemon.fut("queue", "create", "still", check=True)
    with daemon.start_fut("map", "-q", "still", "--task", "echo", stdin=subprocess.PIPE) as mapping:
        mapping.stdin.write("first\n")
        mapping.stdin.flush()
        assert mapping.stdout.readline() == "first\n"
        daemon.fut("queue", "pause", "still", check=True)
        mapping.stdin.write("second\n")
        mapping.stdin.flush()
        assert mapping.stderr.readline().endswith(f" is {PAUSED}\n")
        daemon.fut("queue", "resume", "still", check=True)
        assert mapping.communicate(timeout=20) == ("second\n", "")
    assert mapping.returncode == 0


def test_map_says_once_what_is_refused_of_all_and_of_how_many(daemon):
    done = daemon.fut("map", "--task", "nosuch", ":::", "a", "b", "c")
    first, count = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (4, "")
    assert first.startswith('fut: map: a: no task "nosuch"; known tasks: ')
    assert count == "fut: map: 3 of 3 arguments became no job"
    lines = [json.loads(line) for line in daemon.fut("map", "--json", "--task", "nosuch", ":::", "a", "b").stdout.splitlines()]
    assert [line["argument"] for line in lines] == ["a", "b"] and all("nosuch" in line["error"] for line in lines)


def test_map_names_each_file_that_cannot_be_read(daemon):
    told = daemon.fut("map", "--files", "--task", "sha256", ":::", "/no/such/1", "/no/such/2").stderr
    assert "/no/such/1" in told and "/no/such/2" in told


# ---- How a job ended


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["run", "--timeout", "100ms", "--", "sleep", "60"], "TIMED_OUT: ran longer than its run_timeout"),
        (["run", "--", "sh", "-c", "kill -9 $$"], "FAILED: killed by signal 9 (Killed)"),
        (["call", "--attempts", "1", "--crashes", "1", "crash"], "FAILED: quarantined: it took down 1 worker; the last "
                                                               "time: the worker was ended by signal 6"),
    ],
)  # fmt: skip
def test_an_ending_says_one_thing_once(daemon, arguments, told):
    line = daemon.fut(*arguments).stderr
    assert line.startswith("fut: job ") and line.endswith(f" {told}\n")


def test_a_cancelled_job_is_told_by_its_reason(daemon):
    job = held(daemon, "--", "true")
    daemon.fut("cancel", "--reason", "not needed", job, check=True)
    assert daemon.fut("wait", job).stdout == f"{job} CANCELLED not needed\n"
    assert daemon.fut("why", job, check=True).stdout == f"{job} ended: CANCELLED: not needed\n"
    assert "cause       not needed" in daemon.fut("show", job, check=True).stdout.splitlines()


# ---- A daemon that is lost


@pytest.mark.parametrize("verb", ["wait", "attach"])
def test_a_daemon_that_is_lost_is_said_once_to_be_waited_for(daemon, verb):
    job = held(daemon, "--", "true")
    with daemon.start_fut(verb, job) as waiting:
        assert "waits for" in waiting.stderr.readline()  # so it does wait
        daemon.kill()
        line = waiting.stderr.readline()
        assert line == f"fut: the daemon at unix:{daemon.socket} is not there: waiting for it, up to 30 s\n"
        daemon.start()
        daemon.fut("queue", "resume", "still", check=True)
        _, rest = waiting.communicate(timeout=30)
    assert (waiting.returncode, rest) == (0, "")


# ---- ls


def test_ls_has_command_lines_cut_to_the_terminal(daemon):
    held(daemon, "--name", "night", "--", "echo", "a b", "c" * 200, "ä" * 200)
    daemon.fut("call", "noop", check=True)
    lines = daemon.fut("ls", check=True).stdout.splitlines()
    assert [line for line in lines if line.endswith("  noop")]
    assert [line for line in lines if line.endswith(f"night: echo 'a b' {'c' * 200} '{'ä' * 200}'")]
    told = at_a_terminal(daemon, "ls", columns=80).decode().splitlines()
    (row,) = [line for line in told if "night: echo 'a b' c" in line]
    assert len(row) == 80 and row.endswith("c…")
    told = at_a_terminal(daemon, "ls", columns=290).decode().splitlines()
    (row,) = [line for line in told if "night: echo 'a b' c" in line]
    assert len(row) == 290 and row.endswith("ä…")


# ---- Refusals


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["submit", "--key", "x" * 129, "--", "true"], "--key: 129 bytes are over 128"),
        (["submit", "--name", "x" * 129, "--", "true"], "--name: 129 bytes are over 128"),
        (["submit", "--attempts", "1001", "--", "true"], "--attempts: 1001 is over 1000"),
        (["submit", "--backoff", "2d", "--", "true"], "--backoff: "),
        (["submit", "--crashes", "101", "--", "true"], "--crashes: 101 is over 100"),
        (["submit", "--retry-only", "x" * 129, "--", "true"], "--retry-only: 129 bytes are over 128"),
        (["run", "--callback", "http://", "--", "true"], "callback 1 of --callback, --on-success, --on-failure: is no URL"),
        (["call", "--callback", "http://x.org/", "--callback-secret", "none", "noop"], "--callback-secret: "),
        (["run", "--", "echo", *["a"] * 5000], "command: more than 4096 words"),
        (["call", "sha256", *["a"] * 65], "arguments: 65 are over 64"),
        (["callback", "add", "1", "http://"], "target: is no URL"),
        (["cancel", "--reason", "x" * 5000, "1"], "--reason: 5000 bytes are over 2048"),
        (["ls", "--queue", "x" * 129], "--queue: 129 bytes are over 128"),
        (["ls", "--page", "x"], "--page: "),
        (["watch", "--since", "99:1"], "--since: 99 has not begun"),
        (["find", "x" * 129], "key: 129 bytes are over 128"),
    ],
)
def test_a_refusal_names_what_was_typed(daemon, arguments, words):
    done = daemon.fut(*arguments)
    assert done.returncode == 4
    assert done.stderr.startswith(f"fut: {words}"), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_key_of_other_work_is_told_by_its_flag(daemon):
    held(daemon, "--key", "nightly", "--", "true")
    done = daemon.fut("submit", "--queue", "still", "--key", "nightly", "--", "false")
    assert done.returncode == 4
    assert done.stderr.startswith('fut: --key: key "nightly" belongs to job ')


def test_flags_that_exclude_each_other_are_seen_before_anybody_is_asked(daemon):
    both = daemon.fut("cancel", "--kill", "--grace", "5s", "1")
    assert both.returncode == 2 and "--grace" in both.stderr and "--kill" in both.stderr
    late = daemon.fut("submit", "--soft-timeout", "5s", "--timeout", "2s", "--", "true")
    assert late.returncode == 2 and "--soft-timeout: 5s is not under the --timeout of 2s" in late.stderr


def test_a_job_that_cannot_be_retried_is_named_once(daemon):
    assert daemon.fut("retry", "987654").stderr == "fut: no job 987654\n"
    job = held(daemon, "--", "true")
    assert daemon.fut("retry", job).stderr == f"fut: job {job} has not ended\n"


# ---- map


def test_map_names_a_long_argument_by_its_ends(daemon):
    argument = "begin" + "x" * 5000 + "end"
    done = daemon.fut("map", "--", "false", ":::", argument)
    assert done.returncode == 1
    told = done.stderr.splitlines()[0]
    assert told.startswith("fut: map: beginxxx") and "…" in told and "xxxend: job " in told
    assert len(told) < 120
    (line,) = [json.loads(line) for line in daemon.fut("map", "--json", "--", "false", ":::", argument).stdout.splitlines()]
    assert line["argument"] == argument


def test_map_names_a_file_that_cannot_be_read_once(daemon):
    done = daemon.fut("map", "--task", "sha256", "--files", ":::", "/no/such", "/no/" + "x" * 5000)
    first, second, _ = done.stderr.splitlines()
    assert first == "fut: map: /no/such: No such file or directory"
    assert second.startswith("fut: map: /no/xxx") and second.endswith("xxx: File name too long") and len(second) < 120


def test_map_without_arguments_and_standard_input_is_refused(daemon):
    done = closing_input(daemon, "map", "--", "echo")
    assert (done.returncode, done.stdout) == (2, "")
    assert "standard input is closed" in done.stderr
    assert closing_input(daemon, "map", "--", "echo", ":::", "1").stdout == "1\n"
    assert closing_input(daemon, "run", "--stdin", "--", "cat").returncode == 2


def test_map_of_what_cannot_be_read_is_refused(daemon):
    folder = os.open("/", os.O_RDONLY)
    with daemon.start_fut("map", "--", "echo", stdin=folder) as running:
        os.close(folder)
        out, err = running.communicate(timeout=20)
    assert (running.returncode, out) == (2, "")
    assert "standard input: Is a directory" in err
