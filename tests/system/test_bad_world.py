"""A world that does not fit: disks, databases, sockets. The daemon says what is wrong and what would mend it, and keeps what it has."""
import contextlib
import os
import socket
import sqlite3
import stat

import grpc
import pytest
from leftovers import ended_within
from private_daemon import DidNotStart


def database_of(daemon):
    return os.path.join(daemon.state, "futured.db")


def does_not_start(daemon, *names):
    with pytest.raises(DidNotStart) as caught:
        daemon.start()
    assert caught.value.code not in (0, None) and caught.value.code > 0, "it must refuse, not crash or hang"
    for name in names:
        assert name in caught.value.stderr, caught.value.stderr


# ---- Databases


def test_a_corrupt_database_is_refused_and_left_as_it_is(make_daemon):
    daemon = make_daemon().start()
    assert daemon.end_processes() == []
    with open(database_of(daemon), "r+b") as file:
        file.write(b"this is not a database at all" * 100)
    before = open(database_of(daemon), "rb").read()
    does_not_start(daemon, "futured.db")
    assert open(database_of(daemon), "rb").read() == before


def test_a_database_of_a_newer_schema_is_refused_and_left_as_it_is(make_daemon):
    daemon = make_daemon().start()
    assert daemon.end_processes() == []
    with sqlite3.connect(database_of(daemon)) as database:
        database.execute("PRAGMA user_version = 9999")
    database.close()
    does_not_start(daemon, "9999", "newer")


def edit(daemon, *statements):
    """Changes the database by hand, while no daemon has it."""
    database = sqlite3.connect(database_of(daemon))
    with database:
        for statement in statements:
            database.execute(statement)
    database.close()


def make_queue(api, name):
    api.call("Queues", "Create", api.words.CreateQueueRequest(name=name))
    api.call("Queues", "Pause", api.words.PauseQueueRequest(name=name))


def test_a_queue_removed_from_the_database_by_hand_is_named_at_the_start_and_its_jobs_are_kept(daemon, api_of):
    api = api_of(daemon)
    make_queue(api, "side")
    waiting = api.submit_tasks("noop", 3, queue="side")
    assert daemon.end_processes() == []
    edit(daemon, "CREATE TABLE put_aside AS SELECT * FROM queues", "DELETE FROM queues WHERE name = 'side'")
    does_not_start(daemon, 'waits in queue "side"', "backup")
    edit(daemon, "DELETE FROM queues", "INSERT INTO queues SELECT * FROM put_aside", "DROP TABLE put_aside")
    daemon.start()
    api = api_of(daemon)
    api.call("Queues", "Resume", api.words.ResumeQueueRequest(name="side"))
    assert sorted(api.wait(waiting)) == waiting


def test_an_ended_job_outlives_its_queue(daemon, api_of):
    api = api_of(daemon)
    api.call("Queues", "Create", api.words.CreateQueueRequest(name="side"))
    (job,) = api.submit_tasks("echo", data=b"still here", queue="side")
    api.outcome(job)
    assert daemon.end_processes() == []
    edit(daemon, "DELETE FROM queues WHERE name = 'side'")
    daemon.start()
    api = api_of(daemon)
    assert api.outcome(job).result[0].data == b"still here"
    assert api.cancel(job).entries[0].disposition == api.words.CANCEL_DISPOSITION_ALREADY_ENDED
    retried = api.call("Jobs", "Retry", api.words.RetryRequest(ids=[api.words.IdRange(first=job)]))
    assert 'no queue "side"' in retried.entries[0].error.message


def test_a_queue_renamed_in_the_database_stops_the_daemon_when_its_jobs_are_read(daemon, api_of):
    api = api_of(daemon)
    make_queue(api, "side")
    waiting = []
    for _ in range(8):  # more than is kept in memory: from the next start on, all of it lies on disk only
        waiting += api.submit_tasks("echo", 10, data=b"x" * 1_000_000, queue="side")
    daemon.kill()
    daemon.start()
    api = api_of(daemon)
    api.wait(api.submit_tasks("noop"))  # so that what the start changed is on disk
    daemon.kill()
    edit(daemon, "UPDATE queues SET name = 'other' WHERE name = 'side'")
    daemon.start()
    api = api_of(daemon)
    with contextlib.suppress(grpc.RpcError):  # it may be gone before it can answer
        api.call("Queues", "Resume", api.words.ResumeQueueRequest(name="other"))
    assert daemon.process.wait(30) > 0, "it must stop, not crash"
    assert 'waits in queue "side"' in daemon.log_text()
    edit(daemon, "UPDATE queues SET name = 'side', paused = 0 WHERE name = 'other'")
    daemon.start()
    assert sorted(api_of(daemon).wait(waiting)) == waiting


def test_a_state_that_another_daemon_uses_is_refused(make_daemon, api_of, daemon):
    second = make_daemon()
    second.arguments[second.arguments.index("--state") + 1] = daemon.state
    does_not_start(second, daemon.state, str(daemon.process.pid))
    api = api_of(daemon)
    assert api.outcome(api.submit_command("true")).state == api.words.JOB_STATE_SUCCEEDED


def test_a_socket_that_another_daemon_serves_is_refused_and_not_stolen(make_daemon, api_of, daemon):
    second = make_daemon()
    second.arguments[second.arguments.index("--socket") + 1] = daemon.socket
    does_not_start(second, daemon.socket)
    assert api_of(daemon).info().pid == daemon.process.pid
    assert ended_within(second.processes(), 10) == [], "a daemon that never served leaves no spawner behind"


def test_a_socket_left_by_a_killed_daemon_is_taken_over(daemon, api_of):
    daemon.kill()
    assert os.path.exists(daemon.socket)
    daemon.start()
    assert api_of(daemon).info().pid == daemon.process.pid


# ---- Places


def test_a_state_directory_that_cannot_be_written_is_refused(make_daemon):
    # Root may write anywhere until it gives that up.
    without_power = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    daemon = make_daemon(wrap=without_power)
    os.mkdir(daemon.state)
    os.chmod(daemon.state, 0o555)
    does_not_start(daemon, daemon.state, "Permission denied")


def test_a_state_directory_below_a_file_is_refused(make_daemon):
    daemon = make_daemon()
    with open(daemon.state, "w", encoding="ascii") as file:
        file.write("a file\n")
    does_not_start(daemon, daemon.state)


def test_a_socket_path_that_is_too_long_is_refused_with_its_bound(make_daemon):
    daemon = make_daemon()
    long = os.path.join(daemon.folder, "x" * 120)
    daemon.arguments[daemon.arguments.index("--socket") + 1] = long
    does_not_start(daemon, "107")


def test_the_socket_is_for_owner_and_group_alone(daemon):
    assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o660
    assert stat.S_IMODE(os.stat(database_of(daemon)).st_mode) & 0o077 == 0


def test_a_setting_that_does_not_exist_is_refused_by_name(make_daemon):
    does_not_start(make_daemon("[daemon]\nsockett = '/x'\n"), "sockett")


def test_a_setting_of_the_wrong_kind_is_refused_by_name(make_daemon):
    does_not_start(make_daemon("[pools.default]\nsize = 'many'\n"), "size", "must be")


def test_settings_that_are_no_toml_are_refused_with_their_line(make_daemon):
    does_not_start(make_daemon("[daemon\n"), "futured.toml", "1")


def test_a_plugin_that_does_not_exist_is_named(make_daemon):
    does_not_start(make_daemon("[pools.default]\nplugins = ['/no/such/plugin.so']\n"), "/no/such/plugin.so")


def test_tcp_is_served_on_loopback_only(make_daemon):
    does_not_start(make_daemon("[daemon]\nlisten = '0.0.0.0:0'\n"), "0.0.0.0")


def test_tcp_is_served_when_asked(make_daemon, api_modules):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    daemon = make_daemon(f"[daemon]\nlisten = '127.0.0.1:{port}'\n").start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/futured.v1.Admin/Info", response_deserializer=api_modules.InfoResponse.FromString)
        assert call(b"", timeout=10).pid == daemon.process.pid
