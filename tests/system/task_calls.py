"""Calls of tasks over plain gRPC, and what came of them."""


def call(api, task, *arguments, count=1, **spec):
    """Ids of so many jobs with these arguments."""
    parts = [api.words.Part(data=str(argument).encode()) for argument in arguments]
    return api.submit([api.words.Item(parts=parts)] * count, task=task, **spec)


def results(api, jobs):
    """The first part of each one's result, as text; all must have succeeded."""
    outcomes = [api.outcome(job) for job in jobs]
    assert {outcome.state for outcome in outcomes} == {api.words.JOB_STATE_SUCCEEDED}, outcomes
    return [outcome.result[0].data.decode() if outcome.result else "" for outcome in outcomes]


def log_of(api, job):
    api.outcome(job)
    asked = api.words.ReadOutputRequest(id=job, kind=api.words.OUTPUT_KIND_LOG)
    return b"".join(answer.data for answer in api.stream("Jobs", "ReadOutput", asked)).decode()
