"""Requests that cannot be right: each is refused with the right code and a text that names the thing, and nothing else changes."""
import grpc
import pytest

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
YEAR_MS = 366 * 24 * 3600 * 1000


def refused(call, code, *names):
    """The call is refused with this code, and its text has every one of the names."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value.details()
    for name in names:
        assert name in caught.value.details(), caught.value.details()


@pytest.fixture(autouse=True)
def unharmed(api):
    """Whatever was refused, the daemon goes on taking and running jobs."""
    yield
    job = api.submit_command("echo", "fine")
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED


# ---- Things that are not there


def test_an_unknown_task_is_refused_by_name(api):
    refused(lambda: api.submit_tasks("no.such.task"), NOT_FOUND, "no.such.task")


def test_an_unknown_queue_is_refused_by_name(api):
    refused(lambda: api.submit_tasks("noop", queue="nowhere"), NOT_FOUND, "nowhere")


def test_an_unknown_pool_is_refused_by_name(api):
    refused(lambda: api.submit_tasks("noop", pool="dry"), NOT_FOUND, "dry")


def test_an_unknown_job_is_refused_by_number(api):
    words = api.words
    refused(lambda: api.get(987654), NOT_FOUND, "987654")
    stream = api.stream("Jobs", "GetResult", words.GetResultRequest(id=987654))
    refused(lambda: list(stream), NOT_FOUND, "987654")
    answer = api.cancel(987654)
    assert answer.not_found == 1


def test_waiting_for_an_unknown_job_says_so_and_ends(api):
    words = api.words
    request = words.WaitRequest(ids=[words.IdRange(first=987654, last=987655)])
    answers = list(api.stream("Jobs", "Wait", request))
    unknown = [(found.first, found.last or found.first) for answer in answers for found in answer.unknown]
    assert sum(last - first + 1 for first, last in unknown) == 2
    assert answers[-1].end == words.WAIT_END_SATISFIED


# ---- What is known but not built is refused by name, never ignored


def test_a_field_that_is_not_built_is_refused_by_name(api):
    words = api.words
    unbuilt = {
        "memory_bytes_max": 1 << 30,
    }
    for field, value in unbuilt.items():
        refused(lambda field=field, value=value: api.submit_tasks("noop", **{field: value}), UNIMPLEMENTED, field)


def test_a_call_that_is_not_built_is_refused_by_name(api):
    words = api.words
    refused(lambda: api.call("Pools", "Create", words.CreatePoolRequest()), UNIMPLEMENTED, "Pools/Create")


UNKNOWN = b"\x98\x06\x01"  # field 99, which no message of the API has: 1


def test_a_field_that_the_server_does_not_know_is_refused_by_number(api):
    """What a client of a later version sends: its messages have fields that this server has never heard of."""
    words = api.words

    def submit(in_spec=b"", in_part=b"", in_request=b""):
        request = words.SubmitRequest(spec=words.JobSpec(task="noop"), items=[api.task_item()])
        request.spec.MergeFromString(in_spec)
        request.items[0].parts[0].MergeFromString(in_part)
        request.MergeFromString(in_request)
        api.call("Jobs", "Submit", request)

    submit()
    refused(lambda: submit(in_spec=UNKNOWN), UNIMPLEMENTED, "JobSpec", "99")
    refused(lambda: submit(in_part=UNKNOWN), UNIMPLEMENTED, "Part", "99")
    refused(lambda: submit(in_request=UNKNOWN), UNIMPLEMENTED, "SubmitRequest", "99")
    request = words.WaitRequest(ids=[words.IdRange.FromString(b"\x08\x01" + UNKNOWN)])
    refused(lambda: list(api.stream("Jobs", "Wait", request)), UNIMPLEMENTED, "IdRange", "99")
    for service, method in [("Pools", "List"), ("Queues", "List"), ("Workers", "List"), ("Segments", "List"), ("Admin", "Info")]:
        raw = api.channel.unary_unary(f"/futured.v1.{service}/{method}")
        refused(lambda raw=raw: raw(UNKNOWN, timeout=10), UNIMPLEMENTED, "Request", "99")


def test_a_field_on_the_stream_that_the_server_does_not_know_refuses_its_batch(api):
    words = api.words

    def batch(number, in_spec=b"", in_item=b"", in_request=b"", **fields):
        if not fields:
            fields["items"] = [words.Item.FromString(api.task_item().SerializeToString() + in_item)]
        request = words.SubmitStreamRequest(client_ref=number, spec=words.JobSpec(task="noop"), **fields)
        request.spec.MergeFromString(in_spec)
        request.MergeFromString(in_request)
        return request

    packed = words.PackedItems(data=b"ab", sizes=[1, 1])
    batches = [
        batch(1),
        batch(2, in_spec=UNKNOWN),
        batch(3, in_item=UNKNOWN),
        batch(4, in_request=UNKNOWN),
        batch(5, in_request=UNKNOWN, packed=packed),
        batch(6, packed=words.PackedItems.FromString(packed.SerializeToString() + UNKNOWN)),
        batch(7, packed=packed),
    ]
    receipts = {}
    for answer in api.both("Jobs", "SubmitStream", iter(batches)):
        receipts.update({receipt.client_ref: receipt for receipt in answer.receipts})
    assert [receipts[number].count for number in range(1, 8)] == [1, 0, 0, 0, 0, 0, 2]
    named = {2: "JobSpec", 3: "Item", 4: "SubmitStreamRequest", 5: "SubmitStreamRequest", 6: "PackedItems"}
    for number, message in named.items():
        error = receipts[number].error
        assert error.code == UNIMPLEMENTED.value[0]
        assert f"{message} has no field 99" in error.message


# ---- Commands


def test_an_empty_command_line_is_refused(api):
    refused(lambda: api.submit([api.command_item()]), INVALID, "argv")


def test_a_command_line_with_a_nul_byte_is_refused(api):
    refused(lambda: api.submit_command("echo", b"a\0b"), INVALID, "argv", "NUL")


def test_a_relative_directory_is_refused(api):
    refused(lambda: api.submit([api.command_item("true", cwd=b"here")]), INVALID, "cwd")


def test_an_environment_entry_without_a_name_is_refused(api):
    refused(lambda: api.submit([api.command_item("true", env=[b"=x"])]), INVALID, "env")


def test_a_command_line_over_its_bound_is_refused(api):
    refused(lambda: api.submit_command("echo", "x" * (128 * 1024)), EXHAUSTED, "argv")


def not_started(api, *argv, **fields):
    outcome = api.outcome(api.submit([api.command_item(*argv, **fields)], retries={"max_attempts": 5})[0])
    assert outcome.state == api.words.JOB_STATE_FAILED
    assert outcome.cause.kind == api.words.CAUSE_KIND_COMMAND_NOT_STARTED
    assert api.get(outcome.id).attempts == 1, "what cannot start is not tried again"
    return outcome.cause.message


def test_a_program_that_does_not_exist_fails_by_name(api):
    message = not_started(api, "/no/such/program")
    assert "/no/such/program" in message and "not found" in message


def test_a_program_that_is_not_executable_fails_by_name(api, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    plain.chmod(0o644)
    message = not_started(api, str(plain))
    assert str(plain) in message and "Permission denied" in message


def test_a_directory_that_does_not_exist_fails_by_name(api):
    assert "/no/such/directory" in not_started(api, "true", cwd=b"/no/such/directory")


# ---- Numbers and sizes


@pytest.mark.parametrize("field", ["queue_ms", "run_ms", "total_ms", "grace_ms"])
@pytest.mark.parametrize("value, code", [(-1, INVALID), (-(2**63), INVALID), (YEAR_MS + 1, EXHAUSTED), (2**63 - 1, EXHAUSTED)])
def test_a_negative_or_absurd_timeout_is_refused_by_name(api, field, value, code):
    refused(lambda: api.submit_tasks("noop", timeouts={field: value}), code, field)


@pytest.mark.parametrize(
    "field, value, code",
    [
        ("max_attempts", 1001, EXHAUSTED),
        ("backoff_ms", -1, INVALID),
        ("factor", 0.5, INVALID),
        ("factor", float("nan"), INVALID),
        ("factor", float("inf"), INVALID),
        ("jitter", 1.5, INVALID),
        ("jitter", -0.1, INVALID),
        ("backoff_ms_max", -5, INVALID),
        ("memory_factor", 0.5, INVALID),
        ("memory_factor", 1000, EXHAUSTED),
        ("memory_factor", float("nan"), INVALID),
        ("memory_bytes_max", -5, INVALID),
        ("memory_bytes_max", 5, INVALID),
    ],
)
def test_an_absurd_retry_is_refused_by_name(api, field, value, code):
    refused(lambda: api.submit_tasks("noop", retries={field: value}), code, field)


def test_a_payload_over_its_bound_is_refused(api):
    refused(lambda: api.submit_tasks("noop", data=b"x" * (4 * 1024 * 1024 + 1)), EXHAUSTED, "4")


def test_a_payload_at_its_bound_is_taken(api):
    (job,) = api.submit_tasks("noop", data=b"x" * (4 * 1024 * 1024))
    assert api.outcome(job).state == api.words.JOB_STATE_SUCCEEDED


def test_more_parts_than_the_bound_are_refused(api):
    item = api.words.Item(parts=[api.words.Part(data=b"x")] * 65)
    refused(lambda: api.submit([item], task="noop"), EXHAUSTED, "parts", "64")


def test_more_items_than_the_bound_are_refused(api):
    refused(lambda: api.submit_tasks("noop", count=10_001), EXHAUSTED, "items", "10")


def test_a_batch_without_items_is_refused(api):
    refused(lambda: api.submit([], task="noop"), INVALID, "items")


def test_a_batch_with_both_kinds_of_items_is_refused(api):
    words = api.words
    request = words.SubmitRequest(
        spec=words.JobSpec(task="noop"),
        items=[api.task_item()],
        packed=words.PackedItems(data=b"ab", sizes=[1, 1]),
    )
    refused(lambda: api.call("Jobs", "Submit", request), INVALID, "packed")


def test_packed_items_whose_sizes_do_not_add_up_are_refused(api):
    words = api.words
    for sizes in ([1, 2], [1], [2**32 - 1, 3]):
        request = words.SubmitRequest(
            spec=words.JobSpec(task="noop"), packed=words.PackedItems(data=b"ab", sizes=sizes)
        )
        refused(lambda request=request: api.call("Jobs", "Submit", request), INVALID, "sizes")


def test_a_command_beside_a_task_is_refused(api):
    refused(lambda: api.submit([api.command_item("true")], task="noop"), INVALID, "command")


def test_a_segment_that_nobody_handed_in_is_refused(api):
    words = api.words
    item = words.Item(parts=[words.Part(segment=words.SegmentSlice(id=424242))])
    refused(lambda: api.submit([item], task="noop"), NOT_FOUND, "424242")


# ---- Names


@pytest.mark.parametrize("field", ["queue", "task", "name", "pool"])
def test_a_name_that_is_too_long_or_has_control_characters_is_refused(api, field):
    for name in ("x" * 129, "new\nline", "nul\0"):
        spec = {"task": "noop", field: name}
        refused(lambda spec=spec: api.submit([api.task_item()], **spec), INVALID, field)


@pytest.mark.parametrize("field", ["queue", "task", "name", "pool"])
def test_a_name_that_is_not_utf8_is_refused(api, field):
    """gRPC parses a unary request before the server sees it, and says only that it could not: no field can be named.
    A stream's messages the server parses itself, and says which text it is."""
    words = api.words
    spec = words.JobSpec(**{"task": "noop", field: "bad-name"})

    def spoilt(request):
        wire = request.SerializeToString()
        assert b"bad-name" in wire
        return wire.replace(b"bad-name", b"bad\xff\xfe\xc3\x28e")

    unary = api.channel.unary_unary("/futured.v1.Jobs/Submit")
    wire = spoilt(words.SubmitRequest(spec=spec, items=[api.task_item()]))
    refused(lambda: unary(wire, timeout=10), INVALID, "UTF-8")
    both = api.channel.stream_stream("/futured.v1.Jobs/SubmitStream")
    batch = spoilt(words.SubmitStreamRequest(spec=spec, items=[api.task_item()]))
    refused(lambda: list(both(iter([batch]), timeout=10)), INVALID, f"spec.{field}", "UTF-8")


@pytest.mark.parametrize(
    "wire", [b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x00"], ids=["noise", "too long a part", "no field"]
)
def test_bytes_that_are_no_message_are_refused(api, wire):
    unary = api.channel.unary_unary("/futured.v1.Jobs/Submit")
    refused(lambda: unary(wire, timeout=10), INVALID, "no message of this call")
    answers = api.channel.unary_stream("/futured.v1.Jobs/Wait")
    refused(lambda: list(answers(wire, timeout=10)), INVALID, "no message of this call")
    both = api.channel.stream_stream("/futured.v1.Jobs/SubmitStream")
    refused(lambda: list(both(iter([wire]), timeout=10)), INVALID, "SubmitStreamRequest")


# ---- The stream


def test_a_bad_batch_on_the_stream_is_refused_in_its_receipt_and_the_stream_goes_on(api):
    words = api.words
    good = words.SubmitStreamRequest(
        client_ref=1, spec=words.JobSpec(task="noop"), items=[api.task_item()], deliver_outcomes=True
    )
    bad = words.SubmitStreamRequest(client_ref=2, spec=words.JobSpec(task="no.such.task"), items=[api.task_item()])
    last = words.SubmitStreamRequest(client_ref=3, spec=words.JobSpec(task="noop"), items=[api.task_item()])
    receipts = {}
    for answer in api.both("Jobs", "SubmitStream", iter([good, bad, last])):
        receipts.update({receipt.client_ref: receipt for receipt in answer.receipts})
    assert "no.such.task" in receipts[2].error.message
    assert not receipts[1].error.message and receipts[1].count == 1
    assert not receipts[3].error.message and receipts[3].count == 1


def test_a_client_that_vanishes_mid_stream_loses_nothing_that_was_receipted(api, api_of, daemon):
    words = api.words
    doomed = api_of(daemon)
    batches = [
        words.SubmitStreamRequest(
            client_ref=number, spec=words.JobSpec(task="noop"), items=[api.task_item()] * 200, deliver_outcomes=True
        )
        for number in range(1, 51)
    ]
    receipted = []
    stream = doomed.both("Jobs", "SubmitStream", iter(batches))
    for answer in stream:
        for receipt in answer.receipts:
            receipted += range(receipt.first_id, receipt.first_id + receipt.count)
        if len(receipted) >= 2000:
            break
    doomed.close()  # the connection goes, in the middle of both streams
    outcomes = api.wait(receipted)
    assert {outcome.state for outcome in outcomes.values()} == {words.JOB_STATE_SUCCEEDED}
