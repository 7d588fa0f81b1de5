"""`fut` as people and scripts use it: output, exit codes, order, waiting."""
import json
import os
import signal
import subprocess

import pytest
from leftovers import ended_within


def ids_of(done):
    return [int(word) for word in done.stdout.split()]


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


def test_run_passes_standard_input_on(daemon):
    done = daemon.fut("run", "--stdin", "--", "tr", "a-z", "A-Z", input="shout\n")
    assert (done.returncode, done.stdout) == (0, "SHOUT\n")


def test_run_works_in_the_directory_of_the_caller(daemon, tmp_path):
    assert daemon.fut("run", "--", "pwd", cwd=tmp_path).stdout == f"{tmp_path}\n"


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


def test_result_gives_the_output_also_after_a_restart(daemon):
    job = submitted(daemon, "echo", "to be kept")
    assert daemon.fut("wait", job).returncode == 0
    daemon.kill()
    daemon.start()
    assert daemon.fut("result", job).stdout == "to be kept\n"


def test_retry_prints_a_new_job_that_names_the_old_one(daemon):
    old = submitted(daemon, "sh", "-c", "exit 3")
    daemon.fut("wait", old)
    new = ids_of(daemon.fut("retry", old, check=True))[-1]
    assert new != old
    assert daemon.fut("wait", new).returncode == 1
    assert daemon.fut_json("show", new)[0]["retry_of"] == old


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


VERBS = "run submit call map wait result logs ls show cancel retry queue worker stats bench doctor shutdown".split()


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
