#!/usr/bin/env python3
"""What every field of the public API promises by its name: times and sizes carry their unit and are 64 bits wide.

usage: proto_test.py <folder of .proto files>
"""
import glob
import re
import sys

FIELD = re.compile(r"^\s*(?:repeated |optional )?(\w+|map<[^>]+>) (\w+) = (\d+)")
UNIT_TYPES = {"_ms": {"int64"}, "_us": {"int64"}}
# A duration or a time without its unit in the name is how a second becomes a millisecond.
NEEDS_UNIT = re.compile(r"(timeout|delay|backoff|grace|_at|duration|interval)$")


def problems_of(path):
    found = []
    numbers = {}
    message = []
    with open(path, encoding="utf-8") as file:
        for at, line in enumerate(file, 1):
            code = line.split("//")[0]
            opened = re.match(r"\s*(message|enum|service|oneof) (\w+)", code)
            if opened:
                message.append(opened.groups())
            field = FIELD.match(code)
            if field and message and message[-1][0] in ("message", "oneof"):
                kind, name, number = field.groups()
                owner = ".".join(name for what, name in message if what == "message")
                if numbers.setdefault((owner, number), name) != name:
                    found.append(f"{path}:{at}: {owner} uses number {number} twice")
                for suffix, allowed in UNIT_TYPES.items():
                    if name.endswith(suffix) and kind not in allowed:
                        found.append(f"{path}:{at}: {owner}.{name} is {kind}, not one of {sorted(allowed)}")
                if NEEDS_UNIT.search(name) and kind in ("int64", "uint64", "int32", "uint32", "double"):
                    found.append(f"{path}:{at}: {owner}.{name} does not say its unit")
            message = message[: len(message) - (code.count("}") if not re.search(r"\{.*\}", code) else 0)]
            if opened and re.search(r"\{\s*\}", code):
                message.pop()
    return found, len(numbers)


def main():
    files = sorted(glob.glob(sys.argv[1] + "/*.proto"))
    results = [problems_of(path) for path in files]
    problems = [line for found, _ in results for line in found]
    print("\n".join(problems) or f"{sum(count for _, count in results)} fields of {len(files)} files")
    return 1 if problems or not files or not all(count for _, count in results) else 0


if __name__ == "__main__":
    sys.exit(main())
