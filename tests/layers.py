#!/usr/bin/python3
"""Fails on an #include that the house does not allow. The table below is that of ARCHITECTURE.md.

usage: layers.py              check the tree
       layers.py --self-test  feed the check wrong includes and see that it refuses them
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Folder: what its files may include besides themselves and the standard library. An entry is a folder or one header.
MAY_INCLUDE = {
    "base": [],
    "segment": ["base"],
    "proto": [],
    "worker/channel": ["base", "segment"],
    "worker/spawner": ["base", "segment", "worker/channel"],
    "worker/sdk": ["base", "segment", "worker/channel"],
    "worker/runtime": ["base", "segment", "worker/channel", "worker/sdk", "worker/spawner/wire.h"],
    "worker/tasks": ["base", "worker/sdk"],
    "worker/examples": ["worker/sdk"],
    "daemon/core": ["base"],
    "daemon/store": ["base", "daemon/core", "segment/compression.h"],
    "daemon/callback": ["base", "daemon/core", "daemon/store/store.h"],
    "daemon/pool": ["base", "daemon/core", "segment", "worker/channel", "worker/spawner/wire.h"],
    "daemon/loop": ["base", "daemon/core", "daemon/store/store.h", "daemon/store/store_thread.h", "daemon/pool"],
    "daemon/rpc": [
        "base", "daemon/core", "daemon/store/store.h", "daemon/store/digest.h", "daemon/store/sent_contents.h", "daemon/callback", "daemon/loop", "daemon/store/store_thread.h", "daemon/store/content_usage.h", "daemon/pool/segment_table.h", "segment", "proto"
    ],  # fmt: skip
    "daemon/ops": ["base"],
    "daemon/main.cc": ["base", "segment", "daemon", "proto"],
    "client/cpp": ["base", "segment", "proto"],
    "client/cli": ["base", "client/cpp"],
    "client/examples": ["proto", "segment", "client/cpp", "worker/sdk"],
    "tests": ["base", "segment", "proto", "worker", "daemon", "client"],
}

# Library: how its headers begin, and the folders that may include them.
LIBRARIES = {
    "gRPC": (("grpc/", "grpcpp/", "grpc++/"), ["daemon/rpc", "daemon/main.cc", "client/cpp", "client/examples", "proto", "tests"]),
    "protobuf": (("google/",), ["daemon/rpc", "daemon/main.cc", "client/cpp", "worker/sdk/include/futured/protobuf.h", "proto", "tests"]),
    "SQLite": (("sqlite3",), ["daemon/store", "tests"]),
    "spdlog": (("spdlog/", "fmt/"), ["daemon/ops", "daemon/main.cc"]),
    "toml++": (("toml++/", "toml.hpp"), ["daemon/ops"]),
    "CLI11": (("CLI/",), ["daemon/main.cc", "client/cli", "tests"]),
    "libsystemd": (("systemd/",), ["daemon/ops"]),
    "nlohmann-json": (("nlohmann/",), ["client/cli", "worker/sdk/include/futured/json.h", "tests"]),
    "Asio": (("asio/", "asio.hpp"), ["client/cpp/include/futured/asio.h", "client/examples", "worker/runtime/async_loop.cc", "tests"]),
    "libcurl": (("curl/",), ["daemon/callback"]),
    "zstd": (("zstd",), ["segment/compression.cc"]),
    "OpenSSL": (("openssl/",), ["daemon/callback", "daemon/store"]),
    "nettle": (("nettle/",), ["worker/tasks"]),
    "GoogleTest": (("gtest/", "gmock/"), ["tests"]),
}

# <folder/header> of these is the system, not a library.
SYSTEM_FOLDERS = ("sys/", "linux/", "netinet/", "arpa/", "net/", "bits/", "asm/")

# daemon/core decides and does nothing else: no clock, thread, randomness or I/O, by header or by name.
PURE = "daemon/core"
PURE_REFUSES_HEADERS = {
    "atomic", "condition_variable", "coroutine", "ctime", "execution", "fcntl.h", "filesystem", "fstream", "future",
    "iostream", "latch", "mutex", "ostream", "istream", "poll.h", "pthread.h", "random", "semaphore", "shared_mutex",
    "signal.h", "stop_token", "syncstream", "syslog.h", "thread", "time.h", "unistd.h", "csignal", "barrier",
}  # fmt: skip
PURE_REFUSES_NAMES = re.compile(
    r"\b(monotonic_now|wall_now|coarse_now|system_clock|steady_clock|high_resolution_clock|random_device|getenv|printf|fprintf|"
    r"rand|time)\s*\(|::now\s*\(|\bstd::(cout|cerr|clog)\b"
)

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def within(path, place):
    return path == place or path.startswith(place + "/")


def folder_of(path):
    """The longest row of the table that holds `path`, or None."""
    rows = [row for row in MAY_INCLUDE if within(path, row)]
    return max(rows, key=len) if rows else None


def where_is(header):
    """The path in this repository that an include means, or None for the standard library and the system."""
    if header.startswith("futured/v1/"):
        return "proto/" + header
    if header.startswith("futured/"):  # the public headers of the SDK and the client
        for folder in ("worker/sdk", "client/cpp", "segment"):
            for inside in ("", "include/"):
                if os.path.exists(os.path.join(ROOT, folder, inside + header)):
                    return folder + "/" + header
        return "unknown/" + header
    return header if folder_of(header) or header.split("/")[0] in ("worker", "daemon", "client") else None


def fault_of(path, folder, header, quoted):
    """Why `path` may not include `header`, or None."""
    target = where_is(header)
    if target is not None:
        if target.startswith("unknown/"):
            return f"no public header {header} in worker/sdk, client/cpp or segment"
        allowed = MAY_INCLUDE[folder]
        # A row of its own is entered by naming it: a parent's row opens what lies inside it too.
        if folder_of(target) == folder or any(within(target, place) for place in allowed):
            return None
        return f"{folder} may not include {header}"
    for library, (beginnings, folders) in LIBRARIES.items():
        if header.startswith(beginnings):
            return None if any(within(path, place) for place in folders) else f"{library} does not belong in {folder}"
    if folder == PURE and (header in PURE_REFUSES_HEADERS or header.startswith(SYSTEM_FOLDERS)):
        return f"<{header}> in {PURE}, which must stay pure"
    if quoted:
        return f'"{header}" is not named from the top of the repository'
    if "/" in header and not header.startswith(SYSTEM_FOLDERS):
        return f"<{header}> is of no library that tests/layers.py knows"
    return None


def without_comments(text):
    blank = lambda match: re.sub(r"[^\n]", " ", match.group())  # noqa: E731  keeps line numbers
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def check(path, text):
    """All faults of one file as 'path:line: why'."""
    folder = folder_of(path)
    if folder is None:
        return [f"{path}:1: its folder has no row in tests/layers.py"]
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            why = fault_of(path, folder, found.group(1) or found.group(2), found.group(1) is not None)
            if why:
                faults.append(f"{path}:{number}: {why}")
    if folder == PURE:
        for number, line in enumerate(without_comments(text).splitlines(), 1):
            found = PURE_REFUSES_NAMES.search(line)
            if found:
                faults.append(f"{path}:{number}: {found.group().strip('( ')} in {PURE}, which must stay pure")
    return faults


def sources():
    for top in sorted({row.split("/")[0] for row in MAY_INCLUDE}):
        for folder, inside, files in os.walk(os.path.join(ROOT, top)):
            inside.sort()
            for name in sorted(files):
                if name.endswith((".h", ".cc", ".c", ".hpp", ".cpp")):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def undocumented():
    """Folders with sources that ARCHITECTURE.md does not explain."""
    with open(os.path.join(ROOT, "ARCHITECTURE.md"), encoding="utf-8") as file:
        plan = file.read()
    rows = {folder_of(path) for path in sources()} - {None}
    return [f"ARCHITECTURE.md:1: says nothing of {row}" for row in sorted(rows) if f"`{row}" not in plan]


def check_tree():
    faults = undocumented()
    for path in sources():
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            faults += check(path, file.read())
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def self_test():
    wrong = [
        ("daemon/core/scheduler.cc", "#include <grpcpp/grpcpp.h>"),
        ("daemon/core/scheduler.cc", "#include <thread>"),
        ("daemon/core/scheduler.cc", "#include <sys/socket.h>"),
        ("daemon/core/scheduler.cc", '#include "daemon/store/store.h"'),
        ("daemon/core/scheduler.cc", "Instant now = monotonic_now();"),
        ("daemon/core/scheduler.cc", "auto t = std::chrono::steady_clock::now();"),
        ("daemon/loop/loop.cc", '#include "daemon/store/sqlite_store.h"'),
        ("daemon/loop/loop.cc", "#include <sqlite3.h>"),
        ("daemon/pool/pool.cc", '#include "worker/spawner/tree.h"'),
        ("worker/spawner/main.cc", '#include "daemon/core/job.h"'),
        ("worker/runtime/run.cc", "#include <spdlog/spdlog.h>"),
        ("segment/memory.cc", "#include <zstd.h>"),
        ("worker/sdk/task.cc", '#include "daemon/ops/log.h"'),
        ("worker/sdk/include/futured/convert.h", "#include <nlohmann/json.hpp>"),
        ("worker/sdk/include/futured/json.h", "#include <google/protobuf/message_lite.h>"),
        ("worker/tasks/basic.cc", '#include "futured/v1/types.pb.h"'),
        ("client/cli/run.cc", "#include <grpcpp/grpcpp.h>"),
        ("client/cli/run.cc", '#include "futured/v1/futured.pb.h"'),
        ("base/fd.cc", '#include "segment/segment.h"'),
        ("base/fd.cc", "#include <boost/asio.hpp>"),
        ("client/cpp/include/futured/coroutine.h", "#include <asio/post.hpp>"),
        ("segment/segment.cc", '#include "segment.h"'),
        ("elsewhere/thing.cc", "#include <vector>"),
    ]
    right = [
        ("daemon/core/scheduler.cc", '#include "base/time.h"\n#include <map>\n// monotonic_now() is for others'),
        ("daemon/loop/loop.cc", '#include "daemon/store/store.h"\n#include <thread>'),
        ("daemon/main.cc", '#include "daemon/store/sqlite_store.h"\n#include <grpcpp/grpcpp.h>'),
        ("daemon/pool/pool.cc", '#include "worker/spawner/wire.h"\n#include <sys/epoll.h>'),
        ("tests/unit/core/fence_test.cc", '#include "daemon/core/scheduler.h"\n#include <gtest/gtest.h>'),
    ]
    failures = [f"accepted, but wrong: {path}: {text}" for path, text in wrong if not check(path, text)]
    failures += [f"refused, but right: {fault}" for path, text in right for fault in check(path, text)]
    for failure in failures:
        print(failure)
    if not failures:
        print(f"layers self-test: {len(wrong)} wrong files refused, {len(right)} right ones accepted")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(self_test() if sys.argv[1:] == ["--self-test"] else check_tree())
