#!/usr/bin/python3
"""Python's process pools under the same load: pools.py pool|executor flood|one COUNT, or pools.py pool memory PROCESSES.
Prints one JSON object."""
import concurrent.futures
import json
import multiprocessing
import os
import sys
import time

WORKERS = 2
WARM_UP = 50
PAYLOAD = b"x" * 100


def noop(payload):
    return payload


def flood(submit, count):
    """Each job its own future, every result collected."""
    start = time.perf_counter()
    results = [submit(PAYLOAD) for _ in range(count)]
    for collect in results:
        collect()
    seconds = time.perf_counter() - start
    return {"per_second": count / seconds, "count": count, "seconds": seconds}


def one_at_a_time(submit, count):
    series = []
    for number in range(count + WARM_UP):
        start = time.perf_counter()
        submit(PAYLOAD)()
        if number >= WARM_UP:
            series.append((time.perf_counter() - start) * 1e6)
    series.sort()
    last = len(series) - 1
    return {"p50_us": series[last // 2], "p99_us": series[int(last * 0.99)], "count": count}


def pss_kib(pids):
    """Proportional set size of all of them together: a page that several processes share counts once."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


def meet(_):
    """Ends when every process of the pool is in it, so that each has run one."""
    meet.barrier.wait()


def inherit(barrier):
    meet.barrier = barrier


def memory(processes):
    """The pool's own process and its workers, idle after one job each."""
    barrier = multiprocessing.Barrier(processes)
    with multiprocessing.Pool(processes, inherit, (barrier,)) as pool:
        pool.map(meet, range(processes), chunksize=1)
        return {"pss_kib": pss_kib([os.getpid(), *(child.pid for child in multiprocessing.active_children())])}


def main():
    kind, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if what == "memory":
        print(json.dumps(memory(count)))
        return
    measure = {"flood": flood, "one": one_at_a_time}[what]
    if kind == "pool":
        with multiprocessing.Pool(WORKERS) as pool:
            figures = measure(lambda payload: pool.apply_async(noop, (payload,)).get, count)
    else:
        with concurrent.futures.ProcessPoolExecutor(WORKERS) as pool:
            figures = measure(lambda payload: pool.submit(noop, payload).result, count)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
