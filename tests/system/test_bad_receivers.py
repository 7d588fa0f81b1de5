"""Receivers of callbacks that are out of order, and daemons that die in the middle: nobody else is held up, nothing is
done twice that must be done once, and the error says what to do."""
import os
import shlex
import subprocess
import sys
import threading

import grpc
import pytest
from receivers import Listener
from test_bad_input import refused
from test_callbacks import CONFIG, INVALID, callbacks_of, failed, listener, to_webhook, until, webhook  # noqa: F401

ALONE = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for namespaces of its own")


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(CONFIG).start()


def in_own_namespaces(*lines):
    """Runs a command after these lines of shell, where the network and the mounts are its own."""
    script = "\n".join(["set -e", "ip link set lo up", *lines, 'exec "$@"'])
    return ["unshare", "--mount", "--net", "sh", "-c", script, "sh"]


def certificate_for(folder, name):
    """A self-signed certificate for 127.0.0.1: paths of certificate and key."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


# Takes every question and answers none; ends with the daemon, whose child it is.
SILENT_NAME_SERVER = """
import ctypes, pathlib, signal, socket, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
    port.bind(("127.0.0.1", 53))
    pathlib.Path(sys.argv[1]).touch()
    signal.pause()
"""


@ALONE
def test_a_name_server_that_does_not_answer_holds_up_nobody_else(make_daemon, api_of, listener, tmp_path):
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
    ready = shlex.quote(str(tmp_path / "ready"))
    silent = [f"mount --bind {shlex.quote(str(resolv))} /etc/resolv.conf",
              f"{sys.executable} -c {shlex.quote(SILENT_NAME_SERVER)} {ready} &",
              f"until test -e {ready}; do sleep 0.05; done"]  # fmt: skip
    daemon = make_daemon(CONFIG, wrap=in_own_namespaces(*silent)).start()
    api = api_of(daemon)
    words = api.words
    unknown = to_webhook(words, "http://receiver.test/", timeout_ms=300, max_attempts=1)
    jobs = [api.submit_command("true", callbacks=[unknown]) for _ in range(4)]
    assert "300 ms" in failed(api, jobs[0]).last_error
    # Whoever waited for the lookups would do so for 30 s.
    api.submit_command("true", callbacks=[words.CallbackSpec(grpc=words.GrpcTarget(address=listener.address))])
    listener.told(seconds=15)


@ALONE
def test_configured_authorities_stand_instead_of_the_systems(make_daemon, api_of, webhook, tmp_path):
    known, key = certificate_for(tmp_path, "known")
    other, _ = certificate_for(tmp_path, "other")
    system = tmp_path / "certs"
    system.mkdir()
    (system / "known.pem").write_bytes(known.read_bytes())
    (system / "ca-certificates.crt").write_bytes(other.read_bytes())  # the file that libcurl looks into by itself
    subprocess.run(["openssl", "rehash", system], check=True, capture_output=True)
    hook = webhook(certificate=(known, key))
    trust = ["unshare", "--mount", "sh", "-c",
             f'mount --bind {shlex.quote(str(system))} /etc/ssl/certs; exec "$@"', "sh"]  # fmt: skip
    config = "[callbacks]\nallow_private = true\n"
    api = api_of(make_daemon(config, wrap=trust).start())
    api.submit_command("true", callbacks=[to_webhook(api.words, hook.url("/system"))])
    assert hook.told().path == "/system"
    api = api_of(make_daemon(config + f'ca = "{other}"\n', wrap=trust).start())
    job = api.submit_command("true", callbacks=[to_webhook(api.words, hook.url(), max_attempts=1)])
    error = failed(api, job).last_error
    assert "certificate does not hold" in error and str(other) in error and "[callbacks] ca" in error
    assert hook.requests.empty()


def test_a_redirect_loop_names_its_setting(make_daemon, api_of, webhook):
    api = api_of(make_daemon("[callbacks]\nallow_private = true\nredirects_max = 2\n").start())
    loop = webhook()
    loop.answers = [(302, loop.url())]
    job = api.submit_command("true", callbacks=[to_webhook(api.words, loop.url(), max_attempts=1)])
    assert failed(api, job).last_error == "redirected more than 2 times ([callbacks] redirects_max)"


def test_a_redirect_away_from_https_is_refused(make_daemon, api_of, webhook, tmp_path):
    certificate, key = certificate_for(tmp_path, "here")
    config = f'[callbacks]\nallow_private = true\nredirects_max = 5\nca = "{certificate}"\n'
    api = api_of(make_daemon(config).start())
    plain = webhook()
    hook = webhook((302, plain.url()), certificate=(certificate, key))
    for url in (hook.url(), hook.url().replace("https:", "HttpS:")):
        job = api.submit_command("true", callbacks=[to_webhook(api.words, url, max_attempts=1)])
        assert "another scheme than https" in failed(api, job).last_error
    assert plain.requests.empty()


def test_a_listener_over_tls_is_told_and_one_with_a_wrong_certificate_is_not(
    make_daemon, api_of, api_modules, tmp_path
):
    certificate, key = certificate_for(tmp_path, "right")
    wrong = certificate_for(tmp_path, "wrong")
    config = f'[callbacks.tls.peer]\nca = "{certificate}"\n'
    api = api_of(make_daemon(config).start())
    words = api.words
    retries = words.Retries(max_attempts=1)
    for (shown, its_key), taken in ((wrong, False), ((certificate, key), True)):
        server = Listener(api_modules, tmp_path / "unused", certificate=(shown, its_key))
        try:
            target = words.GrpcTarget(address=f"localhost:{server.port}", tls_name="peer")
            job = api.submit_command("true", callbacks=[words.CallbackSpec(grpc=target, retries=retries)])
            if taken:
                assert server.told().outcome.id == job
            else:
                assert failed(api, job).last_error
                assert server.completions.empty()
        finally:
            server.close()


def test_a_secret_that_the_configuration_lost_fails_the_delivery_by_name(make_daemon, api_of, webhook):
    daemon = make_daemon(CONFIG).start()
    api = api_of(daemon)
    hook = webhook(threading.Event())
    callback = to_webhook(api.words, hook.url(), secret_name="ci", max_attempts=2)
    job = api.submit_command("true", callbacks=[callback])
    hook.told()
    daemon.kill()
    api.close()
    with open(os.path.join(daemon.folder, "futured.toml"), "w", encoding="utf-8") as file:
        file.write("[callbacks]\nallow_private = true\n")
    daemon.start()
    error = failed(api_of(daemon), job).last_error
    assert '"ci"' in error and "[callbacks.secrets]" in error


# ---- Daemons that die


def test_a_follow_up_is_made_once_though_the_daemon_is_killed_all_the_time(daemon, api_of):
    words = None
    firsts = []
    for _ in range(6):
        api = api_of(daemon)
        words = api.words
        follow_up = words.FollowUp(spec=words.JobSpec(task="noop", name="after"))
        callback = words.CallbackSpec(follow_up=follow_up, retries=words.Retries(max_attempts=100, backoff_ms=10))
        firsts += api.submit([api.task_item() for _ in range(50)], task="noop", callbacks=[callback])
        daemon.kill()
        api.close()
        daemon.start()
    api = api_of(daemon)
    api.wait(firsts)
    delivered = [words.CALLBACK_STATE_DELIVERED]
    for job in firsts:
        until(lambda job=job: callbacks_of(api, job, delivered), "the follow-up is made")
    made, token = [], ""
    while True:
        request = words.ListJobsRequest(filter=words.JobFilter(name="after"), page_size=1000, page_token=token)
        page = api.call("Jobs", "List", request)
        made += [job.id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert len(made) == len(firsts)


def half_done(api, gate, first, **spec):
    """A batch of a command that has ended and one that runs until go_on()."""
    os.mkfifo(gate.path + ".in")
    second = ("sh", "-c", f"echo > {gate.path}; read line < {gate.path}.in")
    jobs = api.submit([api.command_item(first), api.command_item(*second)], **spec)
    api.wait(jobs[:1])
    gate.line()
    return jobs


def go_on(gate):
    with open(gate.path + ".in", "w", encoding="ascii") as file:
        file.write("go on\n")


def restart(daemon, api):
    daemon.kill()
    api.close()
    daemon.start()


def test_a_whole_batch_is_told_of_though_the_daemon_is_killed_in_its_middle(daemon, api_of, listener, gate):
    api = api_of(daemon)
    words = api.words
    callback = words.CallbackSpec(grpc=words.GrpcTarget(address=listener.address), whole_batch=True)
    jobs = half_done(api, gate, "true", callbacks=[callback])
    restart(daemon, api)
    go_on(gate)
    told = listener.told()
    assert (told.batch_id, told.batch_jobs, told.batch_failed) == (jobs[0], 2, 0)


# ---- Whole batches


def test_a_batch_that_is_named_later_is_told_of_once_when_its_last_job_has_ended(daemon, api_of, listener, gate):
    api = api_of(daemon)
    words = api.words
    first, last = half_done(api, gate, "false")
    number = daemon.fut("callback", "add", f"{first}-{last}", listener.address.replace("unix:", "grpc:unix:"), check=True)
    listed = daemon.fut_json("callback", "ls", first)
    assert [(one["id"], one["batch_jobs"], one["state"]) for one in listed] == [(int(number.stdout), 2, "WAITING")]
    restart(daemon, api)
    go_on(gate)
    told = listener.told()
    assert (told.batch_id, told.batch_jobs, told.batch_failed, told.outcome.id) == (first, 2, 1, last)
    api = api_of(daemon)
    spec = words.CallbackSpec(grpc=words.GrpcTarget(address=listener.address), whole_batch=True)
    api.call("Callbacks", "Register", words.RegisterCallbackRequest(job_id=first, spec=spec, batch_jobs=2))
    assert listener.told().batch_jobs == 2, "all have ended: at once"

    def ask(**fields):
        return api.call("Callbacks", "Register", words.RegisterCallbackRequest(spec=spec, **fields))

    refused(lambda: ask(job_id=first), INVALID, "batch_jobs")
    refused(lambda: ask(job_id=first, batch_jobs=10_001), grpc.StatusCode.RESOURCE_EXHAUSTED, "batch_jobs", "10000")
    refused(lambda: ask(job_id=first, batch_jobs=3), grpc.StatusCode.NOT_FOUND, f"no job {last + 1}")


def test_a_retry_leaves_the_callback_of_the_batch_behind(api, listener):
    words = api.words
    target = words.GrpcTarget(address=listener.address)
    callbacks = [words.CallbackSpec(grpc=target, whole_batch=True), words.CallbackSpec(grpc=target)]
    jobs = api.submit([api.command_item("false") for _ in range(2)], callbacks=callbacks)
    told = [listener.told() for _ in range(3)]
    assert sorted(one.batch_jobs for one in told) == [0, 0, 2]
    answer = api.call("Jobs", "Retry", words.RetryRequest(ids=[words.IdRange(first=jobs[0])]))
    again = answer.entries[0].new_id
    assert listener.told().outcome.id == again
    api.submit_command("true", callbacks=callbacks[1:])
    assert listener.told().outcome.id > again, "nothing else was told in between"


def test_what_has_no_meaning_is_refused_by_name(api):
    words = api.words
    target = words.GrpcTarget(address="unix:/nowhere")
    whole = words.CallbackSpec(grpc=target, whole_batch=True)
    keyed = words.Item(command=words.Command(argv=[b"true"]), idempotency_key="k")
    refused(lambda: api.submit([keyed, keyed], callbacks=[whole]), INVALID, "spec.callbacks", "one key")
    follow_up = words.CallbackSpec(follow_up=words.FollowUp(spec=words.JobSpec(task="noop")), timeout_ms=5)
    refused(lambda: api.submit_command("true", callbacks=[follow_up]), INVALID, "timeout_ms", "follow_up.spec.timeouts")
    refused(lambda: api.submit_command("true", callbacks=[to_webhook(words, "http://x.test/", timeout_ms=3)]),
            INVALID, "timeout_ms")  # fmt: skip
    job = api.submit_command("true")
    follow_up = words.CallbackSpec(follow_up=words.FollowUp(spec=words.JobSpec(task="noop", priority=3)))
    request = words.RegisterCallbackRequest(job_id=job, spec=follow_up)
    refused(lambda: api.call("Callbacks", "Register", request), INVALID, "spec.follow_up", "priority")


def test_the_timeout_of_a_command_ends_it(api):
    words = api.words
    command = words.Command(argv=[b"sleep", b"1000"])
    first = api.submit_command("true", callbacks=[words.CallbackSpec(command=command, timeout_ms=200)])
    callback = until(lambda: callbacks_of(api, first, [words.CALLBACK_STATE_DELIVERED]), "the command is made")[0]
    request = words.ListJobsRequest(filter=words.JobFilter(name=f"callback {callback.id}"))
    (made,) = api.call("Jobs", "List", request).jobs
    outcome = api.outcome(made.id)
    assert outcome.state == words.JOB_STATE_TIMED_OUT and outcome.cause.timeout == words.TIMEOUT_KIND_RUN
