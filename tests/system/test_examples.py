"""Every example of client/examples runs against a real daemon and checks itself; the pages show what was compiled."""
import os
import re
import subprocess

import pytest
from private_daemon import BIN, ROOT

SOURCES = os.path.join(ROOT, "client", "examples")
EXAMPLES = sorted(name.removesuffix(".cc") for name in os.listdir(SOURCES) if name.endswith(".cc"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(daemon, example):
    program = os.path.join(os.path.dirname(BIN), "examples", example)
    done = subprocess.run([program], env=daemon.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout, "an example shows something"


def test_the_snippet_of_the_readme_is_an_example_that_was_run():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        snippet = re.search(r"```cpp\n(.*?)```", file.read(), re.S).group(1)
    with open(os.path.join(SOURCES, "readme.cc"), encoding="utf-8") as file:
        assert snippet == file.read()


def bare_lines(text):
    return [line.strip() for line in text.splitlines()]


@pytest.mark.parametrize("page, folder", [("client.md", "client/examples"), ("tasks.md", "worker/examples")])
def test_every_snippet_of_a_page_stands_in_an_example_that_was_run(page, folder):
    programs = []
    for name in sorted(os.listdir(os.path.join(ROOT, folder))):
        if name.endswith((".c", ".cc", ".proto")):
            with open(os.path.join(ROOT, folder, name), encoding="utf-8") as file:
                programs.append(bare_lines(file.read()))
    with open(os.path.join(ROOT, "docs", page), encoding="utf-8") as file:
        snippets = re.findall(r"```(?:c|cpp|proto)\n(.*?)```", file.read(), re.S)
    assert snippets
    for snippet in snippets:
        wanted = bare_lines(snippet)
        found = any(
            program[start : start + len(wanted)] == wanted for program in programs for start in range(len(program))
        )
        assert found, snippet
