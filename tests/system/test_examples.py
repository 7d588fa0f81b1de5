"""Every example of client/examples runs against a real daemon and checks itself; the pages show what was compiled, and
name all there are."""
import os
import re
import subprocess

import pytest
from private_daemon import BIN, ROOT

SOURCES = os.path.join(ROOT, "client", "examples")
SETTINGS = "client/examples/futured.toml"
EXAMPLES = sorted(name.removesuffix(".cc") for name in os.listdir(SOURCES) if name.endswith(".cc"))


def settings_for(example):
    """The examples' own settings where the program says that it needs them, with the plugins of this build."""
    with open(os.path.join(SOURCES, example + ".cc"), encoding="utf-8") as file:
        if SETTINGS not in file.read():
            return ""
    with open(os.path.join(ROOT, SETTINGS), encoding="utf-8") as file:
        return file.read().replace('"build/plugins/', f'"{os.path.dirname(BIN)}/plugins/')


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(make_daemon, example):
    daemon = make_daemon(settings_for(example)).start()
    program = os.path.join(os.path.dirname(BIN), "examples", example)
    done = subprocess.run([program], env=daemon.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout, "an example shows something"


def test_the_table_of_the_page_names_every_example():
    with open(os.path.join(ROOT, "docs", "client.md"), encoding="utf-8") as file:
        table = file.read().split("## Examples\n", 1)[1]
    assert sorted(set(re.findall(r"`(\w+)\.cc`", table))) == EXAMPLES


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
