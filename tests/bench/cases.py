"""The cases. Each takes a Setting and a Report, measures its subjects in turns, and says ratios."""
import asyncio
import bisect
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import re
import subprocess
import tempfile
import time

from peers.pools import pss_kib
from peers.servers import MULTIPROCESSING_POOL, PEERS, Beanstalkd, BeanstalkdDurable
from private_daemon import ROOT, PrivateDaemon

NOOP_JOBS = 300_000
PEER_JOBS = {"beanstalkd -b -f0": 4_000}  # the slower ones get fewer, so that a run stays short
PEER_JOBS_DEFAULT = 20_000
SINGLE_JOBS = 1_000
WARM_UP_JOBS = 1_000
ARRAY_MIB = 64
ARRAY_ROUNDS = 5
LARGE_MIB = (256, 1024)
LARGE_ROUNDS = 3
SLICES = 100
SLICED_MIB = 1024
HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
COMMANDS = 1_000
FRESH_JOBS = 5_000
COROUTINES = 10_000
THREADS = 10
SLEEPS = 100
COMPUTE_JOBS = 400
COMPUTE_N = 20_000_000  # some milliseconds a job
POOL_SIZES = (1, 9)
WARM_SECONDS = 30
BACKLOG_JOBS = 1_000_000
LIMITED_QUEUES = 1_000
RATE_A_SECOND = 200
RATE_BURST = 20
RATE_SECONDS = 60
RESTART_JOBS = 5_000_000
MAP_CALLS = 5_000_000
FUTURES = 100_000
IDLE_FUTURES = 10_000
IDLE_SECONDS = 5
TIMERS = 100_000


@dataclasses.dataclass
class Setting:
    programs: str  # where the load generators are
    base: str  # a folder on a real disk
    rounds: int
    scale: float

    def jobs(self, count):
        return max(100, int(count * self.scale) // 100 * 100)

    def run(self, name, *arguments, timeout=900):
        command = [os.path.join(self.programs, name), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name} {arguments[0]}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def daemon(self, config=""):
        return PrivateDaemon(config, base=self.base)

    def limit(self, what, *arguments):
        """A limit that writes, in a fresh folder."""
        with tempfile.TemporaryDirectory(dir=self.base) as folder:
            return self.run("bench-limits", what, folder, *arguments)


def peers_measured(setting, report, what, jobs):
    """Measures each installed peer once; the metrics carry the names of the generator's figures."""
    for peer in PEERS:
        if not peer.installed():
            continue
        with peer(setting.programs, setting.base) as server:
            figures = server.measure(what, setting.jobs(jobs(peer)))
        report.add(peer.name, **{key: figures[key] for key in ("per_second", "p50_us", "p99_us") if key in figures})


def tell_missing(report):
    for peer in PEERS:
        if not peer.installed():
            report.not_measured(peer.name, "not installed")


def noop(setting, report):
    """durable no-op jobs, 100 bytes each, one client, every result collected"""
    for _ in range(setting.rounds):
        with setting.daemon() as daemon:
            daemon.start()
            flood, _ = daemon.fut_json("bench", "noop", "-n", setting.jobs(NOOP_JOBS), "--singles", 1, timeout=300)
        report.add("futured", per_second=flood["jobs_per_second"])
        report.add("limit: SQLite rows", **only_rate(setting.limit("commits", setting.jobs(NOOP_JOBS), 1000)))
        report.add("limit: two rings", **only_rate(setting.run("bench-limits", "ring", setting.jobs(5_000_000))))
        peers_measured(setting, report, "flood", lambda peer: PEER_JOBS.get(peer.name, PEER_JOBS_DEFAULT))
    tell_missing(report)
    report.show()
    for peer in PEERS:
        report.ratio("futured", peer.name, "per_second")
    report.ratio("futured", "limit: SQLite rows", "per_second")
    report.wanted("futured", "per_second", "at least 250,000 on 2 cores")


def one(setting, report):
    """one job at a time on an idle machine, submit to durable result"""
    for _ in range(setting.rounds):
        with setting.daemon() as daemon:
            daemon.start()
            _, single = daemon.fut_json("bench", "noop", "-n", WARM_UP_JOBS, "--singles", setting.jobs(SINGLE_JOBS))
        report.add("futured", p50_us=single["p50_us"], p99_us=single["p99_us"])
        figures = setting.limit("single-commits", setting.jobs(SINGLE_JOBS))
        report.add("limit: one SQLite commit", p50_us=figures["p50_us"], p99_us=figures["p99_us"])
        peers_measured(setting, report, "one", lambda _: SINGLE_JOBS)
    tell_missing(report)
    report.show()
    report.ratio("futured", "limit: one SQLite commit", "p50_us")
    for peer in (Beanstalkd, BeanstalkdDurable):
        wanted = "at most 1.0" if peer is BeanstalkdDurable else ""
        report.ratio("futured", peer.name, "p50_us", wanted=wanted)


def callback(setting, report):
    """a gRPC listener on this machine hears of a lone job's end, from the end of the attempt on (commit included)"""
    for _ in range(setting.rounds):
        with setting.daemon() as daemon:
            daemon.start()
            figures = setting.run("bench-callbacks", daemon.socket, setting.jobs(SINGLE_JOBS))
        report.add("futured", **figures)
        figures = setting.limit("single-commits", setting.jobs(SINGLE_JOBS))
        report.add("limit: one SQLite commit", p50_us=figures["p50_us"], p99_us=figures["p99_us"])
    report.show()
    report.ratio("futured", "limit: one SQLite commit", "p50_us")
    report.wanted("futured", "p50_us", "at most 2,000")


@contextlib.contextmanager
def huge_pages():
    """Shared memory has huge pages, as docs/client.md tells to set it; false when this user cannot."""
    try:
        with open(HUGE_PAGES, "r+", encoding="ascii") as switch:
            before = re.search(r"\[(\w+)\]", switch.read()).group(1)
            switch.write("advise")
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        with open(HUGE_PAGES, "w", encoding="ascii") as switch:
            switch.write(before)


def array(setting, report):
    """a 64 MiB float64 array to a worker and its sum back"""
    one_worker = '[pools.default]\nmode = "process"\nsize = 1\n'

    def measure(suffix=""):
        with setting.daemon(one_worker) as daemon:
            daemon.start()
            figures = setting.run("bench-futured", "arrays", daemon.socket, ARRAY_MIB, ARRAY_ROUNDS)
        report.add("futured" + suffix, first_ms=figures["first_ms"], later_ms=figures["later_ms"])
        report.add("futured, from ordinary memory" + suffix, ordinary_ms=figures["ordinary_ms"])

    bare = "limit: bare map and sum"
    for _ in range(setting.rounds):
        measure()
        figures = setting.run("bench-limits", "array", ARRAY_MIB, ARRAY_ROUNDS)
        report.add(bare, first_ms=figures["fresh_ms"], later_ms=figures["warm_ms"])
        with huge_pages() as are_on:
            if are_on:
                measure(", huge pages")
    if report.median("futured, huge pages", "first_ms") is None:
        report.not_measured("futured, huge pages", f"{HUGE_PAGES} cannot be set by this user")
    report.show()
    for subject in ("futured", "futured, huge pages"):
        report.ratio(subject, bare, "first_ms", wanted="at most 1.5")
        report.ratio(subject, bare, "later_ms", wanted="at most 1.5")


def large(setting, report):
    """arrays of 256 MiB and of 1 GiB, likewise: what a job itself costs no longer shows"""
    one_worker = '[pools.default]\nmode = "process"\nsize = 1\n'
    for _ in range(setting.rounds):
        for mebibytes in LARGE_MIB:
            with setting.daemon(one_worker) as daemon:
                daemon.start()
                figures = setting.run("bench-futured", "arrays", daemon.socket, mebibytes, LARGE_ROUNDS)
            report.add(f"futured, {mebibytes} MiB", first_ms=figures["first_ms"], later_ms=figures["later_ms"])
            figures = setting.run("bench-limits", "array", mebibytes, LARGE_ROUNDS)
            report.add(f"limit: {mebibytes} MiB", first_ms=figures["fresh_ms"], later_ms=figures["warm_ms"])
    report.show()
    for mebibytes in LARGE_MIB:
        for figure in ("first_ms", "later_ms"):
            report.ratio(f"futured, {mebibytes} MiB", f"limit: {mebibytes} MiB", figure, wanted="at most 1.2")


def slices(setting, report):
    """100 slices of a 1 GiB float64 array, summed by 2 workers"""
    two_workers = '[pools.default]\nmode = "process"\nsize = 2\n'
    bare = "limit: 2 bare processes"
    for _ in range(setting.rounds):
        with setting.daemon(two_workers) as daemon:
            daemon.start()
            mebibytes = max(1, int(SLICED_MIB * setting.scale))
            figures = setting.run("bench-slices", daemon.socket, mebibytes, SLICES)
        report.add("futured", ms=figures["futured_ms"])
        report.add(bare, ms=figures["bare_ms"])
    report.show()
    report.ratio("futured", bare, "ms", wanted="at most 1.3")


def scaling(setting, report):
    """jobs that keep a core busy (sum_squares), on a pool of 2 workers and on one of 1"""
    count = setting.jobs(COMPUTE_JOBS)
    for _ in range(setting.rounds):
        for size in (1, 2):
            with setting.daemon(f'[pools.default]\nmode = "process"\nsize = {size}\n') as daemon:
                daemon.start()
                figures = setting.run("bench-futured", "calls", daemon.socket, "sum_squares", COMPUTE_N, count)
            report.add(f"futured, pool of {size}", **only_rate(figures))
            figures = setting.run("bench-limits", "compute", count, COMPUTE_N, size)
            report.add(f"limit: bare processes, {size}", **only_rate(figures))
    report.show()
    report.ratio("futured, pool of 2", "futured, pool of 1", "per_second", wanted="at least 1.9")
    report.ratio("limit: bare processes, 2", "limit: bare processes, 1", "per_second")
    report.ratio("futured, pool of 2", "limit: bare processes, 2", "per_second")


def memory(setting, report):
    """what each further worker of a pool takes when it is idle again: PSS of all processes, pools of 1 and of 9"""
    fewest, most = POOL_SIZES
    for _ in range(setting.rounds):
        few, many = (pss_kib_of_daemon(setting, size) for size in POOL_SIZES)
        report.add("futured", pss_kib_a_worker=(many - few) / (most - fewest))
        few, many = (MULTIPROCESSING_POOL.measure("memory", size)["pss_kib"] for size in POOL_SIZES)
        report.add(MULTIPROCESSING_POOL.name, pss_kib_a_worker=(many - few) / (most - fewest))
    report.show()
    report.wanted("futured", "pss_kib_a_worker", "at most 2,048")
    report.ratio("futured", MULTIPROCESSING_POOL.name, "pss_kib_a_worker")


def commands(setting, report):
    """1,000 /bin/true command jobs"""
    count = setting.jobs(COMMANDS)
    lines = "x\n" * count
    for _ in range(setting.rounds):
        with setting.daemon() as daemon:
            daemon.start()
            figures = setting.run("bench-futured", "commands", daemon.socket, count)
        report.add("futured", per_second=figures["per_second"])
        start = time.perf_counter()
        subprocess.run(["xargs", "-P2", "-n1", "/bin/true"], input=lines, text=True, check=True)
        report.add("xargs -P2 -n1", per_second=count / (time.perf_counter() - start))
        report.add("limit: spawn and wait, 2 at a time", **only_rate(setting.run("bench-limits", "spawn", count)))
    report.show()
    report.ratio("futured", "xargs -P2 -n1", "per_second", wanted="at least 1.0")
    report.ratio("futured", "limit: spawn and wait, 2 at a time", "per_second")


async def sleeps_at_once(count):
    """Seconds that so many sleeps of 1 s take on this process's own loop, with nothing kept of them."""
    begun = time.perf_counter()
    await asyncio.gather(*(asyncio.sleep(1) for _ in range(count)))
    return time.perf_counter() - begun


def modes(setting, report):
    """a fork for every task (fresh); sleeps on the threads of one process (thread), and as its coroutines (async)"""
    count = setting.jobs(FRESH_JOBS)
    fresh = '[pools.default]\nmode = "fresh"\nsize = 2\n'
    threads = f'[pools.default]\nmode = "thread"\njobs_at_once = {THREADS}\nsize = 1\n'
    coroutines = setting.jobs(COROUTINES)
    one_loop = f'[pools.default]\nmode = "async"\njobs_at_once = {coroutines}\nsize = 1\n'
    on_one_loop = f"{coroutines:,} sleeps of 1 s at once"
    for _ in range(setting.rounds):
        with setting.daemon(fresh) as daemon:
            daemon.start()
            figures = setting.run("bench-futured", "calls", daemon.socket, "noop", "", count)
        report.add("futured, fresh", per_second=figures["per_second"])
        report.add("limit: fork, exit and wait, 2 at a time", **only_rate(setting.run("bench-limits", "fork", count)))
        report.add("limit: spawn and wait, 2 at a time", **only_rate(setting.run("bench-limits", "spawn", count // 4)))
        with setting.daemon(threads) as daemon:
            daemon.start()
            figures = setting.run("bench-futured", "calls", daemon.socket, "sleep", "0.01", SLEEPS)
        report.add(f"futured, {SLEEPS} sleeps of 10 ms on {THREADS} threads", ms=figures["seconds"] * 1e3)
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            begun = time.perf_counter()
            list(pool.map(time.sleep, [0.01] * SLEEPS))
            report.add("ThreadPoolExecutor, the same", ms=(time.perf_counter() - begun) * 1e3)
        with setting.daemon(one_loop) as daemon:
            daemon.start()
            figures = setting.run("bench-futured", "calls", daemon.socket, "sleep", "1", coroutines)
        report.add(f"futured, {on_one_loop}", ms=figures["seconds"] * 1e3)
        report.add("asyncio, the same", ms=asyncio.run(sleeps_at_once(coroutines)) * 1e3)
    report.show()
    report.ratio("futured, fresh", "limit: fork, exit and wait, 2 at a time", "per_second", wanted="at least 0.6")
    report.ratio("futured, fresh", "limit: spawn and wait, 2 at a time", "per_second")
    report.wanted(f"futured, {SLEEPS} sleeps of 10 ms on {THREADS} threads", "ms", "at most 103")
    report.wanted(f"futured, {on_one_loop}", "ms", "at most 1,300")
    report.ratio(f"futured, {on_one_loop}", "asyncio, the same", "ms")


def backlog(setting, report):
    """1,000,000 queued jobs: accepted, held and drained"""
    count = setting.jobs(BACKLOG_JOBS)
    for _ in range(setting.rounds):
        with setting.daemon() as daemon:
            daemon.start()
            empty = disk_bytes(daemon.state)
            figures = setting.run("bench-futured", "enqueue", daemon.socket, count)
            report.add("futured", accepted_per_second=figures["per_second"])
            report.add("futured, first tenth", accepted_per_second=figures["first_tenth"])
            report.add("futured, last tenth", accepted_per_second=figures["last_tenth"])
            report.add("futured", queued_disk_bytes_a_job=(disk_bytes(daemon.state) - empty) / count)
            report.add("futured", queued_rss_mib=resident_mib(daemon.process.pid))
            figures = setting.run("bench-futured", "drain", daemon.socket, count, figures["last_id"])
            report.add("futured", drained_per_second=figures["per_second"])
            report.add("futured", drained_disk_bytes_a_job=(disk_bytes(daemon.state) - empty) / count)
            report.add("futured", peak_rss_mib=peak_mib(daemon.process.pid))
    report.show()
    report.wanted("futured", "accepted_per_second", "at least 150,000")
    report.ratio("futured, last tenth", "futured, first tenth", "accepted_per_second", wanted="at least 0.9")
    report.wanted("futured", "peak_rss_mib", "at most 200")
    report.wanted("futured", "queued_disk_bytes_a_job", "at most 250")
    report.wanted("futured", "drained_disk_bytes_a_job", "at most 250")
    report.wanted("futured", "drained_per_second", "at least 150,000")


def limits(setting, report):
    """1,000,000 queued jobs drained from 1,000 queues with limits, beside one plain queue"""
    count = setting.jobs(BACKLOG_JOBS)
    many = f"futured, {LIMITED_QUEUES:,} queues with limits"
    for _ in range(setting.rounds):
        for name, queues, kind in (("futured, one plain queue", 1, "plain"), (many, LIMITED_QUEUES, "limited")):
            with setting.daemon('[pools.default]\nsize = 2\n') as daemon:
                daemon.start()
                figures = setting.run("bench-futured", "drain-queues", daemon.socket, queues, count, kind)
                report.add(name, drained_per_second=figures["per_second"], peak_rss_mib=peak_mib(daemon.process.pid))
    report.show()
    report.ratio(many, "futured, one plain queue", "drained_per_second", wanted="at least 0.8")
    report.wanted(many, "peak_rss_mib", "at most 200")


def rate(setting, report):
    """a queue that may start 200 jobs a second, 20 at once, for a minute (takes a minute a round)"""
    for _ in range(setting.rounds):
        with setting.daemon('[pools.default]\nsize = 2\n') as daemon:
            daemon.start()
            limit = ("--rate", f"{RATE_A_SECOND}/s", "--burst", str(RATE_BURST))
            daemon.fut("queue", "create", "paced", *limit, check=True)
            jobs = RATE_BURST + RATE_A_SECOND * (RATE_SECONDS + 1)
            calls = map(str, range(jobs))
            daemon.fut("map", "--queue", "paced", "--task", "noop", ":::", *calls, check=True, timeout=120)
            listed = daemon.fut_json("ls", "--queue", "paced", "--all", timeout=60)
        starts = sorted(job["started_us"] for job in listed if job["task"] == "noop")
        if len(starts) != jobs:
            raise RuntimeError(f"{len(starts)} of {jobs} jobs are listed")
        in_a_minute = bisect.bisect_left(starts, starts[0] + RATE_SECONDS * 1_000_000)
        # Of each stretch of starts: how many more there are than its time gives.
        lead = [number - RATE_A_SECOND * (start - starts[0]) / 1e6 for number, start in enumerate(starts)]
        most, lowest = 0, lead[0]
        for each in lead:
            lowest = min(lowest, each)
            most = max(most, each - lowest)
        report.add("futured", of_the_rate=(in_a_minute - RATE_BURST) / (RATE_A_SECOND * RATE_SECONDS), burst=most + 1)
    report.show()
    report.wanted("futured", "of_the_rate", "0.99 to 1.01")
    report.wanted("futured", "burst", f"{RATE_BURST}, by when workers began")


def timers(setting, report):
    """100,000 armed timeouts: how late each is, and what they cost before the first is due"""
    count = setting.jobs(TIMERS)
    for _ in range(setting.rounds):
        with setting.daemon() as daemon:
            daemon.start()
            figures = setting.run("bench-futured", "timers", daemon.socket, count)
        del figures["timers"]
        report.add("futured", **figures)
    report.show()
    report.wanted("futured", "late_p99_ms", "at most 10")
    report.wanted("futured", "idle_cpu_percent", "0")


def restart(setting, report):
    """a restart with 5,000,000 queued jobs, after kill -9 (takes a minute or more)"""
    count = setting.jobs(RESTART_JOBS)
    with setting.daemon() as daemon:
        daemon.start()
        figures = setting.run("bench-futured", "enqueue", daemon.socket, count)
        report.add("futured", accepted_per_second=figures["per_second"])
        for _ in range(setting.rounds):
            daemon.kill()
            start = time.perf_counter()
            daemon.start(seconds=120)
            report.add("futured", ready_after_seconds=time.perf_counter() - start)
            report.add("futured", rss_mib=resident_mib(daemon.process.pid))
            last = figures["last_id"]
            report.add("fut ls", ms=milliseconds_of(daemon, "ls"))
            report.add("fut ls --queue", ms=milliseconds_of(daemon, "ls", "--queue", "backlog"))
            report.add("fut why, the last", ms=milliseconds_of(daemon, "why", last))
            report.add("fut why, amid", ms=milliseconds_of(daemon, "why", last - count // 2))
    report.show()
    report.wanted("futured", "ready_after_seconds", "at most 5")
    report.wanted("futured", "rss_mib", "at most 200")
    for asked in ("fut ls", "fut ls --queue", "fut why, the last", "fut why, amid"):
        report.wanted(asked, "ms", "at most 50")


def map_calls(setting, report):
    """map with automatic chunks over no-op calls, each chunk a durable job, results in order"""
    for _ in range(setting.rounds):
        with setting.daemon() as daemon:
            daemon.start()
            figures = setting.run("bench-futures", "map", daemon.socket, setting.jobs(MAP_CALLS))
        report.add("futured", calls_per_second=figures["per_second"])
    report.show()
    report.wanted("futured", "calls_per_second", "at least 1,000,000")


def futures(setting, report):
    """as_completed over 100,000 no-op futures beside the bare stream; 10,000 futures that only wait"""
    for _ in range(setting.rounds):
        with setting.daemon() as daemon:
            daemon.start()
            daemon.fut_json("bench", "noop", "-n", WARM_UP_JOBS, "--singles", 1)
            count = setting.jobs(FUTURES)
            report.add("bare stream", **only_rate(setting.run("bench-futures", "raw-stream", daemon.socket, count)))
            report.add("as_completed", **only_rate(setting.run("bench-futures", "as-completed", daemon.socket, count)))
        with setting.daemon() as daemon:
            daemon.start()
            daemon.fut_json("bench", "noop", "-n", WARM_UP_JOBS, "--singles", 1)
            waiting = setting.jobs(IDLE_FUTURES)
            arguments = (daemon.socket, waiting, IDLE_SECONDS, daemon.process.pid)
            report.add("daemon, idle futures", **setting.run("bench-futures", "idle", *arguments))
    report.show()
    report.ratio("as_completed", "bare stream", "per_second", wanted="at least 0.8")
    report.wanted("daemon, idle futures", "cpu_percent", "under 1")
    report.wanted("daemon, idle futures", "grown_mib", "under 20")


def pss_kib_of_daemon(setting, size):
    """Of daemon, spawner, zygotes and workers, when each worker of the default pool has run a job."""
    config = f'[pools.default]\nmode = "process"\nsize = {size}\n[pools.command]\nmode = "command"\nsize = 1\n'
    with setting.daemon(config) as daemon:
        daemon.start()
        deadline = time.monotonic() + WARM_SECONDS
        while time.monotonic() < deadline:
            daemon.fut("map", "--task", "sleep", ":::", *["0.1"] * size, check=True)
            workers = daemon.fut_json("worker", "ls", "--pool", "default")
            if len(workers) == size and all(worker["jobs_run"] and worker["state"] == "IDLE" for worker in workers):
                return pss_kib(daemon.processes())
    raise RuntimeError(f"not every one of {size} workers had run a job within {WARM_SECONDS} s")


def only_rate(figures):
    return {"per_second": figures["per_second"]}


def milliseconds_of(daemon, *arguments):
    """Of a call of `fut`, from its start to its end."""
    begun = time.perf_counter()
    daemon.fut(*map(str, arguments), check=True)
    return (time.perf_counter() - begun) * 1e3


def disk_bytes(folder):
    """Bytes that the files of a folder take on disk: database, write-ahead log and all else."""
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(inside, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def memory_mib(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no {field}")


def resident_mib(pid):
    return memory_mib(pid, "VmRSS")


def peak_mib(pid):
    return memory_mib(pid, "VmHWM")


ALL = {
    "noop": noop,
    "one": one,
    "callback": callback,
    "array": array,
    "large": large,
    "slices": slices,
    "scaling": scaling,
    "memory": memory,
    "commands": commands,
    "modes": modes,
    "map": map_calls,
    "futures": futures,
    "backlog": backlog,
    "limits": limits,
    "rate": rate,
    "timers": timers,
    "restart": restart,
}
QUICK = [name for name in ALL if name not in ("restart", "rate")]
