"""Completion callbacks: whoever is to be told of an end is told at least once, whatever happens meanwhile."""
import hashlib
import hmac
import json
import os
import queue
import socket
import subprocess
import threading
import time

import grpc
import pytest
from receivers import Listener, Webhook
from test_bad_input import refused

CONFIG = """
[callbacks]
allow_private = true
[callbacks.secrets]
ci = "s3cret"
"""
SECONDS = 20
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(CONFIG).start()


@pytest.fixture
def webhook():
    """Makes receivers; all are closed at the end."""
    made = []

    def make(*answers, **options):
        made.append(Webhook(*answers, **options))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


@pytest.fixture
def listener(api_modules, tmp_path):
    receiver = Listener(api_modules, tmp_path / "listener")
    yield receiver
    receiver.close()


def to_webhook(words, url, **fields):
    """A callback that is tried again soon."""
    retries = words.Retries(max_attempts=fields.pop("max_attempts", 5), backoff_ms=20, factor=1)
    hook = words.Webhook(url=url, secret_name=fields.pop("secret_name", ""), headers=fields.pop("headers", {}))
    return words.CallbackSpec(webhook=hook, retries=retries, **fields)


def callbacks_of(api, job=0, states=()):
    request = api.words.ListCallbacksRequest(job_id=job, states=states)
    return list(api.call("Callbacks", "List", request).callbacks)


def until(look, what, seconds=SECONDS):
    """What `look` finds, once it finds something. The store tells no one by itself when a delivery was given up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        threading.Event().wait(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def failed(api, job):
    """The job's only callback, once it is listed as failed."""
    states = [api.words.CALLBACK_STATE_FAILED]
    return until(lambda: callbacks_of(api, job, states), "the callback is listed as failed")[0]


# ---- Webhooks


def test_a_webhook_is_told_of_the_end_and_the_request_is_signed(api, webhook):
    words = api.words
    hook = webhook()
    callback = to_webhook(words, hook.url("/done"), secret_name="ci", headers={"X-Mine": "yes"})
    job = api.submit_command("sh", "-c", "echo out; exit 3", name="nightly", callbacks=[callback])
    told = hook.told()
    assert told.path == "/done"
    assert told.headers["Content-Type"] == "application/json"
    assert told.headers["X-Mine"] == "yes"
    signed = told.headers["Futured-Timestamp"].encode() + b"." + told.body
    digest = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    assert told.headers["Futured-Signature"] == "v1=" + digest
    body = json.loads(told.body)
    assert body["delivery_id"] == told.headers["Futured-Delivery"]
    assert body["delivery_attempt"] == 1
    assert body["name"] == "nightly"
    assert body["outcome"]["id"] == str(job)
    assert body["outcome"]["state"] == "JOB_STATE_FAILED"
    assert body["outcome"]["cause"]["exit_code"] == 3
    state = until(lambda: callbacks_of(api, job, [words.CALLBACK_STATE_DELIVERED]), "delivered")[0]
    assert state.delivery_attempts == 1
    assert state.delivered_us > 0


def test_the_condition_decides_who_is_told(api, webhook):
    words = api.words
    hook = webhook()
    callbacks = [
        to_webhook(words, hook.url("/success"), condition=words.COMPLETION_CONDITION_SUCCEEDED),
        to_webhook(words, hook.url("/failure"), condition=words.COMPLETION_CONDITION_NOT_SUCCEEDED),
        to_webhook(words, hook.url("/end")),
    ]
    api.submit_command("true", callbacks=callbacks)
    assert [hook.told().path for _ in range(2)] == ["/success", "/end"]
    api.submit_command("false", callbacks=callbacks)
    assert [hook.told().path for _ in range(2)] == ["/failure", "/end"]
    assert hook.requests.empty()


def test_a_receiver_that_fails_is_told_again_under_the_same_number(api, webhook):
    hook = webhook(500, 503, 200)
    job = api.submit_command("true", callbacks=[to_webhook(api.words, hook.url())])
    told = [json.loads(hook.told().body) for _ in range(3)]
    assert [body["delivery_attempt"] for body in told] == [1, 2, 3]
    assert len({body["delivery_id"] for body in told}) == 1
    until(lambda: callbacks_of(api, job, [api.words.CALLBACK_STATE_DELIVERED]), "delivered")


def test_callbacks_of_one_job_to_one_receiver_keep_their_order(api, webhook):
    hook = webhook(500, 200)
    callbacks = [to_webhook(api.words, hook.url(path)) for path in ("/a", "/b", "/c")]
    api.submit_command("true", callbacks=callbacks)
    assert [hook.told().path for _ in range(4)] == ["/a", "/a", "/b", "/c"]


def test_one_that_answers_500_for_long_is_listed_as_failed_and_can_be_replayed(daemon, api, webhook):
    hook = webhook(500)
    job = api.submit_command("true", callbacks=[to_webhook(api.words, hook.url(), max_attempts=3)])
    callback = failed(api, job)
    assert callback.delivery_attempts == 3
    assert "500" in callback.last_error
    assert [hook.told() for _ in range(3)] and hook.requests.empty()
    listed = daemon.fut_json("callback", "ls", "--state", "failed")
    assert [(one["id"], one["state"]) for one in listed] == [(callback.id, "FAILED")]
    hook.answers = [200]
    assert daemon.fut_json("callback", "retry", "--failed") == [{"replayed": 1}]
    assert json.loads(hook.told().body)["delivery_id"] == str(callback.id)
    until(lambda: callbacks_of(api, job, [api.words.CALLBACK_STATE_DELIVERED]), "delivered")
    assert daemon.fut_json("callback", "retry", callback.id) == [{"replayed": 1}]
    hook.told()
    assert daemon.fut("callback", "retry", "12345678").returncode == 4


def test_a_port_where_nobody_listens_is_a_failure_that_says_so(api):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    job = api.submit_command("true", callbacks=[to_webhook(api.words, url, max_attempts=2)])
    assert "connect" in failed(api, job).last_error


def test_one_that_hangs_is_given_up_and_holds_up_nobody_else(api, webhook):
    hung, well = webhook(threading.Event()), webhook()
    words = api.words
    jobs = [
        api.submit_command("true", callbacks=[to_webhook(words, hung.url(), timeout_ms=400, max_attempts=1)])
        for _ in range(20)
    ]
    hung.told()
    api.submit_command("true", callbacks=[to_webhook(words, well.url())])
    well.told()
    assert "400 ms" in failed(api, jobs[0]).last_error


def test_redirects_are_refused_unless_they_are_configured(api, webhook):
    elsewhere = webhook()
    hook = webhook((302, elsewhere.url()))
    job = api.submit_command("true", callbacks=[to_webhook(api.words, hook.url(), max_attempts=1)])
    assert "redirects" in failed(api, job).last_error
    assert elsewhere.requests.empty()


def test_a_configured_redirect_is_followed_and_a_loop_ends(make_daemon, api_of, webhook):
    daemon = make_daemon("[callbacks]\nallow_private = true\nredirects_max = 3\n").start()
    api = api_of(daemon)
    elsewhere = webhook()
    hook = webhook((307, elsewhere.url("/there")))
    api.submit_command("true", callbacks=[to_webhook(api.words, hook.url())])
    told = elsewhere.told()
    assert told.path == "/there" and json.loads(told.body)["delivery_attempt"] == 1
    loop = webhook()
    loop.answers = [(302, loop.url())]
    job = api.submit_command("true", callbacks=[to_webhook(api.words, loop.url(), max_attempts=1)])
    assert "redirect" in failed(api, job).last_error
    assert loop.requests.qsize() == 4


def test_a_bad_certificate_is_refused(api, webhook, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    hook = webhook(certificate=(certificate, key))
    job = api.submit_command("true", callbacks=[to_webhook(api.words, hook.url(), max_attempts=1)])
    assert "certificate" in failed(api, job).last_error.lower()
    assert hook.requests.empty()


def test_a_certificate_of_the_configured_authority_is_taken(make_daemon, api_of, webhook, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    daemon = make_daemon(f'[callbacks]\nallow_private = true\nca = "{certificate}"\n').start()
    api = api_of(daemon)
    hook = webhook(certificate=(certificate, key))
    api.submit_command("true", callbacks=[to_webhook(api.words, hook.url())])
    hook.told()


def test_a_name_of_a_private_address_is_refused_unless_it_is_configured(make_daemon, api_of, webhook):
    daemon = make_daemon().start()
    api = api_of(daemon)
    hook = webhook()
    url = f"http://localhost:{hook.port}/"
    job = api.submit_command("true", callbacks=[to_webhook(api.words, url, max_attempts=1)])
    assert "private" in failed(api, job).last_error
    assert hook.requests.empty()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0.0.0.0", "127.1", "[::ffff:10.0.0.1]"])
def test_a_private_address_is_refused_at_the_submit_unless_it_is_configured(make_daemon, api_of, host):
    api = api_of(make_daemon().start())
    callback = to_webhook(api.words, f"http://{host}:8080/")
    refused(lambda: api.submit_command("true", callbacks=[callback]), INVALID, "webhook.url", "allow_private")


def test_what_cannot_be_right_is_refused_at_the_submit(api):
    words = api.words
    with_callback = lambda callback: api.submit_command("true", callbacks=[callback])  # noqa: E731
    refused(lambda: with_callback(to_webhook(words, "http://[nonsense/")), INVALID, "webhook.url")
    refused(lambda: with_callback(to_webhook(words, "gopher://example.org/")), INVALID, "http://")
    refused(lambda: with_callback(to_webhook(words, "http://example.org/", secret_name="nobody")), INVALID, '"nobody"')
    refused(lambda: with_callback(words.CallbackSpec()), INVALID, "spec.callbacks[0]")
    grpc_target = words.CallbackSpec(grpc=words.GrpcTarget(address="example.org:443"))
    refused(lambda: with_callback(grpc_target), INVALID, "grpc.address", "tls_name")
    follow_up = words.CallbackSpec(follow_up=words.FollowUp(spec=words.JobSpec(task="no.such.task")))
    refused(lambda: with_callback(follow_up), grpc.StatusCode.NOT_FOUND, "no.such.task", "spec.callbacks[0]")
    assert callbacks_of(api) == []


def test_a_configuration_that_cannot_be_right_keeps_the_daemon_from_starting(make_daemon, tmp_path):
    from private_daemon import DidNotStart

    wrong = {
        '[callbacks]\nallow_privat = true\n': "allow_privat",
        '[callbacks]\nallow_private = "yes"\n': "allow_private",
        "[callbacks]\nredirects_max = 21\n": "redirects_max",
        '[callbacks]\nca = "/no/such/file"\n': "/no/such/file",
        '[callbacks.secrets]\nci = ""\n': "ci",
        '[callbacks.tls.peer]\ncertificate = "/etc/hostname"\n': "callbacks.tls.peer",
    }
    for config, name in wrong.items():
        with pytest.raises(DidNotStart) as caught:
            make_daemon(config).start()
        assert caught.value.code == 2 and name in caught.value.stderr


# ---- Crashes


def test_a_daemon_killed_before_the_delivery_delivers_after_its_restart(daemon, api_of, webhook):
    api = api_of(daemon)
    hook = webhook(threading.Event(), 200)
    job = api.submit_command("true", callbacks=[to_webhook(api.words, hook.url())])
    first = hook.told()  # the outcome is on disk, and the receiver has not answered
    daemon.kill()
    api.close()
    daemon.start()
    again = hook.told()
    assert json.loads(again.body)["delivery_id"] == json.loads(first.body)["delivery_id"]
    assert json.loads(again.body)["outcome"]["id"] == str(job)
    api = api_of(daemon)
    until(lambda: callbacks_of(api, job, [api.words.CALLBACK_STATE_DELIVERED]), "delivered")


def test_many_that_wait_for_a_dead_receiver_are_all_delivered_after_a_kill(daemon, api_of, webhook):
    api = api_of(daemon)
    words = api.words
    hung = threading.Event()
    hook = webhook(hung)
    callback = to_webhook(words, hook.url(), max_attempts=100)
    jobs = api.submit([api.task_item() for _ in range(500)], task="noop", callbacks=[callback])
    api.wait(jobs)
    hook.told()
    daemon.kill()
    api.close()
    hook.answers = [200]
    hung.set()
    daemon.start()
    told = set()
    while len(told) < len(jobs):
        told.add(int(json.loads(hook.told().body)["outcome"]["id"]))
    assert told == set(jobs)
    api = api_of(daemon)
    delivered = [words.CALLBACK_STATE_DELIVERED]
    until(lambda: len(all_callbacks(api, delivered)) == len(jobs), "all are listed as delivered")


def all_callbacks(api, states):
    words = api.words
    found, token = [], ""
    while True:
        request = words.ListCallbacksRequest(states=states, page_token=token)
        page = api.call("Callbacks", "List", request)
        found += page.callbacks
        token = page.next_page_token
        if not token:
            return found


# ---- Registered later


def test_one_registered_after_the_submit_is_delivered_at_the_end_or_at_once(api, webhook, gate):
    words = api.words
    hook = webhook()
    os.mkfifo(gate.path + ".in")
    job = api.submit_command("sh", "-c", f"read line < {gate.path}.in")
    spec = to_webhook(words, hook.url("/later"))
    waiting = api.call("Callbacks", "Register", words.RegisterCallbackRequest(job_id=job, spec=spec))
    assert waiting.state == words.CALLBACK_STATE_WAITING and waiting.job_id == job
    assert [one.id for one in callbacks_of(api, job)] == [waiting.id]
    api.cancel(job, wait=True)
    assert hook.told().path == "/later"
    spec.webhook.url = hook.url("/ended")
    api.call("Callbacks", "Register", words.RegisterCallbackRequest(job_id=job, spec=spec))
    assert hook.told().path == "/ended"
    refused(
        lambda: api.call("Callbacks", "Register", words.RegisterCallbackRequest(job_id=987654, spec=spec)),
        grpc.StatusCode.NOT_FOUND, "987654",
    )  # fmt: skip


def test_fut_adds_and_lists_callbacks(daemon, api, webhook):
    hook = webhook()
    job = int(daemon.fut("submit", "--on-success", hook.url("/ok"), "--on-failure", hook.url("/no"),
                         "--callback-secret", "ci", "--", "true", check=True).stdout)  # fmt: skip
    told = hook.told()
    assert told.path == "/ok" and told.headers["Futured-Signature"]
    number = int(daemon.fut("callback", "add", job, hook.url("/added"), "--on", "success", check=True).stdout)
    assert hook.told().path == "/added"
    listed = until(
        lambda: [one for one in daemon.fut_json("callback", "ls", job) if one["state"] == "DELIVERED"][1:], "delivered"
    )
    assert {one["id"] for one in daemon.fut_json("callback", "ls", job)} >= {number} and listed
    assert "DELIVERED" in daemon.fut("callback", "ls", job, check=True).stdout
    for wrong in ("nonsense", "task:", "ftp://x/"):
        assert daemon.fut("submit", "--callback", wrong, "--", "true").returncode == 2
    assert daemon.fut("run", "--callback", hook.url("/run"), "--", "true").returncode == 0
    assert hook.told().path == "/run"


# ---- Other receivers


def test_a_listener_is_told_over_grpc_and_told_again_when_it_refuses(api, listener):
    words = api.words
    listener.refusals = [grpc.StatusCode.INTERNAL]
    callback = words.CallbackSpec(
        grpc=words.GrpcTarget(address=listener.address), retries=words.Retries(backoff_ms=20)
    )
    job = api.submit_command("echo", "hi", name="told", callbacks=[callback])
    first, second = listener.told(), listener.told()
    assert (first.delivery_attempt, second.delivery_attempt) == (1, 2)
    assert first.delivery_id == second.delivery_id
    assert second.outcome.id == job and second.outcome.state == words.JOB_STATE_SUCCEEDED
    assert second.outcome.result[0].data == b"hi\n"
    assert second.name == "told"


def test_a_listener_that_is_away_is_told_when_it_comes(api, api_modules, tmp_path):
    words = api.words
    path = tmp_path / "late"
    retries = words.Retries(max_attempts=200, backoff_ms=50, factor=1)
    callback = words.CallbackSpec(grpc=words.GrpcTarget(address=f"unix:{path}"), retries=retries)
    job = api.submit_command("true", callbacks=[callback])
    until(lambda: callbacks_of(api, job)[0].last_error, "the first attempt has failed")
    receiver = Listener(api_modules, path)
    try:
        assert receiver.told().outcome.id == job
    finally:
        receiver.close()


def test_a_command_is_run_with_the_outcome_on_its_input(api, gate):
    words = api.words
    command = words.Command(argv=[b"sh", b"-c", f"cat > {gate.path}; echo > {gate.path}".encode()])
    job = api.submit_command("false", callbacks=[words.CallbackSpec(command=command)])
    told = json.loads(gate.line())
    assert told["outcome"]["id"] == str(job)
    assert told["outcome"]["state"] == "JOB_STATE_FAILED"


def test_a_follow_up_gets_the_result_as_its_payload(api):
    words = api.words
    follow_up = words.FollowUp(spec=words.JobSpec(task="sha256", name="after"))
    (first,) = api.submit_tasks("echo", data=b"abc", callbacks=[words.CallbackSpec(follow_up=follow_up)])
    found = until(lambda: api.call("Jobs", "List", words.ListJobsRequest(filter=words.JobFilter(name="after"))).jobs,
                  "the follow-up is there")  # fmt: skip
    (after,) = (job.id for job in found)
    assert after > first
    assert api.outcome(after).result[0].data.decode() == hashlib.sha256(b"abc").hexdigest()
    until(lambda: callbacks_of(api, first, [words.CALLBACK_STATE_DELIVERED]), "delivered")


def test_a_whole_batch_is_told_of_once_when_its_last_job_has_ended(api, listener):
    words = api.words
    callback = words.CallbackSpec(grpc=words.GrpcTarget(address=listener.address), whole_batch=True)
    items = [api.command_item("sh", "-c", f"exit {code}") for code in (0, 1, 0, 0)]
    jobs = api.submit(items, callbacks=[callback])
    told = listener.told()
    assert (told.batch_id, told.batch_jobs, told.batch_failed) == (jobs[0], 4, 1)
    assert told.outcome.id in jobs
    api.wait(jobs)
    until(lambda: callbacks_of(api, jobs[2], [words.CALLBACK_STATE_DELIVERED]), "delivered")
    with pytest.raises(queue.Empty):
        listener.told(seconds=0.1)
