"""Chunks: many calls in one durable job."""
CHUNK = "application/x-futured-chunk"


def bytes_of(data):
    assert len(data) < 128
    return bytes([len(data)]) + data


def call(data):
    """A call with one inline part without a content type."""
    return bytes_of(b"\0" + bytes_of(b"") + bytes_of(data))


def submit_chunk(api, task, *arguments):
    words = api.words
    part = words.Part(content_type=CHUNK, data=b"".join(call(argument) for argument in arguments))
    return api.submit([words.Item(parts=[part])], task=task)[0]


def test_the_result_of_a_chunk_is_on_disk(daemon, api_of):
    job = submit_chunk(api_of(daemon), "echo", b"one", b"two")
    before = api_of(daemon).outcome(job)
    daemon.kill()
    daemon.start()
    after = api_of(daemon).outcome(job)
    assert after.result == before.result
    assert after.result[0].content_type.startswith(CHUNK + "; took_ns=")
    assert after.result[0].data == b"".join(b"\0" + call(word) for word in (b"one", b"two"))


def test_a_call_that_fails_leaves_the_others_their_results(api):
    outcome = api.outcome(submit_chunk(api, "sleep", b"0", b"soon", b"0"))
    assert outcome.state == api.words.JOB_STATE_SUCCEEDED
    ends = outcome.result[0].data
    assert ends.startswith(b"\0\0" + b"\2" + bytes_of(b"BadArgument"))
    assert b"argument 1 is not the number that the task takes" in ends
    assert ends.endswith(b"\0\0")


def test_a_chunk_that_takes_down_its_workers_is_quarantined_as_a_whole(api):
    outcome = api.outcome(submit_chunk(api, "crash", b"kill", b"kill"))
    assert (outcome.state, outcome.cause.kind) == (api.words.JOB_STATE_FAILED, api.words.CAUSE_KIND_QUARANTINED)


def test_a_damaged_chunk_is_a_bad_payload(api):
    words = api.words
    part = words.Part(content_type=CHUNK, data=call(b"one")[:-1])
    outcome = api.outcome(api.submit([words.Item(parts=[part])], task="echo")[0])
    assert outcome.cause.kind == words.CAUSE_KIND_BAD_PAYLOAD
    assert outcome.cause.message == "chunk: it is cut short"
