"""Real processes that run probes against a simulator in this one, and can be killed."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import llmkit

LATENCY = (0.002, 0.03)
PROVIDERS = ("openai", "anthropic", "google", "xai", "deepseek", "mistral")


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
        return next((line for line in self.lines() if line.startswith(("end ", "error "))), None)

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

    def wait(self, timeout=60):
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
        self.process.wait(timeout=30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def sim():
    """A simulator that takes a moment for each answer, so that kills hit requests on their way."""
    with llmkit.simulator.serve(latency=LATENCY, seed=7) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def zygote(tmp_path_factory, sim):
    """Where children come from."""
    zygote = Zygote(tmp_path_factory.mktemp("children"), sim)
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def loose_catalog(tmp_path_factory):
    """A seeded catalog with loose limits, copied for each test."""
    folder = tmp_path_factory.mktemp("loose")
    with llmkit.open(folder / "k.duckdb", simulate=True) as kit:
        for name in PROVIDERS:
            kit.catalog.update_provider(name, max_parallel_requests=5, requests_per_minute=100_000)
    return folder


@pytest.fixture
def catalog(tmp_path, loose_catalog, sim):
    """The path of a catalog of this test's own, and a simulator that has forgotten everything."""
    sim.set(faults={}, latency=LATENCY)
    sim.reset()
    shutil.copytree(loose_catalog, tmp_path / "catalog")
    return tmp_path / "catalog" / "k.duckdb"
