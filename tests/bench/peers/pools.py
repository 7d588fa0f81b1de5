#!/usr/bin/python3
"""Python's process pools under the same load: pools.py pool|executor flood|one COUNT. Prints one JSON object."""
import concurrent.futures
import json
import multiprocessing
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


def main():
    kind, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
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
