"""`fut debug loop` and Admin.Debug: every event loop of the daemon, in words and in JSON."""
import grpc
import pytest

LOOPS = {"core", "store", "reader", "payloads", "pump", "grpc", "segments", "accept", "courier", "spool", "main"}
TWO_SLOTS = '[pools.default]\nsize = 2\n[pools.command]\nmode = "command"\nsize = 1\n'


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(TWO_SLOTS).start()


def loops_of(daemon):
    return {loop["name"]: loop for loop in daemon.fut_json("debug", "loop")}


def test_every_loop_is_told_with_what_it_watches(daemon):
    daemon.fut("run", "--", "true", check=True)
    loops = loops_of(daemon)
    assert set(loops) == LOOPS
    core = loops["core"]
    assert {"wake-up", "spawner"} <= set(core["descriptor_names"])
    slots = [name for name in core["descriptor_names"] if name.startswith("slot ")]
    assert len(slots) == 3 and sum(name.startswith("slot default/") for name in slots) == 2
    assert core["descriptors"] == len(core["descriptor_names"])
    assert loops["main"]["descriptor_names"] == ["signals"]
    for loop in loops.values():
        assert loop["descriptors"] >= 0 and loop["timers"] >= 0
        assert isinstance(loop["slow_callbacks"], list) and len(loop["slow_callbacks"]) <= 17
        assert loop.get("lag_us", 0) <= loop.get("lag_max_us", 0)
        for slow in loop["slow_callbacks"]:
            assert slow["what"] and slow["started_us"] > 0 and slow["took_us"] >= 10_000
    # A command was submitted: somebody knew since when it waited for these.
    for name in ("core", "store"):
        assert loops[name]["lag_max_us"] >= 0
    # Sockets do not tell since when something is there.
    assert "lag_us" not in loops["accept"] and "lag_us" not in loops["grpc"]


def test_the_loop_of_an_async_worker_is_told_too(make_daemon, api_of):
    daemon = make_daemon("[pools.default]\nmode = 'async'\nsize = 1\n").start()
    api = api_of(daemon)
    (sleeping,) = api.submit([api.task_item(b"100")], task="sleep")
    daemon.fut("call", "sleep", "0.01", check=True)
    daemon.fut("call", "spin", "50", check=True)
    (name,) = set(loops_of(daemon)) - LOOPS
    loop = loops_of(daemon)[name]
    assert name == "worker default/1"
    assert loop["timers"] == 1 and loop["descriptors"] == 1 and loop["turns"] > 0
    assert 0 <= loop["lag_us"] <= loop["lag_max_us"]
    slow = loop["slow_callbacks"][-1]
    assert slow["what"].startswith("job ") and slow["took_us"] >= 50_000
    daemon.kill()
    daemon.start()
    assert set(loops_of(daemon)) - LOOPS == {name}, "the next daemon knows whose it is"
    api_of(daemon).cancel(sleeping, wait=True)


def test_turns_are_counted(daemon):
    before = loops_of(daemon)
    for _ in range(3):
        daemon.fut("run", "--", "true", check=True)
    after = loops_of(daemon)
    assert after["core"]["turns"] >= before["core"]["turns"] + 3
    assert after["accept"]["turns"] >= before["accept"]["turns"] + 3
    assert after["grpc"]["turns"] > before["grpc"]["turns"]
    assert all(after[name]["turns"] >= before[name]["turns"] for name in LOOPS)
    assert all(after[name].get("lag_max_us", -1) >= before[name].get("lag_max_us", -1) for name in LOOPS)


def test_words_are_a_table_and_the_slow_ones_below(daemon):
    daemon.fut("run", "--", "true", check=True)
    header, *rows = daemon.fut("debug", "loop", check=True).stdout.splitlines()
    assert header.split() == ["LOOP", "TURNS", "DESCRIPTORS", "TIMERS", "LAG", "MAX", "LAG", "WATCHES"]
    end = rows.index("")
    assert {row.split()[0] for row in rows[:end]} == LOOPS
    assert any(row.startswith("core ") and "spawner" in row for row in rows[:end])
    below = rows[end + 1]
    assert below.startswith("SLOW CALLBACK") or below == "No callback has taken over 10 ms."

    assert "fut debug loop --json" in daemon.fut("debug", "loop", "--help", check=True).stdout
    assert daemon.fut("debug").returncode == 2


def test_the_api_tells_loops_by_themselves_and_with_all(daemon, api_of):
    api = api_of(daemon)
    words = api.words
    only = api.call("Admin", "Debug", words.DebugRequest(topic=words.DEBUG_TOPIC_LOOPS))
    assert {loop.name for loop in only.loops} == LOOPS and not only.text
    everything = api.call("Admin", "Debug", words.DebugRequest())
    assert {loop.name for loop in everything.loops} == LOOPS and set(everything.text) == {"core", "pools", "store"}
    store = api.call("Admin", "Debug", words.DebugRequest(topic=words.DEBUG_TOPIC_STORE))
    assert not store.loops and set(store.text) == {"store"}
    with pytest.raises(grpc.RpcError) as caught:
        api.call("Admin", "Debug", words.DebugRequest(topic=99))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "topic" in caught.value.details()
