"""The public API as any gRPC client meets it: discovery, health, batches, waits, results."""
import os
import pwd


def test_the_server_describes_itself_by_reflection(api):
    """ServerReflectionInfo with list_services, written by hand: field 7, an empty string."""
    call = api.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    answer = b"".join(call(iter([b"\x3a\x00"]), timeout=10))
    for service in (b"futured.v1.Jobs", b"futured.v1.Admin", b"grpc.health.v1.Health"):
        assert service in answer


def test_the_standard_health_service_says_serving(api):
    """HealthCheckResponse with status SERVING: field 1, value 1."""
    assert api.channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10) == b"\x08\x01"


def test_a_job_belongs_to_the_user_who_submitted_it(api):
    (job,) = api.submit_tasks("noop")
    told = api.get(job)
    assert told.owner_uid == os.getuid()
    assert told.owner in ("", pwd.getpwuid(os.getuid()).pw_name)
    assert api.info().your_uid == os.getuid()


def test_a_batch_gets_consecutive_ids_in_the_order_of_its_items(api):
    ids = api.submit_tasks("noop", 100)
    assert ids == list(range(ids[0], ids[0] + 100))


def test_packed_items_are_the_same_as_plain_ones(api):
    words = api.words
    packed = words.PackedItems(data=b"onetwothree", sizes=[3, 3, 5])
    answer = api.call("Jobs", "Submit", words.SubmitRequest(spec=words.JobSpec(task="echo"), packed=packed))
    results = api.wait(range(answer.first_id, answer.first_id + 3))
    assert [results[job].result[0].data for job in sorted(results)] == [b"one", b"two", b"three"]


def test_stdin_environment_and_directory_reach_a_command(api, tmp_path):
    item = api.command_item(
        "sh", "-c", 'cat; echo "$GREETING"; pwd', stdin_bytes=b"in\n", env=[b"GREETING=hello"], cwd=os.fsencode(tmp_path)
    )
    outcome = api.outcome(api.submit([item])[0])
    assert outcome.result[0].data.decode() == f"in\nhello\n{tmp_path}\n"


def test_stdout_and_stderr_are_kept_apart_also_of_a_failed_command(api):
    outcome = api.outcome(api.submit_command("sh", "-c", "echo out; echo err >&2; exit 5"))
    kinds = {part.content_type.split(";")[0]: part.data for part in outcome.result}
    assert kinds == {"application/x-futured-stdout": b"out\n", "application/x-futured-stderr": b"err\n"}
    assert (outcome.state, outcome.cause.exit_code) == (api.words.JOB_STATE_FAILED, 5)


def test_a_command_ended_by_a_signal_says_which(api):
    outcome = api.outcome(api.submit_command("sh", "-c", "kill -SEGV $$"))
    assert (outcome.cause.kind, outcome.cause.signal) == (api.words.CAUSE_KIND_COMMAND_SIGNAL, 11)


def test_waiting_for_any_answers_with_the_first_that_ends(api, gate):
    words = api.words
    slow = api.submit_command("sh", "-c", f"echo up >{gate.path}; exec sleep 1000")
    gate.line()
    quick = api.submit_command("true")
    ids = [words.IdRange(first=job, last=job) for job in (slow, quick)]
    answers = list(api.stream("Jobs", "Wait", words.WaitRequest(ids=ids, mode=words.WAIT_MODE_ANY)))
    told = [outcome.id for answer in answers for outcome in answer.outcomes]
    told += [answer.first_id for response in answers for answer in response.packed]
    assert told == [quick]
    assert answers[-1].end == words.WAIT_END_SATISFIED
    api.cancel(slow, kill_at_once=True, wait=True)


def test_a_wait_that_runs_out_cancels_nothing(api, gate):
    words = api.words
    job = api.submit_command("sh", "-c", f"echo up >{gate.path}; exec sleep 1000")
    gate.line()
    answers = list(api.stream("Jobs", "Wait", words.WaitRequest(ids=[words.IdRange(first=job)], timeout_ms=100)))
    assert answers[-1].end == words.WAIT_END_TIMED_OUT
    assert api.get(job).state == words.JOB_STATE_RUNNING
    api.cancel(job, kill_at_once=True, wait=True)


def test_output_can_be_followed_while_the_command_runs(api, gate, tmp_path):
    words = api.words
    go = str(tmp_path / "go")
    os.mkfifo(go)
    job = api.submit_command("sh", "-c", f"echo first; read line <{go}; echo second; echo third >&2")
    stream = api.stream("Jobs", "ReadOutput", words.ReadOutputRequest(id=job, follow=True))
    seen = {words.OUTPUT_KIND_STDOUT: b"", words.OUTPUT_KIND_STDERR: b""}
    for answer in stream:
        if answer.data:
            seen[answer.kind] += answer.data
        if seen[words.OUTPUT_KIND_STDOUT] == b"first\n" and not answer.end:
            with open(go, "w", encoding="ascii") as pipe:  # only now may the command go on: the first line came live
                pipe.write("go\n")
    assert seen == {words.OUTPUT_KIND_STDOUT: b"first\nsecond\n", words.OUTPUT_KIND_STDERR: b"third\n"}


def test_a_large_output_keeps_head_and_tail_and_says_what_was_dropped(api):
    mebibytes = 80  # the bound is 64 MiB of each
    script = f"head -c {mebibytes}M /dev/zero; echo THE END"
    words = api.words
    job = api.submit_command("sh", "-c", script)
    assert api.outcome(job).state == words.JOB_STATE_SUCCEEDED
    kept = dropped = 0
    tail = b""
    for answer in api.stream("Jobs", "ReadOutput", words.ReadOutputRequest(id=job), seconds=60):
        kept += len(answer.data)
        dropped += answer.dropped_bytes
        tail = (tail + answer.data)[-20:]
    assert kept <= 64 * 1024 * 1024
    assert kept + dropped == mebibytes * 1024 * 1024 + len(b"THE END\n")
    assert tail.endswith(b"THE END\n")


def test_the_disciplines_start_jobs_in_their_order(make_daemon, api_of, gate):
    config = '[pools.command]\nmode = "command"\nsize = 1\n' + "".join(
        f'[queues.{name}]\ndiscipline = "{name}"\n' for name in ("fifo", "lifo", "priority")
    )
    api = api_of(make_daemon(config).start())
    expected = {"fifo": "0 1 2 3", "lifo": "3 2 1 0", "priority": "2 3 1 0"}
    priorities = [0, 1, 2, 2]
    for queue, order in expected.items():
        holder = api.submit_command("sh", "-c", f"echo up >{gate.path}; exec sleep 1000", queue=queue)
        assert gate.line() == "up"
        jobs = []
        for number in range(4):
            priority = priorities[number] if queue == "priority" else 0
            line = f"echo {number} >{gate.path}"
            jobs.append(api.submit_command("sh", "-c", line, queue=queue, priority=priority))
        api.cancel(holder, kill_at_once=True)
        assert " ".join(gate.line() for _ in range(4)) == order, queue
        api.wait(jobs)
