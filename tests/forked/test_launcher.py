"""A forked script is like one that was started with ``python -c``."""

import os
import signal
import subprocess
import sys

import pytest

ECHO = """
import os, sys
print(sys.argv, os.environ["WORD"], os.getcwd(), flush=True)
sys.stderr.write(sys.stdin.readline())
"""
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


@pytest.fixture(params=["started", "forked"])
def command(request, python):
    """The command line of either, before ``-c``."""
    return [sys.executable] if request.param == "started" else python


def test_files_arguments_environment_and_folder_are_its_own(command, tmp_path):
    """What it is given reaches it, and what it says comes back."""
    process = subprocess.Popen(
        [*command, "-c", ECHO, "a", tmp_path], cwd=tmp_path, env={**os.environ, "WORD": "word"}, **PIPES
    )
    assert process.stdout.readline() == f"{['-c', 'a', str(tmp_path)]} word {tmp_path}\n"
    assert process.communicate("go\n", timeout=60) == ("", "go\n")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("end", "code"),
    [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1), ("import os; os._exit(9)", 9), ("import os; os.abort()", -6)],
)
def test_it_ends_as_it_would(command, end, code):
    """Its exit code, or the signal that ended it."""
    assert subprocess.run([*command, "-c", end], capture_output=True, timeout=60).returncode == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_it(command, number):
    """It is over, and its files are closed, when whoever reads them sees the end."""
    # in turns: a signal between the print and a single sleep would be heard after the sleep
    waits = "import time; print('open', flush=True)\nwhile True: time.sleep(0.1)"
    with subprocess.Popen([*command, "-c", waits], **PIPES) as process:
        assert process.stdout.readline() == "open\n"
        process.send_signal(number)
        assert process.stdout.read() == ""
        assert process.wait(60) == -number
