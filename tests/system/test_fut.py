"""`fut` as people and scripts use it: output, exit codes, order, waiting."""
import hashlib
import json
import os
import signal
import subprocess

import pytest
from leftovers import ended_within
from private_daemon import program


def ids_of(done):
    return [int(word) for word in done.stdout.split()]


def json_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def submitted(daemon, *command, options=()):
    return ids_of(daemon.fut("submit", *options, "--", *command, check=True))[0]


# ---- run


def test_run_exits_with_the_code_of_the_command_and_keeps_its_outputs_apart(daemon):
    done = daemon.fut("run", "--", "sh", "-c", "echo to out; echo to err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "to out\n")
    assert "to err\n" in done.stderr and "to out" not in done.stderr


def test_run_of_a_command_that_succeeds_says_nothing_of_its_own(daemon):
    done = daemon.fut("run", "--", "echo", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_run_exits_as_a_shell_does_when_a_signal_ended_the_command(daemon):
    assert daemon.fut("run", "--", "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_run_streams_output_while_the_command_runs(daemon, gate, tmp_path):
    go = str(tmp_path / "go")
    os.mkfifo(go)
    with daemon.start_fut("run", "--", "sh", "-c", f"echo first; read line <{go}; echo $line") as running:
        assert running.stdout.readline() == "first\n"
        with open(go, "w", encoding="ascii") as pipe:  # the command waits for this, so the first line came live
            pipe.write("second\n")
        assert running.stdout.readline() == "second\n"
        assert running.wait(20) == 0


AWKWARD = ["[1,2,3]", "[]", "[a", "a,b", "{}", "", "%%", "++", "-5"]


def test_words_of_a_command_arrive_byte_for_byte(daemon):
    done = daemon.fut("run", "printf", "<%s>", *AWKWARD)
    assert (done.returncode, done.stdout) == (0, "".join(f"<{word}>" for word in AWKWARD))
    done = daemon.fut("run", "--", "printf", "<%s>", "--json", "--", *AWKWARD)
    assert done.stdout == "<--json><-->" + "".join(f"<{word}>" for word in AWKWARD)
    job = ids_of(daemon.fut("submit", "printf", "<%s>", "[1,2]", "{}", check=True))[0]
    daemon.fut("wait", job, check=True)
    assert daemon.fut("result", job).stdout == "<[1,2]><{}>"


@pytest.mark.parametrize("argument", AWKWARD)
def test_an_argument_of_call_is_one_part_byte_for_byte(daemon, argument):
    outcome = json.loads(daemon.fut("--json", "call", "echo", argument, "last", check=True).stdout)
    assert [part["data"] for part in outcome["result"]] == [argument, "last"]


def test_words_of_map_arrive_byte_for_byte(daemon):
    done = daemon.fut("map", "printf", "<%s>", "[1,2]", "{}", ":::", *AWKWARD)
    assert done.stdout == "".join(f"<[1,2]><{word}>" for word in AWKWARD)


def test_run_passes_standard_input_on(daemon):
    done = daemon.fut("run", "--stdin", "--", "tr", "a-z", "A-Z", input="shout\n")
    assert (done.returncode, done.stdout) == (0, "SHOUT\n")


def test_run_works_in_the_directory_of_the_caller(daemon, tmp_path):
    assert daemon.fut("run", "--", "pwd", cwd=tmp_path).stdout == f"{tmp_path}\n"


def test_run_makes_files_as_readable_as_its_caller_would(daemon, tmp_path):
    before = os.umask(0o027)
    try:
        daemon.fut("run", "--", "touch", "made", cwd=tmp_path, check=True)
    finally:
        os.umask(before)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o640


def test_run_passes_bytes_on_as_they_are(daemon):
    done = daemon.fut("run", "--", "printf", r"\377\000\001")
    assert done.stdout.encode("utf-8", "surrogateescape") == b"\xff\x00\x01"


def test_run_of_a_program_that_does_not_exist_names_it(daemon):
    done = daemon.fut("run", "--", "/no/such/program")
    assert done.returncode == 127
    assert "/no/such/program" in done.stderr


def test_run_of_a_program_that_is_not_executable_names_it(daemon, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    done = daemon.fut("run", "--", str(plain))
    assert done.returncode == 127  # as a program that is not there: neither could be started
    assert str(plain) in done.stderr


def test_run_without_a_command_is_refused(daemon):
    done = daemon.fut("run", "--")
    assert done.returncode == 2
    assert done.stderr


def test_run_that_is_interrupted_ends_its_command(daemon, gate):
    with daemon.start_fut("run", "--", "sh", "-c", f"echo $$ >{gate.path}; exec sleep 1000") as running:
        pid = int(gate.line())
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 128 + signal.SIGINT
        assert ended_within([pid], 20) == []


# ---- output that cannot be delivered


def run_before_reading(daemon, gate, line):
    """Lets the job of `fut run` end while nobody reads; then reads all. Returns its number, exit code and outputs."""
    running = daemon.start_fut("run", "--", "sh", "-c", f"{line}; code=$?; echo $FUTURED_JOB_ID >{gate.path}; exit $code")
    job = int(gate.line())
    daemon.fut("wait", job)
    out, err = running.communicate(timeout=60)
    return job, running.returncode, out, err


def test_run_with_a_slow_reader_delivers_late_but_whole(daemon, gate):
    _, code, out, err = run_before_reading(daemon, gate, "head -c 40000000 /dev/zero")
    assert (code, len(out), err) == (0, 40_000_000, "")


def test_run_says_how_much_of_the_output_was_not_delivered_and_fails(daemon, gate):
    job, code, out, err = run_before_reading(daemon, gate, "head -c 200000000 /dev/zero")
    assert code == 1
    assert len(out) < 200_000_000
    assert f"of the output of job {job} were not delivered" in err


def test_run_keeps_the_code_of_a_command_whose_output_was_not_delivered(daemon, gate):
    _, code, _, err = run_before_reading(daemon, gate, "head -c 200000000 /dev/zero; (exit 7)")
    assert code == 7
    assert "were not delivered" in err


def test_map_fails_when_outputs_were_not_kept_whole(daemon):
    done = daemon.fut("map", "--", "head", "-c", "{}", "/dev/zero", ":::", "10", "150000000")
    assert done.returncode == 1
    assert "150000000" in done.stderr and "were not delivered" in done.stderr
    assert "1 of 2" in done.stderr


@pytest.mark.parametrize("words", [["run", "--", "echo", "hi"], ["ls"], ["--help"], ["map", "--", "echo", ":::", "1"]])
def test_a_full_disk_under_standard_output_is_an_error(daemon, words):
    with open("/dev/full", "w", encoding="ascii") as full:
        running = daemon.start_fut(*words, stdout=full)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 4
    assert "No space left on device" in err


def test_a_closed_standard_output_is_an_error_once_there_is_something_to_write(daemon):
    def run(*command):
        line = ["sh", "-c", 'exec "$@" >&-', "sh", program("fut"), "run", "--", *command]
        return subprocess.run(line, env=daemon.env, stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    assert run("true").returncode == 0
    done = run("echo", "hi")
    assert done.returncode == 4
    assert "Bad file descriptor" in done.stderr


def test_run_whose_reader_goes_away_ends_its_command_without_a_word(daemon):
    with daemon.start_fut("run", "--", "yes") as running:
        assert running.stdout.readline() == "y\n"
        running.stdout.close()
        assert running.wait(30) == 4
        assert running.stderr.read() == ""
    assert daemon.fut_json("ls")[0]["state"] == "CANCELLED"


def test_map_whose_reader_goes_away_cancels_what_is_left(daemon, tmp_path):
    go = str(tmp_path / "go")
    os.mkfifo(go)
    line = f"case {{}} in 1) echo 1;; 2) read line <{go}; echo 2;; *) exec sleep 1000;; esac"
    with daemon.start_fut("map", "--", "sh", "-c", line, ":::", *map(str, range(1, 9))) as running:
        assert running.stdout.readline() == "1\n"
        running.stdout.close()
        with open(go, "w", encoding="ascii") as pipe:  # only now is there something to write to nobody
            pipe.write("go\n")
        assert running.wait(30) == 4
        assert running.stderr.read() == ""
    jobs = [job["id"] for job in daemon.fut_json("ls")]
    assert daemon.fut("wait", *jobs).returncode == 1
    states = [job["state"] for job in daemon.fut_json("ls")]
    assert (states.count("SUCCEEDED"), states.count("CANCELLED")) == (2, 6)


# ---- a daemon that does not accept


def test_a_job_that_is_not_accepted_is_told_and_the_first_interrupt_leaves(daemon):
    # Map is connected once it has printed something, and then asks for its next line.
    with daemon.start_fut("map", "--", "echo", stdin=subprocess.PIPE) as running:
        running.stdin.write("first\n")
        running.stdin.flush()
        assert running.stdout.readline() == "first\n"
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            running.stdin.write("second\n")
            running.stdin.flush()
            assert "has not accepted the job yet" in running.stderr.readline()
            running.send_signal(signal.SIGINT)
            assert running.wait(20) == 130
            assert "may still be accepted" in running.stderr.read()
        finally:
            daemon.process.send_signal(signal.SIGCONT)


# ---- map


def test_map_prints_outputs_in_the_order_of_the_arguments(daemon):
    # The first is the slowest, so order is not an accident of speed.
    line = 'test {} = a && sleep 0.3; echo "[{}]"'
    done = daemon.fut("map", "--", "sh", "-c", line, ":::", "a", "b", "c", "d e")
    assert (done.returncode, done.stdout) == (0, "[a]\n[b]\n[c]\n[d e]\n")


def test_map_reads_arguments_from_standard_input(daemon):
    done = daemon.fut("map", "--", "echo", "<{}>", input="one\ntwo\nthree\n")
    assert done.stdout == "<one>\n<two>\n<three>\n"


def test_map_appends_the_argument_when_there_is_no_place_for_it(daemon):
    assert daemon.fut("map", "--", "echo", "x", ":::", "1", "2").stdout == "x 1\nx 2\n"


def test_map_fails_with_the_count_of_failed_jobs(daemon):
    done = daemon.fut("map", "--", "sh", "-c", "echo {}; exit $(({} % 2))", ":::", *map(str, range(10)))
    assert done.returncode == 1
    assert done.stdout == "".join(f"{number}\n" for number in range(10))
    assert "5" in done.stderr and "10" in done.stderr


def test_map_of_nothing_does_nothing(daemon):
    done = daemon.fut("map", "--", "echo", "{}", input="")
    assert (done.returncode, done.stdout) == (0, "")


def test_map_takes_thousands_of_arguments(daemon):
    names = [f"line-{number}" for number in range(3000)]
    done = daemon.fut("map", "--", "echo", "{}", input="\n".join(names) + "\n", timeout=120)
    assert done.stdout.splitlines() == names


def test_map_in_json_has_a_line_for_every_argument(daemon, tmp_path):
    good = tmp_path / "good"
    good.write_bytes(b"good")
    done = daemon.fut("map", "--json", "--task", "sha256", "--files", ":::", str(good), "/no/such", "/")
    lines = json_of(done)
    assert [line["argument"] for line in lines] == [str(good), "/no/such", "/"]
    assert lines[0]["state"] == "SUCCEEDED"
    assert lines[1]["error"] == "/no/such: No such file or directory"
    assert lines[2]["error"] == "/: Is a directory"
    assert done.returncode == 4  # an argument became no job


def test_map_of_a_file_that_is_too_large_leaves_its_neighbours_alone(daemon, tmp_path):
    names = ["small", "large", "last"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * (1_000_000 if name == "large" else 1))
    done = daemon.fut("map", "--task", "sha256", "--files", ":::", *names, cwd=tmp_path)
    assert done.returncode == 4  # an argument became no job
    assert done.stdout.split() == [hashlib.sha256(name.encode()).hexdigest() for name in ("small", "last")]
    assert "large: over 4.0 MiB" in done.stderr


# ---- submit, wait, result


def test_wait_exits_0_when_all_succeeded_and_1_when_some_did_not(daemon):
    good, bad = submitted(daemon, "true"), submitted(daemon, "false")
    assert daemon.fut("wait", good).returncode == 0
    assert daemon.fut("wait", good, bad).returncode == 1


def test_wait_exits_124_when_its_time_runs_out_and_the_job_goes_on(daemon, gate):
    job = submitted(daemon, "sh", "-c", f"echo up >{gate.path}; exec sleep 1000")
    gate.line()
    assert daemon.fut("wait", "--timeout", "100ms", job).returncode == 124
    assert daemon.fut_json("show", job)[0]["state"] == "RUNNING"
    assert daemon.fut("cancel", job).returncode == 0


def test_wait_for_any_ends_with_the_first(daemon, gate):
    slow = submitted(daemon, "sh", "-c", f"echo up >{gate.path}; exec sleep 1000")
    gate.line()
    assert daemon.fut("wait", "--any", slow, submitted(daemon, "true")).returncode == 0
    daemon.fut("cancel", slow)


def test_wait_for_an_unknown_job_says_so(daemon):
    done = daemon.fut("wait", 987654)
    assert done.returncode not in (0, 124)
    assert "987654" in done.stderr


def test_wait_says_at_once_which_job_is_unknown_while_another_runs(daemon, gate):
    slow = submitted(daemon, "sh", "-c", f"echo up >{gate.path}; exec sleep 1000")
    gate.line()
    with daemon.start_fut("wait", slow, 987654) as waiting:
        assert "job 987654: not known" in waiting.stderr.readline()
        daemon.fut("cancel", slow, check=True)
        out, rest = waiting.communicate(timeout=20)
    assert (waiting.returncode, rest) == (4, "")
    assert out.startswith(f"{slow} CANCELLED")


def test_result_gives_the_output_also_after_a_restart(daemon):
    job = submitted(daemon, "echo", "to be kept")
    assert daemon.fut("wait", job).returncode == 0
    daemon.kill()
    daemon.start()
    assert daemon.fut("result", job).stdout == "to be kept\n"


def test_result_of_a_job_that_runs_points_to_wait(daemon, gate):
    job = submitted(daemon, "sh", "-c", f"echo up >{gate.path}; exec sleep 1000")
    gate.line()
    done = daemon.fut("result", "--json", job)
    assert done.returncode == 4
    assert f"fut wait {job}" in done.stderr
    assert json_of(done)[0]["id"] == job
    daemon.fut("cancel", job)


@pytest.mark.parametrize("verb", ["show", "result", "wait"])
def test_an_unknown_job_is_an_answer_in_json(daemon, verb):
    done = daemon.fut(verb, "--json", 987654)
    assert done.returncode == 4
    (line,) = json_of(done)
    assert line["id"] == 987654 and "987654" in line["error"]
    assert "987654" in done.stderr


def test_json_leaves_out_what_it_does_not_know(daemon):
    ended = json_of(daemon.fut("run", "--json", "--", "true"))[0]
    assert ended.get("submitted_us") != 0
    (listed,) = daemon.fut_json("ls")
    assert "payload_bytes" not in listed and "result_bytes" not in listed
    assert listed["submitted_us"] > 0
    (shown,) = daemon.fut_json("show", listed["id"])
    assert shown["payload_bytes"] > 0
    assert all(attempt.get("worker") != "" for attempt in shown["attempt_history"])


def test_retry_prints_a_new_job_that_names_the_old_one(daemon):
    old = submitted(daemon, "sh", "-c", "exit 3")
    daemon.fut("wait", old)
    new = ids_of(daemon.fut("retry", old, check=True))[-1]
    assert new != old
    assert daemon.fut("wait", new).returncode == 1
    assert daemon.fut_json("show", new)[0]["retry_of"] == old


def test_retry_of_all_that_failed_leaves_the_rest_and_what_was_retried(daemon):
    failing = [submitted(daemon, "sh", "-c", "exit 3") for _ in range(2)]
    slow = ids_of(daemon.fut("submit", "--timeout", "100ms", "--", "sleep", "60", check=True))[-1]
    good = submitted(daemon, "true")
    daemon.fut("wait", *failing, slow, good)
    assert daemon.fut("retry", failing[0], check=True).returncode == 0
    told = daemon.fut_json("retry", "--failed")
    assert [line["id"] for line in told[:2]] == [int(failing[1]), int(slow)], told
    daemon.fut("wait", *(str(line["new_id"]) for line in told))
    none = daemon.fut("retry", "--failed", "--task", "no.such.task")
    assert (none.returncode, none.stdout) == (0, "")
    assert "no job has failed" in none.stderr
    for wrong in (["retry"], ["retry", "--failed", "1"], ["retry", "--queue", "q", "1"]):
        assert daemon.fut(*wrong).returncode == 2, wrong


def test_attach_is_a_run_that_comes_later(daemon, gate, tmp_path):
    go = str(tmp_path / "go")
    os.mkfifo(go)
    job = submitted(daemon, "sh", "-c", f"echo first; echo wrong >&2; read line <{go}; echo $line; exit 5")
    with daemon.start_fut("attach", job) as attached:
        assert attached.stdout.readline() == "first\n"
        daemon.kill()
        daemon.start()
        with open(go, "w", encoding="ascii") as pipe:
            pipe.write("last\n")
        assert attached.stdout.readline() == "last\n"
        assert attached.wait(20) == 5
    again = daemon.fut("attach", job)
    assert (again.returncode, again.stdout, again.stderr) == (5, "first\nlast\n", "wrong\n")
    assert json.loads(daemon.fut("attach", job, "--json").stdout)["id"] == int(job)
    assert daemon.fut("attach", "987654").returncode == 4
    assert daemon.fut("attach", submitted(daemon, "echo", "hello")).stdout == "hello\n"


def test_an_interrupted_attach_leaves_the_job_alone(daemon, gate):
    job = submitted(daemon, "sh", "-c", f"echo $$ >{gate.path}; echo started; sleep 60")
    gate.line()
    with daemon.start_fut("attach", job) as attached:
        assert attached.stdout.readline() == "started\n"
        attached.send_signal(signal.SIGINT)
        assert attached.wait(20) != 0
    assert daemon.fut_json("show", job)[0]["state"] == "RUNNING"
    daemon.fut("cancel", "--kill", job)


def test_cancel_ends_what_runs(daemon, gate):
    job = submitted(daemon, "sh", "-c", f"echo $$ >{gate.path}; exec sleep 1000")
    pid = int(gate.line())
    assert daemon.fut("cancel", job).returncode == 0
    assert daemon.fut("wait", job).returncode == 1
    assert ended_within([pid], 0) == []
    assert daemon.fut_json("show", job)[0]["state"] == "CANCELLED"


def test_logs_follow_a_command_until_it_ends(daemon, gate, tmp_path):
    go = str(tmp_path / "go")
    os.mkfifo(go)
    job = submitted(daemon, "sh", "-c", f"echo first; read line <{go}; echo $line")
    with daemon.start_fut("logs", "-f", job) as following:
        assert following.stdout.readline() == "first\n"
        with open(go, "w", encoding="ascii") as pipe:
            pipe.write("last\n")
        assert following.stdout.readline() == "last\n"
        assert following.wait(20) == 0


# ---- what prints, prints JSON when asked


@pytest.mark.parametrize("verb", ["ls", "stats", "doctor", "worker ls", "queue ls", "version"])
def test_every_verb_that_prints_can_print_json(daemon, verb):
    daemon.fut("run", "--", "true")
    done = daemon.fut(*verb.split(), "--json")
    assert done.stdout.strip(), done.stderr
    for line in done.stdout.splitlines():
        json.loads(line)


VERBS = "run submit call map wait result dump load logs ls show why attach cancel retry queue worker stats bench doctor shutdown".split()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(daemon, verb):
    done = daemon.fut(verb, "--help")
    assert done.returncode == 0
    assert "fut " + verb in done.stdout


# ---- bad input


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["call", "no.such.task"], "no.such.task"),
        (["submit", "--queue", "nowhere", "--", "true"], "nowhere"),
        (["show", "987654"], "987654"),
        (["result", "987654"], "987654"),
        (["cancel", "987654"], "987654"),
        (["show", "many"], "many"),
        (["wait", "-1"], "-1"),
        (["submit", "--timeout", "-5s", "--", "true"], "-5s"),
        (["submit", "--timeout", "1000000d", "--", "true"], "1000000d"),
        (["submit", "--timeout", "soon", "--", "true"], "soon"),
        (["frobnicate"], "frobnicate"),
        (["ls", "--frobnicate"], "--frobnicate"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(daemon, arguments, word):
    done = daemon.fut(*arguments)
    assert done.returncode not in (0, 124)
    assert word in done.stderr
    assert "terminate called" not in done.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["submit", "--timeout", "0", "--", "true"], ["--timeout", "no limit"]),
        (["submit", "--timeout", "", "--", "true"], ["--timeout"]),
        (["submit", "--attempts", "0", "--", "true"], ["--attempts"]),
        (["submit", "--after", "x", "--", "true"], ["--after", "x"]),
        (["ls", "-n", "0"], ['"0" is no number from 1 on']),
        (["wait"], ["fut wait --help"]),
        (["queue", "create"], ["fut queue create --help"]),
        (["call", "sha256", "@/"], ["/: Is a directory"]),
        (["call", "sha256", "@/dev/zero"], ["/dev/zero: over 4.0 MiB", "path as text"]),
        (["submit", "--name", "\udcff", "--", "true"], ["--name: not UTF-8"]),
        (["submit", "--queue", "\udcff", "--", "true"], ["--queue: not UTF-8"]),
        (["submit", "--pool", "\udcff", "--", "true"], ["--pool: not UTF-8"]),
        (["cancel", "--reason", "\udcff", "1"], ["--reason: not UTF-8"]),
        (["call", "\udcff"], ["task: not UTF-8"]),
        (["map", "--task", "\udcff", ":::", "1"], ["--task: not UTF-8"]),
        (["queue", "create", "\udcff"], ["name: not UTF-8"]),
        (["--address", "unix:/" + "x" * 107, "ls"], ["108 bytes"]),
        (["--address", "localhost:65536", "ls"], ["localhost:65536", "port"]),
        (["--address", "nowhere", "ls"], ["nowhere", "host:port"]),
    ],
)
def test_what_fut_can_see_by_itself_is_refused_by_itself(daemon, arguments, words):
    done = daemon.fut(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_shutdown_where_no_daemon_runs_is_no_failure(daemon):
    done = daemon.fut("shutdown", env={"FUTURED_ADDRESS": "unix:/no/such/socket"})
    assert done.returncode == 0
    assert "no daemon" in done.stdout


def test_a_daemon_that_is_not_there_is_named(daemon):
    done = daemon.fut("ls", env={"FUTURED_ADDRESS": "unix:/no/such/socket"})
    assert done.returncode not in (0, 124)
    assert "/no/such/socket" in done.stderr


def test_a_client_that_is_killed_leaves_its_jobs_to_go_on(daemon, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    names = "\n".join(map(str, range(200))) + "\n"
    mapping = daemon.start_fut("map", "--", "touch", f"{marks}/{{}}", stdin=subprocess.PIPE)
    mapping.stdin.write(names)
    mapping.stdin.close()
    mapping.stdout.close()
    mapping.stderr.close()
    jobs = daemon.fut_json("ls")
    mapping.kill()
    mapping.wait()
    for job in jobs:
        daemon.fut("wait", job["id"])
    assert daemon.fut("run", "--", "echo", "well").stdout == "well\n"


def test_what_can_never_match_and_numbers_of_no_job_are_refused(daemon):
    for verb in (("wait",), ("attach",), ("wait", "--any")):
        done = daemon.fut(*verb, "18446744073709551615")
        assert done.returncode == 4 and "18446744073709551615" in done.stderr
    for option in ("--retry-only", "--retry-except"):
        for word in ("exit:256", "exit:x", "exit:75,exit:76", "signal:99"):
            done = daemon.fut("submit", option, word, "--", "true")
            assert done.returncode == 2 and word in done.stderr
    assert daemon.fut("submit", "--key", "", "--", "true").returncode == 2


def test_a_wait_hears_of_what_has_ended_however_short_its_time(daemon):
    job = daemon.fut("submit", "--", "true", check=True).stdout.strip()
    daemon.fut("wait", job, check=True)
    assert daemon.fut("wait", "--timeout", "0", job, check=True).stdout == f"{job} SUCCEEDED\n"


def test_cancel_tells_of_each_job_however_many(daemon, api):
    daemon.fut("queue", "create", "still", check=True)
    daemon.fut("queue", "pause", "still", check=True)
    ids = api.submit_tasks("noop", 10_000, queue="still") + api.submit_tasks("noop", 1, queue="still")
    done = daemon.fut("cancel", f"{ids[0]}-{ids[-1] + 1}")
    assert len(done.stdout.splitlines()) == 10_001
    assert done.returncode == 4 and "not found" in done.stderr, "of the number behind them there is no job"


def test_result_says_when_some_of_it_was_not_kept(daemon):
    big = "head -c 80000000 /dev/zero | tr '\\0' x"
    job = daemon.fut("submit", "--", "sh", "-c", big, check=True).stdout.strip()
    daemon.fut("wait", job, check=True)
    done = daemon.fut("result", job)
    assert done.returncode == 1 and "not delivered" in done.stderr
