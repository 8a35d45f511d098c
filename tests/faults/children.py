"""Child processes at work on a catalog, and waiting for what happens in them."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from llmkit.catalog import load_seed

PROVIDERS = tuple(load_seed().providers)


def until(predicate, timeout=60.0):
    """Wait for something that happens in another process; whether it did."""
    deadline, tick = time.monotonic() + timeout, threading.Event()
    while not (happened := predicate()) and time.monotonic() < deadline:
        tick.wait(0.02)
    return happened


class Child:
    """A forked process at work."""

    def __init__(self, pid, log):
        self.pid, self.log = pid, log

    def lines(self):
        """What it has logged; a kill may cut the last line."""
        text = self.log.read_text() if self.log.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    def answered(self):
        """The (probe, turn) pairs that it has acknowledged."""
        return [tuple(line.split()[1:3]) for line in self.lines() if line.startswith("answered ")]

    def run_id(self):
        """Its run, once it has said so."""
        return next((line.split()[1] for line in self.lines() if line.startswith("run ")), None)

    def ended(self):
        """How it says that it ended; ``None`` while it has not."""
        return next((line for line in self.lines() if line.startswith(("end ", "error ", "crash "))), None)

    def count(self, word):
        """How many lines begin with a word."""
        return sum(line.split()[0] == word for line in self.lines())

    def alive(self):
        """Whether the process is there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self):
        """SIGKILL: no handler, no flush, no goodbye."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def interrupt(self):
        """SIGINT: Ctrl-C."""
        os.kill(self.pid, signal.SIGINT)

    def stop(self):
        """SIGTERM: it finishes what it is writing, and ends."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        self.wait()

    def wait(self, timeout=120):
        """Return when the process is gone."""
        try:
            waiting = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            assert select.select([waiting], [], [], timeout)[0], f"process {self.pid} does not end"
        finally:
            os.close(waiting)


class Zygote:
    """The process that forks children."""

    def __init__(self, folder, sim):
        self.folder, self.sim, self.count = folder, sim, 0
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LLMKIT_CONFIG_DIR": str(folder / "config")},
        )
        assert self.process.stdout.readline() == "ready\n"

    def start(self, path, **job):
        """Fork a child that works on the catalog at ``path``."""
        self.count += 1
        log = self.folder / f"child-{self.count}.log"
        urls = {name: self.sim.url_for(name) for name in PROVIDERS}
        self.process.stdin.write(json.dumps({"path": str(path), "log": str(log), "urls": urls, **job}) + "\n")
        self.process.stdin.flush()
        return Child(int(self.process.stdout.readline()), log)

    def close(self):
        """End it."""
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
